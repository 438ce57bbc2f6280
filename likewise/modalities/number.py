"""Number: one float, as the normal score of its rank."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from scipy.special import log_ndtr, ndtr, ndtri
from torch import Tensor

from likewise.core.rng import Rng
from likewise.core.spec import Cells, Spec
from likewise.modalities.base import Modality
from likewise.modalities.columns import CellCheck, ColumnSummary, ColumnValues
from likewise.modalities.linear_number import check_number, check_number_cell, parse_number
from likewise.modalities.rank_scale import END_SHARE, RankScale, middle
from likewise.modalities.robust import is_usual

MAX_LISTED = 5  # far values in a message
UNSEEN_SHARE = 0.5  # of a row: missing values where no training row has one
MIN_COUNTED = 10  # values that count the rows, so that it is said


@dataclass(frozen=True)
class Number(Modality):
    """One float on the grid (1,): the normal score of a value's rank among the training values, see RankScale.

    Decoded values have the decimals of the training values, lie between the least and the largest of them, and are
    integers if all of these are. A value that repeats, such as 0, comes back as often as it was.

    step, starts, ends, edges, gaps  of the RankScale
    integer     whether all training values are
    missing     share of the rows without a value. With some, None is a value: the lowest interval of tokens

    A token is a float32: what is known of a row is not decoded and stays exact.

    >>> age = Number.fit([30, 40, 40, 50])
    >>> age.encode(40), age.decode(torch.tensor([[0.1]])), age.decode(torch.tensor([[9.0]]))
    (tensor([[0.]]), 40, 50)
    """

    step: float
    starts: tuple[float, ...]
    ends: tuple[float, ...]
    edges: tuple[float, ...]
    gaps: tuple[int, ...]
    integer: bool
    missing: float = 0.0
    rows: int = 0

    dtypes = frozenset({"string", "int", "float", "bool"})
    numeric = True
    accepts_all = True
    models_missing = True
    default_family = "any_order"
    target_rank = 40

    kind = "number"
    media_type = "text/plain; charset=utf-8"
    suffix = ".txt"

    @classmethod
    def fit(cls, values: Sequence[float | None]) -> Self:
        """The ranks of values; None among them is a missing value."""
        present = np.asarray([v for v in values if v is not None], dtype=np.float64)
        missing = len(values) - len(present)
        scale = RankScale.fit(present, missing)
        integer = bool((present == present.round()).all())
        parts = scale.step, scale.starts, scale.ends, scale.edges, scale.gaps
        return cls(*parts, integer, missing / len(values), len(values))

    @property
    def has_missing(self) -> bool:
        return self.missing > 0

    def without_missing(self) -> Self:
        return self._with_missing(0.0)

    def grow_to_fit(self, values: Sequence[float | None]) -> Self:
        if self.missing or all(value is not None for value in values):
            return self
        return self._with_missing(UNSEEN_SHARE / max(1, self.rows))

    def _with_missing(self, share: float) -> Self:
        """The same with another share of missing values, whose ranks are the lowest."""
        factor = (1 - share) / (1 - self.missing)
        edges = np.array(self.edges)
        ranks = ndtr(-edges) * factor  # above each edge, where the least share that a tail has is precise
        return (
            replace(
                self, edges=tuple((-ndtri(ranks.clip(max=1 - share * (1 - 1e-9)))).tolist()), missing=share
            )
            if share != self.missing
            else self
        )

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        return 1 if column.dtype in ("int", "float") else 0

    @classmethod
    def check_cell(cls, cell: Any) -> CellCheck:
        return check_number_cell(super().check_cell(cell), cell)

    @cached_property
    def scale(self) -> RankScale:
        """The ranks."""
        return RankScale(self.step, self.starts, self.ends, self.edges, self.gaps)

    @property
    def low(self) -> float:
        """The least training value."""
        return self.scale.low

    @property
    def high(self) -> float:
        """The largest training value."""
        return self.scale.high

    def describe(self) -> str:
        """
        >>> Number.fit([0, 9, 3]).describe(), Number.fit([0.25, 0.5]).describe()
        ('whole numbers from 0 to 9', 'numbers from 0.25 to 0.5, of 2 decimals')
        """
        what = "whole numbers" if self.integer else "numbers"
        decimals = "" if self.integer or not self.step else f", of {_decimals(self.step)} decimals"
        missing = f", {100 * self.missing:.2g} % missing" if self.missing else ""
        return f"{what} from {self.low:g} to {self.high:g}{decimals}{missing}"

    @cached_property
    def _lowest(self) -> float | None:
        """Where the interval of missing values begins, None if there are none."""
        return float(ndtri(min(self.missing / 4, END_SHARE / max(1, self.rows)))) if self.missing else None

    @cached_property
    def _cells(self) -> Cells:
        return self.scale.cells(self._lowest)

    @cached_property
    def spec(self) -> Spec:  # type: ignore[override]  # a cached property instead of a property
        return Spec((1,), width=1, cells=self._cells)

    # ---- densities

    def log_scale(self, tokens: Tensor) -> Tensor:
        """log of the measure of a value's interval: P(value) is the density of its tokens times that. Of continuous
        values it is log |d token / d value|."""
        z = tokens.detach().cpu().double().numpy()
        k = self._segment(z)
        atoms, widths = np.array(self._cells.atoms)[k], np.array(self._cells.widths)[k]
        log_width = np.where(widths > 0, np.log(np.maximum(widths, 1e-300)), self.scale.log_slope(z))
        return torch.from_numpy(np.where(atoms, self._log_mass[k] - _log_normal(z), log_width)).to(
            tokens.device
        )

    def dequantize(self, tokens: Tensor, rng: Rng) -> Tensor:
        u = rng.uniform(*tokens.shape[1:]).double().cpu().numpy()
        z = tokens.cpu().double().numpy()
        k = self._segment(z)
        edges, atoms, widths = (
            np.array(v) for v in (self._cells.edges, self._cells.atoms, self._cells.widths)
        )
        low, high = edges[k], edges[k + 1]
        flip = low + high > 0
        a, b = ndtr(np.where(flip, -high, low)), ndtr(np.where(flip, -low, high))
        inside = ndtri(a + (b - a) * u.clip(1e-7, 1 - 1e-7))
        moved = np.where(atoms[k], np.where(flip, -inside, inside), z + widths[k] * (u - 0.5))
        return torch.from_numpy(moved).to(tokens)

    @cached_property
    def _log_mass(self) -> np.ndarray:
        """log of the normal mass of each segment."""
        edges = np.array(self._cells.edges)
        low, high = edges[:-1], edges[1:]
        flip = low + high > 0
        a, b = log_ndtr(np.where(flip, -high, low)), log_ndtr(np.where(flip, -low, high))
        return b + np.log(-np.expm1(np.minimum(a - b, -1e-300)))

    def _segment(self, z: np.ndarray) -> np.ndarray:
        edges = np.array(self._cells.edges)
        return np.clip(np.searchsorted(edges, z, side="right") - 1, 0, len(edges) - 2)

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
        far = ~is_usual(values)
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
        if value is None:
            return None if self.missing else "a value is missing, which is so in no training row"
        return check_number(value)

    def encode(self, value: float | None) -> Tensor:
        """A number -> (1, 1) float32. Raises ValueError unless it is finite, or None where values may be missing."""
        return self.encode_all([value])[0]

    def encode_all(self, values: Sequence[float | None]) -> Tensor:
        for value in values:
            if reason := self.check(value):
                raise ValueError(reason)
        gone = np.array([value is None for value in values], dtype=bool)
        z = self.scale.tokens(np.asarray([0.0 if v is None else v for v in values], dtype=np.float64))
        if self._lowest is not None:
            z = np.where(gone, middle(self._lowest, self.edges[0]), np.maximum(z, self.edges[0] + 1e-6))
        return torch.from_numpy(z.astype(np.float32))[:, None, None]

    def decode(self, tokens: Tensor) -> float | int | None:
        return self.decode_all(tokens[None])[0]

    def decode_all(self, tokens: Tensor) -> list[float | int | None]:
        z = tokens.detach().cpu().double().numpy().reshape(len(tokens))
        values = self.scale.values(z).tolist()
        if self.integer:
            values = [round(value) for value in values]
        if self._lowest is None:
            return values
        return [
            None if gone else value for gone, value in zip((z < self.edges[0]).tolist(), values, strict=True)
        ]

    def restore_known(self, sample: float, value: float, mask: Tensor) -> float:
        """A token keeps 7 digits."""
        return value if mask.all() else sample

    def load(self, data: bytes) -> float | int:
        value = parse_number(data)
        return int(value) if self.integer and value.is_integer() else value

    def dump(self, value: float, metadata: Mapping[str, Any] | None = None) -> bytes:
        return repr(value).encode()


def _decimals(step: float) -> int:
    return max(0, math.ceil(-math.log10(step) - 1e-9))


def _log_normal(z: np.ndarray) -> np.ndarray:
    return -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
