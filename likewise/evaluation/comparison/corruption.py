"""Conditions for classifiers: rows as they are, with corrupted sources, and with half of each source missing.

Corruptions are defined by modality: add those of another one with `@corruptor.register`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Protocol

import numpy as np
import PIL.Image
import torch

from likewise.core.rng import seed_of
from likewise.data.table import Table
from likewise.modalities.base import Modality, Row
from likewise.modalities.image import Image

NOISE, DEGREES = 0.5, 30
CORRUPTIONS = ("noise", "rotation", "contrast")
BACKGROUND_IMAGES = 200  # training images, at most, of which the background is the median pixel


@dataclass(frozen=True)
class Condition:
    """Rows to classify.

    observed  source -> mask over its grid, True where it is known; parts: the name of a subset for each row
    """

    name: str
    rows: list[Row]
    observed: Mapping[str, np.ndarray] | None = None
    parts: Sequence[str] = ()


class Corruptor(Protocol):
    """Corruptions of the values of one column."""

    observed: np.ndarray  # the mask over its grid where half is missing

    def corrupt(self, value: Any, corruption: str, rng: np.random.Generator) -> Any:
        """A value with one of CORRUPTIONS."""

    def remove_half(self, value: Any) -> Any:
        """A value with background where `observed` is False."""


@singledispatch
def corruptor(column: Modality, train: Sequence[Any]) -> Corruptor | None:
    """The corruptions of a column with these training values, None if there are none."""
    return None


@corruptor.register
def _(column: Image, train: Sequence[Any]) -> Corruptor:
    return ImageCorruptor(column, train)


class ImageCorruptor:
    """Noise, rotation and half contrast of an image, and its left half missing."""

    def __init__(self, column: Image, train: Sequence[Any]) -> None:
        self.column = column
        count = min(BACKGROUND_IMAGES, len(train))
        pixels = [self._pixels(train[i * len(train) // count]) for i in range(count)]
        self.background = np.median(np.stack(pixels), axis=(0, 1, 2))  # (C,)
        self.observed = np.ones(column.spec.grid, dtype=bool)
        self.observed[:, : column.width // 2] = False

    def corrupt(self, value: PIL.Image.Image, corruption: str, rng: np.random.Generator) -> PIL.Image.Image:
        """A rotation is over the background, contrast is about mid-grey."""
        x = self._pixels(value)
        if corruption == "noise":
            return self._image(np.clip(x + NOISE * rng.normal(size=x.shape), -1, 1))
        if corruption == "contrast":
            return self._image(x / 2)
        fill = tuple(int(v) for v in ((self.background + 1) * 127.5).round())
        return self._image(x).rotate(
            DEGREES,
            PIL.Image.Resampling.BILINEAR,
            fillcolor=fill if self.column.channels > 1 else fill[0],
        )

    def remove_half(self, value: PIL.Image.Image) -> PIL.Image.Image:
        return self._image(np.where(self.observed[..., None], self._pixels(value), self.background))

    def _pixels(self, image: PIL.Image.Image) -> np.ndarray:
        """(H, W, C) in [-1, 1]."""
        return self.column.encode(image).numpy().reshape(*self.column.spec.grid, -1)

    def _image(self, pixels: np.ndarray) -> PIL.Image.Image:
        return self.column.decode(torch.as_tensor(pixels, dtype=torch.float32).flatten(0, 1))


def conditions(rows: list[Row], table: Table, sources: Sequence[str], seed: int) -> Iterator[Condition]:
    """The rows as they are; where a source has corruptions, also corrupted, and with its half missing."""
    yield Condition("clean", rows)
    corruptors = {
        name: c for name in sources if (c := corruptor(table.columns[name], table.train.column(name)))
    }
    if not corruptors:
        return
    parts = [CORRUPTIONS[i % len(CORRUPTIONS)] for i in range(len(rows))]
    rng = np.random.default_rng(seed_of("corruption", seed))
    yield Condition(
        "corrupted",
        [
            {**row, **{name: c.corrupt(row[name], part, rng) for name, c in corruptors.items()}}
            for row, part in zip(rows, parts, strict=True)
        ],
        parts=parts,
    )
    yield Condition(
        "left half missing",
        [{**row, **{name: c.remove_half(row[name]) for name, c in corruptors.items()}} for row in rows],
        {name: c.observed for name, c in corruptors.items()},
    )
