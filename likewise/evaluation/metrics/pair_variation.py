"""The total variation distance of pairs of columns, whose values are in bins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate, distance_estimate

GROUPS = 50  # of rows, which are resampled together


def pair_variation(
    samples: np.ndarray,
    real: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    *,
    rng: np.random.Generator,
    paired: bool = False,
    repeats: int = 200,
) -> tuple[Estimate, np.ndarray]:
    """1/2 sum |p - q| over the joint bins of two columns, bins (N, C) and (M, C) int: its mean over pairs, and each (P,).

    `paired`: sample i belongs to real row i, and both are resampled together.
    """
    width = 1 + max(int(samples.max()), int(real.max()))
    groups = min(GROUPS, len(samples), len(real))
    of_samples = rng.permutation(len(samples)) % groups
    of_real = of_samples if paired else rng.permutation(len(real)) % groups
    u = _weights(rng, groups, repeats)
    v = u if paired else _weights(rng, groups, repeats)
    total, each = np.zeros(1 + repeats), np.empty(len(pairs))
    for k, (i, j) in enumerate(pairs):
        shares = []
        for bins, group, weights in ((samples, of_samples, u), (real, of_real, v)):
            joint = (group * width + bins[:, i]) * width + bins[:, j]
            counts = np.bincount(joint, minlength=groups * width * width).reshape(groups, -1)
            weighted = weights @ counts.astype(np.float32)
            shares.append(weighted / weighted.sum(1, keepdims=True))
        distance = np.abs(shares[0] - shares[1]).sum(1) / 2
        total += distance
        each[k] = distance[0]
    return distance_estimate(total / len(pairs), len(samples)), each


def _weights(rng: np.random.Generator, groups: int, repeats: int) -> np.ndarray:
    """1 for all groups, then those of bootstrap samples, (1 + repeats, groups)."""
    resampled = rng.multinomial(groups, np.full(groups, 1 / groups), size=repeats)
    return np.concatenate([np.ones((1, groups)), resampled]).astype(np.float32)
