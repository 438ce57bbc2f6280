"""Variations: of a picture drawn through its embedding, what stays and what changes?

Pictures are (N, H, W, C) in [-1, 1], variations (N, K, H, W, C), K of each. Likeness is the cosine of
`edges`, features that no model was trained on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from likewise.evaluation.features.image import edge_features
from likewise.evaluation.metrics.estimate import bootstrap, share
from likewise.evaluation.reference import rng_of
from likewise.evaluation.report import MetricResult

GREY = 127.5  # levels of 255 in a unit of [-1, 1]
Features = Callable[[np.ndarray], np.ndarray]


def variations(
    originals: np.ndarray,
    drawn: np.ndarray,
    ceiling: np.ndarray | None = None,
    *,
    seed: int = 0,
    space: Features = edge_features,
) -> list[MetricResult]:
    """A variation keeps what the original shows and changes the detail: each in two lines.

    `ceiling` (N, H, W, C), shown as of real rows, are the originals as near as the model can draw them, such
    as upsampled from their small pictures. Chance is a variation of another original. Raises ValueError
    unless there are two originals and two variations of each, of one shape.
    """
    n, k = drawn.shape[:2]
    if n < 2 or k < 2 or originals.shape != drawn[:, 0].shape:
        raise ValueError(
            "variations are measured on two originals or more with as many times two variations "
            f"or more, of one shape, not {originals.shape} and {drawn.shape}"
        )
    real, ours = _unit(space(originals)), _unit(space(drawn.reshape(-1, *drawn.shape[2:]))).reshape(n, k, -1)
    best = None if ceiling is None else _unit(space(ceiling))
    other = np.roll(np.arange(n), 1)  # another original
    rng = rng_of("variations", seed)

    def line(
        name: str, values: np.ndarray, real: np.ndarray | None, chance: np.ndarray, **more: str
    ) -> MetricResult:
        top = None if real is None else bootstrap(np.mean, real, rng=rng)
        return MetricResult(
            name, bootstrap(np.mean, values, rng=rng), top, None, float(chance.mean()), **more
        )

    found = (ours @ real.T).argmax(2) == np.arange(n)[:, None]  # (N, K)
    hits = bootstrap(np.mean, found.mean(1), rng=rng)
    top = None if best is None else share((best @ real.T).argmax(1) == np.arange(n))
    pairs = np.triu_indices(k, 1)
    within, across = (
        rmse(drawn[:, pairs[0]], drawn[rows][:, pairs[1]]).mean(1) for rows in (np.arange(n), other)
    )
    to_own, to_other = (rmse(drawn, originals[rows][:, None]).mean(1) for rows in (np.arange(n), other))
    return [
        MetricResult(
            "original nearest",
            hits,
            top,
            None,
            1 / n,
            "higher",
            f"how often a variation is more like its original than like any of {n - 1} others",
        ),
        line(
            "likeness to the original",
            (ours * real[:, None]).sum(-1).mean(1),
            None if best is None else (best * real).sum(-1),
            (ours * ours[other]).sum(-1),
            better="higher",
            note="cosine of edges; chance: of variations of two originals",
        ),
        line(
            "RMSE to the original",
            to_own,
            None if best is None else rmse(ceiling, originals),
            to_other,
            better="as real",
            note="of pixels, in levels of 255; chance: to another original",
        ),
        line(
            "RMSE among variations",
            within,
            None,
            across,
            better="higher",
            note="of one original: above 0 the detail changes; chance: of two originals",
        ),
    ]


def rmse(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Root mean square difference of pictures (..., H, W, C) in [-1, 1], in levels of 255: (...)."""
    return GREY * np.sqrt(np.square(a - b).mean((-3, -2, -1)))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True).clip(min=1e-12)
