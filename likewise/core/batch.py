"""Layout: several columns side by side in one flat vector. Context: what is known of the sources.

Both know columns by their Spec only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from likewise.core.rng import Rng
from likewise.core.spec import Spec

Batch = dict[str, Tensor]  # column -> (B, T, C) float32, or (B, T) int64


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
        """One number a column, (B, K) -> (B, N); (B, 1), which broadcasts, where there is one column."""
        if len(self.sizes) == 1:
            return per_column
        sizes = torch.tensor(self.sizes, device=per_column.device)
        return per_column.repeat_interleave(sizes, dim=1, output_size=self.size)


@dataclass(frozen=True)
class Context:
    """The sources of a batch: which values they have, and which of them are given.

    values   column -> (B, T, ...)
    present  (B, S) bool, in the order of `values`

    A column that is not given for a row is as if never observed: its values there are not looked at.
    """

    values: Batch
    present: Tensor

    @classmethod
    def full(cls, values: Batch, rows: int) -> Context:
        """Every source given in every row."""
        return cls(values, torch.ones(rows, len(values), dtype=torch.bool))

    def drop(self, rng: Rng, p: float) -> Context:
        """Forget each source of each row on its own with probability p (Ho & Salimans, 2022)."""
        if not self.values:
            return self
        kept = rng.uniform(self.present.shape[1]).to(self.present.device) >= p
        return replace(self, present=self.present & kept)

    def unconditional(self) -> Context:
        """The same rows with no source given: the unconditional model."""
        return replace(self, present=torch.zeros_like(self.present))

    def take(self, rows: Tensor) -> Context:
        """Some of the rows, by their numbers."""
        return Context(take(self.values, rows), self.present[rows])

    def __add__(self, other: Context) -> Context:
        """The rows of both, one after the other."""
        values = {name: torch.cat([value, other.values[name]]) for name, value in self.values.items()}
        return Context(values, torch.cat([self.present, other.present]))

    def to(self, device: torch.device | str) -> Context:
        return Context({k: v.to(device) for k, v in self.values.items()}, self.present.to(device))


def take(batch: Batch, rows: Tensor) -> Batch:
    """Some of the rows of every column, by their numbers."""
    return {name: value[rows] for name, value in batch.items()}
