"""Date: a date, a time of day, or both, as the column writes it."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np

from likewise.core.option_names import option_text
from likewise.core.options import validated
from likewise.core.spec import Cycles, Spec
from likewise.modalities.columns import CellCheck, ColumnSummary, ColumnValues
from likewise.modalities.date_format import (
    DAY,
    MICROSECONDS,
    WrittenDate,
    is_time,
    parse_date,
    write_date,
    zone_minutes,
)
from likewise.modalities.ranked import Spelled
from likewise.modalities.suspects import missing_sign_line, missing_signs
from likewise.modalities.written import far_values, mostly

UNITS = {
    "day": DAY,
    "minute": 60 * MICROSECONDS,
    "second": MICROSECONDS,
    "millisecond": 1000,
    "microsecond": 1,
}
MONTH = "month"  # of dates without a day
HALF_DAY = re.compile("%[pP]")
YEAR_DAYS = 365.2425
HARMONICS = 3


@dataclass(frozen=True)
class Date(Spelled):
    """A date, a time of day, or both, in rank space: a text as the column writes it.

    The number of a value counts units since 1970, or since midnight, in the column's zone.

    layout  how the column writes it, see date_format.py
    zone    its offset from UTC, as written behind the layout; "" for none
    unit    the resolution: "month", "day", "minute", "second", "millisecond" or "microsecond"
    place   the zone of a column of time stamps, such as "Europe/Oslo"; values are local times

    >>> day = Date.fit(["24.12.2024", "31.12.2024", "1.1.2025"])
    >>> day.layout, day.unit, day.decode(day.encode("2024-12-31"))
    ('%-d.%-m.%Y', 'day', '31.12.2024')
    """

    layout: str = "%Y-%m-%d"
    zone: str = ""
    unit: str = "day"
    place: str = ""

    dtypes = frozenset({"string", "int"})
    as_string = True
    null_words = True
    may_misfit = True

    kind = "date"
    media_type = "text/plain; charset=utf-8"
    suffix = ".txt"

    @classmethod
    @validated
    def fit(cls, values: Sequence[str | None], *, day_first: bool | None = None) -> Self:
        """The spelling that most values have, and their ranks; None among them is a missing value.

        day_first  whether 1/2/2024 is the first of February (default: by values of which only one can be the day;
                   without any, as they are in order; else by the day first where points separate them)

        Raises ValueError if no value is a date.
        """
        written = [w for v in values if v is not None and (w := parse_date(v, numeric=True)) is not None]
        if not written:
            raise ValueError("no value is a date or a time, such as 2024-12-31 or 10:30")
        order = _day_first(written) if day_first is None else day_first
        kinds = Counter((_plain(w.layout)) for w in written)
        best = kinds.most_common(1)[0][0]
        zone = Counter(w.zone for w in written).most_common(1)[0][0]
        layout = _layout([w for w in written if _plain(w.layout) == best], order)
        column = cls(
            0.0, (), (), (), (), layout=layout, zone=zone, unit=_unit([w.parts[3] for w in written], layout)
        )
        usable = [v for v in values if v is not None and column._micros(v) is not None]
        ranks = cls.fit_ranks(column.numbers(usable), len(usable) + sum(v is None for v in values))
        return replace(column, **ranks)

    def refit(self, values: Sequence[Any], *args: Any, **options: Any) -> Self:
        if any(value is not None and self.check(value) for value in values):
            return self.fit(values, **options)
        return super().refit(values, *args, **options)

    def with_style(self, style: str) -> Self:
        return replace(self, place=style)

    # ---- in a table

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        return 3 if column.dtype == "string" and mostly(column, parse_date) else 0

    @classmethod
    def reason(cls, column: ColumnSummary) -> str:
        example = next((v for v in column.sample if parse_date(str(v), numeric=True)), "")
        return f"{'a time' if is_time(_layout_of(example)) else 'a date'} in each cell, such as {example}"

    @classmethod
    def check_cell(cls, cell: Any) -> CellCheck:
        check = super().check_cell(cell)
        if cell is None or check.problem or parse_date(str(cell), numeric=True) is not None:
            return check
        return replace(check, problem=f"{cell!r} is no date or time; write one such as 2024-12-31")

    def describe(self) -> str:
        """
        >>> Date.fit(["2024-05-01", "2024-05-31"]).describe()
        'dates from 2024-05-01 to 2024-05-31, to the day, written as %Y-%m-%d'
        """
        what = (
            "times" if is_time(self.layout) else "dates" if self.unit in ("day", MONTH) else "dates and times"
        )
        zone = f" in the zone {self.place or self.zone.strip()}" if self.place or self.zone else ""
        low, high = self.from_numbers(np.array([self.low, self.high]))
        missing = f", {100 * self.missing:.2g} % missing" if self.missing else ""
        return f"{what} from {low} to {high}, to the {self.unit}{zone}, written as {self.layout}{missing}"

    def findings(self, column: ColumnValues) -> list[str]:
        """Dates that are all the same, or far from the others; an order of day and month that no value decides."""
        values = [v for v in column.values if v is not None]
        written = [w for v in values if (w := parse_date(v, numeric=True)) is not None]
        lines = []
        doubtful = [
            v for v, w in zip(values, written, strict=False) if "%1" in w.layout and w.parts[1] != w.parts[2]
        ]
        if doubtful and _evidence(written) == (0, 0):
            first = "day" if self._is_day_first else "month"
            flag = option_text("day_first", not self._is_day_first)
            lines.append(
                f"{column.name}: no value tells whether {doubtful[0]} has the day or the month first; it is read with the "
                f"{first} first; {flag} reads it otherwise"
            )
        others = sum(_plain(w.layout) != _plain(self.layout, self._is_day_first) for w in written)
        if others:
            lines.append(
                f"{column.name}: {others:,} of {len(values):,} values are written in another way than {self.layout}"
            )
        if len({zone_minutes(w.zone) for w in written if w.zone}) > 1:
            lines.append(
                f"{column.name}: the offsets from UTC differ; values are read, and samples written, in that of most, {self.zone}"
            )
        numbers = self.numbers(values)
        signs = missing_signs(numbers, lambda number: self._day(self.from_numbers(np.array([number]))[0]))
        lines += [
            missing_sign_line(column.name, text, int((numbers == v).sum()), len(values)) for v, text in signs
        ]
        return lines + far_values(self, column, [v for v, _ in signs])

    # ---- values <-> numbers

    @property
    def _is_day_first(self) -> bool:
        day, month = (re.search(rf"%-?{code}", self.layout) for code in ("d", "m"))
        return bool(day and month and day.start() < month.start())

    def _micros(self, value: Any) -> int | None:
        """Microseconds in the zone of the column, None for a value that is no date."""
        written = parse_date(_text(value), numeric=True)
        if written is None or is_time(written.layout) != is_time(self.layout):
            return None
        micros = written.number(self._is_day_first)
        if micros is not None and written.zone and self.zone:
            micros += (zone_minutes(self.zone) - zone_minutes(written.zone)) * UNITS["minute"]
        return micros

    def _day(self, value: Any) -> str:
        """A value's day in ISO 8601, of a time nothing."""
        micros = self._micros(value)
        return "" if micros is None or is_time(self.layout) else write_date("%Y-%m-%d", micros)

    def numbers(self, values: Sequence[Any]) -> np.ndarray:
        micros = self._all_micros(values)
        if self.unit == MONTH:
            texts = (write_date("%Y%m", m) for m in micros)
            return np.array([12 * int(t[:4]) + int(t[4:]) - 1 - 12 * 1970 for t in texts], dtype=np.float64)
        return np.array([m // UNITS[self.unit] for m in micros], dtype=np.float64)

    def from_numbers(self, numbers: np.ndarray) -> list[str]:
        if self.unit == MONTH:
            days = (numbers.round().astype("int64").astype("datetime64[M]").astype("datetime64[D]")).astype(
                "int64"
            )
            micros = (days * DAY).tolist()
        else:
            micros = [round(number) * UNITS[self.unit] for number in numbers.tolist()]
        return [write_date(self.layout, m) + self.zone for m in micros]

    def _noun(self) -> str:
        return "time" if is_time(self.layout) else "date"

    def native(self, value: str | None) -> datetime.date | datetime.time | int | None:
        """A value as datetime.date, datetime.time, or datetime.datetime with its zone; seconds since 1970 as an int."""
        if value is None or self.layout in ("%s", "%3s"):
            return None if value is None else int(value)
        micros = self._micros(value)
        assert micros is not None
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=micros)
        if is_time(self.layout):
            return moment.time()
        if not re.search("%-?[HI]", self.layout):
            return moment.date()
        if self.place:
            return moment.replace(tzinfo=zoneinfo.ZoneInfo(self.place))
        offset = datetime.timedelta(minutes=zone_minutes(self.zone))
        return moment.replace(tzinfo=datetime.timezone(offset) if self.zone else None)

    # ---- tokens

    @cached_property
    def spec(self) -> Spec:
        return replace(super().spec, cycles=self._cycles())

    def _cycles(self) -> Cycles | None:
        """The phases of the day, the week and the year that a network sees, None where there are none."""
        scale = self.scale
        knots = [v for k in range(len(scale.starts)) for v in (scale.starts[k], scale.ends[k])]
        edges = [z for k in range(len(scale.starts)) for z in (scale.edges[k], scale.edges[k + 1])]
        if self.unit == MONTH:
            return Cycles(tuple(edges), tuple(knots), (12.0,))
        day = DAY / UNITS[self.unit]
        periods = () if is_time(self.layout) else (7 * day, YEAR_DAYS * day)
        periods = (day, *periods) if self.unit != "day" else periods
        return Cycles(tuple(edges), tuple(knots), periods)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


def _layout_of(value: Any) -> str:
    written = parse_date(str(value), numeric=True)
    return written.layout if written else ""


def _plain(layout: str, day_first: bool | None = None) -> str:
    """A layout without what differs from cell to cell: padding, the length of a fraction, long names of months."""
    layout = re.sub(r"%[0-9]f", "%f", layout.replace("%-", "%")).replace("%B", "%b").replace("%^B", "%^b")
    if day_first is None or not re.search("%d[^%]*%m|%m[^%]*%d", layout):
        return layout
    pair = re.compile("%(d|m)([^%]*)%(d|m)")
    return layout if layout.startswith("%Y") else pair.sub(r"%1\2%2", layout)


def _evidence(written: Sequence[WrittenDate]) -> tuple[int, int]:
    """How many cells can have the day first only, and the month first only."""
    pairs = [w.parts[1:3] for w in written if "%1" in w.layout]
    return sum(first > 12 for first, _ in pairs), sum(second > 12 for _, second in pairs)


def _day_first(written: Sequence[WrittenDate]) -> bool:
    """Whether the day stands before the month, see `Date.fit`."""
    first, second = _evidence(written)
    if first != second:
        return first > second
    pairs = [w for w in written if "%1" in w.layout]
    for order in (True, False):
        numbers = [w.number(order) or 0 for w in pairs]
        if len(set(numbers)) > 2 and numbers in (sorted(numbers), sorted(numbers, reverse=True)):
            return order
    return bool(pairs) and "%1." in pairs[0].layout


def _layout(written: Sequence[WrittenDate], day_first: bool) -> str:
    """The layout of cells that are alike, with the padding and the names that they have."""
    layouts = Counter(w.layout for w in written)
    layout = max(layouts, key=lambda name: ("%B" in name or "%^B" in name, layouts[name]))
    if len({*re.findall("%[0-9]f", " ".join(layouts))}) > 1:
        layout = re.sub("%[0-9]f", "%f", layout)
    first, second = ("%d", "%m") if day_first else ("%m", "%d")
    layout = layout.replace("%1", first).replace("%2", second)
    for place, codes in enumerate(("md", "HI")):
        found = Counter(w.padded[place] for w in written if w.padded[place] is not None)
        if found[False] > found[True]:
            for code in codes:
                layout = layout.replace(f"%{code}", f"%-{code}")
    return layout


def _unit(times: Sequence[int], layout: str) -> str:
    """The coarsest unit whose multiples all values are."""
    if layout in ("%s", "%3s"):
        return "second" if layout == "%s" else "millisecond"
    if not is_time(layout) and not re.search("%-?d", layout):
        return MONTH
    steps = np.asarray(times, dtype=np.int64)
    allowed = [name for name in UNITS if name != "day" or not is_time(layout)]
    return next(name for name in allowed if not (steps % UNITS[name]).any())
