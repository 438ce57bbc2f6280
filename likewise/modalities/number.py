"""Number: one float."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from likewise.core.spec import Spec
from likewise.modalities.base import Modality
from likewise.modalities.columns import CellCheck, ColumnSummary


@dataclass(frozen=True)
class Number(Modality):
    """One float on the grid (1,), standardised; decoded to an integer if all training values are integers.

    `low` and `high` are the range of the training values, for axes and controls. Values are not clipped to it.

    >>> age = Number.fit([30, 40, 50])
    >>> age.encode(40), age.decode(torch.tensor([[1.0]]))
    (tensor([[0.]]), 48)
    """

    mean: float
    std: float
    integer: bool
    low: float
    high: float

    dtypes = frozenset({"string", "int", "float", "bool"})
    numeric = True
    target_rank = 40

    kind = "number"
    media_type = "text/plain; charset=utf-8"
    suffix = ".txt"

    @classmethod
    def fit(cls, values: Sequence[float]) -> Self:
        """Mean, standard deviation and range of `values`; the deviation of a constant column is 1."""
        array = np.asarray(values, dtype=np.float64)
        return cls(
            float(array.mean()),
            float(array.std()) or 1.0,
            bool((array == array.round()).all()),
            float(array.min()),
            float(array.max()),
        )

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        return 1 if column.dtype in ("int", "float") else 0

    @classmethod
    def check_cell(cls, cell: Any) -> CellCheck:
        check = super().check_cell(cell)
        if check.problem or (isinstance(cell, int | float) and math.isfinite(cell)):
            return check
        return replace(check, problem=f"{cell!r} is not a finite number")

    def describe(self) -> str:
        """
        >>> Number(2.0, 1.0, True, 0, 9).describe()
        'whole numbers from 0 to 9'
        """
        return f"{'whole numbers' if self.integer else 'numbers'} from {self.low:g} to {self.high:g}"

    @property
    def spec(self) -> Spec:
        return Spec((1,), width=1)

    @property
    def log_scale(self) -> float:
        return -math.log(self.std)

    @property
    def bin_width(self) -> float:
        return 1 / self.std if self.integer else 0.0

    def check(self, value: Any) -> str | None:
        try:
            return None if math.isfinite(value) else f"{value} is not a finite number"
        except TypeError:
            return f"{value!r} is not a number"

    def encode(self, value: float) -> Tensor:
        """A number -> (1, 1) float32. Raises ValueError unless it is finite."""
        if reason := self.check(value):
            raise ValueError(reason)
        return torch.tensor([[(value - self.mean) / self.std]], dtype=torch.float32)

    def decode(self, tokens: Tensor) -> float | int:
        value = float(tokens) * self.std + self.mean
        return round(value) if self.integer else value

    def load(self, data: bytes) -> float | int:
        text = data.decode(errors="replace").strip()
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number; write one such as 3.5") from None
        if reason := self.check(value):
            raise ValueError(reason)
        return int(value) if self.integer and value.is_integer() else value

    def dump(self, value: float, metadata: Mapping[str, Any] | None = None) -> bytes:
        return repr(value).encode()
