"""Rows as images: sheets with captions, image files that record their origin, animations."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import PIL.Image

from likewise.core.files import atomic_write
from likewise.core.formula import View
from likewise.core.provenance import KEY, provenance
from likewise.modalities.base import Modality, Row
from likewise.modalities.picture_files import write
from likewise.viz.grid import image_grid


class RowSequence(Protocol):
    """Rows by number: a list, or what reads each row when it is needed."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Row: ...


def visual_columns(columns: Mapping[str, Modality], names: Sequence[str]) -> list[str]:
    """Those of the columns whose values are shown as images."""
    return [n for n in names if columns[n].visual]


def evenly_spaced(rows: RowSequence, count: int) -> list[Row]:
    """`count` rows at equal distances, or all if there are fewer."""
    count = min(count, len(rows))
    return [rows[i * len(rows) // count] for i in range(count)]


def caption(row: Row, views: Iterable[View]) -> str:
    """The values of some views, without missing ones; of several views of a column with one value, one."""
    values = dict.fromkeys((v.column, str(row[v.name])) for v in views if row.get(v.name) is not None)
    return ", ".join(value for _, value in values)


def sheet(
    columns: Mapping[str, Modality],
    rows: Sequence[Row],
    names: Sequence[str],
    captions: Sequence[str],
    across: int,
) -> PIL.Image.Image:
    """Rows as a grid, `across` of them in a line: the columns `names` as images side by side, a caption below."""
    captions = [text for c in captions for text in (c, *[""] * (len(names) - 1))]
    thumbnails = [columns[n].thumbnail(row[n]) for row in rows for n in names]
    return image_grid(thumbnails, columns=across * len(names), captions=captions if any(captions) else None)


def save(image: PIL.Image.Image, path: Path, about: Mapping[str, Any] | None = None) -> None:
    """Write a PNG; the version of likewise and `about` go into its text chunks. Raises OSError."""
    atomic_write(path, write(image, provenance(**(about or {}))))


def save_animation(frames: Sequence[PIL.Image.Image], path: Path, about: Mapping[str, Any]) -> None:
    """Write a GIF that plays the frames forwards and backwards in a loop.

    Its comment is JSON: under the key "likewise" the version and `about`. Raises OSError.
    """
    first, *others = [*frames, *frames[-2:0:-1]]
    file = io.BytesIO()
    first.save(
        file,
        "GIF",
        save_all=True,
        append_images=others,
        duration=100,
        loop=0,
        comment=json.dumps({KEY: provenance(**about)}, ensure_ascii=False).encode(),
    )
    atomic_write(path, file.getvalue())
