"""NumberFormat: how the cells of a column write numbers, as a pattern such as those of spreadsheets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np

_PATTERN = re.compile(
    r"(?P<before>[^#0]*)(?:#(?P<thousands>[^#0])##)?0(?:(?P<decimal>[^#0])(?P<fixed>0*)(?P<free>#?)(?<=[#0]))?(?P<after>[^#0]*)"
)


@dataclass(frozen=True)
class NumberFormat:
    """A pattern of one number: `0` are digits that are always there, `#` those that may be, other characters are written.

    before, after  what stands around the number, such as "$" and " kg"
    thousands      between groups of three digits
    decimal        the decimal mark
    decimals       so many are written; None for as many as the number has
    brackets       whether negative numbers stand in brackets, as accountants write them

    >>> money = NumberFormat.parse("$#,##0.00")
    >>> money.write(-1234.5), money.read("$1,234.50"), str(money), NumberFormat.parse("0,# %").write(12.5)
    ('-$1,234.50', 1234.5, '$#,##0.00', '12,5 %')
    """

    before: str = ""
    after: str = ""
    thousands: str = ""
    decimal: str = "."
    decimals: int | None = None
    brackets: bool = False

    @classmethod
    @cache
    def parse(cls, pattern: str) -> Self:
        """The format of a pattern. Raises ValueError for another text."""
        positive, _, negative = pattern.partition(";")
        match = _PATTERN.fullmatch(positive)
        if match is None or negative not in ("", f"({positive})"):
            raise ValueError(f"{pattern!r} is no pattern of numbers; write one such as #,##0.00")
        fixed = match["decimal"] is None or not match["free"]
        return cls(
            match["before"],
            match["after"],
            match["thousands"] or "",
            match["decimal"] or ".",
            len(match["fixed"] or "") if fixed else None,
            bool(negative),
        )

    def __str__(self) -> str:
        digits = f"#{self.thousands}##0" if self.thousands else "0"
        if self.decimals != 0:
            digits += self.decimal + ("#" if self.decimals is None else "0" * self.decimals)
        positive = f"{self.before}{digits}{self.after}"
        return f"{positive};({positive})" if self.brackets else positive

    def write(self, value: float) -> str:
        """A number in this format."""
        text = plain_digits(abs(value)) if self.decimals is None else f"{abs(value):.{self.decimals}f}"
        whole, _, fraction = text.partition(".")
        if self.thousands:
            groups = [whole[max(0, end - 3) : end] for end in range(len(whole), 0, -3)]
            whole = self.thousands.join(reversed(groups))
        text = f"{self.before}{whole}{self.decimal + fraction if fraction else ''}{self.after}"
        if value >= 0 or not any(c in text for c in "123456789"):
            return text
        return f"({text})" if self.brackets else f"-{text}"

    def read(self, text: str) -> float | None:
        """The number that a text in this format is; None for another one."""
        text = text.strip()
        sign = 1
        if self.brackets and text.startswith("(") and text.endswith(")"):
            sign, text = -1, text[1:-1]
        if text.startswith(("-", "+")):
            sign, text = (-1 if text[0] == "-" else 1), text[1:]
        if not text.startswith(self.before) or not text.endswith(self.after):
            return None
        digits = text[len(self.before) : len(text) - len(self.after)]
        if self.thousands:
            digits = digits.replace(self.thousands, "")
        if not re.fullmatch(r"[0-9]*\.?[0-9]*", digits := digits.replace(self.decimal, ".")):
            return None
        try:
            return sign * float(digits)
        except ValueError:
            return None


def plain_digits(value: float) -> str:
    """A number with as few digits as it needs, without an exponent unless it is very large or small.

    >>> plain_digits(12.0), plain_digits(0.00001), plain_digits(1e22)
    ('12', '0.00001', '1e+22')
    """
    if value == 0 or 1e-9 < abs(value) < 1e16:
        return np.format_float_positional(value, trim="-")
    return repr(value)
