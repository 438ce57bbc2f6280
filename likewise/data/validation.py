"""Validation of all rows in one pass: values that cannot be used, duplicate rows, warnings."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.modalities import KINDS

MAX_LISTED = 10  # bad rows in a message


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, the reason, and the file that it is from, if that is known."""

    row: int
    column: str
    reason: str
    file: str | None = None

    def __str__(self) -> str:
        return f"row {self.row}, {self.column}: {self.reason}" + (f" (in {self.file})" if self.file else "")


def format_bad_rows(message: str, bad: Sequence[BadRow]) -> str:
    """A message with the first bad rows, one line each."""
    more = [f"and {len(bad) - MAX_LISTED} more"] if len(bad) > MAX_LISTED else []
    return "\n  ".join([message, *map(str, bad[:MAX_LISTED]), *more])


@dataclass(frozen=True)
class ValidationReport:
    """The result of `validate`.

    digests  a hash of each row's content
    bad      the values that cannot be used, whatever the modalities learn
    traits   column -> trait -> the number of values that have it, see CellCheck
    """

    digests: list[bytes]
    bad: list[BadRow]
    traits: Mapping[str, Counter[str]]

    @property
    def copies(self) -> int:
        """The number of rows that are copies of others."""
        return len(self.digests) - len(set(self.digests))


def validate(kinds: Mapping[str, str], rows: int, cells: Callable[[str], Iterable[Any]]) -> ValidationReport:
    """Check the stored values, `cells(column)`, of every column."""
    hashes = [hashlib.sha256() for _ in range(rows)]
    bad: list[BadRow] = []
    traits: dict[str, Counter[str]] = {name: Counter() for name in kinds}
    for name, kind in kinds.items():
        for row, cell in enumerate(cells(name)):
            check = KINDS[kind].check_cell(cell)
            if check.problem:
                bad.append(BadRow(row, name, check.problem))
            else:
                traits[name].update(check.traits)
            hashes[row].update(b"%s %d " % (name.encode(), len(check.content)) + check.content)
    return ValidationReport([h.digest() for h in hashes], bad, traits)
