"""Noisy log-likelihoods of many classes, by successive halving (Karnin et al., 2013).

A bound or an estimate of log P(x | y) is noisy. All classes of a row share their noise, which cancels in the
differences that Bayes' rule rests on, and effort goes where it decides: every class gets few draws of noise, the
better half twice as many, and so on (Clark & Jaini, 2023; Li et al., 2023, for diffusion models).

Legend: N rows, K classes, A of them left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likewise.core.rng import seed_of
from likewise.modalities.base import Row
from likewise.models.model import Model

MIN_ROUNDS = 4


@dataclass(frozen=True)
class ClassScorer:
    """Log-likelihoods of rows under some of the `classes` of the column `labels`.

    indices  the noise of row i depends on (seed, indices[i]) and is shared by its classes
    options  of `Model.log_prob`
    """

    model: Model
    labels: str
    classes: Sequence[str]
    rows: Sequence[Row]
    indices: Sequence[int]
    seed: int
    batch: int
    options: Mapping[str, Any]

    @property
    def draws_option(self) -> str | None:
        """The option of `log_prob` for the number of draws, unless it is among `options`; None without noise."""
        known = self.model.scoring_options()
        return next((n for n in ("draws", "samples") if n in known and n not in self.options), None)

    def score(self, classes: Tensor, draws: int, number: int) -> tuple[Tensor, str]:
        """log P(row | y) of classes (N, A) -> (N, A) float64, and its kind; rounds differ in their noise."""
        rows = [
            {**row, self.labels: self.classes[k]}
            for row, numbers in zip(self.rows, classes.tolist(), strict=True)
            for k in numbers
        ]
        if not rows:
            return torch.zeros(classes.shape, dtype=torch.float64), "exact"
        indices = [i for i in self.indices for _ in range(classes.shape[1])]
        options = dict(self.options)
        if self.draws_option is not None:
            options[self.draws_option] = draws
        seed = seed_of("round", self.seed, number)
        score = self.model.log_prob(rows, seed=seed, indices=indices, batch=self.batch, **options)
        return score.nats.double().cpu().view(classes.shape), score.kind

    def average(self, old: Tensor, old_draws: int, new: Tensor, new_draws: int) -> Tensor:
        """Combine scores of two rounds: what one round of both numbers of draws would have given.

        `draws` of a bound are averaged, `samples` of an importance weight as probabilities.
        """
        share = new_draws / (old_draws + new_draws)
        if self.draws_option == "samples":
            return torch.logaddexp(old + math.log(1 - share), new + math.log(share))
        return old + share * (new - old)


def successive_halving(scorer: ClassScorer, log_prior: Tensor, draws: int, keep: int) -> tuple[Tensor, str]:
    """log P(row | y) of every class, (N, K) float64, and its kind.

    log_prior  (K,), added to decide which classes are better
    draws      of noise in the first round, doubled in each later one
    keep       classes that are never dropped
    """
    classes = len(scorer.classes)
    left = torch.arange(classes).expand(len(scorer.rows), classes)  # (N, A)
    nats, kind = scorer.score(left, draws, 0)
    if kind == "exact" or scorer.draws_option is None:
        return nats, kind
    total = draws
    for number in range(1, max(MIN_ROUNDS, 1 + math.ceil(math.log2(max(1.0, classes / keep))))):
        count = min(left.shape[1], max(keep, math.ceil(left.shape[1] / 2)))
        left = left.gather(1, (nats + log_prior).gather(1, left).topk(count, dim=1).indices)
        draws = 2 * draws
        new, kind = scorer.score(left, draws, number)
        before = nats.gather(1, left)
        after = scorer.average(before, total, new, draws)
        # Classes that were dropped move as the others do on average: by the noise that they share.
        nats = (nats + (after - before).mean(1, keepdim=True)).scatter(1, left, after)
        total += draws
    return nats, kind
