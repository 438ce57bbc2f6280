"""What a model does besides sampling, measured: inpainting, variations."""

from __future__ import annotations

from likewise.evaluation.tasks.inpainting import Holes

__all__ = ["Holes"]
