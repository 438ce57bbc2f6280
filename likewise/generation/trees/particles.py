"""Particles: samples of some columns given others, in any order, by sequential Monte Carlo (Gordon et al., 1993).

Columns come one after the other. An unknown one is sampled given those before it; a known one multiplies the weight of
its particle by its density there, so that the weighted particles follow P(unknown | known). Where the effective number
of particles of a row falls below half, they are resampled, systematically (Carpenter et al., 1999). The mean weight
estimates P(known) without bias.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.core.rng import Rng
from likewise.generation.trees.column_trees import ColumnTrees

AT_ONCE = 2**19  # particles


@dataclass(frozen=True)
class Rows:
    """Rows of columns in the order of the trees.

    values  (B, D) float32, of categories ids; anything where unknown
    known   (B, D) bool
    """

    values: Tensor
    known: Tensor

    @property
    def knows_later(self) -> Tensor:
        """Whether a known column of a row follows one that is unknown, (B,) bool."""
        return ((~self.known).cumsum(1).bool() & self.known).any(1)

    def take(self, rows: Tensor) -> Rows:
        """The rows at these indices."""
        return Rows(self.values[rows], self.known[rows])


def sample_rows(trees: ColumnTrees, rows: Rows, particles: int, rng: Rng) -> Tensor:
    """Values of all columns (B, D): known ones as they are, the others by one of `particles` particles a row.

    A row in which the known columns are the first ones needs one particle, and is sampled exactly.
    """
    count = rows.values.shape[1]
    x, u = rows.values.clone(), rng.uniform(count)
    later = rows.knows_later.nonzero()[:, 0]
    first = (~rows.knows_later).nonzero()[:, 0]
    if len(first):
        x[first] = _extend(trees, rows.take(first), u[first])
    for part in later.split(max(1, AT_ONCE // particles)):
        run = _Particles(trees, rows.take(part), particles, rng.take(part))
        run.advance(count)
        x[part] = run.choose(u[part, -1])
    return x


def _extend(trees: ColumnTrees, rows: Rows, u: Tensor) -> Tensor:
    """Each unknown column sampled given those before it, (B, D), by uniform numbers (B, D)."""
    x = rows.values.clone()
    for j in range(x.shape[1]):
        if not rows.known[:, j].all():
            fresh = trees.sample(j, trees.leaves(j, x), u[:, j])
            x[:, j] = torch.where(rows.known[:, j], x[:, j], fresh)
    return x


def log_evidence(trees: ColumnTrees, rows: Rows, given: int, particles: int, rng: Rng) -> tuple[Tensor, bool]:
    """log P(known columns from `given` on | known columns before), (B,) float64, and whether it is exact."""
    total = rows.values.new_zeros(len(rows.values), dtype=torch.float64)
    later, count = rows.knows_later, rows.values.shape[1]
    exact, estimated = (~later).nonzero()[:, 0], later.nonzero()[:, 0]
    if len(exact):
        part = rows.take(exact)
        for j in range(given, count):
            density = trees.log_density(j, trees.leaves(j, part.values), part.values[:, j])
            total[exact] += torch.where(part.known[:, j], density, 0.0)
    for places in estimated.split(max(1, AT_ONCE // particles)):
        run = _Particles(trees, rows.take(places), particles, rng.take(places))
        run.advance(given)
        before = run.evidence
        run.advance(count)
        total[places] = run.evidence - before
    return total, not len(estimated)


class _Particles:
    """K particles of each of R rows: values x (R K, D), log weights (R, K), and log P of what is known so far."""

    def __init__(self, trees: ColumnTrees, rows: Rows, particles: int, rng: Rng) -> None:
        self.trees, self.rows, self.particles = trees, rows, particles
        self.x = rows.values.repeat_interleave(particles, 0)
        self.known = rows.known.repeat_interleave(particles, 0)
        self.u = rng.uniform(particles, rows.values.shape[1]).flatten(0, 1)
        self.u_resample = rng.uniform(rows.values.shape[1])
        self.log_weights = torch.zeros(len(rows.values), particles, dtype=torch.float64, device=self.x.device)
        self.resampled = torch.zeros_like(self.log_weights[:, 0])  # log P so far, as of the last resampling
        self.column = 0

    @property
    def evidence(self) -> Tensor:
        """log P of what is known of the columns so far, (R,)."""
        return self.resampled + self.log_weights.logsumexp(1) - math.log(self.particles)

    def advance(self, end: int) -> None:
        """Go on until before column `end`."""
        for j in range(self.column, end):
            leaf = self.trees.leaves(j, self.x)
            known = self.rows.known[:, j]
            if not known.all():
                fresh = self.trees.sample(j, leaf, self.u[:, j])
                self.x[:, j] = torch.where(self.known[:, j], self.x[:, j], fresh)
            if known.any():
                density = self.trees.log_density(j, leaf, self.x[:, j]).view_as(self.log_weights)
                self.log_weights = self.log_weights + torch.where(known[:, None], density, 0.0)
                self._resample(self.u_resample[:, j])
        self.column = max(self.column, end)

    def _resample(self, u: Tensor) -> None:
        """Resample the particles of the rows of few effective ones, by a uniform number a row (R,)."""
        weights = self.log_weights.softmax(1)
        few = 1 / weights.square().sum(1) < self.particles / 2
        if not few.any():
            return
        steps = torch.arange(self.particles, device=u.device)
        places = (steps + u.double()[:, None]) / self.particles
        chosen = _quantile(weights, places).where(few[:, None], steps)
        self.resampled = torch.where(few, self.evidence, self.resampled)
        self.log_weights = self.log_weights.where(~few[:, None], 0.0)
        index = chosen + torch.arange(len(u), device=u.device)[:, None] * self.particles
        self.x = self.x[index.flatten()]

    def choose(self, u: Tensor) -> Tensor:
        """One particle of each row by its weight, from uniform numbers (R,): (R, D)."""
        chosen = _quantile(self.log_weights.softmax(1), u.double()[:, None])[:, 0]
        return self.x[chosen + torch.arange(len(u), device=u.device) * self.particles]


def _quantile(weights: Tensor, places: Tensor) -> Tensor:
    """The index at which the sums of weights (R, K), which are 1 in all, pass each place (R, n)."""
    return torch.searchsorted(weights.cumsum(1), places.contiguous(), right=True).clamp(
        max=weights.shape[1] - 1
    )
