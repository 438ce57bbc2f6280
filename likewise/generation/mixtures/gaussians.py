"""Gaussian components of a mixture, and marginal densities of the known numbers of a vector.

S = W W^T + diag(d)                                                                                 (1)
log N(x; mu, S) = -(r^T D^-1 r - |L^-1 u|^2 + log|D| + 2 log|L| + n log 2 pi) / 2,  r = x - mu,
u = W^T D^-1 r,  M = I + W^T D^-1 W = L L^T, sums over the n numbers that are known                 (2)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Components:
    """Parameters of a mixture, float64, in units in which numbers have deviations of about 1.

    weight (K,) logarithms; tables (K, T, V) logarithms, one a categorical column; mean (K, N);
    factor (K, N, R), W; noise (K, N), d.
    """

    weight: Tensor
    tables: list[Tensor]
    mean: Tensor
    factor: Tensor
    noise: Tensor


def marginal(x: Tensor, known: Tensor, parts: Components) -> Tensor:
    """log N of the numbers of x (B, N) that are known (B, N) in each component, (B, K).

    Rows in which the same numbers are known go together: a marginal of a Gaussian leaves the others out.
    """
    if not x.shape[1]:
        return x.new_zeros(len(x), len(parts.weight))
    patterns, which = known.unique(dim=0, return_inverse=True)
    found = []
    for p, pattern in enumerate(patterns):
        rows = (which == p).nonzero()[:, 0]
        here = pattern.nonzero()[:, 0]
        part = (
            parts
            if pattern.all()
            else Components(
                parts.weight, [], parts.mean[:, here], parts.factor[:, here], parts.noise[:, here]
            )
        )
        found.append(gaussian(x[rows][:, here], part))
    return torch.cat(found)[which.argsort(stable=True).argsort()]


def gaussian(x: Tensor, parts: Components) -> Tensor:
    """(2) for x (B, n) in each component, (B, K)."""
    root, weighed = root_of(parts)
    precise = parts.mean / parts.noise
    u = (x @ weighed.transpose(0, 1).flatten(1)).unflatten(1, root.shape[:2])  # (B, K, R)
    u = u - (parts.mean[:, None] @ weighed)[:, 0]
    square = x.square() @ (1 / parts.noise).T - 2 * x @ precise.T + (parts.mean * precise).sum(1)
    volume = log_det(parts, root)
    return -0.5 * (square - u.square().sum(-1) + volume + x.shape[1] * math.log(2 * math.pi))


def root_of(parts: Components) -> tuple[Tensor, Tensor]:
    """L (K, R, R) and D^-1 W L^-T (K, n, R) of (2): the latter takes r to L^-1 u."""
    weighed = parts.factor / parts.noise[..., None]
    root = torch.linalg.cholesky(eye(parts.factor) + parts.factor.mT @ weighed)
    return root, torch.linalg.solve_triangular(root.mT, weighed, upper=True, left=False)


def log_det(parts: Components, root: Tensor) -> Tensor:
    """log |S_k|, (K,)."""
    return parts.noise.log().sum(1) + 2 * root.diagonal(dim1=1, dim2=2).log().sum(1)


def eye(factor: Tensor) -> Tensor:
    """One of each factor's rank."""
    return torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
