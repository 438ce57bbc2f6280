"""Copies: are the samples training rows? Distances to the nearest, against those of real rows not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from likewise.evaluation.metrics.estimate import Estimate, bootstrap, share


@dataclass(frozen=True)
class Copies:
    """What `copies` found. Distances d are root mean squares over features.

    ratio        median d(sample, train) / median d(test, train): well under 1 if the model repeats its rows
    closer       share of samples nearer to train than 99 % of real rows are: 0.01 for real rows
    exact        share of samples within the distance `exact` of a training row
    exact_real   the same of real rows, as any set has twins of its own
    nearer       P(d(sample, train) < d(sample, test)), as many rows of each: 0.5 if nothing is remembered
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

    `paired`: sample i was drawn for the sources of test row i, which is then not counted as its neighbour.
    `nearer` may lie under 0.5 all the same, where held-out rows resemble each other more than training rows.
    """
    own, real = nearest(samples, train), nearest(test, train)
    return Copies(
        ratio=bootstrap(lambda a, b: np.median(a) / max(np.median(b), 1e-12), own, real, rng=rng),
        closer=share(own < np.quantile(real, 0.01)),
        exact=share(own < exact),
        exact_real=share(real < exact),
        nearer=_nearer(samples, train[rng.permutation(len(train))[: len(test)]], test, paired, rng),
    )


def nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of each row of a (N, F) to the nearest row of b (M, F), (N,)."""
    y, found = torch.as_tensor(b, dtype=torch.float32), []
    for x in torch.as_tensor(a, dtype=torch.float32).split(256):
        # cdist's |x|^2 + |y|^2 - 2xy is fast and finds the row, but a copy's distance must come out at 0
        found.append((x - y[torch.cdist(x, y).argmin(1)]).norm(dim=1))
    return torch.cat(found).numpy() / a.shape[1] ** 0.5


def _nearer(
    samples: np.ndarray, seen: np.ndarray, unseen: np.ndarray, paired: bool, rng: np.random.Generator
) -> Estimate:
    """The share of samples nearer to `seen` than to `unseen`, with an interval over the choice of all three.

    Its width is that of a bootstrap, its place is not: a redrawn set has fewer rows to be near to.
    """
    x, s, u = (torch.as_tensor(v, dtype=torch.float32) for v in (samples, seen, unseen))
    to_seen, to_unseen = torch.cdist(x, s).numpy(), torch.cdist(x, u).numpy()
    if paired:
        np.fill_diagonal(to_unseen, np.inf)

    def statistic(rows: np.ndarray, i: np.ndarray, j: np.ndarray) -> float:
        a, b = to_seen[:, i].min(1)[rows], to_unseen[:, j].min(1)[rows]
        return float(np.mean((a < b) + 0.5 * (a == b)))

    whole = [np.arange(len(v)) for v in (samples, seen, unseen)]
    value = statistic(*whole)
    spread = 1.96 * np.std([statistic(*(rng.choice(v, len(v)) for v in whole)) for _ in range(100)])
    return Estimate(value, max(0.0, float(value - spread)), min(1.0, float(value + spread)), len(samples))
