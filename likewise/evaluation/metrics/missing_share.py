"""The largest difference of the shares of missing values of columns."""

from __future__ import annotations

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate, bootstrap_weights, distance_estimate


def missing_share(
    samples: np.ndarray,
    real: np.ndarray,
    *,
    rng: np.random.Generator,
    paired: bool = False,
    repeats: int = 200,
) -> tuple[Estimate, int]:
    """max over columns of |share - share|, of (N, C) and (M, C) bool, and the number of the column.

    `paired`: sample i belongs to real row i, and both are resampled together.

    >>> rng = np.random.default_rng(0)
    >>> missing_share(np.array([[1, 0], [0, 0]]), np.array([[1, 0], [1, 0]]), rng=rng)[0].value
    0.5
    """
    u, v = bootstrap_weights(len(samples), len(real), rng=rng, paired=paired, repeats=repeats)
    differences = np.abs(u @ samples.astype(float) - v @ real.astype(float))
    return distance_estimate(differences.max(1), len(samples)), int(differences[0].argmax())
