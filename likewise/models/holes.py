"""Holes of pictures: which pixels are to be sampled, and the picture and its known pixels at a model's size."""

from __future__ import annotations

import numpy as np
import PIL.Image

from likewise.core.errors import warn
from likewise.modalities.base import Modality
from likewise.modalities.image import Image
from likewise.modalities.latent import base_of
from likewise.modalities.pixels import luminance


def image_shape(column: Modality) -> Image:
    """Height, width and channels of a column of images, seen through a model or not."""
    base = base_of(column)
    if isinstance(base, Image):
        return base
    height, width = base.spec.grid
    return Image(height, width, 1 if base.spec.width == 1 else 3)


def transparent_pixels(picture: PIL.Image.Image) -> np.ndarray:
    """Where the picture is more transparent than opaque, (H, W) bool."""
    if not picture.has_transparency_data:
        return np.zeros((picture.height, picture.width), dtype=bool)
    return np.asarray(picture.convert("RGBA"))[..., 3] < 128


def hole_of_mask(mask: PIL.Image.Image, size: tuple[int, int], name: str) -> np.ndarray:
    """The hole of a mask: its transparent pixels, or if there are none its white ones; (H, W) bool.

    size  (width, height) of the picture that the mask is for
    name  of the mask in messages

    Raises ValueError for a mask of another size, and one without a hole.
    """
    if mask.size != size:
        raise ValueError(
            f"{name} has {mask.width} x {mask.height} pixels and the picture "
            f"{size[0]} x {size[1]}; paint it on a copy of the picture"
        )
    transparent = transparent_pixels(mask)
    hole = transparent if transparent.any() else luminance(mask) >= 128
    if not hole.any():
        raise ValueError(f"{name} has no hole; paint the hole white")
    return hole


def fit_known_pixels(
    shape: Image, picture: PIL.Image.Image, hole: np.ndarray, quiet: bool = False
) -> tuple[PIL.Image.Image, np.ndarray]:
    """The picture at the model's size, and which of its pixels are known, (H, W) bool, given its hole, (H, W) bool.

    Warns that the picture is cropped, unless `quiet`. Raises ValueError for a hole that is cropped away.
    """
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
