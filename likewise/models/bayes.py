"""Bayes: a classifier made of a model that knows the classes of a column, by Bayes' rule.

    P(Y | X) = P(X | Y) P(Y) / sum_y P(X | y) P(y)                                                      (1)
    P(Y | X) = P(X, Y) / sum_y P(X, y)                                                                  (2)
    P(Y | X_o) = E P(Y | X_o, X_u),  X_u ~ P(X_u | X_o)                                                 (3)
    P_T(Y | X) ~ P(X | Y)^(1 / T) P(Y)                                                                  (4)

A bound or an estimate of log P(X | y) is noisy. All classes of a row share their noise, which cancels in the
differences that (1) rests on, and draws go where they decide: successive halving (Karnin et al., 2013) gives
few to every class, twice as many to the better half, and so on (Clark & Jaini, 2023; Li et al., 2023, for
diffusion models).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula
from likewise.core.known import KnownParts
from likewise.core.rng import Rng, seed_of
from likewise.core.score import Score
from likewise.modalities.base import Row
from likewise.models.model import Model

ROUNDS = 4  # of successive halving, at least
LEAST, MOST = 1e-2, 1e6  # between which a temperature is looked for


@dataclass(frozen=True)
class Likelihoods:
    """log P(x | y) of rows under every class, up to a number that is the same for all classes of a row.

    nats  (N, M, K) for N rows, each completed in M ways if a part of it is missing (M = 1 if not), K classes
    kind  of the model's scores, see Score
    """

    nats: Tensor
    kind: str


class Bayes:
    """P(Y | the other columns) from a model in which Y is one categorical column.

    Of a model of P(X | Y) it is (1), with the prior; of one in which Y is a target, such as P(X, Y) or
    P(Y | X) itself, it is (2), and what the model says of Y is its prior. Nothing is guided: guidance is a
    way to draw, no distribution.

    >>> from likewise.modalities import Label, Number
    >>> columns = {"price": Number.fit([1.0, 2.0, 4.0]), "kind": Label.fit(["a", "b"])}
    >>> bayes = Bayes(Model("price | kind", columns, width=64, depth=1), {"a": 0.9, "b": 0.1})
    >>> str(bayes.formula), bayes.classes
    ('kind | price', ('a', 'b'))
    >>> float(bayes.given(price=2.0).log_prob(kind="a", steps=4).nats.exp()) > 0.5
    True
    """

    def __init__(
        self,
        model: Model,
        prior: Mapping[Any, float] | None = None,
        *,
        labels: str | None = None,
        temperature: float = 1.0,
    ) -> None:
        """`prior` maps every class to its probability, or its count; without it all are as likely.

        `labels` is the column of the classes, which may be left out where there is only one such column.
        Raises ValueError if there is none, or several, if the family has no density, and for a prior that is
        none, or that the model has no use for.
        """
        model.scoring_options()
        if temperature <= 0:
            raise ValueError(f"a temperature is above 0, not {temperature}")
        self.model, self.temperature = model, temperature
        self.labels = _only(model) if labels is None else labels
        if self.labels not in _candidates(model):
            raise ValueError(did_you_mean("column of classes", self.labels, _candidates(model)))
        classes = [model.columns[self.labels].decode(torch.tensor([k])) for k in range(self._size)]
        self.classes: tuple[str, ...] = tuple(map(str, classes))
        others = [n for n in (*model.targets, *model.sources) if n != self.labels]
        self.formula = Formula.parse(f"{self.labels} | {', '.join(others)}")
        if prior is not None and self.labels in model.targets:
            raise ValueError(f"{self.labels!r} is a target of P({model.formula}), which brings its own prior")
        self.log_prior = self._logs(prior)

    @classmethod
    def from_labels(cls, model: Model, values: Sequence[Any], *, labels: str | None = None) -> Bayes:
        """The prior that training labels tell: how often each class comes, and once more (Laplace, 1774)."""
        bayes = cls(model, labels=labels)
        counts = dict.fromkeys(bayes.classes, 1)
        for value in values:
            if str(value) not in counts:
                raise ValueError(did_you_mean("class", str(value), bayes.classes))
            counts[str(value)] += 1
        return cls(model, counts, labels=labels)

    @property
    def _size(self) -> int:
        return self.model.columns[self.labels].spec.classes

    def _logs(self, prior: Mapping[Any, float] | None) -> Tensor:
        """log P(y), (K,) float64; zeros where the model brings the prior."""
        if self.labels in self.model.targets:
            return torch.zeros(self._size, dtype=torch.float64)
        given = dict.fromkeys(self.classes, 1.0) if prior is None else {str(k): v for k, v in prior.items()}
        for name in given:
            if name not in self.classes:
                raise ValueError(did_you_mean("class", name, self.classes))
        weights = torch.tensor([given.get(name, -1.0) for name in self.classes], dtype=torch.float64)
        if not bool((weights >= 0).all() & weights.isfinite().all() & (weights.sum() > 0)):
            raise ValueError(
                "a prior has a probability for every class, none of them negative, not all of "
                f"them 0; this one is {prior}"
            )
        return (weights / weights.sum()).log()

    # ---- answers

    def given(self, **sources: Any) -> Posterior:
        """P(Y | these): a value for every other column, though sources of the model may be left out.

        Raises ValueError for a column that is none of them.
        """
        known = self.formula.source_names
        for name in sources:
            if name not in known:
                raise ValueError(did_you_mean("column", name, known))
        return Posterior(self, sources)

    def probabilities(self, rows: Sequence[Row], **how: Any) -> np.ndarray:
        """P(y | row) of every class, (N, K) float64, in the order of `classes`; keywords of `likelihoods`."""
        return self.posterior(self.likelihoods(rows, **how)).exp().numpy()

    def log_prob(self, rows: Sequence[Row], **how: Any) -> Score:
        """log P(Y | row) of the class that each row has; keywords of `likelihoods`.

        "exact" if the model's scores are, else an "estimate", which the noise of the scores biases.
        """
        found = self.likelihoods(rows, **how)
        nats = self.posterior(found).gather(1, self.truth(rows)[:, None])[:, 0]
        exact = found.kind == "exact" and found.nats.shape[1] == 1
        return Score(nats.float(), "exact" if exact else "estimate", 1)

    def sample(
        self, rows: Sequence[Row], *, seed: int = 0, indices: Sequence[int] | None = None, **how: Any
    ) -> list[Row]:
        """The rows with a class drawn from P(Y | row); row i depends on (seed, indices[i])."""
        indices = range(len(rows)) if indices is None else indices
        chances = self.probabilities(rows, seed=seed, indices=indices, **how)
        u = Rng(indices, "class", seed).uniform(1).double().numpy()  # (N, 1)
        drawn = (chances.cumsum(1) < u * chances.sum(1, keepdims=True)).sum(1)
        return [{**row, self.labels: self.classes[k]} for row, k in zip(rows, drawn, strict=True)]

    def calibrate(self, rows: Sequence[Row], **how: Any) -> Bayes:
        """The same with the temperature (4) of the least log-loss on these rows, which should be held out."""
        found = self.likelihoods(rows, **how)
        return self.at(fit_temperature(found, self.log_prior, self.truth(rows)))

    def at(self, temperature: float) -> Bayes:
        """The same at another temperature."""
        fixed = self.labels in self.model.targets
        prior = None if fixed else dict(zip(self.classes, self.log_prior.exp().tolist(), strict=True))
        return Bayes(self.model, prior, labels=self.labels, temperature=temperature)

    def truth(self, rows: Sequence[Row]) -> Tensor:
        """The class that each row has, (N,) int64. Raises ValueError where there is none."""
        return torch.tensor(
            [int(self.model.columns[self.labels].encode(row.get(self.labels))) for row in rows],
            dtype=torch.int64,
        )

    def posterior(self, found: Likelihoods) -> Tensor:
        """log P(y | row), (N, K) float64: (1) or (2), and (3), at the temperature (4)."""
        return posterior(found.nats, self.log_prior, self.temperature)

    # ---- likelihoods

    def likelihoods(
        self,
        rows: Sequence[Row],
        *,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        draws: int = 4,
        keep: int = 2,
        observed: Mapping[str, Any] | None = None,
        completions: int = 4,
        batch: int = 64,
        **sampling_options: Any,
    ) -> Likelihoods:
        """log P(row | y) of every class; what a row has in the column of classes is not looked at.

        seed, indices  the noise of row i depends on (seed, indices[i]) and is shared by its classes
        draws          of noise in the first round, for every class, if scores are noisy; doubled each round
        keep           classes that are never dropped; with 10 classes a row costs 48 x `draws`
        observed       target -> mask of bool over its grid, True where it is known: the rest is missing
        completions    of what is missing, (3), unless the family can sum over it

        Knobs are those of the family's log_prob. Raises ValueError for a row without a target.
        """
        if draws < 1 or keep < 1 or completions < 1:
            raise ValueError(
                f"draws, keep and completions are at least 1, not {draws}, {keep} and {completions}"
            )
        needed = [n for n in self.model.targets if n != self.labels]
        for row in rows:
            if missing := [n for n in needed if row.get(n) is None]:
                raise ValueError(
                    f"Bayes' rule needs a value of {missing[0]!r}, a target of "
                    f"P({self.model.formula}), in every row"
                )
        indices = list(range(len(rows)) if indices is None else indices)
        ways = 1
        if observed and "observed" in self.model.scoring_options():
            sampling_options["observed"] = observed
        elif observed:
            ways = completions
            rows, indices = self._completed(rows, indices, observed, ways, seed, batch)
        nats, kind = _SuccessiveHalving(self, rows, indices, seed, batch, sampling_options).run(draws, keep)
        return Likelihoods(nats.view(len(rows) // ways, ways, len(self.classes)), kind)

    @torch.no_grad()
    def _completed(
        self,
        rows: Sequence[Row],
        indices: Sequence[int],
        observed: Mapping[str, Any],
        ways: int,
        seed: int,
        batch: int,
    ) -> tuple[list[Row], list[int]]:
        """Each row with what is missing drawn `ways` times, no class given (3), and an index for each."""
        model, done = self.model, []
        masks = {n: model.processor.mask(n, mask) for n, mask in observed.items()}
        rows = [{n: v for n, v in row.items() if n != self.labels} for row in rows for _ in range(ways)]
        numbers = [i * ways + j for i in indices for j in range(ways)]
        plain = {"guidance": 1.0} if "guidance" in type(model.family).sampling_options() else {}
        whole = [n for n in model.targets if n != self.labels]
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            values = {n: model.encode(n, [row[n] for row in part]) for n in whole}
            full = {
                n: torch.ones(model.columns[n].spec.tokens, dtype=torch.bool, device=model.device)
                for n in whole
            } | masks
            known = KnownParts(values, {n: mask.expand(len(part), -1) for n, mask in full.items()})
            rng = Rng(numbers[start : start + batch], "complete", seed, device=model.device)
            drawn = model.family.sample(model.context(part), known=known, rng=rng, **plain)
            done += [
                {**row, **{n: model.columns[n].decode(drawn[n][i].cpu()) for n in masks}}
                for i, row in enumerate(part)
            ]
        return done, numbers


class _SuccessiveHalving:
    """Scores of N rows under K classes, by successive halving where they are noisy.

    A round's draws are independent of those of the rounds before. `draws` of a bound are averaged, `samples`
    of an importance weight as probabilities: together they are what as many at once would have given.
    """

    def __init__(
        self,
        bayes: Bayes,
        rows: Sequence[Row],
        indices: Sequence[int],
        seed: int,
        batch: int,
        sampling_options: Mapping[str, Any],
    ) -> None:
        self.bayes, self.rows, self.indices = bayes, rows, indices
        self.seed, self.batch, self.sampling_options = seed, batch, dict(sampling_options)
        names = bayes.model.scoring_options()
        free = (n for n in ("draws", "samples") if n in names and n not in sampling_options)
        self.counted = next(free, None)  # the keyword that says how many draws

    def run(self, draws: int, keep: int) -> tuple[Tensor, str]:
        """Every class `draws` times, the better half twice as often, ...: (N, K) nats and their kind."""
        classes = len(self.bayes.classes)
        alive = torch.arange(classes).expand(len(self.rows), classes)  # (N, A): classes that are left
        nats, kind = self._score(alive, draws, 0)
        prior = self.bayes.temperature * self.bayes.log_prior
        rounds = max(ROUNDS, 1 + math.ceil(math.log2(max(1.0, classes / keep))))
        spent = draws
        once = kind == "exact" or self.counted is None
        for number in range(1, 1 if once else rounds):
            left = min(alive.shape[1], max(keep, math.ceil(alive.shape[1] / 2)))
            alive = alive.gather(1, (nats + prior).gather(1, alive).topk(left, dim=1).indices)
            draws = 2 * draws
            fresh, kind = self._score(alive, draws, number)
            before = nats.gather(1, alive)
            after = self._mean(before, spent, fresh, draws)
            # Those that were dropped move as those that are left do on average: by the noise that they share.
            nats = (nats + (after - before).mean(1, keepdim=True)).scatter(1, alive, after)
            spent += draws
        return nats, kind

    def _score(self, alive: Tensor, draws: int, number: int) -> tuple[Tensor, str]:
        """log P(row | y) of the classes (N, A), (N, A) float64, and its kind."""
        name, classes = self.bayes.labels, self.bayes.classes
        rows = [
            {**row, name: classes[k]}
            for row, some in zip(self.rows, alive.tolist(), strict=True)
            for k in some
        ]
        if not rows:
            return torch.zeros(alive.shape, dtype=torch.float64), "exact"
        indices = [i for i in self.indices for _ in range(alive.shape[1])]
        sampling_options = {**self.sampling_options, **({self.counted: draws} if self.counted else {})}
        seed = seed_of("round", self.seed, number)
        score = self.bayes.model.log_prob(
            rows, seed=seed, indices=indices, batch=self.batch, **sampling_options
        )
        return score.nats.double().cpu().view(alive.shape), score.kind

    def _mean(self, before: Tensor, spent: int, fresh: Tensor, draws: int) -> Tensor:
        share = draws / (spent + draws)
        if self.counted == "samples":
            return torch.logaddexp(before + math.log(1 - share), fresh + math.log(share))
        return before + share * (fresh - before)


@dataclass(frozen=True)
class Posterior:
    """Bayes' rule with the other columns known: P(Y | these)."""

    bayes: Bayes
    sources: Row

    def sample(self, n: int = 1, *, seed: int = 0, **how: Any) -> list[Row]:
        """n draws of the class; the posterior is worked out once."""
        chances = self.bayes.probabilities([self.sources], seed=seed, **how)[0]
        u = Rng(range(n), "class", seed).uniform(1)[:, 0].double().numpy()
        drawn = np.searchsorted(chances.cumsum(), u * chances.sum())
        return [{**self.sources, self.bayes.labels: self.bayes.classes[k]} for k in drawn]

    def log_prob(self, **given: Any) -> Score:
        """log P(Y = y | these), one row: the class, and keywords of Bayes.likelihoods."""
        if self.bayes.labels not in given:
            raise ValueError(f"log_prob needs a class: {self.bayes.labels}=...")
        row = {**self.sources, self.bayes.labels: given.pop(self.bayes.labels)}
        return self.bayes.log_prob([row], **given)


def posterior(nats: Tensor, log_prior: Tensor, temperature: float) -> Tensor:
    """(N, M, K) log-likelihoods, (K,) -> log P(y | row), (N, K): (4), and the mean over completions (3)."""
    each = (nats / temperature + log_prior).log_softmax(-1)
    return each.logsumexp(1) - math.log(nats.shape[1])


def fit_temperature(found: Likelihoods, log_prior: Tensor, truth: Tensor) -> float:
    """The temperature of the least log-loss on rows of class `truth` (N,).

    The row of the median lead counts once more, as one of the class that comes second: without it rows that
    are all right would ask for certainty, with it for N in N + 1 (Laplace). The loss is convex in 1 / T (if
    nothing is missing), so a grid of log T holds the minimum beside its best point. Raises ValueError for no
    rows.
    """
    if not len(truth):
        raise ValueError("there are no rows to fit a temperature on")
    lead, classes = posterior(found.nats, log_prior, 1.0).topk(2, dim=1)
    middle = int((lead[:, 0] - lead[:, 1]).argsort()[len(truth) // 2])
    nats = torch.cat([found.nats, found.nats[middle : middle + 1]])
    truth = torch.cat([truth, classes[middle, 1:]])[:, None]
    low, high = math.log(LEAST), math.log(MOST)
    for _ in range(5):
        grid = np.linspace(low, high, 21)
        losses = [-float(posterior(nats, log_prior, math.exp(t)).gather(1, truth).mean()) for t in grid]
        best = int(np.argmin(losses))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 20)]
    return math.exp((low + high) / 2)


def _candidates(model: Model) -> list[str]:
    """The columns of one categorical token."""
    specs = {n: model.columns[n].spec for n in (*model.targets, *model.sources)}
    return [n for n, spec in specs.items() if spec.categorical and spec.tokens == 1]


def _only(model: Model) -> str:
    """The one column of classes. Raises ValueError if there is none, or several."""
    names = _candidates(model)
    if len(names) != 1:
        there = f"has {', '.join(names)}: say which with labels=" if names else "has none"
        raise ValueError(f"Bayes' rule needs a column of classes, and P({model.formula}) {there}")
    return names[0]
