"""How people write durations: cells -> microseconds and the layout, and back.

A layout has %W %D %H %M %S for the number of each unit, behind which stands what the column writes there. Those of
clocks, "%H:%M:%S", have two digits of all but the first; in others a unit that is 0 is left out, and "(s)" stands for
a plural.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from likewise.modalities.date_format import MICROSECONDS

SIZES = {"W": 7 * 86_400, "D": 86_400, "H": 3600, "M": 60, "S": 1}  # seconds
_WORDS = {
    "W": "weeks|week|wks|wk|w",
    "D": "days|day|d",
    "H": "hours|hour|hrs|hr|h",
    "M": "minutes|minute|mins|min|m",
    "S": "seconds|second|secs|sec|s",
}
_SECONDS = r"[0-9]+(?:\.[0-9]{1,6})?"
_CLOCK = re.compile(
    r"(?P<sign>-?)(?:(?P<D>[0-9]+)(?P<word> days?,? ))?(?P<H>[0-9]+):(?P<M>[0-5][0-9])(?::(?P<S>[0-5][0-9](?:\.[0-9]{1,9})?))?"
)
_ISO = re.compile(
    rf"(?P<sign>-?)P(?:(?P<W>[0-9]+)W)?(?:(?P<D>[0-9]+)D)?(?:T(?:(?P<H>[0-9]+)H)?(?:(?P<M>[0-9]+)M)?(?:(?P<S>{_SECONDS})S)?)?"
)
_SPELLED = re.compile(
    r"(?P<sign>-?)"
    + "".join(
        rf"(?:(?P<{k}>{_SECONDS})(?P<{k}w> ?(?:{w})\b[,.]? ?|(?:{w})(?=[0-9])))?" for k, w in _WORDS.items()
    ),
    re.IGNORECASE,
)


@dataclass(frozen=True)
class WrittenDuration:
    """A cell that is a duration: its layout and its microseconds."""

    layout: str
    micros: int


@lru_cache(maxsize=2**16)
def parse_duration(text: str) -> WrittenDuration | None:
    """The duration that a cell is, None for another text.

    >>> parse_duration("1:30:00").layout, parse_duration("PT1H30M").micros, parse_duration("1h 30m").layout
    ('%H:%M:%S', 5400000000, '%Hh %Mm')
    """
    text = text.strip()
    if not 2 <= len(text) <= 50 or not any(c.isdigit() for c in text):
        return None
    for pattern in (_CLOCK, _ISO, _SPELLED):
        match = pattern.fullmatch(text)
        parts = {k: v for k in SIZES if match and k in match.groupdict() and (v := match[k]) is not None}
        if match and parts:
            micros = sum(round(float(v) * SIZES[k] * MICROSECONDS) for k, v in parts.items())
            return WrittenDuration(_layout(match, parts), -micros if match["sign"] else micros)
    return None


def _layout(match: re.Match[str], parts: dict[str, str]) -> str:
    if match.re is _ISO:
        return "P%WW%DDT%HH%MM%SS"
    if match.re is _SPELLED:
        return "".join(f"%{k}{_plural(match[k + 'w'])}" for k in parts).rstrip()
    days = f"%D{_plural(match['word'])}" if "D" in parts else ""
    hours = "%0H" if match["H"][0] == "0" and len(match["H"]) == 2 else "%H"
    seconds = ":%S" if "S" in parts else ""
    digits = len(parts.get("S", "").partition(".")[2])
    return f"{days}{hours}:%M{seconds}" + (f".%{digits}f" if digits else "")


def _plural(word: str) -> str:
    stem = re.fullmatch(r"( ?)(week|day|hour|minute|min|second|sec|wk|hr)s?([,.]? ?)", word, re.IGNORECASE)
    return f"{stem[1]}{stem[2]}(s){stem[3]}" if stem and stem[2] not in ("min", "sec", "wk", "hr") else word


def merge_layouts(layouts: dict[str, int]) -> str:
    """The layout of a column: of clocks and ISO 8601 the most frequent one, of words all units that occur.

    >>> merge_layouts({"%Hh %Mm": 5, "%Mm": 3, "%Dd %Hh": 1})
    '%Dd %Hh %Mm'
    """
    best = max(layouts, key=lambda name: layouts[name])
    if ":" in best or best.startswith("P"):
        return best
    words: dict[str, str] = {}
    for layout in sorted(layouts, key=lambda name: -layouts[name]):
        if ":" not in layout and not layout.startswith("P"):
            for code, word in re.findall("%([WDHMS])([^%]*)", layout):
                words[code] = max(words.get(code, ""), word, key=len)
    gap = " " if any(word.endswith(" ") for word in words.values()) else ""
    return gap.join(f"%{code}{words[code].rstrip()}" for code in SIZES if code in words)


def write_duration(layout: str, micros: int) -> str:
    """Microseconds in a layout.

    >>> write_duration("%H:%M", 90 * 60 * 10**6), write_duration("%D day(s), %0H:%M:%S", 3600 * 10**6)
    ('1:30', '0 days, 01:00:00')
    >>> write_duration("P%WW%DDT%HH%MM%SS", 5_400_500_000), write_duration("%H hour(s) %M minute(s)", 3_660_000_000)
    ('PT1H30M0.5S', '1 hour 1 minute')
    """
    sign, rest = ("-" if micros < 0 else ""), abs(micros)
    if layout.startswith("P"):
        return sign + _write_iso(rest)
    codes = re.findall("%0?([WDHMS])", layout)
    numbers = {}
    for code in codes:
        numbers[code], rest = divmod(rest, SIZES[code] * MICROSECONDS)
    if ":" in layout:
        text = re.sub("%([0-9])f", lambda m: f"{rest:06d}"[: int(m[1])].ljust(int(m[1]), "0"), layout)
        text = re.sub("%(0?)([MS])", lambda m: f"{numbers[m[2]]:02d}", text)
        text = re.sub("%(0?)([DH])", lambda m: f"{numbers[m[2]]:0{2 if m[1] else 1}d}", text)
        return sign + text.replace("(s)", "" if numbers.get("D") == 1 else "s")
    fraction = f".{rest:06d}".rstrip("0") if rest and codes[-1] == "S" else ""
    parts = re.findall("%([WDHMS])([^%]*)", layout)
    kept = [(c, w) for c, w in parts if numbers[c] or (fraction and c == "S")] or parts[-1:]
    texts = [
        f"{numbers[c]}{fraction if c == 'S' else ''}{w}".replace("(s)", "" if numbers[c] == 1 else "s")
        for c, w in kept
    ]
    return sign + "".join(texts).rstrip(" ,")


def _write_iso(micros: int) -> str:
    seconds, fraction = divmod(micros, MICROSECONDS)
    days, seconds = divmod(seconds, 86_400)
    parts = {"H": seconds // 3600, "M": seconds // 60 % 60, "S": seconds % 60}
    end = f".{fraction:06d}".rstrip("0") if fraction else ""
    time = "".join(f"{n}{end if k == 'S' else ''}{k}" for k, n in parts.items() if n or (k == "S" and end))
    if not time and not days:
        return "PT0S"
    return "P" + (f"{days}D" if days else "") + (f"T{time}" if time else "")
