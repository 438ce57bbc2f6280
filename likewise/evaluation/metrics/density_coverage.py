"""Density and coverage: fidelity and diversity by neighbourhoods of real rows (Naeem et al., 2020).

The neighbourhood of a real row is the ball that reaches to its k-th nearest other real row. Density is the
number of balls that a sample lies in, over k: high in dense regions, 0 for outliers. Coverage is the share of
balls with a sample in them: a dropped mode leaves balls empty. For samples as good as real rows the
expectation of density is 1, that of coverage 1 - prod_{i < k} (n - 1 - i) / (2n - 1 - i) for n rows of each, 0.97 for
k = 5.
"""

from __future__ import annotations

import numpy as np
import torch

from likewise.evaluation.metrics.estimate import Estimate


def density_coverage(
    samples: np.ndarray,
    real: np.ndarray,
    *,
    rng: np.random.Generator,
    k: int = 5,
    paired: bool = False,
    repeats: int = 200,
) -> tuple[Estimate, Estimate]:
    """Density and coverage of samples (N, F) among real rows (M, F), equations 5 and 6 of the paper.

    `paired`: sample i was conditioned on the sources of real row i, so it does not count in that row's ball.
    The widths of the intervals are those of a bootstrap over both sets with the balls fixed. Raises ValueError
    for fewer than 2 real rows.
    """
    if len(real) < 2 or samples.shape[1:] != real.shape[1:] or (paired and len(samples) != len(real)):
        raise ValueError(
            "density and coverage need at least 2 real rows and samples in one feature space, "
            f"as many if paired; these are {samples.shape} and {real.shape}"
        )
    k = min(k, len(real) - 1)
    inside = (_distances(real, samples) < radii(real, k)[:, None]).astype(np.float64)  # (M, N)
    pairs = np.ones_like(inside)
    if paired:
        np.fill_diagonal(inside, 0)
        np.fill_diagonal(pairs, 0)

    def density(u: np.ndarray, v: np.ndarray) -> float:  # u (M,), v (N,): multiplicity of each row
        return float(u @ inside @ v / max(u @ pairs @ v, 1) * u.sum() / k)

    def coverage(u: np.ndarray, v: np.ndarray) -> float:
        return float(u @ (inside @ v > 0) / u.sum())

    whole = np.ones(len(real)), np.ones(len(samples))
    resamples = [
        [rng.multinomial(len(w), w / len(w)).astype(np.float64) for w in whole] for _ in range(repeats)
    ]
    estimates = []
    for statistic, upper in ((density, np.inf), (coverage, 1.0)):
        value = statistic(*whole)
        spread = 1.96 * float(np.std([statistic(*counts) for counts in resamples]))
        estimates.append(Estimate(value, max(0.0, value - spread), min(upper, value + spread), len(samples)))
    return estimates[0], estimates[1]


def radii(real: np.ndarray, k: int) -> np.ndarray:
    """The distance of each real row (M, F) to its k-th nearest other one, (M,): 0 where it has k duplicates."""
    return np.partition(_distances(real, real), k, axis=1)[:, k]  # the nearest is the row itself


def spread(x: np.ndarray) -> float:
    """The mean distance of two different rows of (N, F)."""
    return float(_distances(x, x).sum() / max(len(x) * (len(x) - 1), 1))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    x, y = (torch.as_tensor(np.ascontiguousarray(v), dtype=torch.float64) for v in (a, b))
    # duplicates must be at 0, which the faster way through products of rows does not ensure
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").numpy()
