"""Batch: encoded columns. Layout: several of them in one flat vector. Context: the sources of a batch.

Columns are known by their Spec only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from likewise.core.options import RowValues
from likewise.core.rng import Rng
from likewise.core.spec import Spec

Batch = dict[str, Tensor]  # column -> (B, T, C) float32, or (B, T) int64


class EncodedRows(Batch):
    """A batch of rows of a table, in which values may be missing; their tokens are blank.

    present  column -> (B,) bool, whether the row has a value; of columns without missing values nothing

    A family that learns rows with missing targets (`Family.learns_gaps`) gets its targets as such a batch.
    """

    def __init__(self, columns: Batch, present: Batch) -> None:
        super().__init__(columns)
        self.present = present

    def slice(self, start: int, end: int) -> EncodedRows:
        """The rows from `start` to before `end`."""
        part = slice(start, end)
        return EncodedRows(
            {n: v[part] for n, v in self.items()}, {n: v[part] for n, v in self.present.items()}
        )


class Layout:
    """Float columns packed into (B, N), N = sum of tokens x width, in the order of `specs`.

    >>> layout = Layout({"image": Spec((2, 2), width=3), "price": Spec((1,))})
    >>> layout.size, layout.unpack(torch.zeros(5, 13))["image"].shape
    (13, torch.Size([5, 4, 3]))
    """

    def __init__(self, specs: Mapping[str, Spec]) -> None:
        self.specs = dict(specs)
        self.sizes = [s.tokens * s.width for s in self.specs.values()]
        self.size = sum(self.sizes)

    def pack(self, batch: Batch) -> Tensor:
        """Columns (B, T, C) -> (B, N)."""
        return torch.cat([batch[name].flatten(1) for name in self.specs], dim=1)

    def unpack(self, flat: Tensor) -> Batch:
        """(B, N) -> columns (B, T, C), views."""
        parts = flat.split(self.sizes, dim=1)
        return {
            name: part.unflatten(1, (s.tokens, s.width))
            for (name, s), part in zip(self.specs.items(), parts, strict=True)
        }

    def spread(self, per_column: Tensor) -> Tensor:
        """Repeat one number per column over its floats: (B, K) -> (B, N), or (B, 1) as it is if K = 1."""
        if len(self.sizes) == 1:
            return per_column
        sizes = torch.tensor(self.sizes, device=per_column.device)
        return per_column.repeat_interleave(sizes, dim=1, output_size=self.size)


@dataclass(frozen=True)
class Context:
    """The sources of a batch: their values, and which of them are present.

    values   column -> (B, T, ...)
    present  (B, S) bool, in the order of `values`

    Where a source is absent, its values are ignored.
    """

    values: Batch
    present: Tensor

    @classmethod
    def full(cls, values: Batch, rows: int) -> Context:
        """Every source present in every row."""
        return cls(values, torch.ones(rows, len(values), dtype=torch.bool))

    def drop(self, rng: Rng, p: float) -> Context:
        """Drop each source of each row independently with probability p (Ho & Salimans, 2022)."""
        if not self.values:
            return self
        keep = rng.uniform(self.present.shape[1]).to(self.present.device) >= p
        return replace(self, present=self.present & keep)

    def unconditional(self) -> Context:
        """The same rows with every source absent."""
        return replace(self, present=torch.zeros_like(self.present))

    def take(self, rows: Tensor) -> Context:
        """The rows at these indices."""
        return Context(take(self.values, rows), self.present[rows])

    def __add__(self, other: Context) -> Context:
        """Concatenate the rows of both."""
        values = {name: torch.cat([value, other.values[name]]) for name, value in self.values.items()}
        return Context(values, torch.cat([self.present, other.present]))

    def to(self, device: torch.device | str) -> Context:
        """The same on another device."""
        return Context({k: v.to(device) for k, v in self.values.items()}, self.present.to(device))


def row_values(value: float | RowValues, device: torch.device | str) -> float | Tensor:
    """An option as it is, or, with a value for each row, (B, 1) float64."""
    if not isinstance(value, RowValues):
        return value
    return torch.tensor(value.values, dtype=torch.float64, device=device)[:, None]


def take(batch: Batch, rows: Tensor) -> Batch:
    """The rows of every column at these indices."""
    part = {name: value[rows] for name, value in batch.items()}
    if isinstance(batch, EncodedRows):
        return EncodedRows(part, {name: value[rows] for name, value in batch.present.items()})
    return part
