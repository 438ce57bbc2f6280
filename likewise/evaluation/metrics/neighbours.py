"""Neighbours: the nearest rows of a set, and the share of rows that are nearer to one set than to another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate

K = 16  # nearest rows that are kept: one of them is in a bootstrap sample but for a chance of 1e-7


@dataclass(frozen=True)
class Neighbours:
    """The nearest rows of a set of `size`: `distances` (N, K), the nearest first, and their numbers, `rows` (N, K)."""

    distances: np.ndarray
    rows: np.ndarray
    size: int

    @classmethod
    def find(cls, chunks: Iterable[np.ndarray], *, without_self: bool = False) -> Neighbours:
        """Of distances (N, M) in chunks of rows, M > 0. `without_self`: row i of the set is no neighbour of row i."""
        distances, rows, start, size = [], [], 0, 0
        for chunk in chunks:
            size = chunk.shape[1]
            if without_self:
                own = np.arange(len(chunk))
                chunk[own, start + own] = np.inf
            start += len(chunk)
            near = (
                np.argpartition(chunk, K - 1, 1)[:, :K] if size > K else np.tile(range(size), (len(chunk), 1))
            )
            near = np.take_along_axis(near, np.take_along_axis(chunk, near, 1).argsort(1, kind="stable"), 1)
            distances.append(np.take_along_axis(chunk, near, 1))
            rows.append(near)
        return cls(np.concatenate(distances), np.concatenate(rows), size)

    @property
    def nearest(self) -> np.ndarray:
        """The distance of the nearest row, (N,)."""
        return self.distances[:, 0]

    def nearest_in_sample(self, rng: np.random.Generator) -> np.ndarray:
        """The same in a bootstrap sample of the set, (N,)."""
        present = np.zeros(self.size, dtype=bool)
        present[rng.integers(self.size, size=self.size)] = True
        first = present[self.rows].argmax(1)
        return self.distances[np.arange(len(first)), first]


def nearer(a: Neighbours, b: Neighbours, *, rng: np.random.Generator, repeats: int = 100) -> Estimate:
    """The share of rows that are nearer to a set a than to a set b of as many rows, ties half.

    With an interval over the choice of the rows and of both sets. Its width is that of a bootstrap; it is centred on
    the value, as a bootstrap sample has fewer different rows to be near to.
    """

    def wins(to_a: np.ndarray, to_b: np.ndarray) -> np.ndarray:
        return (to_a < to_b) + 0.5 * (to_a == to_b)

    n = len(a.distances)
    value = float(np.mean(wins(a.nearest, b.nearest)))
    values = [
        np.mean(wins(a.nearest_in_sample(rng), b.nearest_in_sample(rng))[rng.integers(n, size=n)])
        for _ in range(repeats)
    ]
    spread = 1.96 * float(np.std(values))
    return Estimate(value, max(0.0, value - spread), min(1.0, value + spread), n)
