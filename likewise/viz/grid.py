"""Preview: many pictures as one, large enough to be looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

SIDE, LARGEST = 96, 256  # pixels of a cell: small pictures are enlarged to the one, large ones reduced
Font = PIL.ImageFont.ImageFont | PIL.ImageFont.FreeTypeFont
GAP, TEXT = 6, 12  # pixels between cells, and of a caption's height


def image_grid(
    images: Sequence[PIL.Image.Image],
    columns: int | None = None,
    scale: int | None = None,
    captions: Sequence[str] | None = None,
) -> PIL.Image.Image:
    """The pictures on white, `columns` in a line, each pixel as a square of `scale` pixels, captions below.

    Without `columns` the grid is about square; without `scale` a small picture is enlarged to about 96
    pixels. Raises ValueError if there is no picture, or not one caption for each.

    >>> image_grid([PIL.Image.new("L", (24, 24))] * 6, columns=3, scale=2).size
    (168, 114)
    """
    if not images:
        raise ValueError("there is no picture to show")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions for {len(images)} pictures; give one each, '' for none")
    side = max(max(image.size) for image in images)
    scale = scale or max(1, SIDE // side)
    shrink = min(1.0, LARGEST / (side * scale))
    cells = [_resized(image, scale * shrink) for image in images]
    width, height = (max(sizes) for sizes in zip(*(cell.size for cell in cells), strict=True))
    font = PIL.ImageFont.load_default(TEXT - 2)
    lines = [_wrapped(caption, width, font) for caption in captions or [""] * len(cells)]
    foot = TEXT * max(map(len, lines))
    columns = min(columns or math.ceil(math.sqrt(len(cells))), len(cells))
    rows = math.ceil(len(cells) / columns)
    across, down = width + GAP, height + foot + GAP
    sheet = PIL.Image.new("RGB", (columns * across + GAP, rows * down + GAP), "white")
    draw = PIL.ImageDraw.Draw(sheet)
    for i, (cell, caption) in enumerate(zip(cells, lines, strict=True)):
        x, y = GAP + i % columns * across, GAP + i // columns * down
        sheet.paste(cell, (x + (width - cell.width) // 2, y + (height - cell.height) // 2))
        for k, line in enumerate(caption):
            draw.text((x, y + height + k * TEXT), line, fill="black", font=font)
    return sheet


def _resized(image: PIL.Image.Image, scale: float) -> PIL.Image.Image:
    """The picture in colour on white; enlarged without smoothing, reduced with it."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    method = PIL.Image.Resampling.NEAREST if scale >= 1 else PIL.Image.Resampling.LANCZOS
    return image.convert("RGB").resize(size, method)


def _wrapped(caption: str, width: int, font: Font) -> list[str]:
    """The caption in at most two lines of `width` pixels; what is longer ends in an ellipsis."""
    lines: list[str] = []
    for word in caption.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    if len(lines) > 2:
        lines = [lines[0], f"{lines[1]} …"]
    return [_cut(line, width, font) for line in lines]


def _cut(line: str, width: int, font: Font) -> str:
    while len(line) > 1 and font.getlength(line) > width:
        line = line[:-2].rstrip() + "…"
    return line
