"""What the readers share: rows in memory, numbers written as text, the hidden columns, quiet libraries."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from likewise.modalities import KINDS, Modality

if TYPE_CHECKING:
    from datasets import Dataset
FILE_TYPES = ("image", "audio", "video")  # features of data sets that are files
UNNAMED_FILES = "image"  # what files of unknown type are taken for
PASSAGE_COLUMN = "text"  # the column of texts of a folder or file
PASSAGE = " passage"  # where a passage stands: document * 2^32 + how many of its passages follow
FILE = " file"  # that a row of a folder is from; neither of the two is a value of the row
OTHER = " other"  # a column while it takes the place of another
NUMBER = re.compile(r"[+-]?((?!0\d)(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)", re.IGNORECASE)  # not 007
WHOLE = re.compile(r"[+-]?\d+")
DIGITS = 18  # of a whole number at most; what has more is a name
MISSING = {"NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "<NA>", "#N/A"}  # among numbers: missing


class TableError(ValueError):
    """A source that cannot be read, or that has rows which cannot be used."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and log lines of `datasets`, which are as they were afterwards."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown, log = not are_progress_bars_disabled(), logging.getLogger("datasets")
    level = log.level
    disable_progress_bars()
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
        if shown:
            enable_progress_bars()


@quiet()
def from_rows(rows: Sequence[Mapping[str, Any]]) -> Dataset:
    """Rows in memory -> a data set; values of a modality that has files become these. Raises TableError for a column of mixed types."""
    from datasets import Dataset, Features

    columns, features = {}, {}
    for name in dict.fromkeys(name for row in rows for name in row):
        columns[name] = values = [row.get(name) for row in rows]
        if kind := _kind_of_values(values):
            columns[name] = values = [None if v is None else kind.to_cell(v) for v in values]
            if file_types := sorted(kind.dtypes.intersection(FILE_TYPES)):
                features[name] = file_feature(file_types[0])
                continue
        try:
            features[name] = Dataset.from_dict({name: values}).features[name]
        except (ValueError, TypeError) as error:
            raise TableError(f"column {name!r} mixes types: {first_line(error)}") from error
    return Dataset.from_dict(columns, features=Features(features))


def _kind_of_values(values: Sequence[Any]) -> type[Modality] | None:
    """The modality that stores values of this type in a form of its own, if there is one."""
    kinds = (kind for kind in KINDS.values() if kind.value_type is not None)
    return next((kind for kind in kinds if any(isinstance(v, kind.value_type) for v in values)), None)


def parse_numbers(values: Sequence[str | None]) -> tuple[str, list[Any]] | None:
    """The type and the values of a column of numbers or truth values alone, None of another."""
    values = [None if v is None or v.strip() in MISSING else v.strip() for v in values]
    words = {v for v in values if v is not None}
    if all(word.lower() in ("true", "false") for word in words):
        kind, read = "bool", lambda word: word.lower() == "true"
    elif not all(map(NUMBER.fullmatch, words)):
        return None
    elif all(map(WHOLE.fullmatch, words)):
        kind, read = "int64", int
        if any(len(word.lstrip("+-")) > DIGITS for word in words):
            return None
    else:
        kind, read = "float64", float
    return (kind, [None if v is None else read(v) for v in values]) if words else None


def replace_column(data: Dataset, name: str, values: Sequence[Any], feature: Any) -> Dataset:
    """The same with other values in a column."""
    order = data.column_names
    data = data.add_column(OTHER, values, feature=feature)  # first: a table without columns has no rows
    return data.remove_columns(name).rename_column(OTHER, name).select_columns(order)


def file_feature(file_type: str) -> Any:
    """Files as {bytes, path}: opening them is a modality's matter, so that a broken one is a bad row."""
    import datasets

    return getattr(datasets, file_type.capitalize())(decode=False)


def file_type_of(feature: Any) -> str | None:
    """Which of FILE_TYPES a feature of a data set is, None if it is none."""
    name = type(feature).__name__.lower()
    return name if name in FILE_TYPES else None


def first_line(error: BaseException) -> str:
    """The first line of the innermost message: readers wrap the reason in sentences of their own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
