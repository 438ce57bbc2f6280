"""The total variation distance of two sets of classes: half the sum of the differences of their shares."""

from __future__ import annotations

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate, bootstrap_weights, distance_estimate


def total_variation(
    samples: np.ndarray,
    real: np.ndarray,
    *,
    rng: np.random.Generator,
    paired: bool = False,
    repeats: int = 200,
) -> Estimate:
    """1/2 sum_k |p_k - q_k|, the shares of the values k in (N,) and (M,): from 0 to 1.

    `paired`: sample i belongs to real value i, and both are resampled together.

    >>> rng = np.random.default_rng(0)
    >>> total_variation(np.array(["a", "a", "b", "c"]), np.array(["a", "b"]), rng=rng).value
    0.25
    """
    _, ids = np.unique(np.concatenate([samples, real]), return_inverse=True)
    classes = np.eye(ids.max() + 1)[ids]

    def statistic(u: np.ndarray, v: np.ndarray) -> np.ndarray:  # weights (R, N), (R, M)
        return np.abs(np.concatenate([u, -v], 1) @ classes).sum(1) / 2

    weights = bootstrap_weights(len(samples), len(real), rng=rng, paired=paired, repeats=repeats)
    return distance_estimate(statistic(*weights), len(samples))
