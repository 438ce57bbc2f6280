"""Validation of all rows in one pass: values that cannot be used, duplicate rows, warnings."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.modalities import KINDS
from likewise.modalities.base import Modality
from likewise.modalities.columns import CellCheck

MAX_LISTED = 10  # bad rows in a message
ROWS = 1_000  # that are checked at a time
HASHABLE = frozenset({str, int, float, bool, type(None)})
MAX_KNOWN = 100_000  # different cells of a column whose checks are kept


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, by the number of its source, and the reason.

    column  that has the value; "" if the row has no columns, as it cannot be split
    file    that the row is from, if it is from a folder
    line    of the file in which it begins, if it is from a table in a file

    >>> str(BadRow(7, "age", "'unknown' is not a number", line=9))
    "row 7 (line 9), age: 'unknown' is not a number"
    """

    row: int
    column: str
    reason: str
    file: str | None = None
    line: int | None = None

    @property
    def place(self) -> str:
        """The row in a message."""
        return f"row {self.row}" + (f" (line {self.line})" if self.line else "")

    def __str__(self) -> str:
        column, file = f", {self.column}" if self.column else "", f" (in {self.file})" if self.file else ""
        return f"{self.place}{column}: {self.reason}{file}"


def format_bad_rows(message: str, bad: Sequence[BadRow]) -> str:
    """A message with the first bad rows, one line each."""
    more = [f"and {len(bad) - MAX_LISTED} more"] if len(bad) > MAX_LISTED else []
    return "\n  ".join([message, *map(str, bad[:MAX_LISTED]), *more])


@dataclass(frozen=True)
class ValidationReport:
    """The result of `validate`.

    digests  a hash of each row's content
    bad      the values that cannot be used, whatever the modalities learn; `row` is the position
    missing  column -> the positions of its missing values
    traits   column -> trait -> the number of values that have it, see CellCheck
    signatures  of columns of kinds that have near copies: that of each value, None for a missing one
    """

    digests: list[bytes]
    bad: list[BadRow]
    missing: Mapping[str, list[int]]
    traits: Mapping[str, Counter[str]]
    signatures: Mapping[str, list[bytes | None]]

    @property
    def copies(self) -> int:
        """The number of rows that are copies of others."""
        return len(self.digests) - len(set(self.digests))


class CheckedCells:
    """The checks of the cells of a column, each different one made once while there are few."""

    def __init__(self, name: str, kind: type[Modality]) -> None:
        self.kind, self.prefix = kind, name.encode() + b" "
        self.known: dict[tuple[type, Any], tuple[CellCheck, bytes]] = {}

    def check(self, cell: Any) -> tuple[CellCheck, bytes]:
        """The check of a cell, and its content with column and length, for a hash of the row."""
        if self.kind.lazy or cell.__class__ not in HASHABLE or cell == 0:  # 0.0 and -0.0 are equal
            return self._check(cell)
        key = cell.__class__, cell
        found = self.known.get(key)
        if found is None:
            if len(self.known) >= MAX_KNOWN:
                self.known.clear()
            found = self.known[key] = self._check(cell)
        return found

    def _check(self, cell: Any) -> tuple[CellCheck, bytes]:
        check = self.kind.check_cell(cell)
        return check, self.prefix + b"%d " % len(check.content) + check.content


def validate(kinds: Mapping[str, str], rows: int, cells: Callable[[str], Iterable[Any]]) -> ValidationReport:
    """Check the stored values, `cells(column)`, of every column."""
    digests: list[bytes] = []
    bad: list[BadRow] = []
    traits: dict[str, Counter[str]] = {name: Counter() for name in kinds}
    missing: dict[str, list[int]] = {name: [] for name in kinds}
    signatures: dict[str, list[bytes | None]] = {name: [None] * rows for name in kinds}
    columns = {name: iter(cells(name)) for name in kinds}
    checked = {name: CheckedCells(name, KINDS[kind]) for name, kind in kinds.items()}
    for start in range(0, rows, ROWS):
        contents = []
        for name, column in columns.items():
            part = list(itertools.islice(column, ROWS))
            checks = list(map(checked[name].check, part))
            for row, (check, _) in enumerate(checks, start):
                if check.problem is None and not check.traits and check.signature is None:
                    continue
                if part[row - start] is None:
                    missing[name].append(row)
                elif check.problem:
                    bad.append(BadRow(row, name, check.problem))
                else:
                    traits[name].update(check.traits)
                    signatures[name][row] = check.signature
            contents.append([content for _, content in checks])
        digests += [hashlib.sha256(b"".join(row)).digest() for row in zip(*contents, strict=True)]
    bad.sort(key=lambda b: list(kinds).index(b.column))
    signatures = {name: found for name, found in signatures.items() if any(found)}
    return ValidationReport(digests, bad, missing, traits, signatures)
