"""The Kolmogorov-Smirnov distance of two sets of numbers: the largest difference of their distribution functions."""

from __future__ import annotations

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate, bootstrap_weights, distance_estimate


def kolmogorov_smirnov(
    samples: np.ndarray,
    real: np.ndarray,
    *,
    rng: np.random.Generator,
    paired: bool = False,
    repeats: int = 200,
) -> Estimate:
    """max_t |F(t) - G(t)| of numbers (N,) and (M,), from 0 to 1, the same in any monotone scale (Smirnov, 1939).

    For equal distributions its expectation is about 0.87 sqrt(1 / N + 1 / M). `paired`: sample i belongs to real
    value i, and both are resampled together.

    >>> rng = np.random.default_rng(0)
    >>> kolmogorov_smirnov(np.arange(4), np.arange(4) + 2, rng=rng).value
    0.5
    """
    _, ranks = np.unique(np.concatenate([samples, real]), return_inverse=True)
    order = np.argsort(ranks, kind="stable")
    last = np.flatnonzero(np.diff(ranks[order], append=np.inf))  # of equal values

    def statistic(u: np.ndarray, v: np.ndarray) -> np.ndarray:  # weights (R, N), (R, M)
        steps = np.concatenate([u, -v], 1)[:, order]
        return np.abs(np.cumsum(steps, 1)[:, last]).max(1)

    weights = bootstrap_weights(len(samples), len(real), rng=rng, paired=paired, repeats=repeats)
    return distance_estimate(statistic(*weights), len(samples))
