"""Metrics of what a model does besides sampling: inpainting, variations."""

from __future__ import annotations

from likewise.evaluation.tasks.inpainting import InpaintingTask
from likewise.evaluation.tasks.variations import variations

__all__ = ["InpaintingTask", "variations"]
