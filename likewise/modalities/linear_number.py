"""LinearNumber: one float on a linear scale; a number of runs of earlier versions."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from likewise.core.rng import Rng
from likewise.core.spec import Spec
from likewise.modalities.base import Modality
from likewise.modalities.columns import CellCheck, ColumnValues
from likewise.modalities.robust import is_usual, mean_and_std

LINEAR = 10.0  # standard deviations from the mean, up to which every column is linear at least
LARGE = 40.0  # from here on e^x and e^x - 1 are equal in float64
LOG_MAX = 709.78  # of the largest float64
MAX_LISTED = 5  # far values in a message
MIN_COUNTED = 10  # values that count the rows, so that it is said
MAX_SHIFT, MAX_SCALE = (
    3.0,
    4.0,
)  # of other values in units of the standard deviation, to be of one order with these


@dataclass(frozen=True)
class LinearNumber(Modality):
    """One float on the grid (1,), standardised, which may lie beyond all training values; decoded to an integer if all training values are integers.

        u = (value - mean) / std;   token = u where |u| <= limit, else sign(u) (limit + log(1 + |u| - limit))  (1)

    (1) increases and has a continuous derivative. `mean` and `std` are those of the usual training values (see
    robust.py), so they do not depend on how far the others are. `limit` is None in runs of earlier versions: then
    (1) is linear. `low` and `high` are the range of the training values, for axes and controls. Values are not
    clipped to it.

    A token is a float32; (1) is computed in float64. A value comes back with an error of 1e-7 (value - mean), and
    with 6 digits where it is beyond the limit: 2025 in a column from 0 to 1e6 is exact when rounded, an
    id of 15 digits has its first 7. What is known of a row is not decoded and stays exact.

    >>> age = LinearNumber.fit([30, 40, 50])
    >>> age.encode(40), age.decode(torch.tensor([[1.0]]))
    (tensor([[0.]]), 48)
    """

    mean: float
    std: float
    integer: bool
    low: float
    high: float
    limit: float | None = None

    dtypes = frozenset({"string", "int", "float", "bool"})
    numeric = True
    accepts_all = True
    target_rank = 40

    kind = "linear"
    media_type = "text/plain; charset=utf-8"
    suffix = ".txt"

    @classmethod
    def fit(cls, values: Sequence[float]) -> Self:
        """Mean and standard deviation of the usual values, and the range of all."""
        array = np.asarray(values, dtype=np.float64)
        integer, usual = bool((array == array.round()).all()), is_usual(array)
        mean, std = mean_and_std(array[usual], array[~usual], integer)
        linear = cls(mean, std, integer, float(array.min()), float(array.max()))
        return replace(linear, limit=max(LINEAR, float(np.abs(linear._tokens(array[usual])).max())))

    def refit(self, values: Sequence[float]) -> Self:
        """The same scale, if the values are of that order; else theirs."""
        fitted = self.fit(values)
        shift, scale = abs(fitted.mean - self.mean) / self.std, fitted.std / self.std
        if shift > MAX_SHIFT or not 1 / MAX_SCALE <= scale <= MAX_SCALE:
            return fitted
        limit = fitted.limit if self.limit is None else self.limit
        return replace(fitted, mean=self.mean, std=self.std, limit=limit)

    @classmethod
    def check_cell(cls, cell: Any) -> CellCheck:
        return check_number_cell(super().check_cell(cell), cell)

    def describe(self) -> str:
        """
        >>> LinearNumber(2.0, 1.0, True, 0, 9).describe()
        'whole numbers from 0 to 9'
        """
        return f"{'whole numbers' if self.integer else 'numbers'} from {self.low:g} to {self.high:g}"

    @property
    def spec(self) -> Spec:
        return Spec((1,), width=1)

    @property
    def _bound(self) -> float:
        return math.inf if self.limit is None else self.limit

    def log_scale(self, tokens: Tensor) -> Tensor:
        return -math.log(self.std) - (tokens.double().abs() - self._bound).clamp(min=0)

    def dequantize(self, tokens: Tensor, rng: Rng) -> Tensor:
        if not self.integer:
            return tokens
        width, noise = 1 / self.std, rng.uniform(*tokens.shape[1:])
        linear = tokens + width * (noise - 0.5)
        if self.limit is None:
            return linear
        sizes = tokens.double().abs()
        beyond = (sizes - self.limit).clamp(min=0, max=LOG_MAX)
        units = tokens.sign() * (sizes - beyond + beyond.expm1()) + width * (noise.double() - 0.5)
        beyond = (units.abs() - self.limit).clamp(min=0)
        curved = units.sign() * (units.abs() - beyond + beyond.log1p())
        return torch.where(sizes + width / 2 <= self.limit, linear, curved.to(tokens.dtype))

    def findings(self, column: ColumnValues) -> list[str]:
        """Values that are all the same, or count the rows, and values beyond the limit."""
        values = np.asarray(column.values, dtype=np.float64)
        if len(values) > 1 and (values == values[0]).all():
            return [f"{column.name}: every value is {values[0]:g}, so there is nothing to learn of it"]
        if self.integer and len(values) >= MIN_COUNTED and (np.diff(values) == 1).all():
            return [
                f"{column.name}: the values count the rows, from {values[0]:.0f} to {values[-1]:.0f}; leave it out of the "
                "formula unless that is meant"
            ]
        far = np.abs(self._tokens(values)) > self._bound
        if not far.any():
            return []
        usual, indices = values[~far], np.flatnonzero(far)
        listed = ", ".join(f"{values[i]:g} ({column.rows[i]})" for i in indices[:MAX_LISTED])
        more = ", ..." if len(indices) > MAX_LISTED else ""
        between = f", which lie between {usual.min():g} and {usual.max():g}" if len(usual) else ""
        return [
            f"{column.name}: {len(indices)} of {len(values)} values are far from the others{between}: {listed}{more}; "
            "correct them if they are errors"
        ]

    def check(self, value: Any) -> str | None:
        return check_number(value)

    def encode(self, value: float) -> Tensor:
        """A number -> (1, 1) float32. Raises ValueError unless it is finite."""
        return self.encode_all([value])[0]

    def encode_all(self, values: Sequence[float]) -> Tensor:
        for value in values:
            if reason := self.check(value):
                raise ValueError(reason)
        tokens = self._tokens(np.asarray(values, dtype=np.float64))
        return torch.from_numpy(tokens.astype(np.float32))[:, None, None]

    def decode(self, tokens: Tensor) -> float | int:
        value = self._value(float(tokens))
        return round(value) if self.integer else value

    def restore_known(self, sample: float, value: float, mask: Tensor) -> float:
        """A token keeps 7 digits."""
        return value if mask.all() else sample

    def _tokens(self, values: np.ndarray) -> np.ndarray:
        """(1) of (N,) float64."""
        with np.errstate(all="ignore"):
            units = (values - self.mean) / self.std
            halves = values / 2 - self.mean / 2  # a difference may overflow
            units = np.where(np.isfinite(units), units, halves / self.std * 2)
            beyond = np.log1p((np.abs(units) - self._bound).clip(min=0))
            large = np.log(np.abs(halves)) + math.log(2) - math.log(self.std)
            sizes = self._bound + np.where(np.isfinite(beyond), beyond, large)
            return np.where(np.abs(units) > self._bound, np.sign(halves) * sizes, units)

    def _value(self, token: float) -> float:
        """The inverse of (1), at most the largest float."""
        beyond = abs(token) - self._bound
        if beyond <= 0:
            value = token * self.std + self.mean
        elif beyond < LARGE:
            value = math.copysign(self._bound + math.expm1(beyond), token) * self.std + self.mean
        else:
            value = math.copysign(math.exp(min(beyond + math.log(self.std), LOG_MAX)), token) + self.mean
        return min(max(value, -sys.float_info.max), sys.float_info.max)

    def load(self, data: bytes) -> float | int:
        value = parse_number(data)
        return int(value) if self.integer and value.is_integer() else value

    def dump(self, value: float, metadata: Mapping[str, Any] | None = None) -> bytes:
        return repr(value).encode()


def check_number(value: Any) -> str | None:
    """Why a value is no finite number, or None."""
    try:
        return None if math.isfinite(value) else f"{value} is not a finite number"
    except TypeError:
        return f"{value!r} is not a number"
    except OverflowError:
        return "a whole number of more than 308 digits is not a number that can be learned"


def check_number_cell(check: CellCheck, cell: Any) -> CellCheck:
    """The check of a stored cell, which must be a finite number."""
    if check.problem or (isinstance(cell, int | float) and math.isfinite(cell)):
        return check
    return replace(check, problem=f"{cell!r} is not a finite number")


def parse_number(data: bytes) -> float:
    """A number written as text. Raises ValueError."""
    text = data.decode(errors="replace").strip()
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number; write one such as 3.5") from None
    if reason := check_number(value):
        raise ValueError(reason)
    return value
