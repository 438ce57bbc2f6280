"""Models that write a sequence token by token: likelihood, decoding, prompts, fill-in-the-middle, constraints."""

from __future__ import annotations

from likewise.generation.sequence.constraints import Constraint
from likewise.generation.sequence.decoding import SamplingParams, SequenceSampler
from likewise.generation.sequence.likelihood import SequenceLikelihood

__all__ = ["Constraint", "SamplingParams", "SequenceLikelihood", "SequenceSampler"]
