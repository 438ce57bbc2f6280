"""Which rows and columns of a source can be used: missing, empty and broken values, and rows that are none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from likewise.core.formula import unknown_column
from likewise.core.option_names import option_text
from likewise.data.arguments import TableArguments
from likewise.data.arrow import TableError
from likewise.data.storage import RowStore
from likewise.data.validation import BadRow, format_bad_rows
from likewise.modalities import KINDS
from likewise.modalities.base import Modality

Fit = Callable[[RowStore], Mapping[str, Modality]]  # rows -> the modalities of their columns


@dataclass
class Usable:
    """The rows that can be used.

    left_out  column -> why it is not among them
    skipped   the bad rows
    """

    rows: RowStore
    left_out: dict[str, str] = field(default_factory=dict)
    skipped: list[BadRow] = field(default_factory=list)


def usable_rows(
    rows: RowStore, arguments: TableArguments, broken: Sequence[BadRow], left_out: Mapping[str, str], fit: Fit
) -> Usable:
    """The rows and columns without bad values.

    broken    rows and cells that the reader could not use
    left_out  column -> why there is none of that name

    A column without any usable value is left out if bad rows are skipped, and one with bad values if it is not
    needed. Raises TableError if a needed column is left out, for bad rows unless they are skipped, and if no row is
    left.
    """
    usable = Usable(rows, dict(left_out))
    for name in () if arguments.fixed else arguments.required.complete:
        if name not in rows.kinds and name not in left_out:
            raise TableError(str(unknown_column(name, rows.kinds)))
    while True:
        bad = find_bad(usable.rows, arguments, broken, fit)
        unusable = _unusable_columns(usable.rows, arguments, bad)
        usable.left_out |= unusable
        for name, reason in usable.left_out.items():
            if arguments.names(name):
                raise TableError(f"column {name!r} is left out: {reason}")
        if not unusable:
            break
        kinds = {name: kind for name, kind in usable.rows.kinds.items() if name not in unusable}
        if not kinds:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in usable.left_out.items())
            raise TableError(f"no row can be used; {reasons}")
        usable.rows = usable.rows.with_kinds(kinds)
    usable.rows, usable.skipped = without_bad(usable.rows, bad, arguments.skip_bad), bad
    return usable


def without_bad(
    rows: RowStore, bad: Sequence[BadRow], skip_bad: bool, why: str = "cannot be used"
) -> RowStore:
    """The rows that have no bad value. Raises TableError for bad rows unless they are skipped, and if none is left."""
    if bad and not skip_bad:
        total = len({*rows.numbers.tolist()} | {b.row for b in bad})
        out = option_text("skip_bad", True)
        message = (
            f"{len({b.row for b in bad})} of {total} rows {why}; correct them, or leave them out with {out}"
        )
        raise TableError(format_bad_rows(message, bad))
    rows = rows.without(bad)
    if not len(rows):
        raise TableError(f"no row can be used; the first: {bad[0]}")
    return rows


def find_bad(rows: RowStore, arguments: TableArguments, broken: Sequence[BadRow], fit: Fit) -> list[BadRow]:
    """Every row that cannot be used: no row at all, a missing value that is needed, an empty one, NaN, an unreadable
    picture, a text that is too long."""
    broken = [bad for bad in broken if not bad.column or bad.column in rows.kinds]
    known = {(bad.row, bad.column) for bad in broken}
    problems = [(cell.row, cell.column, cell.reason) for cell in rows.report.bad]
    problems += [
        (position, name, "missing")
        for name, kind in rows.kinds.items()
        if arguments.completes(name) or KINDS[kind].passages
        for position in rows.report.missing[name]
    ]
    invalid = [rows.bad_row(*problem) for problem in problems]
    bad = [*broken, *(cell for cell in invalid if (cell.row, cell.column) not in known)]
    bad += _misfits(rows.without(bad), arguments, fit)
    return sorted(dict.fromkeys(bad), key=lambda b: b.row)


def _fits_all(rows: RowStore, name: str, arguments: TableArguments) -> bool:
    """Whether the modality of a column encodes every valid value: any, or as it has grown to fit all of these."""
    kind = KINDS[rows.kinds[name]]
    grows = kind.grow_to_fit is not Modality.grow_to_fit
    is_fitted = name not in arguments.fixed and "length" not in arguments.options
    return kind.accepts_all or (grows and is_fitted and not kind.may_misfit)


def _misfits(rows: RowStore, arguments: TableArguments, fit: Fit) -> Iterator[BadRow]:
    """Values that are valid, and that the modality cannot encode, as it has learned others."""
    names = [name for name in rows.kinds if not _fits_all(rows, name, arguments)]
    if not names or any(len(rows.report.missing[name]) == len(rows) for name in rows.kinds):
        return
    columns = fit(rows)
    for name in names:
        yield from misfits(rows, name, columns[name])


def misfits(rows: RowStore, name: str, column: Modality) -> Iterator[BadRow]:
    """The values of a stored column that a modality cannot encode."""
    reasons: dict[str, str | None] = {}  # of texts, each different one checked once
    for position, value in enumerate(rows.column(name)):
        if value is None:
            continue
        if isinstance(value, str):
            reason = reasons[value] if value in reasons else reasons.setdefault(value, column.check(value))
        else:
            reason = column.check(value)
        if reason:
            yield rows.bad_row(position, name, reason)


def _unusable_columns(rows: RowStore, arguments: TableArguments, bad: Sequence[BadRow]) -> dict[str, str]:
    """Columns that are left out, with the reason."""
    first = {b.column: b for b in reversed(bad) if b.column}
    counts = Counter(name for _, name in {(b.row, b.column) for b in bad})
    reasons = {}
    for name, example in first.items():
        if not arguments.requires(name):
            reasons[name] = f"it is not needed, and has values that cannot be used; the first: {example}"
        elif arguments.skip_bad and counts[name] + len(rows.report.missing[name]) >= len(rows):
            reasons[name] = f"no value of it can be used; the first: {example}"
    return reasons
