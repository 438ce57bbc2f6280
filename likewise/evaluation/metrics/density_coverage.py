"""Density and coverage: fidelity and diversity, seen from balls around real rows (Naeem et al., 2020).

A ball reaches from a real row to its k-th nearest other real row. Density is how many balls a sample lies
in, over k: samples of what is common score high, outliers nothing. Coverage is the share of balls with a
sample in them: a model that forgets a part of the data leaves balls empty. For samples as good as real rows
the first is 1 on average, the second 1 - prod_{i < k} (n - 1 - i) / (2n - 1 - i) for n rows of each, 0.97 for
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

    `paired`: sample i was drawn for the sources of real row i, so it does not count in that row's ball. The
    widths of the intervals are those of a bootstrap over both sets with the balls as they are. Raises
    ValueError for fewer than 2 real rows.
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

    def density(u: np.ndarray, v: np.ndarray) -> float:  # u (M,), v (N,): how often each row comes
        return float(u @ inside @ v / max(u @ pairs @ v, 1) * u.sum() / k)

    def coverage(u: np.ndarray, v: np.ndarray) -> float:
        return float(u @ (inside @ v > 0) / u.sum())

    whole = np.ones(len(real)), np.ones(len(samples))
    redrawn = [
        [rng.multinomial(len(w), w / len(w)).astype(np.float64) for w in whole] for _ in range(repeats)
    ]
    found = []
    for statistic, most in ((density, np.inf), (coverage, 1.0)):
        value = statistic(*whole)
        spread = 1.96 * float(np.std([statistic(*counts) for counts in redrawn]))
        found.append(Estimate(value, max(0.0, value - spread), min(most, value + spread), len(samples)))
    return found[0], found[1]


def radii(real: np.ndarray, k: int) -> np.ndarray:
    """The distance of each real row (M, F) to its k-th nearest other one, (M,): 0 where it has k twins."""
    return np.partition(_distances(real, real), k, axis=1)[:, k]  # the nearest is the row itself


def spread(x: np.ndarray) -> float:
    """The mean distance of two different rows of (N, F): how unlike each other they are."""
    return float(_distances(x, x).sum() / max(len(x) * (len(x) - 1), 1))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    x, y = (torch.as_tensor(np.ascontiguousarray(v), dtype=torch.float64) for v in (a, b))
    # a twin must come out at 0, which the faster way through products of rows does not promise
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").numpy()
