"""Delimited text: .csv, .tsv. Widths are strict, and every row has its line; the csv module splits the cells."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from likewise.core.option_names import option_text
from likewise.data.arrow import TableError
from likewise.data.readers.base import FileFormat
from likewise.data.readers.cell_table import CellTable, Records, count_titles, line_numbers, title_notes
from likewise.data.readers.data_file import DataFile

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATORS = {",": "','", ";": "';'", "\t": "tab", "|": "'|'"}
DELIMITED = {".csv": ",", ".tsv": "\t", ".tab": "\t"}  # file -> the separator that its name promises
SAMPLE = 2**18  # characters from which the separator is told
MAX_CELL = 2**31 - 1  # characters
ROWS = 10_000  # that are read at a time
MIN_LINES = 4  # that a sign splits alike, so that it may be the separator


@dataclass(frozen=True)
class Dialect:
    """How a file separates cells.

    separator  one character
    spaced     whether a space follows each separator, which is no part of the cell
    skip       records before the header: comments, titles, and "sep=;"
    extra      whether each row has one empty field more than the header
    """

    separator: str
    spaced: bool = False
    skip: int = 0
    extra: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Of csv.reader."""
        return {"delimiter": self.separator, "skipinitialspace": self.spaced, "strict": True}


def read_delimited(file: DataFile, fmt: FileFormat) -> tuple[pa.Table, CellTable, list[str]]:
    """The cells as strings, the account of their rows, and how the file is written.

    Raises TableError for an empty file, another encoding, and quotes that are not closed.
    """
    encoding, note = file.find_encoding(fmt.encoding)
    with file.text(encoding) as stream:
        sample = stream.read(SAMPLE)
        whole = not stream.read(1)
    if not sample.strip():
        raise TableError(f"cannot read {str(file.path)!r}: it is empty")
    promised = DELIMITED.get(file.suffix, ",")
    with _long_cells():
        dialect = find_dialect(sample, promised, fmt.separator, whole=whole, header=fmt.header)
        records = _records(file, encoding, dialect)
        header, skipped = next(records), title_notes(dialect.skip)
        names: Sequence[str] = header.cells[0]
        parts: Iterator[Records] = records
        if not fmt.header:
            names = [f"column_{i + 1}" for i in range(len(names))]
            parts = itertools.chain([header], records)
        if len(names) == 1 and (other := _other_separator(sample, whole=whole)):
            skipped.append(
                f"each line is one cell; {option_text('separator', other)} splits them into several, if that is meant"
            )
        table = CellTable(str(file.path), names, dialect.extra, skipped)
        cells = table.read(parts)
    separator = (
        []
        if dialect.separator == promised
        else [f"separator {SEPARATORS.get(dialect.separator, repr(dialect.separator))}"]
    )
    spaces = ["a space after each separator"] if dialect.spaced else []
    return cells, table, [*separator, *spaces, *([note] if note else [])]


# ---- the dialect


def find_dialect(
    sample: str, promised: str, given: str | None, *, whole: bool, header: bool = True
) -> Dialect:
    """The dialect of a file from its beginning; `whole`, whether that is all of it; `header`, whether it has names.

    A separator is one that splits the header, and all rows as it splits the header. If several do, it is the one
    that the file's name promises; if none does, that one or the only one that splits the header.

    >>> find_dialect("a;b\\n1,5;2\\n", ",", None, whole=True).separator
    ';'
    """
    first, newline, rest = sample.partition("\n")
    skip = 0
    if re.fullmatch(r"sep=.\r?", first, re.IGNORECASE) and newline:  # as Excel writes it
        given, skip, sample = given or first[4], 1, rest
    candidates = [given] if given else [promised, *(s for s in SEPARATORS if s != promised)]
    views = [_View.of(sample, separator, whole, header) for separator in candidates]
    splitting = [view for view in views if view.width > 1]
    regular = [view for view in splitting if view.regular]
    if regular:
        view = regular[0]
    else:
        view = splitting[0] if len(splitting) == 1 else views[0]
    return Dialect(view.separator, view.spaced, skip + view.skip, view.extra)


def _other_separator(sample: str, *, whole: bool) -> str | None:
    """A sign that splits every line of a file as it splits the first one, and may be a part of texts as well."""
    for separator in " :/":
        view = _View.of(sample, separator, whole, header=False)
        if view.width > 1 and view.regular and sample.count("\n") >= MIN_LINES:
            return separator
    return None


@dataclass(frozen=True)
class _View:
    """The beginning of a file, split at one separator."""

    separator: str
    width: int  # of the header
    regular: bool  # whether all rows are as wide
    extra: bool
    spaced: bool
    skip: int  # records before the header: comments and titles

    @classmethod
    def of(cls, sample: str, separator: str, whole: bool, header: bool) -> _View:
        lines = [line for line in sample.splitlines() if line.strip()]
        spaced = len(lines) > 1 and _is_spaced(lines[: None if whole else -1], separator)
        records = _split(sample, separator, spaced)
        records = records if whole or len(records) < 3 else records[:-1]  # the last one may be cut
        skip = 0
        while len(records) > skip + 1 and _is_comment(records[skip], records[skip + 1 :]):
            skip += 1
        skip += count_titles(records[skip:]) if header else 0
        width, rows = len(records[skip]), records[skip + 1 :]
        rows = [row for row in rows if len(row) == width or not row[0].startswith("#")]
        extra = bool(rows) and all(len(row) == width + 1 and not row[-1] for row in rows)
        regular = extra or all(len(row) == width for row in rows)
        return cls(separator, width, regular, extra, spaced, skip)


def _split(sample: str, separator: str, spaced: bool) -> list[list[str]]:
    """The records of a text without blank lines; what follows a wrong quote is left out."""
    reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator, skipinitialspace=spaced)
    records = []
    try:
        for record in reader:
            if record:
                records.append(record)
    except csv.Error:
        pass
    return records or [[""]]


def _is_comment(record: Sequence[str], later: Sequence[Sequence[str]]) -> bool:
    """Whether a record before the header is a comment: another one follows, or the header is of another width."""
    if not record[0].startswith("#"):
        return False
    rest = next((r for r in later if not r[0].startswith("#")), None)
    return rest is not None and (len(rest) != len(record) or (len(rest) == 1 and record[0].startswith("# ")))


def _is_spaced(lines: Sequence[str], separator: str) -> bool:
    """Whether a space follows each separator, in every line and in the names of the columns."""
    return separator in lines[0] and all(
        line.count(separator) == line.count(separator + " ") for line in lines
    )


# ---- the records


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let the csv module read cells of any length: a document may be one."""
    before = csv.field_size_limit(MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _records(file: DataFile, encoding: str, dialect: Dialect) -> Iterator[Records]:
    """The header alone, then the other records, ROWS at a time."""
    with file.text(encoding) as stream:
        reader = csv.reader(stream, **dialect.options)
        try:
            first, skip = 1, dialect.skip
            for header in reader:
                if header and not skip:
                    break
                skip -= bool(header)
                first = reader.line_num + 1
            yield Records([header], [first])
            first = reader.line_num + 1
            while cells := list(itertools.islice(reader, ROWS)):
                single = reader.line_num - first + 1 == len(cells)  # each in a line
                yield Records(
                    cells, range(first, first + len(cells)) if single else line_numbers(cells, first)
                )
                first = reader.line_num + 1
        except csv.Error as error:
            raise _wrong_quote(file, encoding, dialect, error) from None


def _wrong_quote(file: DataFile, encoding: str, dialect: Dialect, error: csv.Error) -> TableError:
    """The message for a record that cannot be split, with the line in which it begins."""
    with file.text(encoding) as stream:
        reader, first = csv.reader(stream, **dialect.options), 1
        try:
            for _ in reader:
                first = reader.line_num + 1
        except csv.Error:
            pass
        last = reader.line_num
    if "unexpected end" in str(error):
        reason = f"a quote that opens in line {first} is not closed"
    else:
        where = f"line {first}" if first == last else f"lines {first} to {last}"
        reason = (
            f'in {where} a quoted cell goes on after its closing quote; write "" for a quote inside of a cell'
        )
    return TableError(f"cannot read {str(file.path)!r}: {reason}")
