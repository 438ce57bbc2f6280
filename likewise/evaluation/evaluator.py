"""Exam: rows held out and judges, prepared once for a formula, put to any model of it; `evaluate` to one."""

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
from likewise.data.table import Table
from likewise.evaluation.evaluators.base import MetricGroup
from likewise.evaluation.evaluators.embedding import ClipScores, evaluate_embedding, overlap_notes
from likewise.evaluation.evaluators.registry import metric_groups
from likewise.evaluation.evaluators.text import text_metrics
from likewise.evaluation.metrics.bits_per_byte import bits_per_byte, held_out_rows
from likewise.evaluation.metrics.estimate import Estimate, bootstrap
from likewise.evaluation.reference import ReferenceSet, rng_of
from likewise.evaluation.report import MetricResult, Report
from likewise.modalities.base import Row
from likewise.models.base import Distribution
from likewise.models.checkpoint import load_state
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.models.text_prompt import is_single_text
from likewise.training.loss import heldout_loss

NO_LIKELIHOOD = "no held-out likelihood"


class Evaluator:
    """The same questions for every model of one formula and table."""

    def __init__(
        self,
        formula: Formula,
        table: Table,
        *,
        n: int = 500,
        seed: int = 0,
        draws: int = 1,
        candidates: int = 1000,
        concept: str = "concept",
    ) -> None:
        """All that does not depend on a model; see `evaluate`."""
        if n < 2 or draws < 1 or candidates < 1:
            raise ValueError(
                "evaluate needs n of at least 2 and draws and candidates of at least 1, not "
                f"n={n}, draws={draws}, candidates={candidates}"
            )
        if len(table.test) < 2:
            raise ValueError(
                f"the table holds out {len(table.test)} rows and evaluation needs at least 2; "
                "open it with a larger holdout, or bring more rows"
            )
        self.formula, self.table, self.seed = formula, table, seed
        self.reference = ReferenceSet.choose(table, formula, n, draws, seed)
        self._asked = candidates, concept
        self.rows = self.rows_of(self.reference.sources, range(len(self.reference.rows)))

    @cached_property
    def metric_groups(self) -> list[MetricGroup]:
        """Prepared when they are needed first: a model that cannot draw should say so at once."""
        found, notes = metric_groups(self.reference, *self._asked)
        self.texts, more = text_metrics(self.reference)
        self.notes = [*notes, *more]
        return found

    def draw(self, model: Distribution, **sampling_options: Any) -> tuple[list[Row], float]:
        """The samples of a model, `draws` for each row, and the seconds that they took."""
        began = time.perf_counter()
        asked = [row for row in self.rows for _ in range(self.reference.draws)]
        return model.sample(asked, seed=self.seed, **sampling_options), time.perf_counter() - began

    def results(self, drawn: Sequence[Row]) -> list[MetricResult]:
        """What the judges say of samples."""
        lines = [line for judge in self.metric_groups for line in judge.results(drawn)]
        first = drawn[:: self.reference.draws]
        return lines + [line for texts in self.texts for line in texts.results(first)]

    def report(
        self,
        model: Distribution,
        drawn: Sequence[Row],
        seconds: float = 0.0,
        *,
        likelihood_rows: int = 100,
        **sampling_options: Any,
    ) -> Report:
        """All about a model: its losses, and its samples (of `draw`, with these knobs), judged."""
        count = len(self.reference.rows)
        lines = []
        if not isinstance(model, Pipeline):  # which has no one loss
            loss = Estimate(heldout_loss(model, self.table, rows=count, seed=self.seed), n=count)
            lines.append(
                MetricResult(
                    "held-out loss", loss, note="comparable between models of one family and formula only"
                )
            )
        likelihood, reason = self.likelihood(model, likelihood_rows)
        lines += [*likelihood, *self.results(drawn)]
        notes = [*reason, *(note for judge in self.metric_groups for note in judge.notes), *self.notes]
        return Report(
            formula=str(self.formula),
            data=self.table.source,
            n=count,
            draws=self.reference.draws,
            seed=self.seed,
            sampling_options=sampling_options,
            results=tuple(lines),
            notes=tuple(notes),
            seconds=seconds,
        )

    def likelihood(self, model: Distribution, count: int) -> tuple[list[MetricResult], list[str]]:
        """-log2 P(targets | sources) over the numbers in the targets, of `count` rows; or why not."""
        if count < 1:
            return [], []
        if isinstance(model, Model) and is_single_text(model.target_columns):
            return self._language(model, count)
        n = len(self.reference.rows)
        chosen = np.linspace(0, n - 1, min(count, n)).astype(int)
        try:
            if not hasattr(model, "log_prob"):
                raise ValueError("the model has no density")
            for name in self.reference.targets:
                if not self.table.columns[name].lossless:
                    raise ValueError(f"a density of {name} is one of codes, not of values")
            with torch.no_grad():
                score = model.log_prob(self.rows_of(self.formula.columns, chosen), seed=self.seed)
        except ValueError as error:
            return [], [f"{NO_LIKELIHOOD}: {error}"]
        specs = (self.table.columns[c].spec for c in self.reference.targets)
        dims = sum(spec.tokens * spec.width for spec in specs)  # the same for every family
        bits = -score.nats.double().cpu().numpy() / (dims * math.log(2))
        kinds = {
            "exact": "the model's own, up to the solver's error",
            "bound": "the truth is not above it",
            "estimate": "unbiased for the logarithm or the probability, but noisy",
        }
        value = bootstrap(np.mean, bits, rng=rng_of("likelihood", self.seed))
        return [
            MetricResult(
                "held-out bits/dim",
                value,
                note=f"{score.kind}: {kinds.get(score.kind, '')}",
                kind=score.kind,
                heading="bits/dim",
            )
        ], []

    def _language(self, model: Model, count: int) -> tuple[list[MetricResult], list[str]]:
        """Bits a byte of the one target, which is a text."""
        [name] = model.targets
        rows = held_out_rows(self.table, name, count)
        try:
            train = self.table.train.column(name)
            return [bits_per_byte(model, rows, train, self.seed)], []
        except ValueError as error:
            return [], [f"{NO_LIKELIHOOD}: {error}"]

    def rows_of(self, columns: Sequence[str], chosen: Sequence[int] | np.ndarray) -> list[Row]:
        """Columns of some of the rows held out."""
        values = {c: self.table.test.column(c) for c in columns}
        return [{c: v[int(self.reference.rows[i])] for c, v in values.items()} for i in chosen]


def evaluate(
    model: Distribution,
    table: Table,
    *,
    n: int = 500,
    seed: int = 0,
    draws: int = 1,
    candidates: int = 1000,
    concept: str = "concept",
    likelihood_rows: int = 100,
    clip: str | Path | Model | None = None,
    **sampling_options: Any,
) -> Report:
    """Judge a model on rows of `table.test`, held against `table.train`. Intervals are 95 %.

    n            rows held out that are drawn for, at most
    seed         of the choice of rows and of candidates, of the samples and of the judges
    draws        samples for each row: the nearest one counts for the rank, the first for all else
    candidates   other images that the true one is ranked among
    concept      column of what a row is about: no candidate is of the same (default "concept", else its text)
    likelihood_rows  rows, at most, whose likelihood is computed, which is slow in some families; 0: none
    clip         a contrastive model, or its run folder: then CLIP scores of the samples are measured as well

    Knobs go to `model.sample`. A model that draws nothing is measured by what it retrieves, on n, seed and
    concept. Raises ValueError if fewer than 2 rows are held out, and for numbers below 1.
    """
    table = table.with_views(getattr(model, "columns", {}))
    if isinstance(model, Model) and not hasattr(model.family, "sample"):
        if sampling_options or (draws, candidates, likelihood_rows, clip) != (1, 1000, 100, None):
            raise ValueError(
                f"the family {model.family_name} draws nothing, so it is measured with n, seed "
                "and concept alone; leave the other options out"
            )
        return evaluate_embedding(model, table, n=n, seed=seed, concept=concept)
    exam = Evaluator(
        model.formula, table, n=n, seed=seed, draws=draws, candidates=candidates, concept=concept
    )
    notes = overlap_notes(load_state(Path(clip))["data"], table) if isinstance(clip, str | Path) else []
    clip = Model.load(clip) if isinstance(clip, str | Path) else clip
    scores = ClipScores(clip, exam.reference) if clip else None
    drawn, seconds = exam.draw(model, **sampling_options)
    report = exam.report(model, drawn, seconds, likelihood_rows=likelihood_rows, **sampling_options)
    return dataclasses.replace(
        report,
        notes=(*report.notes, *notes),
        results=(*report.results, *(scores.results(drawn) if scores else ())),
    )
