"""The hole of a picture, from its transparency, a mask, a box and padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image

from likewise.core.errors import warn
from likewise.core.options import parse_option
from likewise.core.ranges import Padding, PixelIndex
from likewise.modalities.base import Modality
from likewise.modalities.image import Image
from likewise.modalities.latent import base_of
from likewise.modalities.pixels import luminance
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


def image_shape(column: Modality) -> Image:
    """Height, width and channels of a column of images, seen through a model or not."""
    base = base_of(column)
    if isinstance(base, Image):
        return base
    height, width = base.spec.grid
    return Image(height, width, 1 if base.spec.width == 1 else 3)


def known_pixels(
    shape: Image, picture: PIL.Image.Image, options: HoleOptions, quiet: bool = False
) -> tuple[PIL.Image.Image, np.ndarray]:
    """The picture at the model's size, and which of its pixels are known, (H, W) bool. Raises ValueError.

    Warns that the picture is cropped, unless `quiet`.
    """
    if picture.mode == "P":
        picture = picture.convert("RGBA")
    hole = _transparent(picture)
    if options.mask:
        hole |= _mask_hole(shape, options.mask, picture.size)
    if options.box:
        x0, y0, x1, y1 = _parse_box(options.box, *picture.size)
        hole[y0:y1, x0:x1] = True
    if options.pad:
        left, top, right, bottom = _parse_pad(options.pad)
        hole = np.pad(hole, ((top, bottom), (left, right)), constant_values=True)
        canvas = PIL.Image.new(picture.mode, (picture.width + left + right, picture.height + top + bottom))
        canvas.paste(picture, (left, top))
        picture = canvas
    cropped = shape.resize == "crop" and picture.width * shape.height != picture.height * shape.width
    if cropped and not quiet:
        warn(
            f"the picture of {picture.width} x {picture.height} pixels is cropped to its middle: "
            f"the model's are {shape.width} x {shape.height}"
        )
    fitted, known = shape.resize_masked(picture, ~hole)
    if hole.any() and known.all():
        raise ValueError(
            "the hole lies outside the part of the picture that the model sees: its middle, "
            f"in the shape of {shape.width} x {shape.height} pixels"
        )
    return fitted, known


def _transparent(picture: PIL.Image.Image) -> np.ndarray:
    """Where the picture is more transparent than opaque, (H, W) bool."""
    if not picture.has_transparency_data:
        return np.zeros((picture.height, picture.width), dtype=bool)
    return np.asarray(picture.convert("RGBA"))[..., 3] < 128


def _mask_hole(shape: Image, file: str, size: tuple[int, int]) -> np.ndarray:
    """The hole of a mask: its transparent pixels, or if there are none its white ones; (H, W) bool."""
    mask = parse_value(shape, file)
    if mask.size != size:
        raise ValueError(
            f"the mask {file} has {mask.width} x {mask.height} pixels and the picture "
            f"{size[0]} x {size[1]}; paint it on a copy of the picture"
        )
    transparent = _transparent(mask)
    hole = transparent if transparent.any() else luminance(mask) >= 128
    if not hole.any():
        raise ValueError(f"the mask {file} has no hole; paint the hole white")
    return hole


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
