"""Expectations of the missing numbers of rows under one Gaussian with S = W W^T + diag(d).

Given the numbers o of a row that are there, with M = I + W_o^T D_o^-1 W_o,
    E[x_m] = mu_m + W_m M^-1 W_o^T D_o^-1 (x_o - mu_o),   Cov[x_m] = W_m M^-1 W_m^T + D_m                  (1)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.generation.mixtures.gaussians import Components, pattern_roots


@dataclass(frozen=True)
class MissingCovariance:
    """C, the sum over rows of the covariances (1), 0 wherever a number is there; not as a matrix.

    missing  (P, N) 0 or 1, patterns of missing numbers; weight (P,) of their rows
    inverse  (P, R, R) M^-1 of each; factor (N, R), W; noise (N,), d
    """

    missing: Tensor
    weight: Tensor
    inverse: Tensor
    factor: Tensor
    noise: Tensor

    def times(self, v: Tensor) -> Tensor:
        """C v for v (N, Q)."""
        w, (rank, columns) = self.factor, (self.factor.shape[1], v.shape[1])
        inner = self.missing @ (w[:, :, None] * v[:, None]).flatten(1)  # W^T v over what is missing
        inner = self.weight[:, None, None] * (self.inverse @ inner.unflatten(1, (rank, columns)))
        outer = (self.missing.T @ inner.flatten(1)).unflatten(1, (rank, columns))
        return (w[:, :, None] * outer).sum(1) + (self.weight @ self.missing * self.noise)[:, None] * v

    def diagonal(self) -> Tensor:
        """The diagonal of C, (N,)."""
        rank = self.factor.shape[1]
        inner = (self.weight[:, None] * self.missing).T @ self.inverse.flatten(1)
        inner = inner.unflatten(1, (rank, rank))
        return (
            torch.einsum("nr,nrs,ns->n", self.factor, inner, self.factor)
            + self.weight @ self.missing * self.noise
        )


@dataclass(frozen=True)
class Patterns:
    """Which numbers rows have: patterns (P, N) bool, and that of each row, which (n,)."""

    patterns: Tensor
    which: Tensor

    @classmethod
    def of(cls, seen: Tensor) -> Patterns:
        """Of rows whose numbers are there where seen (n, N) holds."""
        return cls(*seen.unique(dim=0, return_inverse=True))

    def at(self, rows: Tensor) -> Patterns:
        """Those of some rows."""
        used, which = self.which[rows].unique(return_inverse=True)
        return Patterns(self.patterns[used], which)

    def expect(
        self, x: Tensor, r: Tensor, mean: Tensor, factor: Tensor, noise: Tensor
    ) -> tuple[Tensor, MissingCovariance]:
        """Rows x (n, N) of weights r (n,), with the expectations (1) of what they lack, and its covariance."""
        one = Components(mean.new_zeros(1), [], mean[None], factor[None], noise[None])
        some, seen = self.patterns.to(x), self.patterns[self.which]
        root = pattern_roots(some, one)[:, 0]
        inverse = torch.cholesky_inverse(root)
        u = ((x - mean) * seen) @ (factor / noise[:, None])
        z = (inverse[self.which] @ u[..., None])[..., 0]
        weight = r.new_zeros(len(some)).index_add(0, self.which, r)
        return torch.where(seen, x, mean + z @ factor.T), MissingCovariance(
            1 - some, weight, inverse, factor, noise
        )
