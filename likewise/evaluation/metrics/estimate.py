"""Estimate: a number with its interval. Every metric takes arrays and returns estimates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A value, its 95 % interval (None where there is none) and the number of rows it was measured on.

    >>> print(Estimate(0.953, 0.9312, 0.968, n=500))
    0.953 [0.931, 0.968]
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return short(self.value)
        return f"{short(self.value)} [{short(self.low)}, {short(self.high)}]"


def short(value: float) -> str:
    """Three significant digits, without an exponent where that can be read.

    >>> short(501.0), short(0.00123456), short(-0.0000012), short(1234.5), short(0)
    ('501', '0.00123', '-1.2e-06', '1234', '0')
    """
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def bootstrap(
    statistic: Callable[..., float], *samples: np.ndarray, rng: np.random.Generator, repeats: int = 500
) -> Estimate:
    """`statistic(*samples)` and its percentile interval, each (N, ...) resampled on its own (Efron, 1979).

    >>> e = bootstrap(np.mean, np.arange(100.0), rng=np.random.default_rng(0))
    >>> e.value, e.n, 43 < e.low < 45, 54 < e.high < 56
    (49.5, 100, True, True)
    """
    values = [statistic(*(s[rng.integers(len(s), size=len(s))] for s in samples)) for _ in range(repeats)]
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(statistic(*samples)), float(low), float(high), len(samples[0]))


def share(hits: np.ndarray) -> Estimate:
    """The share of hits (N,) with Wilson's interval (1927), which has a width at 0 and 1 too.

    >>> print(share(np.ones(100, bool)))
    1 [0.963, 1]
    """
    n, p, z = len(hits), float(np.mean(hits)), 1.96
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return Estimate(p, max(0.0, min(p, low)), min(1.0, max(p, high)), n)  # rounding may overstep 0, 1 and p


def bootstrap_weights(
    n: int, m: int, *, rng: np.random.Generator, paired: bool, repeats: int
) -> tuple[np.ndarray, np.ndarray]:
    """The weights of n and of m rows in a statistic, (1 + repeats, n) and (1 + repeats, m), each adding up to 1.

    The first ones are equal, the others those of bootstrap samples. `paired`: the same for both, n is m.
    """

    def weights(count: int) -> np.ndarray:
        rows = rng.integers(count, size=(repeats, count)) + count * np.arange(repeats)[:, None]
        resampled = np.bincount(rows.ravel(), minlength=repeats * count).reshape(repeats, count)
        return np.concatenate([np.ones((1, count)), resampled]) / count

    u = weights(n)
    return u, u if paired else weights(m)


def distance_estimate(distances: np.ndarray, n: int) -> Estimate:
    """A distance from 0 to 1, the first of (1 + repeats,), and an interval with the spread of the others.

    It is centred on the distance of the samples, as that of bootstrap samples is larger. Of equal distributions the
    distance is above 0 too, by chance: real rows in place of samples show by how much.
    """
    value, spread = float(distances[0]), 1.96 * float(np.std(distances[1:]))
    return Estimate(value, max(0.0, value - spread), min(1.0, value + spread), n)
