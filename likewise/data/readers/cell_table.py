"""CellTable: rows of written cells under a header, as .csv files and spreadsheets have them.

The width of every row is that of the header; a row of another width is a bad row with its number and line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from likewise.core.option_names import option_text
from likewise.data.arrow import LINE, ROW, TableError
from likewise.data.spool import spool
from likewise.data.styles import parse_written
from likewise.data.validation import BadRow

if TYPE_CHECKING:
    import pyarrow as pa

MAX_NAMED = 3  # lines that a note names
UNNAMED = re.compile(r"Unnamed: \d+")  # as pandas calls a column without a name
MAX_TITLES = 20  # records before the names of the columns
SAMPLE = 200  # records from which these are told
MOST = 0.9  # of the rows are as wide as the names, and of the cells of a column are numbers


@dataclass(frozen=True)
class Records:
    """Some records that follow each other, and the line in which each begins; an empty one is a blank line."""

    cells: Sequence[Sequence[str]]
    lines: Sequence[int]


@dataclass
class CellTable:
    """The columns of a file, read from its records by `read`.

    source  the file, as the user wrote it
    header  the first record
    extra   whether each row has one empty field more than the header
    notes   what was left out or named otherwise than in the file
    bad     rows of another width
    """

    source: str
    header: Sequence[str]
    extra: bool = False
    notes: list[str] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._count = 0  # records so far
        self._blank: list[int] = []  # lines
        self._waiting: list[int] = []  # blank lines that no row follows yet
        self._empty: list[int] = []
        self._comments: list[int] = []

    def read(self, records: Iterable[Records]) -> pa.Table:
        """The columns as strings, null where a cell is empty, with the hidden columns ROW and LINE.

        Raises TableError for two columns of one name, and if no row has the width of the header.
        """
        import pyarrow as pa

        names = self._names()
        width = len(names) + self.extra
        keys = [str(i) for i in range(len(names))]  # names may be missing, still
        schema = pa.schema([*((key, pa.string()) for key in keys), (ROW, pa.int64()), (LINE, pa.int64())])

        def batches() -> Iterator[pa.RecordBatch]:
            for part in records:
                cells, numbers, lines = self._rows(part, width)
                if cells:
                    columns = [pa.array(column, pa.string()) for column in zip(*cells, strict=True)]
                    columns = [_without_blank(column) for column in columns[: len(names)]]
                    arrays = [*columns, pa.array(numbers, pa.int64()), pa.array(lines, pa.int64())]
                    yield pa.record_batch(arrays, schema=schema)

        table = spool(batches(), schema)
        if not len(table):
            raise TableError(f"cannot read {self.source!r}: {self._why_no_row(len(names))}")
        passed = {
            "blank lines": self._blank,
            "comments": self._comments,
            "rows without any value": self._empty,
        }
        self.notes += [
            f"{what} that are left out: {name_lines(lines)}" for what, lines in passed.items() if lines
        ]
        if self.extra:
            self.notes.append("the empty field at the end of each row is left out")
        kept = {}
        for position, name in enumerate(names):
            column = table[str(position)]
            if name := self._name_for(position, column, names):
                kept[name] = column
        return pa.table({**kept, ROW: table[ROW], LINE: table[LINE]})

    def _names(self) -> list[str]:
        """The names of the columns, without spaces around them; "" for those without one."""
        names = [name.strip() for name in self.header]
        if spaced := [name for name, cell in zip(names, self.header, strict=True) if name != cell]:
            self.notes.append(f"names are read without the spaces around them: {', '.join(spaced[:5])}")
        for name in names:
            if name and names.count(name) > 1:
                raise self._repeated(name, names)
        return names

    def _repeated(self, name: str, names: Sequence[str]) -> TableError:
        places = " and ".join(str(i + 1) for i, n in enumerate(names) if n == name)
        first = f", or give {option_text('header', False)} if the first line is a row"
        hint = first if parse_written(name) else ""
        return TableError(
            f"{self.source}: the columns {places} have one name, {name!r}; rename one of them{hint}"
        )

    def _name_for(self, position: int, column: pa.ChunkedArray, names: Sequence[str]) -> str:
        """The name of a column, or one if it has none in the file; "" for one that is left out."""
        name = names[position]
        if name and not UNNAMED.fullmatch(name):
            return name
        place = f"column {position + 1}, which has no name,"
        if column.null_count == len(column):
            self.notes.append(f"{place} is left out: it is empty")
            return ""
        if any(column.equals(_counting(column, first)) for first in (0, 1)):
            self.notes.append(f"{place} is left out: it counts the rows")
            return ""
        if not name:
            name = f"column_{position + 1}"
            while name in names:
                name += "_"
            self.notes.append(f"{place} is called {name}")
        return name

    def _rows(self, part: Records, width: int) -> tuple[list[Sequence[str]], list[int], list[int]]:
        """The records of the right width, their numbers and lines; the others are noted or bad rows."""
        lengths = set(map(len, part.cells))
        first = self._count
        if lengths == {width} and all(map(any, part.cells)) and not self._waiting:
            self._count += len(part.cells)
            return list(part.cells), list(range(first, self._count)), list(part.lines)
        cells: list[Sequence[str]] = []
        numbers: list[int] = []
        lines: list[int] = []
        for record, line in zip(part.cells, part.lines, strict=True):
            if not record:
                self._waiting.append(line)
                continue
            self._blank += self._waiting
            self._waiting = []
            if len(record) != width and record[0].startswith("#"):
                self._comments.append(line)
                continue
            number, self._count = self._count, self._count + 1
            if not any(record):
                self._empty.append(line)
            elif len(record) == width or (self.extra and len(record) == width - 1):
                cells.append(record if len(record) == width else [*record, ""])
                numbers.append(number)
                lines.append(line)
            else:
                fields = f"{len(record)} field{'s' if len(record) > 1 else ''}"
                self.bad.append(BadRow(number, "", f"{fields} where the header has {width}", line=line))
        return cells, numbers, lines

    def _why_no_row(self, width: int) -> str:
        if not self.bad:
            return "it has no rows"
        fields = Counter(bad.reason for bad in self.bad).most_common(1)[0][0]
        names = "1 column" if width == 1 else f"{width} columns"
        return (
            f"the first line names {names}, and no row has as many fields (line {self.bad[0].line}: "
            f"{fields}); put quotes around cells that contain the separator, or name every column"
        )


def count_titles(records: Sequence[Sequence[str]]) -> int:
    """How many records stand before the names of the columns, such as the title of a report; 0 if that is uncertain.

    The names are certain where all cells of a record are different words, nearly all later ones are as wide, and one
    of the columns has numbers below its name. Blank records may be empty.

    >>> count_titles([["Sales"], [], ["city", "sum"], ["Oslo", "5"], ["Rome", "7"]])
    2
    """
    records = records[:SAMPLE]
    for number, names in enumerate(records[: MAX_TITLES + 1]):
        cells = [name.strip() for name in names]
        if len(cells) < 2 or not all(cells) or any(map(parse_written, cells)):
            continue
        later = [record for record in records[number + 1 :] if any(record)]
        rows = [record for record in later if len(record) == len(cells)]
        titles = [record for record in records[:number] if any(record)]
        if any(sum(map(bool, t)) > 1 and len(t) == len(cells) for t in titles):
            return 0
        if len({*cells}) == len(cells) and 2 <= len(rows) >= MOST * len(later) and _has_numbers(rows):
            return number
    return 0


def _has_numbers(rows: Sequence[Sequence[str]]) -> bool:
    """Whether nearly all cells of one of the columns are numbers."""
    for column in zip(*rows, strict=True):
        cells = [cell for cell in column if cell.strip()]
        if cells and sum(parse_written(cell) is not None for cell in cells) >= MOST * len(cells):
            return True
    return False


def title_notes(lines: int) -> list[str]:
    """What is said of lines before the names of the columns."""
    return [f"lines before the names of the columns, which are left out: {lines}"] if lines else []


def name_lines(lines: Sequence[int]) -> str:
    """
    >>> name_lines([2, 5, 7, 9])
    '4 (lines 2, 5, 7, ...)'
    """
    places = ", ".join(map(str, lines[:MAX_NAMED])) + (", ..." if len(lines) > MAX_NAMED else "")
    return f"{len(lines):,} (line{'s' if len(lines) > 1 else ''} {places})"


def _without_blank(column: pa.Array) -> pa.Array:
    """Cells that are empty, or have spaces only, as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    blank = pc.or_(pc.equal(pc.binary_length(column), 0), pc.utf8_is_space(column))
    return pc.if_else(blank, pa.scalar(None, pa.string()), column) if pc.any(blank).as_py() else column


def _counting(column: pa.ChunkedArray, first: int) -> pa.ChunkedArray:
    """first, first + 1, ... as strings, in the chunks of a column."""
    import pyarrow as pa

    chunks = []
    for chunk in column.chunks:
        chunks.append(pa.array(range(first, first + len(chunk))).cast(pa.string()))
        first += len(chunk)
    return pa.chunked_array(chunks, pa.string())


def line_numbers(cells: Sequence[Sequence[str]], first: int) -> list[int]:
    """The line in which each record begins, if the first begins in line `first`; cells may hold newlines."""
    lines = []
    for record in cells:
        lines.append(first)
        first += 1 + sum(
            len(re.findall(r"\r\n|\r|\n", cell)) for cell in record if "\n" in cell or "\r" in cell
        )
    return lines
