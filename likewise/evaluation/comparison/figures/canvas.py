"""Canvas: a figure with things placed in inches from its upper left corner; PNG bytes of any figure."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from likewise.core.provenance import png_chunks
from likewise.viz.fonts import use_available_fonts
from likewise.viz.panels import INK, RULE


class Canvas:
    """A figure of `width` by `height` inches."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width, height), dpi=120)

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        style = {"color": INK, "fontsize": 9, "va": "center", **style}
        # "$" would begin mathematics
        self.figure.text(x / self.width, 1 - y / self.height, words.replace("$", r"\$"), **style)

    def shade(self, x: float, y: float, w: float, h: float, colour: str) -> None:
        corner, size = (x / self.width, 1 - (y + h) / self.height), (w / self.width, h / self.height)
        self.figure.add_artist(Rectangle(corner, *size, facecolor=colour, linewidth=0))

    def axes(self, x: float, y: float, w: float, h: float) -> Axes:
        place = (x / self.width, 1 - (y + h) / self.height, w / self.width, h / self.height)
        return self.figure.add_axes(place)

    def image(self, x: float, y: float, side: float, image: PIL.Image.Image) -> None:
        """An image with its pixels as squares."""
        axes = self.axes(x, y, side, side)
        axes.imshow(np.asarray(image.convert("RGB")), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(edgecolor=RULE, linewidth=0.5)


def png(figure: Figure) -> bytes:
    """A figure as a PNG file."""
    FigureCanvasAgg(figure)  # not pyplot, which needs a screen
    use_available_fonts(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="white", metadata=png_chunks())
    return file.getvalue()
