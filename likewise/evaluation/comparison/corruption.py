"""Corruption: rows to classify as they are, with pictures spoilt, and with half of every picture missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import torch

from likewise.core.rng import seed_of
from likewise.data.table import Table
from likewise.modalities.base import Row
from likewise.modalities.image import Image

NOISE, DEGREES = 0.5, 30
CORRUPTIONS = ("noise", "rotation", "contrast")


@dataclass(frozen=True)
class Condition:
    """Rows to classify, and what of their targets may be looked at; `parts` names a part for each row."""

    name: str
    rows: list[Row]
    observed: Mapping[str, np.ndarray] | None = None
    parts: Sequence[str] = ()


def conditions(rows: list[Row], table: Table, sources: Sequence[str], seed: int) -> Iterator[Condition]:
    """The rows as they are; and, where a source is a picture, corrupted, and with its left half missing."""
    yield Condition("clean", rows)
    images = {n: table.columns[n] for n in sources if isinstance(table.columns[n], Image)}
    if not images:
        return
    behind = {n: _background(column, table.train.column(n)) for n, column in images.items()}
    kinds = [CORRUPTIONS[i % len(CORRUPTIONS)] for i in range(len(rows))]
    rng = np.random.default_rng(seed_of("corruption", seed))
    yield Condition(
        "corrupted",
        [
            {**row, **{n: corrupt(column, row[n], kind, behind[n], rng) for n, column in images.items()}}
            for row, kind in zip(rows, kinds, strict=True)
        ],
        parts=kinds,
    )
    masks = {}
    for name, column in images.items():
        masks[name] = np.ones(column.spec.grid, dtype=bool)
        masks[name][:, : column.width // 2] = False
    yield Condition(
        "left half missing",
        [
            {**row, **{n: _blanked(column, row[n], masks[n], behind[n]) for n, column in images.items()}}
            for row in rows
        ],
        masks,
    )


def corrupt(
    column: Image, picture: PIL.Image.Image, kind: str, background: np.ndarray, rng: np.random.Generator
) -> PIL.Image.Image:
    """A picture with noise, turned over `background` (C,), or with half the contrast about mid-grey."""
    x = _pixels(column, picture)
    if kind == "noise":
        return _picture(column, np.clip(x + NOISE * rng.normal(size=x.shape), -1, 1))
    if kind == "contrast":
        return _picture(column, x / 2)
    fill = tuple(int(v) for v in ((background + 1) * 127.5).round())
    turned = _picture(column, x).rotate(
        DEGREES, PIL.Image.Resampling.BILINEAR, fillcolor=fill if column.channels > 1 else fill[0]
    )
    return turned


def _blanked(
    column: Image, picture: PIL.Image.Image, mask: np.ndarray, background: np.ndarray
) -> PIL.Image.Image:
    return _picture(column, np.where(mask[..., None], _pixels(column, picture), background))


def _background(column: Image, pictures: Sequence[Any]) -> np.ndarray:
    """The median pixel of up to 200 training pictures, (C,)."""
    count = min(200, len(pictures))
    pixels = [_pixels(column, pictures[i * len(pictures) // count]) for i in range(count)]
    return np.median(np.stack(pixels), axis=(0, 1, 2))


def _pixels(column: Image, picture: PIL.Image.Image) -> np.ndarray:
    """(H, W, C) in [-1, 1]."""
    return column.encode(picture).numpy().reshape(*column.spec.grid, -1)


def _picture(column: Image, pixels: np.ndarray) -> PIL.Image.Image:
    return column.decode(torch.as_tensor(pixels, dtype=torch.float32).flatten(0, 1))
