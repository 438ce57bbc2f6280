"""TableReport: what was read, as what, what was not used and why, and what is odd about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from likewise.core.formula import quote_name
from likewise.core.printing import align_columns
from likewise.data.storage import RowStore
from likewise.data.validation import BadRow
from likewise.modalities.base import Modality
from likewise.modalities.columns import ColumnValues

MAX_LISTED = 3  # rows of a reason, notes of a summary
MAX_NAMES = 8  # columns of a kind in a summary


@dataclass(frozen=True)
class Account:
    """What the readers and the schema say of a source, a line each.

    read      files by ending, separators and encodings
    unused    files, rows and columns that are not used, with the reason
    notes     what was read otherwise than it is written
    reasons   column -> why it is of its kind
    left_out  column -> why there is none of that name
    """

    read: Sequence[str] = ()
    unused: Sequence[str] = ()
    notes: Sequence[str] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ColumnReport:
    """One column: its kind, why it is taken for that, what was learned of it, and how many values are missing."""

    name: str
    kind: str
    reason: str
    description: str
    missing: int


@dataclass(frozen=True)
class TableReport:
    """The account of a table that `likewise data` prints and `likewise train` repeats in three lines.

    source    what was opened, None for rows in memory
    rows      that can be used; train and test: how many are for training, and held out
    heldout   by what rows are held out: "by equal values of caption"
    account   what was read, and as what
    skipped   the rows that were left out
    columns   each column
    findings  what is odd, and no error: copies, far values
    structure  the rules that all rows satisfy, a line each
    """

    source: str | None
    rows: int
    train: int
    test: int
    heldout: str
    account: Account
    skipped: Sequence[BadRow]
    columns: Sequence[ColumnReport]
    findings: Sequence[str]
    structure: Sequence[str] = ()

    @property
    def gaps(self) -> list[str]:
        """A line for each column that has missing values."""
        return [
            f"{c.name}: {c.missing:,} of {self.rows:,} values are missing ({c.missing / self.rows:.1%})"
            for c in self.columns
            if c.missing
        ]

    @property
    def gap_summary(self) -> str:
        """The columns that have missing values, in one line, those with most of them first."""
        columns = sorted((c for c in self.columns if c.missing), key=lambda c: -c.missing)
        return f"missing of {self.rows:,} values: " + _first([f"{c.name} {c.missing:,}" for c in columns])

    def notes(self) -> list[str]:
        """What a user should know before training: all but what was read as expected."""
        skipped = [f"left out: {line}" for line in skipped_by_reason(self.skipped)]
        gaps = [self.gap_summary] if self.gaps else []
        return [*gaps, *self.account.unused, *self.account.notes, *self.findings, *skipped]

    @property
    def _size(self) -> str:
        heldout = f", {self.heldout}" if self.test and self.heldout else ""
        return f"{self.rows:,} rows, {self.train:,} for training and {self.test:,} held out{heldout}"

    def summary(self) -> list[str]:
        """The same in three lines at most: what was read, the columns, and what a user should know."""
        read = f" ({'; '.join(self.account.read)})" if self.account.read else ""
        kinds: dict[str, list[str]] = defaultdict(list)
        for column in self.columns:
            kinds[column.kind].append(column.name)
        lines = [
            f"{self._size}{read}",
            "; ".join(f"{kind}: {_first(names)}" for kind, names in kinds.items()),
        ]
        if notes := self.notes():
            more = (
                f"; and {len(notes) - MAX_LISTED} more, which `likewise data` lists"
                if len(notes) > MAX_LISTED
                else ""
            )
            lines.append("note: " + "; ".join(notes[:MAX_LISTED]) + more)
        return lines

    def __str__(self) -> str:
        """All of it."""
        parts = [f"{self.source or 'rows in memory'}: {self._size}"]
        parts += [f"  {line}" for line in self.account.read]
        parts += ["", align_columns([("column", "kind", "why", "read as"), *map(_cells, self.columns)])]
        sections = {
            "not used": self.account.unused,
            "read otherwise than written": self.account.notes,
            "missing": self.gaps,
            "odd": self.findings,
            "structure": self.structure,
            "rows that cannot be used": skipped_by_reason(self.skipped),
        }
        for title, lines in sections.items():
            if lines:
                parts += ["", f"{title}:", *(f"  {line}" for line in lines)]
        return "\n".join(parts)


def column_reports(
    rows: RowStore, columns: Mapping[str, Modality], reasons: Mapping[str, str]
) -> list[ColumnReport]:
    """The report of each column; of a view without a reason."""
    missing = {name: len(positions) for name, positions in rows.report.missing.items()}
    return [
        ColumnReport(name, column.kind, reasons.get(name, ""), column.describe(), missing.get(name, 0))
        for name, column in columns.items()
    ]


def find_oddities(rows: RowStore, columns: Mapping[str, Modality]) -> list[str]:
    """What is odd about the rows, and no error: copies, and what modalities say of their columns."""
    copies = rows.report.copies
    lines = [f"{copies:,} of {len(rows):,} rows are copies of others"] if copies else []
    for name in rows.kinds:
        known = rows.known(name)
        names = _RowNames(known)
        lines += columns[name].findings(
            ColumnValues(name, known.column(name), names, rows.report.traits[name])
        )
    return lines


class _RowNames(Sequence[str]):
    """ "row 7 (line 9)" of each row, made when it is used."""

    def __init__(self, rows: RowStore) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: int) -> str:  # type: ignore[override]
        return self._rows.bad_row(range(len(self))[position], "", "").place


def skipped_by_reason(skipped: Iterable[BadRow]) -> list[str]:
    """A line for each column and reason, with the number of rows and the first ones.

    >>> skipped_by_reason([BadRow(3, "age", "missing"), BadRow(5, "age", "missing"), BadRow(6, "", "2 fields")])
    ['2 rows: age: missing (row 3, row 5)', '1 row: 2 fields (row 6)']
    """
    groups: dict[tuple[str, str], list[BadRow]] = defaultdict(list)
    for bad in skipped:
        groups[bad.column, bad.reason].append(bad)
    lines = []
    for (column, reason), rows in groups.items():
        first = ", ".join(bad.place + (f" in {bad.file}" if bad.file else "") for bad in rows[:MAX_LISTED])
        more = ", ..." if len(rows) > MAX_LISTED else ""
        count = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
        lines.append(f"{count}: {column + ': ' if column else ''}{reason} ({first}{more})")
    return lines


def _first(names: Sequence[str]) -> str:
    """Some names, and the number of all."""
    return ", ".join(names[:MAX_NAMES]) + (f", ... ({len(names)})" if len(names) > MAX_NAMES else "")


def _cells(column: ColumnReport) -> tuple[str, str, str, str]:
    return quote_name(column.name), column.kind, column.reason, column.description
