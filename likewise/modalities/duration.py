"""Duration: a span of time, as the column writes it."""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from likewise.modalities.columns import CellCheck, ColumnSummary, ColumnValues
from likewise.modalities.date_format import MICROSECONDS
from likewise.modalities.duration_format import merge_layouts, parse_duration, write_duration
from likewise.modalities.ranked import Spelled
from likewise.modalities.written import far_values, mostly

LETTER = re.compile("%[WDHMS] ?[A-Za-z]")  # a unit that may be another one, such as m
UNITS = {"minute": 60 * MICROSECONDS, "second": MICROSECONDS, "millisecond": 1000, "microsecond": 1}


@dataclass(frozen=True)
class Duration(Spelled):
    """A span of time in rank space: a text as the column writes it.

    layout  how the column writes it, see duration_format.py
    unit    the resolution, in which values are numbers

    >>> lap = Duration.fit(["1h 30m", "45m", "2h"])
    >>> lap.layout, lap.decode(lap.encode("0:45"))
    ('%Hh %Mm', '45m')
    """

    layout: str = "%H:%M:%S"
    unit: str = "second"

    dtypes = frozenset({"string"})
    null_words = True
    accepts_all = True

    kind = "duration"
    media_type = "text/plain; charset=utf-8"
    suffix = ".txt"

    @classmethod
    def fit(cls, values: Sequence[str | None]) -> Self:
        """The spelling that most values have, and their ranks; None among them is a missing value."""
        written = [w for v in values if v is not None and (w := parse_duration(v)) is not None]
        if not written:
            raise ValueError("no value is a duration, such as 1:30:00 or 90 min")
        micros = np.array([w.micros for w in written], dtype=np.int64)
        unit = next(name for name in UNITS if not (micros % UNITS[name]).any())
        ranks = cls.fit_ranks(micros / UNITS[unit], len(written) + sum(v is None for v in values))
        return cls(**ranks, layout=merge_layouts(Counter(w.layout for w in written)), unit=unit)

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        """A column of times of a day is one of dates, which comes before; one of "5 m" and "7 m" may have metres."""
        if column.dtype != "string" or not mostly(column, parse_duration):
            return 0
        layouts = {w.layout for cell in column.sample if (w := parse_duration(cell)) is not None}
        return 0 if len(layouts) == 1 and LETTER.fullmatch(layouts.pop()) else 3

    @classmethod
    def reason(cls, column: ColumnSummary) -> str:
        example = next((v for v in column.sample if parse_duration(v)), "")
        return f"a duration in each cell, such as {example}"

    @classmethod
    def check_cell(cls, cell: Any) -> CellCheck:
        check = super().check_cell(cell)
        if cell is None or check.problem or parse_duration(str(cell)) is not None:
            return check
        return replace(check, problem=f"{cell!r} is no duration; write one such as 1:30:00 or 90 min")

    def describe(self) -> str:
        """
        >>> Duration.fit(["0:45:00", "26:30:00"]).describe()
        'durations from 0:45:00 to 26:30:00, to the minute, written as %H:%M:%S'
        """
        low, high = self.from_numbers(np.array([self.low, self.high]))
        missing = f", {100 * self.missing:.2g} % missing" if self.missing else ""
        return f"durations from {low} to {high}, to the {self.unit}, written as {self.layout}{missing}"

    def findings(self, column: ColumnValues) -> list[str]:
        """Durations that are all the same, or far from the others."""
        return far_values(self, column)

    def _micros(self, value: Any) -> int | None:
        if isinstance(value, datetime.timedelta):
            return value // datetime.timedelta(microseconds=1)
        written = parse_duration(str(value))
        return None if written is None else written.micros

    def numbers(self, values: Sequence[Any]) -> np.ndarray:
        return np.array([m / UNITS[self.unit] for m in self._all_micros(values)], dtype=np.float64)

    def from_numbers(self, numbers: np.ndarray) -> list[str]:
        return [write_duration(self.layout, round(number * UNITS[self.unit])) for number in numbers.tolist()]

    def _noun(self) -> str:
        return "duration"

    def native(self, value: str | None) -> datetime.timedelta | None:
        """A value as datetime.timedelta."""
        return None if value is None else datetime.timedelta(microseconds=self._micros(value) or 0)
