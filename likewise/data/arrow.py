"""Shared by the readers: rows in memory, hidden columns, silenced libraries."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from likewise.modalities import KINDS, Modality

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

FILE_TYPES = ("image", "audio", "video")  # features of data sets that are files
DEFAULT_FILE_TYPE = "image"  # of files whose type is not known
PASSAGE_COLUMN = "text"  # the column of texts of a folder or file
# hidden columns, with the noncharacter that Unicode keeps for internal use
PASSAGE = "\ufdd0passage"  # document * 2^32 + the number of its passages that follow
FILE = "\ufdd0file"  # the file of a folder that a row is from
ROW = "\ufdd0row"  # the number of a row in its source, from 0
PART = "\ufdd0part"  # the part of a given split that a row is in: "train", "test", ...
LINE = "\ufdd0line"  # the line of the file in which a row begins, from 1
HIDDEN = (PASSAGE, FILE, ROW, LINE, PART)
TEMPORARY = "\ufdd0other"  # a column until it has replaced another


class TableError(ValueError):
    """A source that cannot be read, or rows that cannot be used."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Switch off the progress bars and log messages of `datasets` for a while."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    had_bars, log = not are_progress_bars_disabled(), logging.getLogger("datasets")
    level = log.level
    disable_progress_bars()
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
        if had_bars:
            enable_progress_bars()


@quiet()
def from_rows(rows: Sequence[Mapping[str, Any]]) -> Dataset:
    """Rows in memory -> a data set, values in their stored form. Raises TableError for a column of mixed types."""
    from datasets import Dataset, Features

    columns: dict[str, list[Any]] = {}
    features: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        columns[name] = values = [row.get(name) for row in rows]
        if kind := _kind_of_values(values):
            columns[name] = values = [None if v is None else kind.to_cell(v) for v in values]
            if file_types := sorted(kind.dtypes.intersection(FILE_TYPES)):
                features[name] = file_feature(file_types[0])
                continue
        if (array := next((v for v in values if getattr(v, "ndim", 0)), None)) is not None:
            raise TableError(
                f"column {name!r} holds arrays of the shape {tuple(array.shape)}; make pictures of them, such as "
                "PIL.Image.fromarray(array) of (height, width, 3) uint8, or numbers in columns of their own"
            )
        try:
            features[name] = Dataset.from_dict({name: values}).features[name]
        except OverflowError:
            raise TableError(
                f"column {name!r} has whole numbers of more than 64 bits; write them as floats or texts"
            ) from None
        except (ValueError, TypeError) as error:
            types = sorted({type(v).__name__ for v in values if v is not None})
            raise TableError(
                f"column {name!r} mixes types: {', '.join(types)}; write its values in one form"
                if len(types) > 1
                else f"column {name!r} has values of the type {types[0]}, which no table stores"
            ) from error
    return Dataset.from_dict(columns, features=Features(features))


def _kind_of_values(values: Sequence[Any]) -> type[Modality] | None:
    """The modality whose `value_type` one of the values has, None if there is none."""
    types = ((kind, kind.value_type) for kind in KINDS.values())
    return next((kind for kind, t in types if t is not None and any(isinstance(v, t) for v in values)), None)


def to_dataset(table: pa.Table) -> Dataset:
    """A table as a data set, without a copy, and without the hash of its content that `datasets` would compute."""
    from datasets import Dataset
    from datasets.table import InMemoryTable

    return Dataset(InMemoryTable(table), fingerprint=uuid.uuid4().hex)


def take(column: pa.ChunkedArray, places: np.ndarray) -> pa.ChunkedArray:
    """Some values of a column; chunks without any are not touched, as Arrow would join all of them."""
    import pyarrow as pa

    if not len(places):
        return column.slice(0, 0)
    offsets = np.cumsum([0, *(len(chunk) for chunk in column.chunks)])
    chunks = np.searchsorted(offsets, places, side="right") - 1
    order = np.argsort(chunks, kind="stable")
    numbers, starts = np.unique(chunks[order], return_index=True)
    parts = [
        column.chunk(int(number)).take(pa.array(places[group] - offsets[number]))
        for number, group in zip(numbers, np.split(order, starts[1:]), strict=True)
    ]
    taken = pa.chunked_array(parts, column.type)
    in_order = bool((order[1:] > order[:-1]).all())
    return taken if in_order else taken.take(pa.array(np.argsort(order)))


def replace_column(data: Dataset, name: str, values: Sequence[Any], feature: Any) -> Dataset:
    """The data set with other values in a column."""
    order = data.column_names
    data = data.add_column(TEMPORARY, values, feature=feature)  # first: a table without columns has no rows
    return data.remove_columns(name).rename_column(TEMPORARY, name).select_columns(order)


def file_feature(file_type: str) -> Any:
    """The feature of files as {bytes, path}: the modality opens them, so that a broken file is a bad row."""
    import datasets

    return getattr(datasets, file_type.capitalize())(decode=False)


def file_feature_of(kind: type[Modality]) -> Any:
    """The feature of the files that hold values of a kind."""
    return file_feature(sorted(kind.dtypes.intersection(FILE_TYPES))[0])


def file_type_of(feature: Any) -> str | None:
    """The member of FILE_TYPES that a feature of a data set is, None for another feature."""
    name = type(feature).__name__.lower()
    return name if name in FILE_TYPES else None


def first_line(error: BaseException) -> str:
    """The first line of the innermost cause: libraries wrap the reason in general messages."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
