"""Calendar: a regular grid of time, from time stamps, and the cycles that its step has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

import numpy as np

from likewise.data.arrow import TableError

DAY = 86_400
MONTHS = {28: 1, 29: 1, 30: 1, 31: 1, 90: 3, 91: 3, 92: 3, 365: 12, 366: 12}  # days of a step -> months
FORMATS = ("%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y-%m", "%Y/%m", "%d.%m.%Y", "%d.%m.%Y %H:%M")
Unit = Literal["second", "month", "step"]


@dataclass(frozen=True)
class Calendar:
    """Steps of one length from a first one.

    first  of unit "second" seconds since 1970, of "month" months since the year 0, of "step" a whole number
    step   its length in units
    day    of months, the day of the month; 0 for the last one
    zone   seconds that the clock of the file is ahead of UTC; None where it has no zone

    >>> c = Calendar.of(["2024-01-01", "2024-01-03", "2024-01-02"])
    >>> c.describe(), c.index("2024-01-05"), c.label(4), c.periods(1000)
    ('1 day', 4, '2024-01-05', (7,))
    """

    unit: Unit
    first: int
    step: int
    day: int = 1
    zone: int | None = None
    date_only: bool = False

    @classmethod
    def of(cls, stamps: Sequence[Any]) -> Calendar:
        """The grid that the most frequent distance of distinct time stamps gives. Raises TableError for fewer than 3."""
        parsed = {_parse(s) for s in stamps}
        if len(parsed) < 3:
            raise TableError(f"a series needs at least 3 different times, and there are {len(parsed)}")
        numbers = sorted(t for t in parsed if isinstance(t, int))
        times = sorted((t for t in parsed if isinstance(t, datetime)), key=_seconds)
        if numbers and times:
            raise TableError(f"the times are of two kinds, such as {numbers[0]} and {times[0]}")
        if numbers:
            return cls("step", numbers[0], _mode(np.diff(np.array(numbers, dtype=np.int64))))
        zone = times[0].utcoffset()
        offset = None if zone is None else int(zone.total_seconds())
        date_only = all((isinstance(s, str) and len(s.strip()) <= 10) or type(s) is date for s in stamps)
        seconds = np.array([_seconds(t) for t in times], dtype=np.int64)
        step = _mode(np.diff(seconds))
        months = MONTHS.get(step // DAY) if step % DAY == 0 else None
        if months is None or (
            step == 30 * DAY and len(set(np.diff(seconds).tolist())) == 1 and len(times) > 3
        ):
            return cls("second", int(seconds[0]), step, 1, offset, date_only)
        ends = all((t + timedelta(days=1)).day == 1 for t in times)
        return cls("month", _months(times[0]), months, 0 if ends else times[0].day, offset, date_only)

    def index(self, stamp: Any) -> int:
        """The number of a time stamp on the grid. Raises TableError for one that is not on it."""
        time = _parse(stamp)
        if (self.unit == "step") != isinstance(time, int):
            raise TableError(f"the time {stamp!r} is not of the kind of the others")
        if isinstance(time, int):
            at, rest = divmod(time - self.first, self.step)
        elif self.unit == "second":
            at, rest = divmod(_seconds(time) - self.first, self.step)
        else:
            at, rest = divmod(_months(time) - self.first, self.step)
            last = (time + timedelta(days=1)).day == 1
            rest = rest or (not last if self.day == 0 else time.day != self.day and not last)
        if rest:
            raise TableError(
                f"the time {stamp} is not on the grid of the others, a step of {self.describe()}"
            )
        return at

    def label(self, index: int) -> str:
        """The time stamp of a step, in ISO 8601."""
        value = self.first + int(index) * self.step
        if self.unit == "step":
            return str(value)
        if self.unit == "month":
            year, month = divmod(value, 12)
            start = datetime(year, month + 1, 1)
            if self.day != 1:
                nextmonth = datetime(year + (month == 11), (month + 1) % 12 + 1, 1)
                last = nextmonth - timedelta(days=1)
                start = last if self.day == 0 else start.replace(day=min(self.day, last.day))
            return start.date().isoformat()
        time = datetime(1970, 1, 1) + timedelta(seconds=value + (self.zone or 0))
        if self.date_only and self.step % DAY == 0:
            return time.date().isoformat()
        text = time.isoformat(sep=" ")
        if self.zone is None:
            return text
        sign, ahead = "-" if self.zone < 0 else "+", abs(self.zone)
        return text + (f"{sign}{ahead // 3600:02}:{ahead % 3600 // 60:02}" if ahead else "Z")

    def periods(self, steps: int) -> tuple[int, ...]:
        """The lengths in steps of the cycles of which `steps` have at least three, the shortest first."""
        if self.unit == "step":
            return ()
        if self.unit == "month":
            cycles = [12 / self.step]
        elif self.step < DAY:
            cycles = [DAY / self.step, 7 * DAY / self.step]
        elif self.step < 7 * DAY:
            cycles = [7 * DAY / self.step, round(365.25 * DAY / self.step)]
        else:
            cycles = [round(365.25 * DAY / self.step)]
        return tuple(int(c) for c in cycles if c >= 2 and c == int(c) and 3 * c <= steps)

    def describe(self) -> str:
        """The length of a step: "30 minutes", "1 month"."""
        if self.unit == "step":
            return f"{self.step} of the numbers in the column of time"
        if self.unit == "month":
            return _amount(self.step, "month") if self.step % 12 else _amount(self.step // 12, "year")
        for length, name in ((7 * DAY, "week"), (DAY, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
            if self.step % length == 0:
                return _amount(self.step // length, name)
        raise AssertionError("a step is a whole number of seconds")


def is_time(value: Any) -> bool:
    """Whether a value is a date or a time, or a text that one of the known forms reads."""
    try:
        return not isinstance(_parse(value), int)
    except TableError:
        return False


def _amount(count: int, name: str) -> str:
    return f"{count} {name}{'s' if count > 1 else ''}"


def _mode(steps: np.ndarray) -> int:
    return int(Counter(steps.tolist()).most_common(1)[0][0])


def _seconds(time: datetime) -> int:
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp())


def _months(time: datetime) -> int:
    return 12 * time.year + time.month - 1


def _parse(value: Any) -> datetime | int:
    """A time stamp, or a whole number. Raises TableError with the forms that are read."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value == int(value):
        return int(value)
    text = str(value).strip()
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in FORMATS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    raise TableError(
        f"the time {value!r} is no date or time; write it as 2024-03-31, 2024-03-31 14:30 or 31.03.2024"
    )
