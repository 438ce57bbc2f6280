"""Number: one float, as the normal score of its rank."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from torch import Tensor

from likewise.core.rng import Rng
from likewise.core.spec import Spec
from likewise.modalities.columns import CellCheck, ColumnSummary, ColumnValues
from likewise.modalities.conditions import Condition
from likewise.modalities.linear_number import LinearNumber, check_number, check_number_cell, parse_number
from likewise.modalities.number_format import NumberFormat, plain_digits
from likewise.modalities.rank_scale import decimals_of
from likewise.modalities.ranked import Ranked
from likewise.modalities.robust import is_usual
from likewise.modalities.suspects import missing_sign_line, missing_signs, near_id_lines

MAX_LISTED = 5  # far values in a message
MIN_COUNTED = 10  # values that count the rows, so that it is said
ID_SPAN = 2  # ids without an order are at most so many times as many whole numbers as there are rows
ID_NAME = re.compile(r"(?i:(.*[_\W])?(id|uuid|key|index|rownames))|.*[a-z]I[dD]")


@dataclass(frozen=True)
class Number(Ranked):
    """One float on the grid (1,): the normal score of a value's rank among the training values, see RankScale.

    Decoded values have the decimals of the training values, lie between the least and the largest of them, and are
    integers if all of these are. A value that repeats, such as 0, comes back as often as it was.

    integer     whether all training values are
    unique      whether all training values are different whole numbers
    style       how the cells of the file write them, the pattern of a NumberFormat; "" for digits only
    mean, std, limit  of the linear scale, see LinearNumber
    ranked      whether tokens are ranks; else they are on the linear scale, which keeps distances between values, and
                has no missing ones

    >>> import torch
    >>> age = Number.fit([30, 40, 40, 50])
    >>> age.decode(age.encode(40)), age.decode(torch.tensor([[9.0]])), age.format_cell(40)
    (40, 50, '40')
    """

    integer: bool = False
    unique: bool = False
    style: str = ""
    mean: float = 0.0
    std: float = 1.0
    limit: float | None = None
    ranked: bool = True

    dtypes = frozenset({"string", "int", "float", "bool"})
    numeric = True
    accepts_all = True

    kind = "number"
    media_type = "text/plain; charset=utf-8"
    suffix = ".txt"

    @classmethod
    def fit(cls, values: Sequence[float | None]) -> Self:
        """The ranks of values; None among them is a missing value."""
        present = np.asarray([v for v in values if v is not None], dtype=np.float64)
        integer = bool((present == present.round()).all())
        unique = integer and len(present) >= MIN_COUNTED and len(np.unique(present)) == len(present)
        line = LinearNumber.fit(present.tolist())
        ranks = cls(**cls.fit_ranks(present, len(values)), integer=integer, unique=unique)
        return replace(ranks, mean=line.mean, std=line.std, limit=line.limit)

    def refit(self, values: Sequence[float | None]) -> Self:
        """The same scale, if the values are of that order; else theirs."""
        if self.ranked:
            return super().refit(values)
        present = [v for v in values if v is not None]
        line = self._line.refit(present)
        fitted = self.fit(values).without_missing().linear()
        return replace(fitted, mean=line.mean, std=line.std, limit=line.limit)

    def linear(self) -> Self:
        return replace(self.without_missing(), ranked=False)

    @cached_property
    def _line(self) -> LinearNumber:
        return LinearNumber(self.mean, self.std, self.integer, self.low, self.high, self.limit)

    @cached_property
    def spec(self) -> Spec:
        return super().spec if self.ranked else self._line.spec

    def log_scale(self, tokens: Tensor) -> Tensor:
        return super().log_scale(tokens) if self.ranked else self._line.log_scale(tokens)

    def dequantize(self, tokens: Tensor, rng: Rng) -> Tensor:
        return super().dequantize(tokens, rng) if self.ranked else self._line.dequantize(tokens, rng)

    def tokens_within(self, condition: Condition) -> Tensor:
        return super().tokens_within(condition) if self.ranked else self._line.tokens_within(condition)

    def encode_all(self, values: Sequence[float | None]) -> Tensor:
        return super().encode_all(values) if self.ranked else self._line.encode_all(values)  # type: ignore[arg-type]

    def decode_all(self, tokens: Tensor) -> list[Any]:
        if self.ranked:
            return super().decode_all(tokens)
        values = np.array([self._line.decode(token) for token in tokens], dtype=np.float64)
        values = values.clip(self.low, self.high)
        if self.step:
            values = np.round(np.round(values / self.step) * self.step, decimals_of(self.step))
        return self.from_numbers(values)

    def with_style(self, style: str) -> Self:
        return replace(self, style=style)

    def numbers(self, values: Sequence[float]) -> np.ndarray:
        return np.asarray(values, dtype=np.float64)

    def from_numbers(self, numbers: np.ndarray) -> list[float] | list[int]:
        values: list[float] = numbers.tolist()
        return [round(value) for value in values] if self.integer else values

    def why_id(self, name: str) -> str:
        if not self.unique:
            return ""
        if self.high - self.low < ID_SPAN * self.rows:
            return "its values count the rows"
        return "each row has another value, as an id" if ID_NAME.fullmatch(name) else ""

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        return 1 if column.dtype in ("int", "float") else 0

    @classmethod
    def check_cell(cls, cell: Any) -> CellCheck:
        return check_number_cell(super().check_cell(cell), cell)

    def describe(self) -> str:
        """
        >>> Number.fit([0, 9, 3]).describe(), Number.fit([0.25, 0.5]).describe()
        ('whole numbers from 0 to 9', 'numbers from 0.25 to 0.5, of 2 decimals')
        """
        what = "whole numbers" if self.integer else "numbers"
        decimals = "" if self.integer or not self.step else f", of {_decimals(self.step)} decimals"
        missing = f", {100 * self.missing:.2g} % missing" if self.missing else ""
        written = f", written as {self.style}" if self.style else ""
        return f"{what} from {self.low:g} to {self.high:g}{decimals}{written}{missing}"

    # ---- values

    def findings(self, column: ColumnValues) -> list[str]:
        """Values that are all the same, or count the rows, and values that are far from the others."""
        values = np.asarray([v for v in column.values if v is not None], dtype=np.float64)
        if len(values) > 1 and (values == values[0]).all():
            return [f"{column.name}: every value is {values[0]:g}, so there is nothing to learn of it"]
        if self.integer and len(values) >= MIN_COUNTED and (np.diff(values) == 1).all():
            return [
                f"{column.name}: the values count the rows, from {values[0]:.0f} to {values[-1]:.0f}; leave it out of the "
                "formula unless that is meant"
            ]
        lines = near_id_lines(column) if self.integer and ID_NAME.fullmatch(column.name) else []
        signs = missing_signs(values, plain_digits)
        lines += [
            missing_sign_line(column.name, text, int((values == v).sum()), len(values)) for v, text in signs
        ]
        is_sign = np.isin(values, [value for value, _ in signs])
        far = ~is_usual(values) & ~is_sign
        if not far.any():
            return lines
        usual, indices = values[~far & ~is_sign], np.flatnonzero(far)
        listed = ", ".join(f"{values[i]:g} ({column.rows[i]})" for i in indices[:MAX_LISTED])
        more = ", ..." if len(indices) > MAX_LISTED else ""
        between = f", which lie between {usual.min():g} and {usual.max():g}" if len(usual) else ""
        return [
            *lines,
            f"{column.name}: {len(indices)} of {len(values)} values are far from the others{between}: {listed}{more}; "
            "correct them if they are errors",
        ]

    def check(self, value: Any) -> str | None:
        if value is None:
            return self.check_missing()
        return check_number(value)

    def load(self, data: bytes) -> float | int:
        text = data.decode(errors="replace")
        written = NumberFormat.parse(self.style).read(text) if self.style else None
        value = parse_number(data) if written is None else written
        return int(value) if self.integer and value.is_integer() else value

    def dump(self, value: float, metadata: Mapping[str, Any] | None = None) -> bytes:
        return repr(value).encode()

    def format_cell(self, value: float | None) -> str:
        if value is None or self.style:
            return "" if value is None else NumberFormat.parse(self.style).write(value)
        return plain_digits(value)


def _decimals(step: float) -> int:
    return max(0, math.ceil(-math.log10(step) - 1e-9))
