"""Memorization: distances of samples to the nearest training rows, beside those of held-out rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share
from likewise.evaluation.metrics.neighbours import Neighbours, nearer


@dataclass(frozen=True)
class Copies:
    """The result of `copies`. Distances d are root mean squares over features.

    ratio        median d(sample, train) / median d(test, train): well below 1 if training rows are repeated
    closer       share of samples nearer to train than 99 % of held-out rows are: 0.01 for real rows
    exact        share of samples within the distance `exact` of a training row
    exact_real   the same of held-out rows, as any data set has near duplicates
    nearer       P(d(sample, train) < d(sample, test)), as many rows of each: 0.5 without memorization
    """

    ratio: Estimate
    closer: Estimate
    exact: Estimate
    exact_real: Estimate
    nearer: Estimate


def copies(
    samples: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    *,
    rng: np.random.Generator,
    paired: bool = False,
    exact: float = 0.05,
) -> Copies:
    """Compare features (N, F), (M, F) and (K, F); `exact` is 2.5 % of the range of pixels in [-1, 1].

    `paired`: sample i was conditioned on the sources of test row i, which then does not count as its
    neighbour. `nearer` may still be below 0.5 where held-out rows resemble each other more than training rows.
    """
    distances, real = nearest(samples, train), nearest(test, train)
    return Copies(
        ratio=bootstrap(lambda a, b: np.median(a) / max(np.median(b), 1e-12), distances, real, rng=rng),
        closer=share(distances < np.quantile(real, 0.01)),
        exact=share(distances < exact),
        exact_real=share(real < exact),
        nearer=_nearer(samples, train[rng.permutation(len(train))[: len(test)]], test, paired, rng),
    )


def nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of each row of a (N, F) to the nearest row of b (M, F), (N,)."""
    y, chunks = torch.as_tensor(b, dtype=torch.float32), []
    for x in torch.as_tensor(a, dtype=torch.float32).split(256):
        # cdist's |x|^2 + |y|^2 - 2xy is fast and accurate enough to choose the row, but the distance of a copy must be 0
        chunks.append((x - y[torch.cdist(x, y).argmin(1)]).norm(dim=1))
    return torch.cat(chunks).numpy() / a.shape[1] ** 0.5


def _nearer(
    samples: np.ndarray, train: np.ndarray, test: np.ndarray, paired: bool, rng: np.random.Generator
) -> Estimate:
    """The share of samples nearer to `train` than to `test`."""
    x, y, z = (torch.as_tensor(v, dtype=torch.float32) for v in (samples, train, test))

    def chunks(real: torch.Tensor) -> Iterator[np.ndarray]:
        return (torch.cdist(part, real).numpy() for part in x.split(256))

    return nearer(Neighbours.find(chunks(y)), Neighbours.find(chunks(z), without_self=paired), rng=rng)
