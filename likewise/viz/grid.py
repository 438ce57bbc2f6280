"""Many images as one, enlarged or reduced to a size at which they can be looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import PIL.Image
import PIL.ImageDraw

from likewise.viz.fonts import displayable, draw_text, text_width

SIDE, LARGEST = 96, 256  # pixels: small images are enlarged to about SIDE, large ones reduced to LARGEST
GAP, LINE = 6, 12  # pixels between cells, and of the height of a line of a caption
FONT = LINE - 2  # size


def image_grid(
    images: Sequence[PIL.Image.Image],
    columns: int | None = None,
    scale: int | None = None,
    captions: Sequence[str] | None = None,
) -> PIL.Image.Image:
    """The images on white, `columns` in a line, each pixel as a square of `scale` pixels, captions below.

    Without `columns` the grid is about square; without `scale` small images are enlarged to about 96 pixels.
    Raises ValueError if there is no image, or not one caption for each.

    >>> image_grid([PIL.Image.new("L", (24, 24))] * 6, columns=3, scale=2).size
    (168, 114)
    """
    if not images:
        raise ValueError("there is no image to show")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions for {len(images)} images; give one for each, '' for none")
    side = max(max(image.size) for image in images)
    scale = scale or max(1, SIDE // side)
    shrink = min(1.0, LARGEST / (side * scale))
    cells = [_resize(image, scale * shrink) for image in images]
    width, height = (max(sizes) for sizes in zip(*(cell.size for cell in cells), strict=True))
    lines = [_wrap(displayable(caption), width) for caption in captions or [""] * len(cells)]
    caption_height = LINE * max(map(len, lines))
    columns = min(columns or math.ceil(math.sqrt(len(cells))), len(cells))
    rows = math.ceil(len(cells) / columns)
    across, down = width + GAP, height + caption_height + GAP
    sheet = PIL.Image.new("RGB", (columns * across + GAP, rows * down + GAP), "white")
    draw = PIL.ImageDraw.Draw(sheet)
    for i, (cell, caption) in enumerate(zip(cells, lines, strict=True)):
        x, y = GAP + i % columns * across, GAP + i // columns * down
        sheet.paste(cell, (x + (width - cell.width) // 2, y + (height - cell.height) // 2))
        for k, line in enumerate(caption):
            draw_text(draw, x, y + height + k * LINE, line, FONT)
    return sheet


def _resize(image: PIL.Image.Image, scale: float) -> PIL.Image.Image:
    """The image in colour on white; enlarged without smoothing, reduced with it."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    method = PIL.Image.Resampling.NEAREST if scale >= 1 else PIL.Image.Resampling.LANCZOS
    return image.convert("RGB").resize(size, method)


def _wrap(caption: str, width: int) -> list[str]:
    """The caption in at most two lines of `width` pixels; a longer one ends in an ellipsis."""
    lines: list[str] = []
    for word in caption.split():
        if lines and text_width(f"{lines[-1]} {word}", FONT) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > 2:
        lines = [lines[0], f"{lines[1]} …"]
    return [_shorten(line, width) for line in lines]


def _shorten(line: str, width: int) -> str:
    """The line, or as much of it as `width` pixels hold and an ellipsis."""
    while len(line) > 1 and text_width(line, FONT) > width:
        line = line[:-2].rstrip() + "…"
    return line
