"""Posteriors of classes from log-likelihoods, and the temperature that calibrates them.

    P_T(Y | X) ~ P(X | Y)^(1 / T) P(Y)                                                                   (1)
    P(Y | X_o) = E P(Y | X_o, X_u),  X_u ~ P(X_u | X_o)                                                  (2)

Legend: N rows, K classes, M completions of the part X_u of a row that is missing (1 if none is).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MIN_TEMPERATURE, MAX_TEMPERATURE = 1e-2, 1e6
GRID = 21  # temperatures of a round of the search
ROUNDS = 5


@dataclass(frozen=True)
class Likelihoods:
    """log P(x | y) of rows under every class, up to a constant of each row.

    nats  (N, M, K)
    kind  of the model's scores, see Score
    """

    nats: Tensor
    kind: str


def log_posterior(nats: Tensor, log_prior: Tensor, temperature: float) -> Tensor:
    """Log-likelihoods (N, M, K) and log P(y) (K,) -> log P(y | row), (N, K): (1), and the mean (2)."""
    posteriors = (nats / temperature + log_prior).log_softmax(-1)
    return posteriors.logsumexp(1) - math.log(nats.shape[1])


def fit_temperature(likelihoods: Likelihoods, log_prior: Tensor, labels: Tensor) -> float:
    """The temperature with the least log-loss on rows with these labels, (N,) int64.

    The row of the median margin counts once more, as one of its second class: otherwise rows that are all
    classified correctly would be fitted by certainty, and so they are by N of N + 1 (Laplace). The loss is
    convex in 1 / T (if nothing is missing), so the minimum lies beside the best point of a grid of log T.
    Raises ValueError for no rows.
    """
    if not len(labels):
        raise ValueError("there are no rows to fit a temperature on")
    top, classes = log_posterior(likelihoods.nats, log_prior, 1.0).topk(2, dim=1)
    median = int((top[:, 0] - top[:, 1]).argsort()[len(labels) // 2])
    nats = torch.cat([likelihoods.nats, likelihoods.nats[median : median + 1]])
    labels = torch.cat([labels, classes[median, 1:]])[:, None]
    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    for _ in range(ROUNDS):
        grid = np.linspace(low, high, GRID).tolist()
        losses = [-float(log_posterior(nats, log_prior, math.exp(t)).gather(1, labels).mean()) for t in grid]
        best = int(np.argmin(losses))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)]
    return math.exp((low + high) / 2)
