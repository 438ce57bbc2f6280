"""Bayes: a classifier from a model that has a column of classes, by Bayes' rule.

    P(Y | X) = P(X | Y) P(Y) / sum_y P(X | y) P(y)                                                       (1)
    P(Y | X) = P(X, Y) / sum_y P(X, y)                                                                   (2)

Temperature and missing parts are in class_posterior.py, noisy likelihoods in successive_halving.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula
from likewise.core.known import KnownParts
from likewise.core.options import validated
from likewise.core.ranges import Draws, NonNegativeInt, PositiveFloat, PositiveInt, Seed
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.families.capabilities import CanSample
from likewise.modalities.base import Row
from likewise.models.class_posterior import Likelihoods, fit_temperature, log_posterior
from likewise.models.model import Model
from likewise.models.successive_halving import ClassScorer, successive_halving


class Bayes:
    """P(Y | X): Y is a column of classes of a model, X are its other columns.

    If Y is a source of the model, as in P(X | Y), this is (1), with a prior. If Y is a target, as in P(X, Y) or
    P(Y | X) itself, this is (2), and the model has its own prior. Likelihoods are never guided.

    model        with a density
    labels       the column Y
    classes      its values
    log_prior    log P(y), (K,) float64; zeros if the model has its own prior
    temperature  1, or what `calibrate` has fitted

    >>> from likewise.modalities import Label, Number
    >>> columns = {"price": Number.fit([1.0, 2.0, 4.0]), "kind": Label.fit(["a", "b"])}
    >>> bayes = Bayes(Model("price | kind", columns, width=64, depth=1), {"a": 0.9, "b": 0.1})
    >>> str(bayes.formula), bayes.classes
    ('kind | price', ('a', 'b'))
    >>> float(bayes.given(price=2.0).log_prob(kind="a").nats.exp()) > 0.5
    True
    """

    @validated
    def __init__(
        self,
        model: Model,
        prior: Mapping[Any, float] | None = None,
        *,
        labels: str | None = None,
        temperature: PositiveFloat = 1.0,
    ) -> None:
        """`prior` maps every class to its probability, or its count; by default all are equally likely.

        `labels` may be left out if the model has one column of classes only. Raises ValueError if it has none,
        or several, for a family without a density, and for a prior that is none, or that the model has itself.
        """
        model.scoring_options()
        self.model, self.temperature = model, temperature
        self.labels = _single_class_column(model) if labels is None else labels
        if self.labels not in _class_columns(model):
            raise ValueError(did_you_mean("column of classes", self.labels, _class_columns(model)))
        self.classes = tuple(model.columns[self.labels].class_names())
        others = tuple(view for view in model.formula.views if view.name != self.labels)
        self.formula = Formula((model.formula.view(self.labels),), others)
        if prior is not None and self.labels in model.targets:
            raise ValueError(f"{self.labels!r} is a target of P({model.formula}), which has its own prior")
        self.log_prior = self._normalise(prior)

    @classmethod
    def from_labels(cls, model: Model, values: Sequence[Any], *, labels: str | None = None) -> Bayes:
        """With the frequencies of training labels as the prior, each count plus one (Laplace, 1774)."""
        bayes = cls(model, labels=labels)
        counts = dict.fromkeys(bayes.classes, 1)
        for value in values:
            if str(value) not in counts:
                raise ValueError(did_you_mean("class", str(value), bayes.classes))
            counts[str(value)] += 1
        return cls(model, counts, labels=labels)

    def _normalise(self, prior: Mapping[Any, float] | None) -> Tensor:
        """log P(y), (K,) float64."""
        if self.labels in self.model.targets:
            return torch.zeros(len(self.classes), dtype=torch.float64)
        weight_of = (
            dict.fromkeys(self.classes, 1.0) if prior is None else {str(k): w for k, w in prior.items()}
        )
        for name in weight_of:
            if name not in self.classes:
                raise ValueError(did_you_mean("class", name, self.classes))
        weights = torch.tensor([weight_of.get(name, -1.0) for name in self.classes], dtype=torch.float64)
        if not bool((weights >= 0).all() & weights.isfinite().all() & (weights.sum() > 0)):
            raise ValueError(
                "a prior has a probability for every class, none of them negative, not all of "
                f"them 0; this one is {prior}"
            )
        return (weights / weights.sum()).log()

    # ---- posteriors

    def given(self, **sources: Any) -> Posterior:
        """P(Y | these values): one of every other column, though sources of the model may be left out.

        Raises ValueError for a name that is no such column.
        """
        for name in sources:
            if name not in self.formula.source_names:
                raise ValueError(did_you_mean("column", name, self.formula.source_names))
        return Posterior(self, sources)

    def probabilities(self, rows: Sequence[Row], **options: Any) -> np.ndarray:
        """P(y | row) of every class, (N, K) float64, in the order of `classes`; options of `likelihoods`."""
        return self.log_posterior(self.likelihoods(rows, **options)).exp().numpy()

    def log_prob(self, rows: Sequence[Row], **options: Any) -> Score:
        """log P(Y | row) of the class of each row; options of `likelihoods`.

        "exact" if the scores of the model are, else an "estimate", biased by the noise of the scores.
        """
        likelihoods = self.likelihoods(rows, **options)
        nats = self.log_posterior(likelihoods).gather(1, self.class_ids(rows)[:, None])[:, 0]
        exact = likelihoods.kind == "exact" and likelihoods.nats.shape[1] == 1
        return Score(nats.float(), "exact" if exact else "estimate", 1)

    @validated
    def sample(
        self, rows: Sequence[Row], *, seed: Seed = 0, indices: Sequence[int] | None = None, **options: Any
    ) -> list[Row]:
        """The rows with a class sampled from P(Y | row); row i depends on (seed, indices[i]) only."""
        indices = range(len(rows)) if indices is None else indices
        probabilities = self.probabilities(rows, seed=seed, indices=indices, **options)
        return [
            {**row, self.labels: name}
            for row, name in zip(rows, self._sample_classes(probabilities, indices, seed), strict=True)
        ]

    def _sample_classes(self, probabilities: np.ndarray, indices: Sequence[int], seed: int) -> list[Any]:
        """Sample from probabilities (N, K), or (1, K) for all, by the inverse of their cumulative sums."""
        u = Rng(indices, "class", seed).uniform(1).double().numpy()  # (N, 1)
        numbers = (probabilities.cumsum(1) < u * probabilities.sum(1, keepdims=True)).sum(1)
        column = self.model.columns[self.labels]
        return [column.decode(torch.tensor([k])) for k in numbers.tolist()]

    def calibrate(self, rows: Sequence[Row], **options: Any) -> Bayes:
        """The same with the temperature that has the least log-loss on these rows, which should be held out."""
        likelihoods = self.likelihoods(rows, **options)
        return self.with_temperature(fit_temperature(likelihoods, self.log_prior, self.class_ids(rows)))

    def with_temperature(self, temperature: float) -> Bayes:
        """The same at another temperature."""
        own_prior = self.labels in self.model.targets
        prior = None if own_prior else dict(zip(self.classes, self.log_prior.exp().tolist(), strict=True))
        return Bayes(self.model, prior, labels=self.labels, temperature=temperature)

    def class_ids(self, rows: Sequence[Row]) -> Tensor:
        """The class of each row, (N,) int64. Raises ValueError for a row without one."""
        column = self.model.columns[self.labels]
        return torch.tensor([int(column.encode(row.get(self.labels))) for row in rows], dtype=torch.int64)

    def log_posterior(self, likelihoods: Likelihoods) -> Tensor:
        """log P(y | row), (N, K) float64, at the temperature."""
        return log_posterior(likelihoods.nats, self.log_prior, self.temperature)

    # ---- likelihoods

    @validated
    def likelihoods(
        self,
        rows: Sequence[Row],
        *,
        seed: Seed = 0,
        indices: Sequence[int] | None = None,
        draws: Draws = 4,
        keep: PositiveInt = 2,
        observed: Mapping[str, Any] | None = None,
        completions: Draws = 4,
        batch: PositiveInt = 64,
        **scoring_options: Any,
    ) -> Likelihoods:
        """log P(row | y) of every class; the class of a row itself is not used.

        seed, indices  the noise of row i depends on (seed, indices[i]) and is shared by its classes
        draws          of noise in the first round, for every class, if scores are noisy; doubled each round
        keep           classes that are never dropped; with 10 classes a row costs 48 x `draws`
        observed       target -> mask of bool over its grid, True where it is known: the rest is missing
        completions    samples of what is missing, unless the family can marginalise it

        Other keywords are those of `Model.scoring_options`. Raises ValueError for a row without a target.
        """
        targets = [n for n in self.model.targets if n != self.labels]
        for row in rows:
            if missing := [n for n in targets if row.get(n) is None]:
                raise ValueError(
                    f"Bayes' rule needs a value of {missing[0]!r}, a target of "
                    f"P({self.model.formula}), in every row"
                )
        count, indices = len(rows), list(range(len(rows)) if indices is None else indices)
        if not observed:
            completions = 1
        elif "observed" in self.model.scoring_options():
            completions, scoring_options["observed"] = 1, observed
        else:
            rows, indices = self._complete(rows, indices, observed, completions, seed, batch)
        scorer = ClassScorer(
            self.model, self.labels, self.classes, rows, indices, seed, batch, scoring_options
        )
        nats, kind = successive_halving(scorer, self.temperature * self.log_prior, draws, keep)
        return Likelihoods(nats.view(count, completions, len(self.classes)), kind)

    @torch.no_grad()
    def _complete(
        self,
        rows: Sequence[Row],
        indices: Sequence[int],
        observed: Mapping[str, Any],
        completions: int,
        seed: int,
        batch: int,
    ) -> tuple[list[Row], list[int]]:
        """Each row `completions` times, with samples of what is missing, not given a class; and their indices."""
        model, family = self.model, self.model.family
        if not isinstance(family, CanSample):
            raise ValueError(f"the family {model.family_name} cannot sample what is missing")
        masks = {n: model.processor.mask(n, mask) for n, mask in observed.items()}
        rows = [
            {n: v for n, v in row.items() if n != self.labels} for row in rows for _ in range(completions)
        ]
        numbers = [i * completions + j for i in indices for j in range(completions)]
        unguided = {"guidance": 1.0} if "guidance" in model.sampling_options() else {}
        targets = {n: column for n, column in model.target_columns.items() if n != self.labels}
        full_masks = {
            n: torch.ones(column.spec.tokens, dtype=torch.bool, device=model.device)
            for n, column in targets.items()
        } | masks
        completed: list[Row] = []
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            values = {n: model.encode(n, [row[n] for row in part]) for n in targets}
            known = KnownParts(values, {n: mask.expand(len(part), -1) for n, mask in full_masks.items()})
            rng = Rng(numbers[start : start + batch], "complete", seed, device=model.device)
            samples = family.sample(model.context(part), known=known, rng=rng, **unguided)
            completed += [
                {**row, **{n: model.columns[n].decode(samples[n][i].cpu()) for n in masks}}
                for i, row in enumerate(part)
            ]
        return completed, numbers


@dataclass(frozen=True)
class Posterior:
    """P(Y | values of the other columns), by Bayes' rule."""

    bayes: Bayes
    sources: Row

    @validated
    def sample(self, n: NonNegativeInt = 1, *, seed: Seed = 0, **options: Any) -> list[Row]:
        """n samples of the class; options of `Bayes.likelihoods`. The posterior is computed once."""
        probabilities = self.bayes.probabilities([self.sources], seed=seed, **options)
        names = self.bayes._sample_classes(probabilities, range(n), seed)
        return [{**self.sources, self.bayes.labels: name} for name in names]

    def log_prob(self, **values: Any) -> Score:
        """log P(Y = y | these values), one row: the class, and options of `Bayes.likelihoods`."""
        if self.bayes.labels not in values:
            raise ValueError(f"log_prob needs a class: {self.bayes.labels}=...")
        row = {**self.sources, self.bayes.labels: values.pop(self.bayes.labels)}
        return self.bayes.log_prob([row], **values)


def _class_columns(model: Model) -> list[str]:
    """The columns of one categorical token."""
    specs = {n: model.columns[n].spec for n in (*model.targets, *model.sources)}
    return [n for n, spec in specs.items() if spec.categorical and spec.tokens == 1]


def _single_class_column(model: Model) -> str:
    """The one column of classes. Raises ValueError if there is none, or several."""
    names = _class_columns(model)
    if len(names) != 1:
        reason = f"has {', '.join(names)}: choose one with labels=" if names else "has none"
        raise ValueError(f"Bayes' rule needs a column of classes, and P({model.formula}) {reason}")
    return names[0]
