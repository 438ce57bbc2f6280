"""Panel: series that share a grid of time, read from the rows of a long or a wide table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula, View
from likewise.core.option_names import option_text
from likewise.data.arrow import HIDDEN, TableError
from likewise.data.readers import DEFAULT_FORMAT, FileFormat, Reading, read_source
from likewise.forecasting.calendar import Calendar, is_time

TIME_NAMES = ("time", "date", "datetime", "timestamp", "ds", "time_hour", "month", "day", "year")
ID_NAMES = ("id", "unique_id", "series", "item_id", "series_id")
MAX_LEVELS = 20  # of a text as a covariate
MAX_STEPS = 5_000_000


@dataclass(frozen=True)
class Columns:
    """Which columns are what.

    time, id   "" where the table has none: a step is a row, and there is one series
    targets    a series each; with an id, one of each id
    known      covariates whose values are known in the future; past: those that are not
    static     covariates that are constant in each series
    levels     of each covariate that is a text: its values, each of which is a column of 0 and 1
    """

    time: str
    id: str
    targets: tuple[str, ...]
    known: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def numeric(self, names: Sequence[str]) -> list[str]:
        """Their columns of numbers: themselves, or one of each level."""
        return [f"{n}={v}" if v else n for n in names for v in self.levels.get(n, ("",))]


@dataclass(frozen=True)
class Panel:
    """S series on one grid.

    y         (S, T) float64, nan where there is no value; the last step has one
    known     (S, T + F, C), F steps beyond the last value; past (S, T, P); static (S, Q)
    """

    calendar: Calendar
    ids: tuple[str, ...]
    y: np.ndarray
    known: np.ndarray
    past: np.ndarray
    static: np.ndarray

    @property
    def steps(self) -> int:
        """T."""
        return self.y.shape[1]

    def until(self, end: int) -> Panel:
        """The same before step `end`; known covariates stay."""
        return replace(self, y=self.y[:, :end], past=self.past[:, :end])


def read_rows_of(source: str | Path, fmt: FileFormat = DEFAULT_FORMAT) -> Reading:
    """The rows of a table. Raises TableError."""
    return read_source(source, {}, fmt, {})


def find_columns(
    reading: Reading, formula: Formula, time: str | None = None, id: str | None = None
) -> Columns:
    """What each column of a formula is, by its values. Raises TableError, FormulaError."""
    rows = reading.rows
    names = [n for n in rows.column_names if n not in HIDDEN]
    formula.check(list(dict.fromkeys([*names, *(v.name for v in formula.views)])))
    for name in [*(v.column for v in formula.views), *filter(None, (time, id))]:
        if name not in names:
            raise TableError(did_you_mean("column", name, names))
    used = {v.column for v in formula.views}
    time = _find_time(reading, names, used) if time is None else time
    targets = tuple(v.column for v in formula.targets)
    for name in targets:
        if any(isinstance(v, str) for v in _values(reading, name)[:1000]):
            raise TableError(f"{name} is to be forecast and holds texts; a series is of numbers")
    id = _find_id(reading, names, time, used) if id is None else id
    keys = [str(k) for k in _values(reading, id)] if id else [""] * len(rows)
    known: list[str] = []
    past: list[str] = []
    static: list[str] = []
    levels: dict[str, tuple[str, ...]] = {}
    for view in formula.sources:
        values = _values(reading, view.column)
        if any(isinstance(v, str) for v in values):
            found = sorted({str(v) for v in values if v is not None})
            if len(found) > MAX_LEVELS:
                raise TableError(
                    f"{view.column} has {len(found):,} different texts; a covariate has at most {MAX_LEVELS}"
                )
            levels[view.column] = tuple(found)
        each: dict[str, set[Any]] = {}
        for key, value in zip(keys, values, strict=True):
            each.setdefault(key, set()).add(value)
        constant = len(each) > 1 and all(len(v - {None}) <= 1 for v in each.values())
        (static if constant else past if _is_past(view) else known).append(view.column)
    return Columns(time, id, targets, tuple(known), tuple(past), tuple(static), levels)


def first_series(reading: Reading) -> tuple[str, Columns]:
    """The first column of numbers that a table with time stamps could be asked to forecast. Raises TableError without."""
    names = [n for n in reading.rows.column_names if n not in HIDDEN]
    time = _find_time(reading, names, set())
    if not time or not any(map(is_time, _values(reading, time)[:1])):
        raise TableError("the table has no column of time stamps")
    id = _find_id(reading, names, time, set())
    for name in names:
        value = next((v for v in _values(reading, name) if v is not None), None)
        if name not in (time, id) and isinstance(value, int | float) and not isinstance(value, bool):
            return name, Columns(time, id, (name,))
    raise TableError("the table has no column of numbers beside its times")


def make_panel(
    reading: Reading, columns: Columns, calendar: Calendar | None = None, *, future_only: bool = False
) -> Panel:
    """The series of the rows, on `calendar`, or the one that their time stamps give.

    The rows at the end that have no value of any target are the future, of which covariates are known.

    future_only  whether all rows may be of the future

    Raises TableError for time stamps that are twice there or not on the grid, and columns that are not there.
    """
    for name in (columns.time, columns.id, *columns.targets, *columns.known, *columns.past, *columns.static):
        if name and name not in reading.rows.column_names:
            there = [n for n in reading.rows.column_names if n not in HIDDEN]
            raise TableError(did_you_mean("column", name, there))
    stamps = _values(reading, columns.time) if columns.time else list(range(len(reading.rows)))
    missing = [i for i, s in enumerate(stamps) if s is None]
    if missing:
        raise TableError(f"{columns.time} has no value in row {missing[0]}; every row needs its time")
    calendar = calendar or Calendar.of(stamps)
    at = np.array([_index(calendar, stamp, row) for row, stamp in enumerate(stamps)])
    keys = [str(k) for k in _values(reading, columns.id)] if columns.id else [""] * len(stamps)
    _require_distinct(keys, stamps, at, bool(columns.id))
    first = int(at.min())
    at = at - first
    length = int(at.max()) + 1
    ids = list(dict.fromkeys(keys))
    if length * len(ids) > MAX_STEPS:
        raise TableError(
            f"{len(ids):,} series of {length:,} steps of {calendar.describe()} are more than {MAX_STEPS:,} values; "
            "if most steps have no value, give the times at a coarser step"
        )
    place = {k: i for i, k in enumerate(ids)}
    of = np.array([place[k] for k in keys])

    def grid(values: Sequence[Any]) -> np.ndarray:
        out = np.full((len(ids), length), np.nan)
        out[of, at] = [np.nan if v is None else float(v) for v in values]
        return out

    def covariates(names: Sequence[str]) -> np.ndarray:
        parts = []
        for name in names:
            values = _values(reading, name)
            if name not in columns.levels:
                parts.append(grid(values))
                continue
            for level in columns.levels[name]:
                parts.append(grid([None if v is None else float(str(v) == level) for v in values]))
        return np.stack(parts, -1) if parts else np.zeros((len(ids), length, 0))

    many = len(columns.targets)
    y = np.concatenate([grid(_values(reading, name)) for name in columns.targets])
    seen = np.where(~np.isnan(y).all(0))[0]
    if not len(seen) and not future_only:
        raise TableError(f"{' and '.join(columns.targets)} have no value in any row")
    end = int(seen.max()) + 1 if len(seen) else 0
    known = np.tile(covariates(columns.known), (many, 1, 1))
    past = np.tile(covariates(columns.past), (many, 1, 1))[:, :end]
    static = np.tile(covariates(columns.static), (many, 1, 1))
    names = [
        " ".join(filter(None, (k, t if many > 1 or not k else ""))) for t in columns.targets for k in ids
    ]
    highest = np.where(np.isnan(static), -np.inf, static).max(1, initial=-np.inf)
    return Panel(
        replace(calendar, first=calendar.first + first * calendar.step),
        tuple(names),
        y[:, :end],
        _fill(known, end),
        np.nan_to_num(past),
        np.where(np.isfinite(highest), highest, 0.0),
    )


def merge(old: Panel, new: Panel) -> Panel:
    """A panel with the rows of another one, which replace and continue its own. Raises TableError for other series."""
    if unknown := set(new.ids) - set(old.ids):
        raise TableError(
            f"the run has no series {sorted(unknown)[0]!r} and the file has too few rows of it to begin with"
        )
    shift = new.calendar.first - old.calendar.first
    offset = shift // old.calendar.step
    length = max(old.known.shape[1], offset + new.known.shape[1])
    end = max(old.steps, offset + new.steps)
    rows = [old.ids.index(i) for i in new.ids]

    def union(a: np.ndarray, b: np.ndarray, size: int) -> np.ndarray:
        out = np.full((len(a), size, *a.shape[2:]), np.nan)
        out[:, : a.shape[1]] = a
        begin, stop = max(offset, 0), offset + b.shape[1]
        part = b[:, begin - offset :]
        out[rows, begin:stop] = np.where(np.isnan(part), out[rows, begin:stop], part)
        return out

    y = union(old.y, new.y, end)
    return replace(
        old,
        y=y,
        known=union(old.known, new.known, length),
        past=np.nan_to_num(union(old.past, new.past, end)),
    )


# ---- columns


def _values(reading: Reading, name: str) -> list[Any]:
    return reading.rows.data.column(name).to_pylist()


def _is_past(view: View) -> bool:
    """Whether a covariate is not known in the future: `wind[known=past]`."""
    options = dict(view.options)
    if unknown := options.keys() - {"known", "horizon"}:
        raise TableError(
            f"{view.column} has no option {sorted(unknown)[0]!r} in a forecast; write [known=past]"
        )
    if options.get("known", "future") not in ("past", "future"):
        raise TableError(f"{view}: known is past or future")
    return options.get("known") == "past"


def _find_time(reading: Reading, names: Sequence[str], used: set[str]) -> str:
    """The column of time stamps: one whose values are dates or times, by preference with such a name; "" without."""
    free = [n for n in names if n not in used]
    ordered = sorted(free, key=lambda n: n.lower() not in TIME_NAMES)
    for name in ordered:
        values = [v for v in _values(reading, name)[:20] if v is not None]
        if values and all(map(is_time, values)):
            return name
    return next((n for n in ordered if n.lower() in TIME_NAMES), "")


def _find_id(reading: Reading, names: Sequence[str], time: str, used: set[str]) -> str:
    """The column that tells series apart: one by name, or of texts, with which hardly a time is twice there; "" without."""
    free = [n for n in names if n not in used and n != time]
    named = [n for n in free if n.lower() in ID_NAMES]
    stamps = _values(reading, time) if time else []
    repeated = len(stamps) - len(set(stamps))
    if not repeated:
        return named[0] if named else ""
    texts = [n for n in free if n not in named and any(isinstance(v, str) for v in _values(reading, n)[:20])]
    left = {
        n: len(stamps) - len(set(zip(_values(reading, n), stamps, strict=True))) for n in [*named, *texts]
    }
    best = min(left, key=lambda n: left[n], default="")
    return best if best and 10 * left[best] <= repeated else ""


def _index(calendar: Calendar, stamp: Any, row: int) -> int:
    try:
        return calendar.index(stamp)
    except TableError as error:
        raise TableError(f"row {row}: {error}; give rows at one step, and leave out those between") from None


def _require_distinct(keys: Sequence[str], stamps: Sequence[Any], at: np.ndarray, has_id: bool) -> None:
    """Raise TableError for two rows of one series with the same time."""
    seen: dict[tuple[str, int], int] = {}
    for row, (key, index) in enumerate(zip(keys, at.tolist(), strict=True)):
        if (before := seen.setdefault((key, index), row)) != row:
            of = f" of {key}" if key else ""
            advice = "" if has_id else f", or name the column of series, {option_text('id', 'COLUMN')}"
            raise TableError(
                f"rows {before} and {row}{of} have the same time, {stamps[row]}; keep one of them{advice}"
            )


def _fill(known: np.ndarray, end: int) -> np.ndarray:
    """Covariates (S, T, C) with gaps before `end` filled by straight lines; gaps beyond it stay."""
    out = known.copy()
    steps = np.arange(known.shape[1])
    for series in out:
        for values in series.T:
            ok = ~np.isnan(values)
            inside = ~ok & (steps < end)
            if ok.any() and inside.any():
                values[inside] = np.interp(steps[inside], steps[ok], values[ok])
    return out
