"""How people write dates and times: cells -> a number of microseconds and the layout, and back.

A layout is a text with the directives of strftime: %Y %y %m %d %b %B %a %A %H %I %M %S %p, where %-m, %-d, %-H and
%-I have no leading zero; %3f is a fraction of 3 digits, %f one of as many as it has; %s and %3s are seconds and
milliseconds since 1970. Before the order of day and month is known they are %1 and %2, in their order.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

MICROSECONDS = 1_000_000
DAY = 86_400 * MICROSECONDS
EPOCH = date(1970, 1, 1).toordinal()
CENTURY = 69  # two digits of a year from here on are of 1969 ..., those before of 2000 ... (POSIX)
MONTHS = {name.lower(): n for n, name in enumerate(calendar.month_name) if n}
SHORT_MONTHS = {name.lower(): n for n, name in enumerate(calendar.month_abbr) if n} | {"sept": 9}
NAMES = {
    "b": list(calendar.month_abbr),
    "B": list(calendar.month_name),
    "a": list(calendar.day_abbr),
    "A": list(calendar.day_name),
}
DAYS = [name.lower() for name in calendar.day_name]

_YEAR, _TWO = r"(?P<Y>[0-9]{4})", r"[0-9]{1,2}"
_DATES = (
    rf"{_YEAR}(?P<s>[-/.])(?P<m>{_TWO})(?P=s)(?P<d>{_TWO})",
    rf"(?P<one>{_TWO})(?P<s>[-/.]|\. ?| )(?P<two>{_TWO})(?P=s)(?P<y>[0-9]{{4}}|[0-9]{{2}})",
    rf"(?:(?P<A>[A-Za-z]{{3,9}})(?P<s0>,? ))?(?P<d>{_TWO})(?P<s>[-/ ]|\. )(?P<B>[A-Za-z]{{3,9}}\.?)(?P<s2>[-/ ]|, )(?P<y>[0-9]{{4}}|[0-9]{{2}})",
    rf"(?:(?P<A>[A-Za-z]{{3,9}})(?P<s0>,? ))?(?P<B>[A-Za-z]{{3,9}}\.?) (?P<d>{_TWO})(?P<s2>,? ){_YEAR}",
    rf"{_YEAR}(?P<s>[-/])(?P<m>[0-9]{{2}})",
    rf"(?P<B>[A-Za-z]{{3,9}}\.?)(?P<s2>[-/ ]|, ){_YEAR}",
    r"(?P<Y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})",
)
_TIME = (
    rf"(?P<H>{_TWO})(?::(?P<M>[0-9]{{2}})(?::(?P<S>[0-9]{{2}})(?:(?P<point>[.,])(?P<f>[0-9]{{1,9}}))?)?"
    r"(?P<p> ?[AaPp][Mm])?|(?P<p2> ?[AaPp][Mm]))"
)
_ZONE = r"(?P<z> ?(?:Z|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?"
_WITH_DATE = tuple(re.compile(rf"{d}(?:(?P<T>T| |, | at ){_TIME}{_ZONE})?") for d in _DATES)
_TIME_ONLY = re.compile(_TIME + _ZONE)
_COMPACT = re.compile(
    r"(?P<Y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})T(?P<H>[0-9]{2})(?P<M>[0-9]{2})(?P<S>[0-9]{2})?" + _ZONE
)
_EPOCH = re.compile(r"[0-9]{9,10}|[0-9]{12,13}")


@dataclass(frozen=True)
class WrittenDate:
    """A cell that may be a date, a time or both.

    layout  with padded directives, see the module; without the zone
    parts   year, month, day, microseconds since midnight; of %1 and %2 month and day are these two in their order
    zone    as written, "" for none
    padded  whether day and month, and the hour, have two digits; None where that does not tell
    """

    layout: str
    parts: tuple[int, int, int, int]
    zone: str
    padded: tuple[bool | None, bool | None]

    def number(self, day_first: bool = False) -> int | None:
        """Microseconds since 1970-01-01 in the zone of the cell, of a time since midnight; None for no such day."""
        year, month, day, time = self.parts
        if "%1" in self.layout and day_first:
            month, day = day, month
        if not is_time(self.layout):
            try:
                time += (date(year, month, day).toordinal() - EPOCH) * DAY
            except ValueError:
                return None
        return time


def is_time(layout: str) -> bool:
    """Whether a layout has a time, and no date."""
    return not re.search(r"%(-?[Yymd12bB]|[0-9]?s)", layout)


@lru_cache(maxsize=2**16)
def parse_date(text: str, numeric: bool = False) -> WrittenDate | None:
    """The date or time that a cell may be, None for another text.

    numeric  whether it may be digits only: 20240131, or seconds or milliseconds since 1970

    >>> parse_date("31.12.2024").layout, parse_date("3 Jan 2024 9:05 pm").layout, parse_date("31.31.2024")
    ('%1.%2.%Y', '%d %b %Y %I:%M %P', None)
    """
    text = text.strip()
    if not 4 <= len(text) <= 50 or not text[-1:].isalnum() or not any(c.isdigit() for c in text[:12]):
        return None
    if text.isdecimal():
        return _digits(text) if numeric else None
    for pattern in (*_WITH_DATE[:-1], _COMPACT, _TIME_ONLY):
        if match := pattern.fullmatch(text):
            written = _written({k: v for k, v in match.groupdict().items() if v is not None}, pattern)
            if written is not None:
                return written
    return None


def _digits(text: str) -> WrittenDate | None:
    if _EPOCH.fullmatch(text):
        unit, scale = ("%3s", 1000) if len(text) > 10 else ("%s", MICROSECONDS)
        days, time = divmod(int(text) * scale, DAY)
        day = date.fromordinal(EPOCH + days)
        return WrittenDate(unit, (day.year, day.month, day.day, time), "", (None, None))
    match = _WITH_DATE[-1].fullmatch(text)
    return (
        _written({k: v for k, v in match.groupdict().items() if v is not None}, _COMPACT) if match else None
    )


def _written(g: dict[str, str], pattern: re.Pattern[str]) -> WrittenDate | None:
    layout, year, month, day = "", 1970, 1, 1
    two = [g[k] for k in ("m", "d", "one", "two") if k in g]
    if pattern is not _TIME_ONLY:
        if (found := _date_part(g, compact=pattern is _COMPACT)) is None:
            return None
        layout, year, month, day = found
    time = 0
    if "H" in g:
        if (clock := _time_part(g, compact=pattern is _COMPACT)) is None:
            return None
        layout, time = layout + ("T" if pattern is _COMPACT else g.get("T", "")) + clock[0], clock[1]
    hour = g.get("H", "")
    date_padding = False if any(len(v) == 1 for v in two) else True if any(v[0] == "0" for v in two) else None
    hour_padding = None if not hour or (hour[0] in "12" and len(hour) == 2) else len(hour) == 2
    written = WrittenDate(layout, (year, month, day, time), g.get("z", ""), (date_padding, hour_padding))
    if written.number() is None and ("%1" not in layout or written.number(day_first=True) is None):
        return None
    return written


def _date_part(g: dict[str, str], *, compact: bool) -> tuple[str, int, int, int] | None:
    """The layout, year, month and day."""
    year_text = g.get("Y") or g["y"]
    year, y = int(year_text), "%Y"
    if len(year_text) == 2:
        year, y = year + (1900 if year >= CENTURY else 2000), "%y"
        if g.get("s") != "/" and "one" in g and not len(g["one"]) == len(g["two"]) == 2:
            return None  # 1.2.24 may be a version
    s, day = g.get("s", ""), int(g.get("d", 1))
    if "one" in g:
        return f"%1{s}%2{s}{y}", year, int(g["one"]), int(g["two"])
    if "B" not in g:
        s = "" if compact else s
        return f"{y}{s}%m" + (f"{s}%d" if "d" in g else ""), year, int(g["m"]), day
    name = g["B"].rstrip(".").lower()
    month = MONTHS.get(name) or SHORT_MONTHS.get(name)
    weekday = g.get("A", "").lower()
    if month is None or (weekday and weekday not in DAYS and weekday not in [d[:3] for d in DAYS]):
        return None
    b = ("%B" if name in MONTHS and len(name) > 3 else "%b") + ("." if g["B"].endswith(".") else "")
    b = b.replace("%", "%^") if g["B"].isupper() else b
    a = ("%a" if len(weekday) == 3 else "%A") + g["s0"] if weekday else ""
    if "d" not in g:
        return f"{b}{g['s2']}{y}", year, month, 1
    if "s" in g:
        return f"{a}%d{s}{b}{g['s2']}{y}", year, month, day
    return f"{a}{b} %d{g['s2']}{y}", year, month, day


def _time_part(g: dict[str, str], *, compact: bool) -> tuple[str, int] | None:
    """The layout, and microseconds since midnight."""
    colon = "" if compact else ":"
    hour, minute, second = (int(g.get(name, 0)) for name in "HMS")
    half = g.get("p") or g.get("p2") or ""
    if minute > 59 or second > 59 or hour > 23 or (half and not 1 <= hour <= 12):
        return None
    layout = "%I" if half else "%H"
    layout += f"{colon}%M" if "M" in g else ""
    layout += f"{colon}%S" if "S" in g else ""
    layout += f"{g['point']}%{len(g['f'])}f" if "f" in g else ""
    if half:
        layout += half[:-2] + ("%p" if half[-2:].isupper() else "%P")
        hour = hour % 12 + (12 if half[-2:].lower() == "pm" else 0)
    fraction = int(g.get("f", "0")[:6].ljust(6, "0"))
    return layout, ((hour * 60 + minute) * 60 + second) * MICROSECONDS + fraction


# ---- zones


def zone_minutes(zone: str) -> int:
    """The offset from UTC in minutes of a zone as it is written.

    >>> zone_minutes("Z"), zone_minutes("+05:30"), zone_minutes(" -0800")
    (0, 330, -480)
    """
    digits = re.sub(r"[^0-9]", "", zone)
    if not digits:
        return 0
    minutes = int(digits[:2]) * 60 + int(digits[2:] or 0)
    return -minutes if "-" in zone else minutes


# ---- numbers -> cells


def write_date(layout: str, micros: int) -> str:
    """A number of microseconds since 1970, or since midnight, in a layout.

    >>> write_date("%-d.%-m.%Y %H:%M", 90 * 60 * 10**6), write_date("%a, %d %^b %y", 0), write_date("%S.%3f", 1_500_000)
    ('1.1.1970 01:30', 'Thu, 01 JAN 70', '01.500')
    """
    days, time = divmod(micros, DAY)
    day = date.fromordinal(min(max(EPOCH + days, 1), date.max.toordinal()))
    seconds, fraction = divmod(time, MICROSECONDS)
    values = (day, seconds, fraction, micros)
    return "".join(_write_part(part, values) if part[:1] == "%" else part for part in _parts(layout))


@lru_cache
def _parts(layout: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(r"(%(?:[-^]?[YymdbBaAHIMSpPfs]|[0-9][fs]))", layout) if part)


def _write_part(part: str, values: tuple[date, int, int, int]) -> str:
    day, seconds, fraction, micros = values
    code = part[-1]
    if code in "bBaA":
        names = NAMES[code]
        name = names[day.month if code in "bB" else day.weekday()]
        return name.upper() if "^" in part else name
    if code in "pP":
        half = "AM" if seconds < 43_200 else "PM"
        return half if code == "p" else half.lower()
    if code == "f":
        digits = f"{fraction:06d}"
        return (
            digits[: int(part[1])].ljust(int(part[1]), "0")
            if part[1].isdigit()
            else digits.rstrip("0") or "0"
        )
    if code == "s":
        return str(micros // (1000 if part == "%3s" else MICROSECONDS))
    if code == "Y":
        return f"{day.year:04d}"
    hour = seconds // 3600
    number = {
        "y": day.year % 100,
        "m": day.month,
        "d": day.day,
        "H": hour,
        "I": (hour + 11) % 12 + 1,
        "M": seconds // 60 % 60,
        "S": seconds % 60,
    }[code]
    return str(number) if "-" in part else f"{number:02d}"
