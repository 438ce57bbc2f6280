"""Tables written to a file in parts: .csv, .tsv, .parquet, .xlsx or .jsonl.

A .csv or .tsv has cells as the column's own file writes them, and missing values as empty ones; the others have values
of the column's type. A .parquet has its provenance in the metadata of the schema, an .xlsx in its properties, a .jsonl
in each line; a .csv or .tsv has none.
"""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from likewise.core.files import atomic_write
from likewise.core.provenance import KEY
from likewise.modalities.base import Modality, Row

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATORS = {".csv": ",", ".tsv": "\t"}
ENDINGS = (*SEPARATORS, ".parquet", ".xlsx", ".jsonl")
SHEET_ROWS = 2**20 - 1  # of an .xlsx, below the names
About = Row | Callable[[int], Row]
Values = Sequence[Sequence[Any]]  # rows of cells in the order of the columns


@dataclass(frozen=True)
class TableColumn:
    """A column of a file that is written.

    cell    a value -> what a .csv has, "" or None for nothing
    native  a value -> what a file with types has
    type    the Arrow type of that, by default that of an example
    """

    name: str
    cell: Callable[[Any], str | None]
    native: Callable[[Any], Any]
    type: pa.DataType

    @classmethod
    def of(cls, name: str, column: Modality) -> TableColumn:
        """The column of a model's values."""
        return cls(name, column.format_cell, column.native, arrow_type(column))


def arrow_type(column: Modality) -> pa.DataType:
    """The Arrow type of the values that a column decodes."""
    import pyarrow as pa

    spec = column.spec
    shape = (spec.tokens,) if spec.categorical else (spec.tokens, spec.width)
    for z in (0, 1, 2, 4, 8):  # of numbers, the lowest may be missing values
        tokens = torch.full(
            shape, z * (not spec.categorical), dtype=None if spec.categorical else torch.float32
        )
        value = column.native(column.decode(tokens))
        if value is not None:
            return pa.scalar(value).type
    return pa.string()


def is_table_file(out: str | Path) -> bool:
    """Whether a name ends as a file of a table does."""
    return Path(out).suffix.lower() in ENDINGS


def write_table(
    path: Path, columns: Sequence[TableColumn], parts: Iterable[Values], about: About, rows: int
) -> None:
    """Write parts of so many rows in all, one after the other; the file is complete or not there.

    about  the provenance, or that of each row by its number, which a .jsonl has

    Raises ValueError for what the format cannot hold, OSError.
    """
    suffix = path.suffix.lower()
    if suffix == ".xlsx" and rows > SHEET_ROWS:
        raise ValueError(
            f"{path}: a sheet has {SHEET_ROWS:,} rows at most, and there are {rows:,}; write a .parquet or .csv"
        )
    if suffix == ".jsonl" and KEY in (column.name for column in columns):
        raise ValueError(
            f"{path}: a column has the name {KEY!r}, which is the key of provenance; write a .parquet or .csv"
        )

    def write(file: Path) -> None:
        writer = WRITERS[suffix](file, columns, about)
        try:
            for part in parts:
                writer.write(part)
        finally:
            writer.close()

    atomic_write(path, write)


class TableWriter(ABC):
    """Writes rows to a file, in parts."""

    def __init__(self, path: Path, columns: Sequence[TableColumn], about: About) -> None:
        self.path, self.columns = path, columns
        self.about_row: Callable[[int], Row] = about if callable(about) else lambda row: about

    @abstractmethod
    def write(self, rows: Values) -> None:
        """Add rows."""

    @abstractmethod
    def close(self) -> None:
        """Complete the file."""

    def _by_column(
        self, rows: Values, convert: Callable[[TableColumn], Callable[[Any], Any]]
    ) -> list[list[Any]]:
        """The converted values of each column."""
        return [
            list(map(convert(column), values))
            for column, values in zip(self.columns, zip(*rows, strict=True), strict=True)
        ]


class Delimited(TableWriter):
    """Cells with a separator between them."""

    def __init__(self, path: Path, columns: Sequence[TableColumn], about: About) -> None:
        super().__init__(path, columns, about)
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115  # closed by `close`
        self._writer = csv.writer(self._file, delimiter=SEPARATORS[path.suffix.lower()], lineterminator="\n")
        self._writer.writerow([column.name for column in columns])

    def write(self, rows: Values) -> None:
        if rows:
            self._writer.writerows(zip(*self._by_column(rows, lambda c: c.cell), strict=True))

    def close(self) -> None:
        self._file.close()


class Parquet(TableWriter):
    """Columns with types; a part is a group of rows."""

    @cached_property
    def _schema(self) -> pa.Schema:
        import pyarrow as pa

        about = json.dumps(self.about_row(0), ensure_ascii=False).encode()
        return pa.schema([(c.name, c.type) for c in self.columns], metadata={KEY.encode(): about})

    @cached_property
    def _writer(self) -> Any:
        import pyarrow.parquet as pq

        return pq.ParquetWriter(self.path, self._schema)

    def write(self, rows: Values) -> None:
        import pyarrow as pa

        if rows:
            values = self._by_column(rows, lambda c: c.native)
            arrays = [pa.array(v, c.type) for c, v in zip(self.columns, values, strict=True)]
            self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()


class Spreadsheet(TableWriter):
    """The sheet of a workbook, row by row."""

    def __init__(self, path: Path, columns: Sequence[TableColumn], about: About) -> None:
        import openpyxl

        super().__init__(path, columns, about)
        self._book = openpyxl.Workbook(write_only=True)
        self._book.properties.creator = KEY
        self._book.properties.description = json.dumps(self.about_row(0), ensure_ascii=False)
        self._sheet = self._book.create_sheet("rows")
        self._sheet.append([self._cell(column.name) for column in columns])

    def _cell(self, value: Any) -> Any:
        """A value; a text that begins with "=" is no formula, and a time keeps no zone, as sheets have none."""
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

        if getattr(value, "tzinfo", None) is not None:
            return value.isoformat()
        if isinstance(value, str) and ILLEGAL_CHARACTERS_RE.search(value):
            raise ValueError(
                f"{self.path.name}: a sheet cannot hold {value!r}, which has control characters; write a .parquet or .csv"
            )
        if isinstance(value, str) and value.startswith("="):
            cell = WriteOnlyCell(self._sheet, value)
            cell.data_type = "s"
            return cell
        return value

    def write(self, rows: Values) -> None:
        if rows:
            for row in zip(*self._by_column(rows, lambda c: c.native), strict=True):
                self._sheet.append(list(map(self._cell, row)))

    def close(self) -> None:
        self._book.save(self.path)


class JsonLines(TableWriter):
    """An object for each row."""

    def __init__(self, path: Path, columns: Sequence[TableColumn], about: About) -> None:
        super().__init__(path, columns, about)
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115  # closed by `close`
        self._names, self._count = [column.name for column in columns], 0

    def write(self, rows: Values) -> None:
        for row in rows:
            line: Mapping[str, Any] = {
                KEY: self.about_row(self._count),
                **dict(zip(self._names, row, strict=True)),
            }
            self._file.write(json.dumps(line, ensure_ascii=False, default=_json) + "\n")
            self._count += 1

    def close(self) -> None:
        self._file.close()


WRITERS: Mapping[str, type[TableWriter]] = {
    **dict.fromkeys(SEPARATORS, Delimited),
    ".parquet": Parquet,
    ".xlsx": Spreadsheet,
    ".jsonl": JsonLines,
}


def _json(value: Any) -> Any:
    """A value that JSON has no type for: a vector as a list, a date as a text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def in_parts(count: int, size: int) -> Iterator[range]:
    """0, ..., count - 1 in parts of so many.

    >>> list(in_parts(5, 2))
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    for start in range(0, count, size):
        yield range(start, min(count, start + size))
