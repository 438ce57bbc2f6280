"""Evaluator: held-out rows and metrics prepared once for any model of a formula; `evaluate` measures one model."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from likewise.core.formula import Formula
from likewise.core.options import validated
from likewise.core.progress import report_progress
from likewise.core.ranges import Draws, NonNegativeFloat, NonNegativeInt, PositiveInt, RowsToCompare, Seed
from likewise.data.table import Table
from likewise.evaluation.evaluators.base import MetricGroup
from likewise.evaluation.evaluators.embedding import ClipScores, evaluate_embedding, overlap_notes
from likewise.evaluation.evaluators.registry import metric_groups
from likewise.evaluation.evaluators.text import TextMetrics, text_metrics
from likewise.evaluation.metrics.bits_per_byte import bits_per_byte, held_out_rows
from likewise.evaluation.metrics.estimate import Estimate, bootstrap
from likewise.evaluation.reference import ReferenceSet, rng_of
from likewise.evaluation.report import MetricResult, Report, ReportRows
from likewise.modalities.base import Row
from likewise.modalities.learned_columns import columns_of
from likewise.models.base import Density, Distribution
from likewise.models.checkpoint import load_state
from likewise.models.model import Model
from likewise.models.text_prompt import is_single_text
from likewise.training.loss import heldout_loss

NO_LIKELIHOOD = "no held-out likelihood"
SCORE_KINDS = {
    "exact": "the model's own, up to the error of the solver",
    "bound": "an upper bound",
    "estimate": "unbiased for the logarithm or the probability, but noisy",
}


class Evaluator:
    """The same metrics on the same rows for every model of one formula and table."""

    @validated
    def __init__(
        self,
        formula: Formula,
        table: Table,
        *,
        n: RowsToCompare = 500,
        seed: Seed = 0,
        draws: Draws = 1,
        candidates: PositiveInt = 1000,
        concept: str = "concept",
        predict: Sequence[str] = (),
    ) -> None:
        """Prepares everything that does not depend on a model; for the parameters see `evaluate`."""
        one_token = all(table.columns[name].spec.tokens == 1 for name in formula.target_names)
        learned = columns_of(formula, table.columns, one_token)
        available = len(table.test)
        table = table.with_values([name for name in formula.columns if not learned[name].has_missing])
        self.left_out = available - len(table.test)  # held-out rows that lack a value
        table.require_heldout(2, "evaluation")
        self.formula, self.table, self.seed = formula, table, seed
        self.candidates, self.concept, self.predict = candidates, concept, tuple(predict)
        self.reference = ReferenceSet.choose(table, formula, n, draws, seed)

    @property
    def metric_groups(self) -> list[MetricGroup]:
        return self._metrics[0]

    @property
    def text_metrics(self) -> list[TextMetrics]:
        return self._metrics[1]

    @property
    def notes(self) -> list[str]:
        """Notes of all metrics."""
        gaps = [f"{self.left_out:,} held-out rows lack a value and are not compared"] if self.left_out else []
        return [*gaps, *(note for group in self.metric_groups for note in group.notes), *self._metrics[2]]

    @cached_property
    def _metrics(self) -> tuple[list[MetricGroup], list[TextMetrics], list[str]]:
        """Prepared on first use, after sampling: a model that cannot sample fails before that."""
        groups, notes = metric_groups(self.reference, self.candidates, self.concept, self.predict)
        texts, text_notes = text_metrics(self.reference)
        return groups, texts, [*notes, *text_notes]

    def sample(self, model: Distribution, **sampling_options: Any) -> tuple[list[Row], float]:
        """The samples of a model, `draws` for each test row, and the seconds of sampling."""
        report_progress("samples")
        start = time.perf_counter()
        sources = self.test_rows(self.reference.sources)
        prompts = [row for row in sources for _ in range(self.reference.draws)]
        return model.sample(prompts, seed=self.seed, **sampling_options), time.perf_counter() - start

    def results(self, samples: Sequence[Row], done: int = 0) -> list[MetricResult]:
        """The metrics of samples; `done` parts of an evaluation precede them."""
        first, results = samples[:: self.reference.draws], []
        parts = [(metrics.results, samples) for metrics in self.metric_groups]
        parts += [(metrics.results, first) for metrics in self.text_metrics]
        for i, (measure, rows) in enumerate(parts, done):
            report_progress("metrics", i, done + len(parts))
            results += measure(rows)
        return results

    @validated
    def report(
        self,
        model: Distribution,
        samples: Sequence[Row],
        seconds: NonNegativeFloat = 0.0,
        *,
        likelihood_rows: NonNegativeInt = 100,
        **sampling_options: Any,
    ) -> Report:
        """Loss and likelihood of a model, and the metrics of its samples, of `sample` with these options."""
        count = len(self.reference.test_indices)
        results = []
        parts = 2 + len(self.metric_groups) + len(self.text_metrics)
        report_progress("loss", 0, parts)
        if isinstance(model, Model):
            loss = heldout_loss(model, self.table, rows=count, seed=self.seed)
            note = "comparable between models of one family and formula only"
            results.append(MetricResult("held-out loss", Estimate(loss, n=count), note=note))
        report_progress("likelihood", 1, parts)
        likelihood, likelihood_notes = self.likelihood(model, likelihood_rows)
        results += [*likelihood, *self.results(samples, 2)]
        return Report(
            formula=str(self.formula),
            data=self.table.source,
            n=count,
            draws=self.reference.draws,
            seed=self.seed,
            sampling_options=sampling_options,
            results=tuple(results),
            notes=(*likelihood_notes, *self.notes),
            seconds=seconds,
        )

    def report_rows(self, samples: Sequence[Row]) -> ReportRows:
        """The targets of the test rows, of the first sample of each, and of as many training rows."""
        targets, reference = self.reference.targets, self.reference
        columns = {name: self.table.columns[name] for name in targets}
        values = {name: self.table.train.column(name) for name in targets}
        chosen = rng_of("report", self.seed).permutation(reference.train_indices)[
            : len(reference.test_indices)
        ]
        train = [{name: v[int(i)] for name, v in values.items()} for i in chosen]
        return ReportRows(columns, self.test_rows(targets), samples[:: reference.draws], train)

    def likelihood(self, model: Distribution, count: int) -> tuple[list[MetricResult], list[str]]:
        """-log2 P(targets | sources) per dimension of the targets, of `count` rows; or a note why there is none."""
        if count < 1:
            return [], []
        try:
            if isinstance(model, Model) and is_single_text(model.target_columns):
                [name] = model.targets
                rows = held_out_rows(self.table, name, count)
                return [bits_per_byte(model, rows, self.table.train.column(name), self.seed)], []
            return [self._bits_per_dim(model, count)], []
        except ValueError as error:
            return [], [f"{NO_LIKELIHOOD}: {error}"]

    def _bits_per_dim(self, model: Distribution, count: int) -> MetricResult:
        """Raises ValueError if the model has no density of values."""
        n = len(self.reference.test_indices)
        indices = np.linspace(0, n - 1, min(count, n)).astype(int)
        if not isinstance(model, Density):
            raise ValueError("the model has no density")
        for name in self.reference.targets:
            if not self.table.columns[name].lossless:
                raise ValueError(f"a density of {name} is one of codes, not of values")
        with torch.no_grad():
            score = model.log_prob(self.test_rows(self.formula.columns, indices), seed=self.seed)
        specs = (self.table.columns[c].spec for c in self.reference.targets)
        dims = sum(spec.tokens * spec.width for spec in specs)  # the same for every family
        bits = -score.nats.double().cpu().numpy() / (dims * math.log(2))
        return MetricResult(
            "held-out bits/dim",
            bootstrap(np.mean, bits, rng=rng_of("likelihood", self.seed)),
            note=f"{score.kind}: {SCORE_KINDS.get(score.kind, '')}",
            kind=score.kind,
            heading="bits/dim",
        )

    def test_rows(
        self, columns: Sequence[str], indices: Sequence[int] | np.ndarray | None = None
    ) -> list[Row]:
        """Columns of the test rows, or of some of them."""
        values = {c: self.table.test.column(c) for c in columns}
        rows = self.reference.test_indices if indices is None else self.reference.test_indices[indices]
        return [{c: v[int(i)] for c, v in values.items()} for i in rows]


@validated
def evaluate(
    model: Distribution,
    table: Table,
    *,
    n: RowsToCompare = 500,
    seed: Seed = 0,
    draws: Draws = 1,
    candidates: PositiveInt = 1000,
    concept: str = "concept",
    likelihood_rows: NonNegativeInt = 100,
    clip: str | Path | Model | None = None,
    predict: Sequence[str] = (),
    **sampling_options: Any,
) -> Report:
    """Measure a model on rows of `table.test`, beside rows of `table.train`. Intervals are 95 %.

    n            number of held-out rows that give the sources of samples, at most
    seed         random seed of the choice of rows and candidates, of the samples and of the metrics
    draws        samples for each row: the nearest one counts for the rank, the first for all else
    candidates   other images that the true one is ranked among
    concept      column that says what a row is about, else its text: candidates are rows with another value
    likelihood_rows  rows, at most, whose log-probability is computed, which is slow in some families; 0: none
    clip         the run folder of a contrastive model, or the model, to measure CLIP scores of the samples
    predict      targets of a table that boosted trees predict from the others (TSTR); all that they can unless given

    Other options go to `model.sample`. A model that embeds and does not sample is measured by retrieval, with
    n, seed and concept. Raises ValueError if fewer than 2 rows are held out.
    """
    table = table.with_views(getattr(model, "columns", {}), model.formula)
    if isinstance(model, Model) and not hasattr(model.family, "sample"):
        if sampling_options or (draws, candidates, likelihood_rows, clip, *predict) != (1, 1000, 100, None):
            raise ValueError(
                f"the family {model.family_name} does not sample, so it is measured with n, seed "
                "and concept alone; leave the other options out"
            )
        return evaluate_embedding(model, table, n=n, seed=seed, concept=concept)
    options = {"n": n, "seed": seed, "draws": draws, "candidates": candidates}
    evaluator = Evaluator(model.formula, table, concept=concept, predict=predict, **options)
    notes = overlap_notes(load_state(Path(clip))["data"], table) if isinstance(clip, str | Path) else []
    clip = Model.load(clip) if isinstance(clip, str | Path) else clip
    scores = ClipScores(clip, evaluator.reference) if clip else None
    samples, seconds = evaluator.sample(model, **sampling_options)
    report = evaluator.report(model, samples, seconds, likelihood_rows=likelihood_rows, **sampling_options)
    return dataclasses.replace(
        report,
        notes=(*report.notes, *notes),
        results=(*report.results, *(scores.results(samples) if scores else ())),
        rows=evaluator.report_rows(samples),
    )
