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

MAX_NUMBERS = 2**23  # of matrices of patterns of known numbers, at a time


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

    A marginal of a Gaussian leaves the others out: (2) with D^-1 0 there.
    """
    if not x.shape[1]:
        return x.new_zeros(len(x), len(parts.weight))
    if known.all():
        return gaussian(x, parts)
    patterns, which = known.unique(dim=0, return_inverse=True)
    components, _, rank = parts.factor.shape
    x, precise, weighed = x * known, parts.mean / parts.noise, parts.factor / parts.noise[..., None]
    u = (x @ weighed.transpose(0, 1).flatten(1)).unflatten(1, (components, rank))
    found = x.new_zeros(len(x), components)
    step = max(1, MAX_NUMBERS // (components * max(rank, 1) ** 2))
    for rows in which.argsort(stable=True).split(step):  # rows of one pattern share a root
        used, part = which[rows].unique(return_inverse=True)
        some = patterns[used].to(x)
        root = pattern_roots(some, parts)
        centre = torch.einsum("pn,kn,knr->pkr", some, precise, parts.factor)
        v = torch.linalg.solve_triangular(root[part], (u[rows] - centre[part])[..., None], upper=False)
        seen = some[part]
        square = x[rows].square() @ (1 / parts.noise).T - 2 * x[rows] @ precise.T
        square = square + seen @ (parts.mean * precise).T - v.square().sum((2, 3))
        volume = seen @ parts.noise.log().T + 2 * root.diagonal(dim1=2, dim2=3).log().sum(2)[part]
        count = seen.sum(1, keepdim=True) * math.log(2 * math.pi)
        found = found.index_put((rows,), -0.5 * (square + volume + count))
    return found


def pattern_roots(known: Tensor, parts: Components) -> Tensor:
    """L of (2) in each component for patterns of known numbers (P, N), 0 or 1: (P, K, R, R)."""
    rank = parts.factor.shape[2]
    inner = []
    for factor, noise in zip(parts.factor, parts.noise, strict=True):
        products = (factor[:, :, None] * factor[:, None] / noise[:, None, None]).flatten(1)
        inner.append((known @ products).unflatten(1, (rank, rank)))
    return torch.linalg.cholesky(eye(parts.factor) + torch.stack(inner, dim=1))


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
