"""Frechet distance: how far the mean and the covariance of samples lie from those of real rows.

    d^2 = |m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2)                                             (1)

(Dowson and Landau, 1982; as a metric of images Heusel et al., 2017). On N rows its bias is about c / N
with a c that depends on the model, so models must not be compared by it; the intercept of a line through
(1 / N, d^2) is nearly unbiased (Chong and Forsyth, 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate

POINTS = 15  # sizes to which the line is fitted
MIN_SHARE = 0.25  # of the rows: with fewer, in 64 dimensions, the bias is no longer c / N


@dataclass(frozen=True)
class Moments:
    """Mean (F,), trace of the covariance, and its square root (F, F)."""

    mean: np.ndarray
    trace: float
    root: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Moments:
        """Of rows (N, F), N at least 2."""
        x = x.astype(np.float64)
        covariance = np.atleast_2d(np.cov(x.T))
        values, vectors = np.linalg.eigh(covariance)
        root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
        return cls(x.mean(0), float(np.trace(covariance)), root)


def frechet(a: np.ndarray, b: np.ndarray | Moments) -> float:
    """(1) of rows a (N, F) and b (M, F). No covariance is inverted, so they may be singular.

    Raises ValueError for fewer than 2 rows, or shapes that do not fit.

    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(frechet(x, x + 2), 6)
    12.0
    """
    if len(a) < 2 or (isinstance(b, np.ndarray) and (len(b) < 2 or a.shape[1:] != b.shape[1:])):
        raise ValueError(
            f"a Frechet distance needs two sets of at least 2 rows in one feature space; these "
            f"are {a.shape} and {getattr(b, 'shape', '...')}"
        )
    b = b if isinstance(b, Moments) else Moments.of(b)
    a = a.astype(np.float64)
    covariance = np.atleast_2d(np.cov(a.T))
    inner = np.linalg.eigvalsh(b.root @ covariance @ b.root).clip(0)
    shift = a.mean(0) - b.mean
    return float(shift @ shift + np.trace(covariance) + b.trace - 2 * np.sqrt(inner).sum())


def fd_infinity(a: np.ndarray, b: np.ndarray, *, rng: np.random.Generator, repeats: int = 30) -> Estimate:
    """(1) of a (N, F) and b (M, F), extrapolated to infinite N: about 0 for equal distributions.

    The line is fitted to the distances of random subsets of a, a quarter of it to all of it, from all of b,
    whose own bias stays: M should be large, F at most 64. The interval has the width of a bootstrap over a but
    is centred on the value, as a resample has fewer distinct rows. Raises what `frechet` raises.
    """
    target = Moments.of(b) if len(b) > 1 else b
    value = _intercept(a, target, rng)
    values = [_intercept(a[rng.integers(len(a), size=len(a))], target, rng) for _ in range(repeats)]
    spread = 1.96 * float(np.std(values))
    return Estimate(value, value - spread, value + spread, len(a))


def _intercept(a: np.ndarray, b: np.ndarray | Moments, rng: np.random.Generator) -> float:
    sizes = np.unique(np.linspace(max(2, MIN_SHARE * len(a)), len(a), POINTS).astype(int))
    distances = [frechet(a[rng.permutation(len(a))[:size]], b) for size in sizes]
    if len(sizes) < 2:
        return distances[-1]
    return float(np.polyfit(1 / sizes, distances, 1)[1])
