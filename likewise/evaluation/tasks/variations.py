"""Variations of an image, sampled through its embedding: what they share with it and what differs.

Images are (N, H, W, C) in [-1, 1], variations (N, K, H, W, C), K of each. Similarity is the cosine of
`edge_features`, which are not trained.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from likewise.core.options import validated
from likewise.core.ranges import Seed
from likewise.evaluation.features.image import edge_features
from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share
from likewise.evaluation.reference import rng_of
from likewise.evaluation.report import Better, MetricResult

LEVELS = 127.5  # of 255 in a unit of [-1, 1]
Features = Callable[[np.ndarray], np.ndarray]


@validated
def variations(
    originals: np.ndarray,
    samples: np.ndarray,
    ceiling: np.ndarray | None = None,
    *,
    seed: Seed = 0,
    features: Features = edge_features,
) -> list[MetricResult]:
    """Two metrics of what variations preserve of the original, and two of what they change.

    `ceiling` (N, H, W, C), reported as of real rows, are the best possible samples, such as originals
    upsampled from their small versions. Chance is a variation of another original. Raises ValueError unless
    there are at least two originals and two variations of each, of one shape.
    """
    n, k = samples.shape[:2]
    if n < 2 or k < 2 or originals.shape != samples[:, 0].shape:
        raise ValueError(
            "variations are measured on two originals or more with as many times two variations "
            f"or more, of one shape, not {originals.shape} and {samples.shape}"
        )
    x = _unit(features(originals))  # (N, F)
    y = _unit(features(samples.reshape(-1, *samples.shape[2:]))).reshape(n, k, -1)
    best = None if ceiling is None else _unit(features(ceiling))
    rows, other = np.arange(n), np.roll(np.arange(n), 1)  # another original
    rng = rng_of("variations", seed)

    def mean(values: np.ndarray) -> Estimate:
        return bootstrap(np.mean, values, rng=rng)

    def result(
        name: str, values: np.ndarray, real: Estimate | None, chance: float, better: Better, note: str
    ) -> MetricResult:
        return MetricResult(name, mean(values), real, chance=chance, better=better, note=note)

    nearest = (y @ x.T).argmax(2) == rows[:, None]
    pairs = np.triu_indices(k, 1)
    within, across = (rmse(samples[:, pairs[0]], samples[i][:, pairs[1]]).mean(1) for i in (rows, other))
    to_own, to_other = (rmse(samples, originals[i][:, None]).mean(1) for i in (rows, other))
    return [
        result(
            "original nearest",
            nearest.mean(1),
            None if best is None else share((best @ x.T).argmax(1) == rows),
            1 / n,
            "higher",
            f"how often a variation is more similar to its original than to any of {n - 1} others",
        ),
        result(
            "similarity to the original",
            (y * x[:, None]).sum(-1).mean(1),
            None if best is None else mean((best * x).sum(-1)),
            float((y * y[other]).sum(-1).mean()),
            "higher",
            "cosine of edges; chance: of variations of two originals",
        ),
        result(
            "RMSE to the original",
            to_own,
            None if ceiling is None else mean(rmse(ceiling, originals)),
            float(to_other.mean()),
            "as real",
            "of pixels, in levels of 255; chance: to another original",
        ),
        result(
            "RMSE among variations",
            within,
            None,
            float(across.mean()),
            "higher",
            "of one original: above 0 the detail changes; chance: of two originals",
        ),
    ]


def rmse(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Root mean square difference of images (..., H, W, C) in [-1, 1], in levels of 255: (...)."""
    return LEVELS * np.sqrt(np.square(a - b).mean((-3, -2, -1)))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True).clip(min=1e-12)
