"""Stems: between the grid of a column, where its values are, and the coarser grid of a transformer.

One file per stem. base.py defines the interface, registry.py chooses the stem of a column by the axes of its
`Spec`; add a new one there.
"""

from __future__ import annotations

from likewise.nets.stems.base import MAX_GRID, Stem
from likewise.nets.stems.registry import make_stem

__all__ = ["MAX_GRID", "Stem", "make_stem"]
