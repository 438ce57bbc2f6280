"""What is odd about the pictures of a column: the traits of each, and what they mean for all."""

from __future__ import annotations

import re
from collections import Counter

import PIL.Image

from likewise.modalities.columns import ColumnValues
from likewise.modalities.picture_files import has_frames, load_pixels, upright
from likewise.modalities.pixels import (
    FLOAT_WHITES,
    INTEGER_WHITES,
    Levels,
    deep_range,
    flatten,
    has_grey_mode,
    is_grey,
    smallest_white,
)

GREY_MODE, GREY_PIXELS, FRAMES, PLAIN = "grey", "grey pixels", "frames", "one colour"
SIZE, INTEGERS, FLOATS = "size", "integers up to", "floats up to"  # followed by numbers
OTHER = "other"  # values outside of the usual ranges
MIN_LOSS = 0.02  # of the area of a picture that is cropped; less is not reported


def inspect(image: PIL.Image.Image) -> tuple[tuple[str, ...], PIL.Image.Image]:
    """The traits of a picture, and its upright pixels, "L" or "RGB". Raises ValueError for an unreadable one."""
    traits = [FRAMES] if has_frames(image) else []
    image = upright(load_pixels(image))
    pixels = flatten(image, "L" if has_grey_mode(image) else "RGB")
    traits.append(f"{SIZE} {image.height} {image.width}")
    if has_grey_mode(image):
        traits.append(GREY_MODE)
    elif is_grey(pixels):
        traits.append(GREY_PIXELS)
    if all(low == high for low, high in (band.getextrema() for band in pixels.split())):
        traits.append(PLAIN)
    if (deep := deep_range(image)) is not None:
        white = smallest_white(deep.high, FLOAT_WHITES if deep.is_float else INTEGER_WHITES)
        known = white is not None and deep.low >= 0
        traits.append(f"{FLOATS if deep.is_float else INTEGERS} {white if known else OTHER}")
    return tuple(traits), pixels


def findings(
    column: ColumnValues, height: int, width: int, channels: int, levels: Levels, *, crop: bool
) -> list[str]:
    """A line for each thing that a user should know of a column, which is read at this size and with these levels.

    crop  whether pictures of another shape are cropped
    """
    traits, count = column.traits, len(column.values)
    lines = [
        *_channels(traits, count, channels),
        *(_cropped(traits, count, height, width) if crop else []),
        *_levels(traits, INTEGERS, "16 bits or more", count, levels[:2]),
        *_levels(traits, FLOATS, "floats", count, levels[2:]),
    ]
    if frames := traits[FRAMES]:
        lines.append(
            f"{frames:,} of {count:,} pictures are animations or have several pages; the first is read"
        )
    if plain := traits[PLAIN]:
        why = "; transparent pixels are white, and of 16 bits a channel in colour the upper 8 are read"
        lines.append(
            f"{plain:,} of {count:,} pictures have one colour throughout{why if plain > count / 2 else ''}"
        )
    return [f"{column.name}: {line}" for line in lines]


def _channels(traits: Counter[str], count: int, channels: int) -> list[str]:
    grey, equal = traits[GREY_MODE], traits[GREY_PIXELS]
    colour = count - grey - equal
    if channels == 1 and colour:
        return [
            f"{colour:,} of {count:,} pictures are in colour and are read as grey; channels=3 keeps the colours"
        ]
    if channels == 1 and equal:
        return [f"{equal:,} of {count:,} pictures are stored in colour and are grey; they are read as grey"]
    if grey and colour:
        return [
            f"{grey:,} of {count:,} pictures are grey, the others in colour; choose channels=1 or channels=3 for all"
        ]
    return []


def _cropped(traits: Counter[str], count: int, height: int, width: int) -> list[str]:
    """How many pictures lose a part of their area, and how much."""
    losses: list[tuple[float, int]] = []
    for trait, pictures in traits.items():
        if match := re.fullmatch(rf"{SIZE} (\d+) (\d+)", trait):
            ratio = int(match[2]) * height / (int(match[1]) * width)
            losses.append((1 - min(ratio, 1 / ratio), pictures))
    losses = [(loss, pictures) for loss, pictures in losses if loss >= MIN_LOSS]
    if not losses:
        return []
    cropped = sum(pictures for _, pictures in losses)
    mean = sum(loss * pictures for loss, pictures in losses) / cropped
    return [
        f"{cropped:,} of {count:,} pictures are cropped to their middle, in the shape {height} x {width}, and lose "
        f"{mean:.0%} of their area{' on average' if len(losses) > 1 else ''}; fit=pad keeps all of it with white "
        "margins, fit=stretch changes the shape"
    ]


def _levels(traits: Counter[str], prefix: str, kind: str, count: int, levels: tuple[float, ...]) -> list[str]:
    """Which values of pictures of more than 8 bits are black and white."""
    found = {trait.removeprefix(f"{prefix} "): n for trait, n in traits.items() if trait.startswith(prefix)}
    if not found:
        return []
    (black, white), total = levels, sum(found.values())
    whites = sorted((int(w), n) for w, n in found.items() if w != OTHER)
    dark = [(w, n) for w, n in whites if black == 0 and w <= white / 255]
    others = "".join(f", and {n:,} with none above {w:,} as of 0 to {w:,}" for w, n in dark)
    return [
        f"{total:,} of {count:,} pictures are of {kind}: {black:,g} is read as black and {white:,g} as white{others}"
    ]
