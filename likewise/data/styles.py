"""How people write numbers: decimal marks, thousands separators, currencies, percent."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from likewise.modalities.number_format import NumberFormat

CURRENCIES = (
    "EUR",
    "USD",
    "GBP",
    "CHF",
    "JPY",
    "CNY",
    "INR",
    "CAD",
    "AUD",
    "SEK",
    "NOK",
    "DKK",
    "PLN",
    "CZK",
)
SPACES = str.maketrans(
    {"\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'", "−": "-", "٫": ".", "٬": ","}
)  # to those of NumberStyle
NEGATIVE = re.compile(r"\((.*)\)", re.DOTALL)  # as accountants write it: (1,234) is -1234
WORD = r"(?:[^\W\d_]|°)[^\s\d()]{0,9}"  # such as kg, °C, m², km/h


@dataclass(frozen=True)
class NumberStyle:
    """How numbers are written, such as "$1,234.50" with the decimal mark ".", thousands "," and the unit "$".

    >>> NumberStyle(",", ".").value(parse_written("1.234,5")), NumberStyle(".", ",").value(parse_written("1.234,5"))
    (1234.5, None)
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""

    def with_unit(self, unit: str) -> NumberStyle:
        """The same marks with a unit."""
        return replace(self, unit=unit)

    def value(self, written: WrittenNumber) -> int | float | None:
        """The value in this style, whatever its unit; None if it is no number in it."""
        if _pattern(self.decimal, self.thousands).fullmatch(written.digits) is None:
            return None
        digits = written.digits.replace(self.thousands, "") if self.thousands else written.digits
        text = written.sign + digits.replace(self.decimal, ".")
        return float(text) if set(text) & set(".eE") else int(text)

    def describe(self) -> str:
        """
        >>> NumberStyle(",", ".").describe()
        "decimal ',', thousands '.'"
        """
        return f"decimal {self.decimal!r}" + (f", thousands {self.thousands!r}" if self.thousands else "")


STYLES = tuple(  # the plainest first
    NumberStyle(decimal, thousands)
    for decimal in ".,"
    for thousands in ("", "," if decimal == "." else ".", " ", "'")
)
PLAIN = STYLES[0]


@dataclass(frozen=True)
class WrittenNumber:
    """What may be a number: its sign, the digits with all marks between them, and its unit.

    >>> parse_written("-$1,234.50"), parse_written("two")
    (WrittenNumber(sign='-', digits='1,234.50', unit='$'), None)
    """

    sign: str
    digits: str
    unit: str


def parse_written(text: str, *, words: bool = False) -> WrittenNumber | None:
    """What may be a number in some style, None for another text.

    words  whether a unit may be any word behind the digits, such as kg

    >>> parse_written("(1,234)").sign, parse_written("٣٫٥").digits, parse_written("5 kg"), parse_written("5 kg", words=True).unit
    ('-', '3.5', None, 'kg')
    >>> parse_written("0012.png", words=True)
    """
    text = text.translate(SPACES).strip()
    if not text.isascii():
        text = "".join(str(unicodedata.digit(c)) if c.isdecimal() else c for c in text)
    inner = NEGATIVE.fullmatch(text)
    match = _shape(words).fullmatch(inner[1].strip() if inner else text)
    if match is None or (match["before"] and match["after"]) or (match["outer"] and match["inner"]):
        return None
    if match["digits"][-1] in ".," and text[match.end("digits") :][:1].isalpha() and not inner:
        return None  # a file, such as 12.png
    sign, unit = match["outer"] or match["inner"] or "", match["before"] or match["after"] or ""
    if inner and sign:
        return None
    return WrittenNumber("-" if inner else sign, match["digits"], unit)


def common_pattern(cells: Sequence[str], style: NumberStyle) -> str:
    """The pattern of a NumberFormat that most of the cells of a column have; "" if they are digits only.

    >>> common_pattern(["$1,234.50", "$7.00"], NumberStyle(".", ",", "$")), common_pattern(["12,5 %", "3 %"], NumberStyle(",", "", "%"))
    ('$#,##0.00', '0,# %')
    >>> common_pattern(["1.5", "2"], PLAIN), common_pattern(["(5.10)", "2.00"], PLAIN), common_pattern(["1", "2"], PLAIN)
    ('', '0.00;(0.00)', '')
    """
    formats = [f for cell in cells if (f := _cell_format(cell, style)) is not None]
    if not formats:
        return ""
    around = Counter((f.before, f.after) for f in formats).most_common(1)[0][0]
    thousands = Counter(f.thousands for f in formats if f.thousands).most_common(1)
    decimals = {f.decimals for f in formats}
    common = NumberFormat(
        *around,
        thousands[0][0] if thousands else "",
        style.decimal,
        decimals.pop() if len(decimals) == 1 else None,
        any(f.brackets for f in formats),
    )
    pattern = str(common)
    return "" if pattern in ("0", "0.#") else pattern


def _cell_format(cell: str, style: NumberStyle) -> NumberFormat | None:
    """The format of one cell, None for one with an exponent, or with other characters than these patterns have."""
    text = cell.strip()
    inner = NEGATIVE.fullmatch(text)
    text = inner[1].strip() if inner else text
    digits = re.search(r"[0-9](?:.*[0-9])?|[.,][0-9]+", text)
    if digits is None or re.search(r"[eE#;]", digits[0]):
        return None
    before, after = re.sub(r"[-+−]", "", text[: digits.start()]), text[digits.end() :]
    if set(before + after) & set("#0;") or before.endswith((".", ",")):
        return None
    whole, _, fraction = digits[0].partition(style.decimal)
    separators = re.sub(r"[0-9]", "", whole)
    return NumberFormat(before, after, separators[:1], style.decimal, len(fraction), bool(inner))


def styles_with(decimal: str | None, thousands: str | None) -> tuple[NumberStyle, ...]:
    """The styles in which a file can be, where these marks are given.

    >>> [style.describe() for style in styles_with(",", None)][:2]
    ["decimal ','", "decimal ',', thousands '.'"]
    """
    if thousands is not None:
        thousands = thousands.translate(SPACES)
        decimals = [decimal] if decimal else [mark for mark in ".," if mark != thousands]
        return tuple(NumberStyle(mark, t) for mark in decimals for t in dict.fromkeys(("", thousands)))
    if decimal in (None, ".", ","):
        return tuple(style for style in STYLES if decimal in (None, style.decimal))
    return tuple(NumberStyle(str(decimal), t) for t in ("", ",", ".", " ", "'") if t != decimal)


@cache
def _shape(words: bool) -> re.Pattern[str]:
    symbols = "".join(c for c in map(chr, range(sys.maxunicode)) if unicodedata.category(c) == "Sc")
    unit = rf"[{re.escape(symbols)}%‰]|{'|'.join(CURRENCIES)}"
    return re.compile(
        rf"(?P<outer>[+-]?)(?:(?P<before>{unit}) ?)?(?P<inner>[+-]?)"
        r"(?P<digits>[0-9.,][0-9., ']*?(?:[eE][+-]?[0-9]+)?)"
        rf"(?: ?(?P<after>{unit}{'|' + WORD if words else ''}))?"
    )


@cache
def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    mark, group = re.escape(decimal), re.escape(thousands)
    indian = rf"[0-9]{{1,2}}(?:{group}[0-9]{{2}})+{group}[0-9]{{3}}|"  # 12,34,567
    grouped = rf"[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|{indian}" if thousands else ""
    return re.compile(rf"(?:(?:{grouped}[0-9]+)(?:{mark}[0-9]*)?|{mark}[0-9]+)(?:[eE][+-]?[0-9]+)?")
