"""What a model does besides sampling, measured: inpainting, variations."""

from __future__ import annotations

from likewise.evaluation.tasks.inpainting import Holes
from likewise.evaluation.tasks.variations import variations

__all__ = ["Holes", "variations"]
