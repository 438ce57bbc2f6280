"""The values of pixels: a picture of any mode -> levels from 0 to 255, grey or in colour, on white.

Modes of 8 bits say what is black and what is white. Those of more bits do not: a 16-bit file may hold values of 8 or
of 12 bits, a file of floats those from 0 to 1 or from 0 to 255. `fit_levels` decides by all pictures of a column. The
chunk sBIT of a PNG does not help: it counts significant bits of values that are scaled to the depth of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import PIL.Image
import PIL.ImageChops
import PIL.ImageCms

WHITE, INVERTED = "likewise white", "likewise inverted"  # keys of `info`: what a file says of its own values
INTEGER_WHITES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
FLOAT_WHITES = (1, 255)


class Levels(NamedTuple):
    """Which values are black and white in pictures of more than 8 bits a channel."""

    integer_black: float = 0.0
    integer_white: float = 65535.0
    float_black: float = 0.0
    float_white: float = 255.0


DEFAULT_LEVELS = Levels()


def is_deep(image: PIL.Image.Image) -> bool:
    """Whether the mode does not say which value is white: integers of more than 8 bits, and floats."""
    return image.mode == "F" or image.mode.startswith("I")


def is_float(image: PIL.Image.Image) -> bool:
    return image.mode == "F"


def value_range(image: PIL.Image.Image) -> tuple[float, float]:
    """The least and the largest value of a deep picture. Raises ValueError unless all are finite."""
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high) or not np.isfinite(values).all():
        raise ValueError("it has values that are no numbers (NaN) or infinite")
    return low, high


def smallest_white(high: float, whites: Iterable[int]) -> int | None:
    """The least of `whites` that is no less than a value, None without one.

    >>> smallest_white(3000, INTEGER_WHITES), smallest_white(0.7, FLOAT_WHITES)
    (4095, 1)
    """
    return next((white for white in whites if high <= white), None)


class DeepRange(NamedTuple):
    """The least and the largest value of a deep picture."""

    is_float: bool
    low: float
    high: float


def deep_range(image: PIL.Image.Image) -> DeepRange | None:
    """The range of a deep picture, None for others and for a file that says its own white. Raises ValueError."""
    if not is_deep(image) or WHITE in image.info:
        return None
    return DeepRange(is_float(image), *value_range(image))


def fit_levels(ranges: Sequence[DeepRange], known: Levels | None = None) -> Levels:
    """The levels of a column, from the ranges of its deep pictures, and from those that are `known` already.

    Black is 0 and white the largest value of 8, 10, 12, 14 or 16 bits, of floats 1 or 255, that no value exceeds.
    Where some value lies outside of all these, the least value is black and the largest is white.
    """
    if known is not None:
        ranges = [*ranges, DeepRange(False, *known[:2]), DeepRange(True, *known[2:])]
    integers = _black_and_white([r for r in ranges if not r.is_float], INTEGER_WHITES)
    floats = _black_and_white([r for r in ranges if r.is_float], FLOAT_WHITES)
    return Levels(*(integers or Levels()[:2]), *(floats or Levels()[2:]))


def _black_and_white(ranges: Sequence[DeepRange], whites: Iterable[int]) -> tuple[float, float] | None:
    """Black and white of a column of such ranges of values; None without any."""
    if not ranges:
        return None
    low, high = min(r.low for r in ranges), max(r.high for r in ranges)
    white = smallest_white(high, whites)
    return (0.0, float(white)) if low >= 0 and white else (low, high)


def to_levels(image: PIL.Image.Image, levels: Levels) -> PIL.Image.Image:
    """A deep picture -> one of the mode "L". Raises ValueError unless its values are finite.

    A picture whose values would all be black, 255 times smaller than those of the column, is read as one of fewer
    bits.
    """
    low, high = value_range(image)
    whites = FLOAT_WHITES if is_float(image) else INTEGER_WHITES
    black, white = levels[2:] if is_float(image) else levels[:2]
    if WHITE in image.info:
        black, white = 0.0, float(image.info[WHITE])
    elif black == 0 <= low and 0 < high <= white / 255:
        white = float(smallest_white(high, whites) or white)
    scaled = (np.asarray(image, dtype=np.float64) - black) * (255 / max(white - black, 1e-300))
    scaled = scaled.round().clip(0, 255).astype(np.uint8)
    return PIL.Image.fromarray(255 - scaled if image.info.get(INVERTED) else scaled)


def flatten(
    image: PIL.Image.Image, mode: Literal["L", "RGB"], levels: Levels | None = None
) -> PIL.Image.Image:
    """A picture in `mode`, on white where it is transparent.

    Without `levels`, those of more than 8 bits have the levels of this picture alone. Raises ValueError.
    """
    if is_deep(image):
        image = to_levels(image, levels or fit_levels([deep] if (deep := deep_range(image)) else []))
    if image.mode == "La":  # which Pillow converts to LA only
        image = image.convert("LA")
    if image.mode == "LAB":  # Pillow converts it by colour profiles only
        lab, srgb = PIL.ImageCms.createProfile("LAB"), PIL.ImageCms.createProfile("sRGB")
        image = PIL.ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def has_grey_mode(image: PIL.Image.Image) -> bool:
    """Whether the mode has one channel, that of lightness."""
    return image.mode in ("1", "L", "LA", "La") or is_deep(image)


def is_grey(image: PIL.Image.Image) -> bool:
    """Whether a picture is grey: by its mode, or as its channels are equal in every pixel."""
    if has_grey_mode(image):
        return True
    image = flatten(image, "RGB")
    sample = image.resize(
        (8, 8), PIL.Image.Resampling.NEAREST
    )  # of most pictures in colour, some pixel here is
    return all(_has_equal_channels(picture) for picture in (sample, image))


def _has_equal_channels(image: PIL.Image.Image) -> bool:
    red, *others = image.split()
    return all(PIL.ImageChops.difference(red, other).getbbox() is None for other in others)


def luminance(image: PIL.Image.Image) -> np.ndarray:
    """The lightness of the pixels, from 0 to 255: (H, W) uint8."""
    return np.asarray(flatten(image, "L"))
