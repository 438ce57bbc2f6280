"""Copies: are the samples training rows? Nearest training neighbour of samples against that of real rows the model never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from likewise.evaluate.estimate import Estimate, bootstrap, share


@dataclass(frozen=True)
class Copies:
    """Distances are root mean squares over features; of pixels in [-1, 1] 0.05 is 2.5 % of the range, a copy to the eye."""

    ratio: Estimate         # median d(sample, train) / median d(test, train): well under 1 if the model repeats its rows
    closer: Estimate        # share of samples nearer to train than 99 % of test is: real rows score 0.01
    exact: Estimate         # share of samples within `exact` of a training row
    exact_real: Estimate    # the same of test rows: sets have twins of their own
    nearer: Estimate        # P(d(sample, train) < d(sample, test)), equally many rows each: 0.5 of an unconditional model


def copies(samples: np.ndarray, train: np.ndarray, test: np.ndarray, *, rng: np.random.Generator, paired: bool = False,
           exact: float = 0.05) -> Copies:
    """Compare features (N, F), (M, F), (K, F). `paired`: sample i was drawn for the sources of test row i, so that row is not
    counted as its neighbour; `nearer` may still lie under 0.5 then, as held-out rows resemble each other."""
    own, real = nearest(samples, train), nearest(test, train)
    few = train[rng.permutation(len(train))[:len(test)]]
    theirs, ours = nearest(samples, few), nearest(samples, test, skip_own=paired)
    wins = (theirs < ours) + 0.5 * (theirs == ours)
    return Copies(ratio=bootstrap(_median_ratio, own, real, rng=rng),
                  closer=share(own < np.quantile(real, 0.01)),
                  exact=share(own < exact), exact_real=share(real < exact),
                  nearer=bootstrap(np.mean, wins, rng=rng))


def nearest(a: np.ndarray, b: np.ndarray, *, skip_own: bool = False) -> np.ndarray:
    """Distance (N,) of each row of a (N, F) to its nearest row of b (M, F); `skip_own`: other than the row of its own number."""
    x, y = (torch.as_tensor(v, dtype=torch.float32) for v in (a, b))
    found = []
    for start in range(0, len(x), 256):
        part = x[start:start + 256]
        d = torch.cdist(part, y)
        if skip_own:
            rows = torch.arange(len(part))
            d[rows, rows + start] = torch.inf
        # once more from the differences: the fast |x|^2 + |y|^2 - 2xy finds the row, but a copy must come out at 0
        found.append((part - y[d.argmin(1)]).norm(dim=1))
    return torch.cat(found).numpy() / a.shape[1] ** 0.5


def _median_ratio(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.median(a) / max(np.median(b), 1e-12))
