"""Spreadsheets: the first sheet of an .xlsx, its cells as they are written."""

from __future__ import annotations

import datetime
import itertools
import zipfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from likewise.data.arrow import TableError
from likewise.data.readers.base import FileFormat
from likewise.data.readers.cell_table import CellTable, Records
from likewise.data.readers.data_file import DataFile

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 10_000  # that are read at a time


def read_spreadsheet(file: DataFile, fmt: FileFormat) -> tuple[pa.Table, CellTable, list[str]]:
    """The cells as strings, the account of their rows, and which sheet they are from. Raises TableError."""
    import openpyxl

    try:
        with file.open() as stream:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            names = book.sheetnames
            sheet = book.worksheets[0]
            records = _records(sheet.iter_rows(values_only=True))
            width = _width(book.worksheets[0].iter_rows(values_only=True))
            first = next(records, None)
            if first is None or not width:
                raise TableError(f"cannot read {str(file.path)!r}: its first sheet, {names[0]!r}, is empty")
            header: Sequence[str] = [*first.cells[0], *[""] * width][:width]
            parts = itertools.chain([] if fmt.header else [first], records)
            if not fmt.header:
                header = [f"column_{i + 1}" for i in range(width)]
            table = CellTable(str(file.path), header)
            cells = table.read(_padded(part, width) for part in parts)
    except (zipfile.BadZipFile, KeyError, OSError, ValueError) as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"cannot read {str(file.path)!r}: it is no .xlsx file ({error})") from None
    others = ", ".join(map(repr, names[1:4])) + (", ..." if len(names) > 4 else "")
    more = f" (not {others}; save one as a file of its own to read it)" if len(names) > 1 else ""
    return cells, table, [f"the sheet {names[0]!r}{more}"]


def _records(rows: Iterator[Sequence[Any]]) -> Iterator[Records]:
    """The first row that has a value alone, then the others, ROWS at a time."""
    numbered = enumerate(rows, 1)
    for number, row in numbered:
        if any(map(_written, row)):
            yield Records([list(map(_written, row))], [number])
            break
    while part := list(itertools.islice(numbered, ROWS)):
        yield Records([list(map(_written, row)) for _, row in part], [number for number, _ in part])


def _width(rows: Iterator[Sequence[Any]]) -> int:
    """The number of columns up to the last one that has a value."""
    width = 0
    for row in rows:
        while len(row) > width and any(value is not None for value in row[width:]):
            width += 1
    return width


def _padded(part: Records, width: int) -> Records:
    """The same with rows of that width; rows without a value end a sheet, and are blank lines in it."""
    cells = [[*row, *[""] * (width - len(row))][:width] if any(row) else [] for row in part.cells]
    return Records(cells, part.lines)


def _written(value: Any) -> str:
    """The cell as it would be written in a .csv.

    >>> _written(True), _written(2.0), _written(datetime.datetime(2024, 5, 1)), _written(None)
    ('TRUE', '2', '2024-05-01', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)
