"""ClassifierBenchmark: held-out rows under several conditions, and the results of methods on them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC

from likewise.core.files import atomic_write
from likewise.core.provenance import KEY, provenance
from likewise.core.rng import seed_of
from likewise.data.table import Table
from likewise.evaluation.comparison.classifier_plan import DIRECT, ClassifierPlan
from likewise.evaluation.comparison.classifier_results import Approach, ClassifierResult
from likewise.evaluation.comparison.corruption import DEGREES, NOISE, Condition, conditions
from likewise.evaluation.metrics.calibration import ece_estimate, ece_reference, reliability
from likewise.evaluation.metrics.estimate import bootstrap, share
from likewise.evaluation.reference import class_ids
from likewise.modalities.base import Row
from likewise.models import checkpoint
from likewise.models.bayes import Bayes
from likewise.models.checkpoint import RunError
from likewise.models.class_posterior import Likelihoods, fit_temperature, log_posterior
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

BASELINE = "baseline: SVM"
MIN_NOISE = 0.2  # the first noise level of a bound: lower ones depend on pixels more than on classes
IMPORTANCE_SAMPLES = 8  # for each draw of a bound, if it is by importance weights: they are cheaper
MIN_ROWS = 20  # held out
CALIBRATION = "calibration"  # the name of the condition whose rows temperatures are fitted on
SCORES = "scores.json"


class UnsupportedError(ValueError):
    """A method that cannot be a classifier of this formula."""


@dataclass(frozen=True)
class ClassifierScores:
    """The scores of a method by condition, and its costs; seconds of scoring are by condition too."""

    scores: dict[str, Likelihoods]
    log_prior: torch.Tensor
    parameters: int
    train_seconds: float
    score_seconds: dict[str, float]


class ClassifierBenchmark:
    """The rows that all methods classify, under all conditions."""

    def __init__(
        self, label: str, sources: Sequence[str], table: Table, plan: ClassifierPlan, folder: Path
    ) -> None:
        """Runs are written to `folder`. Raises ValueError if the table holds out too few rows."""
        table = table.with_values([label, *sources])
        self.label, self.sources, self.table = label, list(sources), table
        self.plan, self.folder = plan, folder
        available = len(table.test)
        table.require_heldout(MIN_ROWS, "the benchmark")
        order = rng_of("held out", plan.seed).permutation(available).tolist()
        calibration = min(plan.calibration, available // 4)
        self.calibration_rows = [table.test[i] for i in order[:calibration]]
        rows = [table.test[i] for i in order[calibration : calibration + plan.n]]
        self.conditions = list(conditions(rows, table, self.sources, plan.seed))
        self.truth, self.calibration_truth = self._ids(rows), self._ids(self.calibration_rows)

    def notes(self) -> list[str]:
        """How the comparison was made."""
        y, x = self.label, ", ".join(self.sources)
        notes = [
            f"direct: P({y} | {x}), family {DIRECT}; Bayes: P({x} | {y}) with P({y}) of the training rows; "
            f"{BASELINE}: a support vector machine",
            f"every model is trained on the same rows for the same {float(self.plan.minutes):g} minutes; "
            "averaged weights, no augmentation, no early stopping",
            "log-loss and calibration error are at a temperature, fitted for each model on "
            f"{len(self.calibration_rows)} other held-out rows, not corrupted; accuracy is without",
        ]
        if len(self.conditions) > 1:
            notes += [
                f"corrupted: a third of the rows has noise of deviation {NOISE:g} on [-1, 1], a third "
                f"is rotated by {DEGREES} degrees, and of a third the contrast is halved",
                "missing: the direct classifier and the baseline get background there, for they have no "
                "other way; Bayes' rule marginalises it out where the family can, and else takes "
                f"the mean over {self.plan.completions} completions by the model",
            ]
        return notes

    def results(self, method: str, subset: Table) -> list[ClassifierResult]:
        """A result for each condition, at the temperature of the calibration rows.

        Raises UnsupportedError, RunError.
        """
        scores = self._baseline(subset) if method == BASELINE else self._family(method, subset)
        truth = torch.as_tensor(self.calibration_truth)
        temperature = fit_temperature(scores.scores[CALIBRATION], scores.log_prior, truth)
        return [self._result(method, subset, scores, temperature, c) for c in self.conditions]

    # ---- methods

    def _family(self, method: str, subset: Table) -> ClassifierScores:
        """Train one model, or load it from the folder, and score every condition."""
        sources = ", ".join(self.sources)
        formula = f"{self.label} | {sources}" if method == DIRECT else f"{sources} | {self.label}"
        folder = self.folder / f"{method}-n{len(subset.train)}"
        try:
            options = self.plan.options.get(method, {})
            model = Model(formula, subset.columns, method, seed=self.plan.seed, **options)
            bayes = self._bayes(model, subset)
            # fails before training if the family has no such scores
            self._likelihoods(bayes, Condition("check", self.calibration_rows[:1]), 1)
        except ValueError as error:
            raise UnsupportedError(f"{method} is left out: {error}") from error
        # the direct classifier always has its sources
        dropout = 0.0 if method == DIRECT else Plan.source_dropout
        plan = Plan(minutes=float(self.plan.minutes), seed=self.plan.seed, source_dropout=dropout)
        model, seconds = _train_or_load(bayes.model, subset, plan, folder)
        bayes = self._bayes(model, subset)
        scores, score_seconds = self._cached_scores(bayes, folder)
        parameters = sum(p.numel() for p in model.parameters())
        return ClassifierScores(scores, bayes.log_prior, parameters, seconds, score_seconds)

    def _bayes(self, model: Model, subset: Table) -> Bayes:
        if self.label in model.targets:
            return Bayes(model, labels=self.label)
        return Bayes.from_labels(model, subset.train.column(self.label), labels=self.label)

    def _likelihoods(self, bayes: Bayes, condition: Condition, draws: int) -> Likelihoods:
        scoring = bayes.model.scoring_options()
        options: dict[str, Any] = {"floor": MIN_NOISE} if "floor" in scoring else {}
        return bayes.likelihoods(
            condition.rows,
            seed=self.plan.seed,
            draws=draws * IMPORTANCE_SAMPLES if "samples" in scoring else draws,
            observed=None if self.label in bayes.model.targets else condition.observed,
            completions=self.plan.completions,
            **options,
        )

    def _cached_scores(self, bayes: Bayes, folder: Path) -> tuple[dict[str, Likelihoods], dict[str, float]]:
        """The scores and seconds of all conditions; those that are new are added to the file in the folder."""
        settings = json.dumps(
            [
                self.plan.seed,
                self.plan.draws,
                self.plan.completions,
                MIN_NOISE,
                IMPORTANCE_SAMPLES,
                len(self.truth),
                len(self.calibration_rows),
                self.table.fingerprint,
            ]
        )
        path = folder / SCORES
        state = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        cache: dict[str, dict[str, Any]] = state["scores"] if state.get("settings") == settings else {}
        for condition in self._all_conditions():
            if condition.name not in cache:
                start = time.perf_counter()
                likelihoods = self._likelihoods(bayes, condition, self.plan.draws)
                seconds = time.perf_counter() - start
                nats = likelihoods.nats - likelihoods.nats.amax((1, 2), keepdim=True)  # common to all classes
                cache[condition.name] = {"nats": nats.tolist(), "kind": likelihoods.kind, "seconds": seconds}
                atomic_write(
                    path, json.dumps({KEY: provenance(), "settings": settings, "scores": cache}).encode()
                )
        scores = {
            name: Likelihoods(torch.tensor(entry["nats"], dtype=torch.float64), entry["kind"])
            for name, entry in cache.items()
        }
        return scores, {name: entry["seconds"] for name, entry in cache.items()}

    def _baseline(self, subset: Table) -> ClassifierScores:
        """A support vector machine with an RBF kernel, its probabilities by Platt's method (1999)."""
        rows = [subset.train[i] for i in range(len(subset.train))]
        y = self._ids(rows)
        folds = min(5, int(np.bincount(y)[np.unique(y)].min()))
        if folds < 2 or len(np.unique(y)) < 2:
            raise UnsupportedError(f"{BASELINE} is left out where a class has fewer than 2 rows")
        start = time.perf_counter()
        machine = CalibratedClassifierCV(SVC(C=10.0), cv=folds, ensemble=False)
        machine.fit(self._features(rows), y)
        train_seconds = time.perf_counter() - start
        classes = self.table.columns[self.label].spec.classes or 0
        scores, score_seconds = {}, {}
        for condition in self._all_conditions():
            start = time.perf_counter()
            probabilities = np.full((len(condition.rows), classes), 1e-12)
            probabilities[:, machine.classes_] += machine.predict_proba(self._features(condition.rows))
            scores[condition.name] = Likelihoods(torch.tensor(np.log(probabilities))[:, None], "exact")
            score_seconds[condition.name] = time.perf_counter() - start
        log_prior = torch.zeros(classes, dtype=torch.float64)
        return ClassifierScores(scores, log_prior, 0, train_seconds, score_seconds)

    def _features(self, rows: Sequence[Row]) -> np.ndarray:
        """All sources as one vector: floats unchanged, ids as the counts of each. (N, F)."""
        parts = []
        for name in self.sources:
            column = self.table.columns[name]
            tokens = torch.stack([column.encode(row[name]) for row in rows])
            if column.spec.categorical:
                tokens = torch.nn.functional.one_hot(tokens, column.spec.classes or 0).sum(1)
            parts.append(tokens.flatten(1).double().numpy())
        return np.concatenate(parts, axis=1)

    # ---- metrics

    def _result(
        self,
        method: str,
        subset: Table,
        scores: ClassifierScores,
        temperature: float,
        condition: Condition,
    ) -> ClassifierResult:
        likelihoods, rng = scores.scores[condition.name], rng_of("bootstrap", self.plan.seed)
        raw, log_probs = (
            log_posterior(likelihoods.nats, scores.log_prior, t).numpy() for t in (1.0, temperature)
        )
        correct, rows = raw.argmax(1) == self.truth, np.arange(len(self.truth))
        log_loss, log_loss_raw = (bootstrap(np.mean, -x[rows, self.truth], rng=rng) for x in (log_probs, raw))
        ece, ece_raw = (ece_estimate(x, self.truth, rng=rng) for x in (log_probs, raw))
        approach: Approach = "direct" if method == DIRECT else "baseline" if method == BASELINE else "Bayes"
        classes = len(set(map(str, subset.train.column(self.label))))
        parts = np.array(condition.parts)
        return ClassifierResult(
            method=method if method == BASELINE else f"{approach}: {method}",
            approach=approach,
            rows_per_class=len(subset.train) / classes,
            rows=len(subset.train),
            condition=condition.name,
            accuracy=share(correct),
            log_loss=log_loss,
            log_loss_raw=log_loss_raw,
            ece=ece,
            ece_raw=ece_raw,
            ece_reference=ece_reference(log_probs, rng=rng),
            temperature=temperature,
            parts={part: float(correct[parts == part].mean()) for part in sorted(set(condition.parts))},
            reliability=reliability(log_probs, self.truth),
            score_kind=likelihoods.kind,
            parameters=scores.parameters,
            train_seconds=scores.train_seconds,
            score_seconds=scores.score_seconds[condition.name],
        )

    def _all_conditions(self) -> list[Condition]:
        return [*self.conditions, Condition(CALIBRATION, self.calibration_rows)]

    def _ids(self, rows: Sequence[Row]) -> np.ndarray:
        return class_ids(self.table.columns[self.label], [row[self.label] for row in rows])


def rng_of(*key: int | str) -> np.random.Generator:
    return np.random.default_rng(seed_of("classify", *key))


def _train_or_load(model: Model, subset: Table, plan: Plan, folder: Path) -> tuple[Model, float]:
    """The model after its training, and the seconds of that; a finished run is not resumed.

    Raises RunError if the folder holds a model of other rows, another plan or other options.
    """
    exists, plan = checkpoint.has_checkpoint(folder), plan.resolved(model.family, len(subset.train))
    if exists:
        state = checkpoint.load_state(folder)
        same = (
            state["data"]["fingerprint"] == subset.fingerprint
            and {"epochs": None, **state["plan"]} == asdict(plan)
            and state["formula"] == str(model.formula)
            and state["options"] == model.options
        )
        if not same:
            raise RunError(
                f"{folder} holds a model of another comparison: of other rows, minutes, seed or "
                "options; choose another folder"
            )
    if not exists or (folder / checkpoint.RESUME).exists():
        for _ in train(model, subset, plan, folder, resume=exists):
            pass
        (folder / SCORES).unlink(missing_ok=True)
        (folder / checkpoint.RESUME).unlink(missing_ok=True)
    return Model.load(folder), float(checkpoint.load_state(folder)["elapsed"])
