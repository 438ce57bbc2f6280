"""The hole of a picture, from its transparency, a mask, a box and padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image

from likewise.core.options import parse_option
from likewise.core.ranges import Padding, PixelIndex
from likewise.modalities.image import Image
from likewise.models.holes import fit_known_pixels, hole_of_mask, transparent_pixels
from likewise.models.requests import parse_value


@dataclass(frozen=True)
class HoleOptions:
    """What the command line adds to the hole of a picture.

    mask  file of a picture of the same size, white or transparent in the hole
    box   "X0,Y0,X1,Y1" in pixels of the picture
    pad   "LEFT,TOP,RIGHT,BOTTOM", pixels to add around it
    """

    mask: str | None
    box: str | None
    pad: str | None

    def names(self) -> list[str]:
        """The options that are used."""
        return [name for name, value in vars(self).items() if value]


def known_pixels(
    shape: Image, picture: PIL.Image.Image, options: HoleOptions, quiet: bool = False
) -> tuple[PIL.Image.Image, np.ndarray]:
    """The picture at the model's size, and which of its pixels are known, (H, W) bool. Raises ValueError.

    Warns that the picture is cropped, unless `quiet`.
    """
    if picture.mode == "P":
        picture = picture.convert("RGBA")
    hole = transparent_pixels(picture)
    if options.mask:
        mask = parse_value(shape, options.mask)
        hole |= hole_of_mask(mask, picture.size, f"the mask {options.mask}")
    if options.box:
        x0, y0, x1, y1 = _parse_box(options.box, *picture.size)
        hole[y0:y1, x0:x1] = True
    if options.pad:
        left, top, right, bottom = _parse_pad(options.pad)
        hole = np.pad(hole, ((top, bottom), (left, right)), constant_values=True)
        canvas = PIL.Image.new(picture.mode, (picture.width + left + right, picture.height + top + bottom))
        canvas.paste(picture, (left, top))
        picture = canvas
    return fit_known_pixels(shape, picture, hole, quiet)


def _parse_box(text: str, width: int, height: int) -> list[int]:
    x0, y0, x1, y1 = box = _parse_numbers("--box", text, PixelIndex)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(
            f"--box {text} is no part of a picture of {width} x {height} pixels; write "
            f"X0,Y0,X1,Y1 with 0 <= X0 < X1 <= {width} and 0 <= Y0 < Y1 <= {height}"
        )
    return box


def _parse_pad(text: str) -> list[int]:
    pad = _parse_numbers("--pad", text, Padding)
    if not any(pad):
        raise ValueError(
            f"--pad {text}: write how many pixels to add on the left, at the top, on the "
            "right and at the bottom, such as --pad 8,8,8,8"
        )
    return pad


def _parse_numbers(option: str, text: str, annotation: Any) -> list[int]:
    words = text.split(",")
    if len(words) != 4:
        raise ValueError(f"cannot read {option} {text!r}; write four whole numbers with commas between them")
    return [parse_option(f"each number of {option}", word.strip(), annotation) for word in words]
