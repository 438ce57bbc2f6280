"""Values as pictures: grids with captions, animations, curves. Used by commands, reports and the server."""

from __future__ import annotations

from likewise.viz.grid import image_grid
from likewise.viz.images import curve, save, sheet

__all__ = ["curve", "image_grid", "save", "sheet"]
