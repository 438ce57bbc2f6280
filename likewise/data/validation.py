"""One reading of every row of a table: which values cannot be used, which rows are copies, what is odd."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.modalities import KINDS

MAX_LISTED = 10  # bad rows that a message lists


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, and why; and the file that it is from, if that is known."""

    row: int
    column: str
    reason: str
    file: str | None = None

    def __str__(self) -> str:
        return f"row {self.row}, {self.column}: {self.reason}" + (f" (in {self.file})" if self.file else "")


def format_bad_rows(said: str, bad: Sequence[BadRow]) -> str:
    """A sentence about bad rows with the first of them, a line each."""
    more = [f"and {len(bad) - MAX_LISTED} more"] if len(bad) > MAX_LISTED else []
    return "\n  ".join([said, *map(str, bad[:MAX_LISTED]), *more])


@dataclass(frozen=True)
class ValidationReport:
    """What was found.

    digests  a hash of each row's content
    broken   values that cannot be used, whatever the modalities learn
    traits   column -> how many of its values have which trait, see CellCheck
    kinds    of the columns
    """

    digests: list[bytes]
    broken: list[BadRow]
    traits: Mapping[str, Counter[str]]
    kinds: Mapping[str, str]

    def warnings(self) -> list[str]:
        """What is worth a look and no error."""
        rows, found = len(self.digests), []
        if copies := rows - len(set(self.digests)):
            found.append(f"{copies} of {rows} rows are copies of others")
        for name, traits in self.traits.items():
            found += KINDS[self.kinds[name]].column_warnings(name, traits, rows)
        return found


def validate(kinds: Mapping[str, str], rows: int, cells: Callable[[str], Iterable[Any]]) -> ValidationReport:
    """Read the `cells` of every column, by its kind."""
    hashes = [hashlib.sha256() for _ in range(rows)]
    broken: list[BadRow] = []
    traits: dict[str, Counter[str]] = {name: Counter() for name in kinds}
    for name, kind in kinds.items():
        for row, cell in enumerate(cells(name)):
            check = KINDS[kind].check_cell(cell)
            if check.problem:
                broken.append(BadRow(row, name, check.problem))
            elif check.trait:
                traits[name][check.trait] += 1
            hashes[row].update(b"%s %d " % (name.encode(), len(check.content)) + check.content)
    return ValidationReport([h.digest() for h in hashes], broken, traits, dict(kinds))
