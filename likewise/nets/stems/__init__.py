"""Stems: between the grid of a column, where its values are, and the coarser grid of a transformer.

A file a stem; base.py says what each has, registry.py which one a column gets, by the axes of its `Spec`.
"""

from __future__ import annotations

from likewise.nets.stems.base import COARSE, Stem
from likewise.nets.stems.registry import make_stem

__all__ = ["COARSE", "Stem", "make_stem"]
