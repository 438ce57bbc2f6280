"""Rows and metrics as images: grids with captions, animations, loss curves, charts of a column.

Used by the command line, the reports and a server. It takes rows and columns, never a table or a model; a chart for
a new kind of column is registered in panels.py.
"""

from __future__ import annotations

from likewise.viz.curves import save_loss_curve
from likewise.viz.grid import image_grid
from likewise.viz.images import save, save_animation, sheet

__all__ = ["image_grid", "save", "save_animation", "save_loss_curve", "sheet"]
