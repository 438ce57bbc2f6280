"""TableReport: what was read, as what, what was not used and why, and what is odd about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from likewise.data.validation import BadRow, format_bad_rows


@dataclass(frozen=True)
class ColumnReport:
    """One column: its kind, why it is taken for that, and what was learned of it."""

    name: str
    kind: str
    reason: str
    description: str


@dataclass(frozen=True)
class TableReport:
    """The account of a table that `likewise data` prints and `likewise train` repeats in three lines.

    source    what was opened, None for rows in memory
    rows      that can be used; train and test: how many are for training, and held out
    heldout   by what rows are held out: "by equal values of caption"
    read      files by ending, separators and encodings
    unused    files, columns and parts of values that are not used, with the reason
    skipped   the rows that were left out
    columns   each column
    findings  what is odd, and no error: copies, near copies, outliers
    """

    source: str | None
    rows: int
    train: int
    test: int
    heldout: str
    read: Sequence[str]
    unused: Sequence[str]
    skipped: Sequence[BadRow]
    columns: Sequence[ColumnReport]
    findings: Sequence[str]

    def notes(self) -> list[str]:
        """What a user should know before training: all but what was read as expected."""
        count = len({bad.row for bad in self.skipped})
        skipped = [format_bad_rows(f"{count} rows are left out:", self.skipped)] if count else []
        return [*self.unused, *self.findings, *skipped]
