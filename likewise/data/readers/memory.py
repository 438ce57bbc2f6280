"""Rows in memory: dicts, or a data frame of pandas, polars, Arrow or another library that exports Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from likewise.data.arrow import TableError, from_rows
from likewise.data.readers.arrow_files import from_arrow
from likewise.data.readers.base import Reading
from likewise.data.readers.file_names import with_files
from likewise.modalities.base import Row

ROWS = 'give rows as dicts, such as [{"age": 30, "city": "Oslo"}, ...], or a data frame'


class DataFrame(Protocol):
    """A data frame that exports Arrow, as those of pandas, polars and Arrow do."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


def read_rows(rows: Any, kinds: Mapping[str, str]) -> Reading:
    """Rows as a reading; names of files are relative to the current folder. Raises TableError for anything else."""
    if hasattr(rows, "__arrow_c_stream__"):
        return with_files(_frame(rows), Path(), kinds)
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        raise TableError(f"rows are of the type {type(rows).__name__}; {ROWS}")
    return with_files(Reading(from_rows([_row(i, row) for i, row in enumerate(rows)])), Path(), kinds)


def _frame(frame: Any) -> Reading:
    """A data frame by way of Arrow, or of dicts if it holds objects that Arrow does not, such as pictures."""
    import pyarrow as pa

    try:
        return from_arrow(pa.table(frame))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        if not hasattr(frame, "to_dict"):
            raise TableError(f"cannot read the data frame: {error}") from error
    return Reading(from_rows([_row(i, row) for i, row in enumerate(frame.to_dict("records"))]))


def _row(number: int, row: Any) -> Row:
    """A row with None where a value is missing, and texts for paths. Raises TableError."""
    if not isinstance(row, Mapping):
        raise TableError(f"row {number} is of the type {type(row).__name__}; {ROWS}")
    if (name := next((name for name in row if not isinstance(name, str)), None)) is not None:
        raise TableError(f"row {number} has the key {name!r}; names of columns are texts")
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, float | np.floating) and value != value:
        return None
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas.NA and NaT
        return None
    return str(value) if isinstance(value, Path) else value
