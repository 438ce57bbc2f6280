"""Ranked: a column of one float, the normal score of a value's rank; what numbers, dates and durations share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from likewise.core.normal import log_mass, middle, quantile
from likewise.core.rng import Rng
from likewise.core.spec import Cells, Spec
from likewise.modalities.base import Modality
from likewise.modalities.conditions import Condition
from likewise.modalities.rank_scale import END_SHARE, RankScale

SCALE_FIELDS = ("step", "starts", "ends", "edges", "gaps")
MAX_SHIFT, MAX_SPREAD = 3.0, 4.0  # of tokens of other values, to be of one order with these
UNSEEN_SHARE = 0.5  # of a row: missing values where no training row has one


@dataclass(frozen=True)
class Ranked(Modality):
    """One float on the grid (1,): the normal score of the rank of a value's number, see RankScale.

    step, starts, ends, edges, gaps  of the RankScale
    missing     share of the rows without a value. With some, None is a value: the lowest interval of tokens
    rows        training rows

    A token is a float32: what is known of a row is not decoded and stays exact.
    """

    step: float
    starts: tuple[float, ...]
    ends: tuple[float, ...]
    edges: tuple[float, ...]
    gaps: tuple[int, ...]
    missing: float = 0.0
    rows: int = 0

    models_missing = True
    default_family = "any_order"
    target_rank = 40

    @abstractmethod
    def numbers(self, values: Sequence[Any]) -> np.ndarray:
        """Values, none of which is missing -> their numbers, (N,) float64. Raises ValueError for one that has none."""

    @abstractmethod
    def from_numbers(self, numbers: np.ndarray) -> list[Any]:
        """The inverse, of numbers (N,) on the lattice."""

    @staticmethod
    def fit_ranks(numbers: np.ndarray, rows: int) -> dict[str, Any]:
        """The fields of this class for the numbers (n,) of those of so many rows that are not missing."""
        missing = rows - len(numbers)
        scale = RankScale.fit(numbers, missing)
        return {
            **{name: getattr(scale, name) for name in SCALE_FIELDS},
            "missing": missing / rows,
            "rows": rows,
        }

    @property
    def has_missing(self) -> bool:
        return self.missing > 0

    def without_missing(self) -> Self:
        return self._with_missing(0.0)

    def grow_to_fit(self, values: Sequence[Any]) -> Self:
        if self.missing or all(value is not None for value in values):
            return self
        return self._with_missing(UNSEEN_SHARE / max(1, self.rows))

    def refit(self, values: Sequence[Any], *args: Any, **options: Any) -> Self:
        """The same scale, as far beyond as values are, if they have its decimals and are of its order; else theirs."""
        fitted, present = self.fit(values, **options), [value for value in values if value is not None]
        numbers = self.numbers(present)
        if fitted.step != self.step or not np.array_equal(numbers, fitted.numbers(present)):
            return fitted
        old = self._with_missing((self.missing or fitted.missing) if fitted.missing else 0.0)
        z = old.scale.tokens(numbers)
        if abs(z.mean()) > MAX_SHIFT or not 1 / MAX_SPREAD <= z.std() <= MAX_SPREAD:
            return fitted
        scale = old.scale.extend(float(numbers.min()), float(numbers.max()))
        return replace(fitted, missing=old.missing, **{name: getattr(scale, name) for name in SCALE_FIELDS})

    def _with_missing(self, share: float) -> Self:
        """The same with another share of missing values, whose ranks are the lowest."""
        factor = (1 - share) / (1 - self.missing)
        ranks = (
            ndtr(-np.array(self.edges)) * factor
        )  # above each edge, where the least share that a tail has is precise
        least = share * (1 - 1e-9) or END_SHARE / max(1, self.rows)
        edges = tuple((-ndtri(ranks.clip(max=1 - least))).tolist())
        return replace(self, edges=edges, missing=share) if share != self.missing else self

    @cached_property
    def scale(self) -> RankScale:
        """The ranks."""
        return RankScale(self.step, self.starts, self.ends, self.edges, self.gaps)

    def tokens_within(self, condition: Condition) -> Tensor:
        if condition.values:
            ordered = sorted(condition.values)
            if len(ordered) > 1:
                raise ValueError("several values of a number are no range; give its ends, or one value")
            condition = Condition(ordered[0], ordered[0])
        ends = [None if v is None else float(self.numbers([v])[0]) for v in (condition.low, condition.high)]
        bounds = self.scale.bounds(ends[0], ends[1], condition.above, condition.below)
        if bounds is None:
            raise ValueError(
                f"no value is {condition}: the training rows have values from {self._shown_range()}"
            )
        low, high = bounds
        if condition.low is None and self._lowest is not None:
            low = self.edges[0]
        return torch.tensor([low, high], dtype=torch.float32)

    def _shown_range(self) -> str:
        low, high = (self.summarize(v) for v in self.from_numbers(np.array([self.low, self.high])))
        return f"{low} to {high}"

    @property
    def low(self) -> float:
        """The least training value's number."""
        return self.scale.low

    @property
    def high(self) -> float:
        """The largest training value's number."""
        return self.scale.high

    @cached_property
    def _lowest(self) -> float | None:
        """Where the interval of missing values begins, None if there are none."""
        return float(ndtri(min(self.missing / 4, END_SHARE / max(1, self.rows)))) if self.missing else None

    @cached_property
    def _cells(self) -> Cells:
        return self.scale.cells(self._lowest)

    @cached_property
    def spec(self) -> Spec:
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
        k, edges = self._segment(z), np.array(self._cells.edges)
        atoms, widths = np.array(self._cells.atoms)[k], np.array(self._cells.widths)[k]
        inside = quantile(edges[k], edges[k + 1], u.clip(1e-7, 1 - 1e-7))
        return torch.from_numpy(np.where(atoms, inside, z + widths * (u - 0.5))).to(tokens)

    @cached_property
    def _log_mass(self) -> np.ndarray:
        """log of the normal mass of each segment."""
        edges = np.array(self._cells.edges)
        return log_mass(edges[:-1], edges[1:])

    def _segment(self, z: np.ndarray) -> np.ndarray:
        edges = np.array(self._cells.edges)
        return np.clip(np.searchsorted(edges, z, side="right") - 1, 0, len(edges) - 2)

    # ---- values

    def encode(self, value: Any) -> Tensor:
        """A value -> (1, 1) float32. Raises ValueError for one that `check` refuses."""
        return self.encode_all([value])[0]

    def encode_all(self, values: Sequence[Any]) -> Tensor:
        for value in values:
            if reason := self.check(value):
                raise ValueError(reason)
        gone = np.array([value is None for value in values], dtype=bool)
        numbers = np.zeros(len(values))
        numbers[~gone] = self.numbers([value for value in values if value is not None])
        z = self.scale.tokens(numbers)
        if self._lowest is not None:
            z = np.where(gone, middle(self._lowest, self.edges[0]), np.maximum(z, self.edges[0] + 1e-6))
        return torch.from_numpy(z.astype(np.float32))[:, None, None]

    def decode(self, tokens: Tensor) -> Any:
        return self.decode_all(tokens[None])[0]

    def decode_all(self, tokens: Tensor) -> list[Any]:
        z = tokens.detach().cpu().double().numpy().reshape(len(tokens))
        values = self.from_numbers(self.scale.values(z))
        if self._lowest is None:
            return values
        return [
            None if gone else value for gone, value in zip((z < self.edges[0]).tolist(), values, strict=True)
        ]

    def restore_known(self, sample: Any, value: Any, mask: Tensor) -> Any:
        """A token keeps 7 digits."""
        return value if mask.all() else sample


class Spelled(Ranked):
    """A ranked column of texts in the spelling of the column, whose numbers are microseconds: dates and durations."""

    @abstractmethod
    def _micros(self, value: Any) -> int | None:
        """Microseconds of a value, None for one that has none."""

    @abstractmethod
    def _noun(self) -> str:
        """What a value is, in a message: "date"."""

    def _all_micros(self, values: Sequence[Any]) -> list[int]:
        """Microseconds of values. Raises ValueError for the first one that has none."""
        found = []
        for value in values:
            if (micros := self._micros(value)) is None:
                raise ValueError(self.check(value))
            found.append(micros)
        return found

    def check(self, value: Any) -> str | None:
        if value is None:
            return self.check_missing()
        if self._micros(value) is not None:
            return None
        example = self.from_numbers(np.array([self.high]))[0]
        return f"{value!r} is no {self._noun()}; write one such as {example}"

    def load(self, data: bytes) -> str:
        text = data.decode(errors="replace").strip()
        if reason := self.check(text):
            raise ValueError(reason)
        return str(self.from_numbers(self.numbers([text]))[0])

    def dump(self, value: Any, metadata: Mapping[str, Any] | None = None) -> bytes:
        return str(value).encode()


def _log_normal(z: np.ndarray) -> np.ndarray:
    return -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
