"""Spreadsheets: the first sheet of an .xlsx, its cells as they are written."""

from __future__ import annotations

import datetime
import itertools
import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from likewise.data.arrow import TableError
from likewise.data.readers.base import FileFormat
from likewise.data.readers.cell_table import CellTable, Records, count_titles, title_notes
from likewise.data.readers.data_file import DataFile

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 10_000  # that are read at a time
BLOCK = 2**20  # bytes


def read_spreadsheet(file: DataFile, fmt: FileFormat) -> tuple[pa.Table, CellTable, list[str]]:
    """The cells as strings, the account of their rows, and which sheet they are from. Raises TableError."""
    import openpyxl

    try:
        with file.open() as stream:
            book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            names = book.sheetnames
            sheet = book.worksheets[0]
            width = _width(sheet.iter_rows(values_only=True))
            if not width:
                raise TableError(
                    f"cannot read {str(file.path)!r}: its first sheet, {names[0]!r}, is empty; put the sheet with the data first"
                )
            records = (_padded(part, width) for part in _records(sheet.iter_rows(values_only=True)))
            start = next(records)
            titles = count_titles(start.cells) if fmt.header else 0
            header = start.cells[titles] if fmt.header else [f"column_{i + 1}" for i in range(width)]
            first = titles + fmt.header
            rest = Records(start.cells[first:], start.lines[first:])
            table = CellTable(str(file.path), header, notes=title_notes(titles))
            cells = table.read(itertools.chain([rest], records))
            table.notes += _missing_values(book, sheet)
    except (zipfile.BadZipFile, KeyError, OSError, ValueError) as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"cannot read {str(file.path)!r}: it is no .xlsx file ({error})") from None
    others = ", ".join(map(repr, names[1:4])) + (", ..." if len(names) > 4 else "")
    more = f" (not {others}; save one as a file of its own to read it)" if len(names) > 1 else ""
    return cells, table, [f"the sheet {names[0]!r}{more}"]


def _records(rows: Iterator[Sequence[Any]]) -> Iterator[Records]:
    """The rows from the first one that has a value, ROWS at a time."""
    numbered = itertools.dropwhile(lambda row: not any(map(_written, row[1])), enumerate(rows, 1))
    while part := list(itertools.islice(numbered, ROWS)):
        yield Records([list(map(_written, row)) for _, row in part], [number for number, _ in part])


def _missing_values(book: Any, sheet: Any) -> list[str]:
    """What is said of cells that look filled and have no value: of merged cells, and formulas without a result."""
    merged, formulas, rest = "", "", b""
    with book._archive.open(sheet._worksheet_path) as xml:  # openpyxl does not tell when it reads row by row
        while block := xml.read(BLOCK):
            for cells in re.finditer(rb'<mergeCell ref="([A-Z]+)(\d+):([A-Z]+)(\d+)"', rest + block):
                if not merged and cells[2] != cells[4]:
                    merged = cells[0].split(b'"')[1].decode()
            if not formulas and (
                match := re.search(rb'<c r="([A-Z]+\d+)"[^>]*><f>[^<]*</f><v\s*(/>|></v>)', rest + block)
            ):
                formulas = match[1].decode()
            rest = block[-200:]
    notes = []
    if merged:
        notes.append(
            f"merged cells, such as {merged}, have their value in the first row only: split and fill them"
        )
    if formulas:
        notes.append(
            f"formulas, such as in {formulas}, have no result in the file: open it in a spreadsheet program, and save it"
        )
    return notes


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
