"""compare_classifiers: P(Y | X) learned directly against Bayes' rule over learned P(X | Y).

All are trained for the same time on the same rows, few and many, and judged on rows held out: as they are,
corrupted, and with the left half of every picture missing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from likewise.core.errors import did_you_mean
from likewise.core.files import atomic_write
from likewise.core.formula import Formula
from likewise.core.rng import seed_of
from likewise.data.table import Table
from likewise.evaluation.comparison.classifier_results import Classification, Result
from likewise.evaluation.comparison.corruption import DEGREES, NOISE, Condition, conditions
from likewise.evaluation.metrics.calibration import ece_estimate, ece_floor, reliability
from likewise.evaluation.metrics.estimate import bootstrap, share
from likewise.families.registry import FAMILIES
from likewise.modalities.base import Row
from likewise.models import checkpoint
from likewise.models.bayes import Bayes, Likelihoods, fit_temperature, posterior
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

DIRECT = "autoregressive"  # family of P(Y | X)
GENERATIVE = ("flow", "diffusion", "vae", "mixture")  # families of P(X | Y)
PEER = "peer: SVM"
FLOOR = 0.2  # the first noise level of a bound: what lies below says much of pixels, little of classes
SAMPLES = 8  # samples of an importance weight for each draw of a bound: they cost less
SCORES = "scores.json"
OnMessage = Callable[[str], None]


@dataclass(frozen=True)
class ClassifierRun:
    """What a method says of each condition, and what it took."""

    scores: dict[str, Likelihoods]
    log_prior: torch.Tensor
    parameters: int
    train_seconds: float
    score_seconds: dict[str, float]


def compare_classifiers(
    formula: str | Formula,
    table: Table,
    *,
    minutes: float,
    folder: str | Path,
    seed: int = 0,
    sizes: Sequence[int] = (5, 20, 100, 500),
    n: int = 300,
    calibration: int = 100,
    draws: int = 2,
    completions: int = 2,
    methods: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    say: OnMessage | None = None,
) -> Classification:
    """Compare classifiers of the formula "label | sources" and write the report into `folder`.

    minutes      of training of each model, however many rows it has
    sizes        training rows a class, each set part of the next; where a class has fewer, all it has
    n, calibration  rows held out to be judged on, and others to fit a temperature of each model on
    draws, completions  of Bayes' rule, see Bayes.likelihoods
    methods      families, of which "autoregressive" is the direct one (default: all that there are)
    options      of families, by their names; say: is told what comes next

    What is in `folder` already is not made again. Raises ValueError for a formula that is no classifier's or
    rows that do not suffice, RunError where `folder` holds another comparison.
    """
    formula = Formula.parse(formula) if isinstance(formula, str) else formula
    formula.check(table.kinds)
    label, sources = _columns(formula, table)
    if not sizes or min(sizes) < 2:
        raise ValueError("sizes are numbers of rows a class, at least 2")
    known = [m for m in (DIRECT, *GENERATIVE) if m in FAMILIES]
    for method in methods or ():
        if method not in known:
            raise ValueError(did_you_mean("family to compare", method, known))
    run = _Run(
        label,
        sources,
        table,
        float(minutes),
        Path(folder),
        seed,
        draws,
        completions,
        n,
        calibration,
        options or {},
    )
    results: list[Result] = []
    notes = run.notes()
    for few in _subsets(table, label, sizes, seed):
        for method in [*(known if methods is None else methods), PEER]:
            (say or _silent)(f"{method}, {len(few.train):,} rows")
            try:
                results += run.judge(method, few, run.peer(few) if method == PEER else run.model(method, few))
            except Undefined as reason:
                notes += [] if str(reason) in notes else [str(reason)]
    if not results:
        raise ValueError("there is nothing to compare: " + "; ".join(notes))
    report = Classification(
        f"{label} | {', '.join(sources)}",
        table.source,
        len(run.truth),
        len(run.known),
        float(minutes),
        seed,
        float(np.bincount(run.truth).max() / len(run.truth)),
        tuple(results),
        tuple(notes),
    )
    report.save(Path(folder))
    return report


class Undefined(ValueError):
    """A method that has no answer to this question."""


class _Run:
    """One comparison: the rows that all methods are judged on, and what each says of them."""

    def __init__(
        self,
        label: str,
        sources: Sequence[str],
        table: Table,
        minutes: float,
        folder: Path,
        seed: int,
        draws: int,
        completions: int,
        n: int,
        calibration: int,
        options: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.label, self.sources, self.table = label, list(sources), table
        self.minutes, self.folder, self.seed = minutes, folder, seed
        self.draws, self.completions, self.options = draws, completions, options
        held = len(table.test)
        if held < 20:
            raise ValueError(
                f"the table holds out {held} rows and this needs at least 20; open it with a "
                "larger holdout, or bring more rows"
            )
        order = _rng("held out", seed).permutation(held).tolist()
        calibration = min(calibration, held // 4)
        self.known = [table.test[i] for i in order[:calibration]]  # to fit temperatures on
        judged = [table.test[i] for i in order[calibration : calibration + n]]
        self.conditions = list(conditions(judged, table, self.sources, seed))
        self.truth, self.known_truth = self._ids(judged), self._ids(self.known)

    def _ids(self, rows: Sequence[Row]) -> np.ndarray:
        return np.array([int(self.table.columns[self.label].encode(row[self.label])) for row in rows])

    def notes(self) -> list[str]:
        """How it was made."""
        y, x = self.label, ", ".join(self.sources)
        told = [
            f"direct: P({y} | {x}), family {DIRECT}; Bayes: P({x} | {y}) with the training rows' P({y}); "
            f"{PEER}: a support vector machine",
            f"every model is trained on the same rows for the same {self.minutes:g} minutes; averaged "
            "weights, no augmentation, no early stopping",
            "log-loss and calibration error are at a temperature, fitted for each model on "
            f"{len(self.known)} other held-out rows, not corrupted; accuracy is without",
        ]
        if len(self.conditions) > 1:
            told += [
                f"corrupted: a third of the rows has noise of deviation {NOISE:g} on [-1, 1], a third "
                f"is turned by {DEGREES} degrees, and of a third the contrast is halved",
                "missing: the direct classifier and the peer see background there, for they have no "
                "other way; Bayes' rule leaves it out where the family can sum over it, and else takes "
                f"the mean over {self.completions} completions by the model",
            ]
        return told

    # ---- methods

    def model(self, method: str, few: Table) -> ClassifierRun:
        """Train, or take from the folder, one model, and score every condition."""
        given = ", ".join(self.sources)
        formula = f"{self.label} | {given}" if method == DIRECT else f"{given} | {self.label}"
        folder = self.folder / f"{method}-n{len(few.train)}"
        try:
            options = self.options.get(method, {})
            bayes = self._bayes(Model(formula, few.columns, method, seed=self.seed, **options), few)
            self._likelihoods(bayes, Condition("try", self.known[:1]), 1)  # declines before it is trained
        except ValueError as error:
            raise Undefined(f"{method} is left out: {error}") from error
        source_dropout = (
            0.0 if method == DIRECT else Plan(steps=1).source_dropout
        )  # a class needs its evidence
        plan = Plan(minutes=self.minutes, seed=self.seed, source_dropout=source_dropout)
        model, seconds = _trained(bayes.model, few, plan, folder)
        bayes = self._bayes(model, few)
        scores, times = self._scored(bayes, folder)
        count = sum(p.numel() for p in model.parameters())
        return ClassifierRun(scores, bayes.log_prior, count, seconds, times)

    def _bayes(self, model: Model, few: Table) -> Bayes:
        if self.label in model.targets:
            return Bayes(model, labels=self.label)
        return Bayes.from_labels(model, few.train.column(self.label), labels=self.label)

    def _likelihoods(self, bayes: Bayes, condition: Condition, draws: int) -> Likelihoods:
        scoring = bayes.model.scoring_options()
        sampling_options = {"floor": FLOOR} if "floor" in scoring else {}
        draws = draws * SAMPLES if "samples" in scoring else draws
        observed = None if self.label in bayes.model.targets else condition.observed
        return bayes.likelihoods(
            condition.rows,
            seed=self.seed,
            draws=draws,
            observed=observed,
            completions=self.completions,
            **sampling_options,
        )

    def _scored(self, bayes: Bayes, folder: Path) -> tuple[dict[str, Likelihoods], dict[str, float]]:
        """The scores of all conditions, those that the folder has not yet worked out; seconds of each."""
        about = json.dumps(
            [
                self.seed,
                self.draws,
                self.completions,
                FLOOR,
                SAMPLES,
                len(self.truth),
                len(self.known),
                self.table.fingerprint,
            ]
        )
        path, kept = folder / SCORES, {}
        if path.exists():
            state = json.loads(path.read_text())
            kept = state["scores"] if state["about"] == about else {}
        for condition in [*self.conditions, Condition("known", self.known)]:
            if condition.name not in kept:
                began = time.perf_counter()
                found = self._likelihoods(bayes, condition, self.draws)
                seconds = time.perf_counter() - began
                nats = found.nats - found.nats.amax((1, 2), keepdim=True)  # what is the same for all classes
                kept[condition.name] = {"nats": nats.tolist(), "kind": found.kind, "seconds": seconds}
                text = json.dumps({"about": about, "scores": kept})
                atomic_write(path, text.encode())
        scores = {
            name: Likelihoods(torch.tensor(kept[name]["nats"], dtype=torch.float64), kept[name]["kind"])
            for name in kept
        }
        return scores, {name: kept[name]["seconds"] for name in kept}

    def peer(self, few: Table) -> ClassifierRun:
        """A support vector machine with an RBF kernel, its probabilities by Platt's method (1999)."""
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.svm import SVC

        rows = [few.train[i] for i in range(len(few.train))]
        y = self._ids(rows)
        folds = min(5, int(np.bincount(y)[np.unique(y)].min()))
        if folds < 2 or len(np.unique(y)) < 2:
            raise Undefined(f"{PEER} is left out where a class has fewer than 2 rows")
        began = time.perf_counter()
        machine = CalibratedClassifierCV(SVC(C=10.0), cv=folds, ensemble=False)
        machine.fit(self._features(rows), y)
        spent, scores, times = time.perf_counter() - began, {}, {}
        for condition in [*self.conditions, Condition("known", self.known)]:
            began = time.perf_counter()
            chances = np.full((len(condition.rows), self.table.columns[self.label].spec.classes), 1e-12)
            chances[:, machine.classes_] += machine.predict_proba(self._features(condition.rows))
            scores[condition.name] = Likelihoods(torch.tensor(np.log(chances))[:, None], "exact")
            times[condition.name] = time.perf_counter() - began
        return ClassifierRun(scores, torch.zeros(chances.shape[1], dtype=torch.float64), 0, spent, times)

    def _features(self, rows: Sequence[Row]) -> np.ndarray:
        """All sources as one vector: floats as they are, ids as how often each comes. (N, F)."""
        parts = []
        for name in self.sources:
            column = self.table.columns[name]
            tokens = torch.stack([column.encode(row[name]) for row in rows])
            if column.spec.categorical:
                tokens = torch.nn.functional.one_hot(tokens, column.spec.classes).sum(1)
            parts.append(tokens.flatten(1).double().numpy())
        return np.concatenate(parts, axis=1)

    # ---- measures

    def judge(self, method: str, few: Table, found: ClassifierRun) -> list[Result]:
        """A result for each condition, at the temperature of the rows for it."""
        t = fit_temperature(found.scores["known"], found.log_prior, torch.as_tensor(self.known_truth))
        way = {PEER: "peer", DIRECT: "direct"}.get(method, "Bayes")
        name = method if way == "peer" else f"{way}: {method}"
        classes = len(set(map(str, few.train.column(self.label))))
        results = []
        for condition in self.conditions:
            scores, rng = found.scores[condition.name], _rng("bootstrap", self.seed)
            raw, logs = (posterior(scores.nats, found.log_prior, each).numpy() for each in (1.0, t))
            right, every = raw.argmax(1) == self.truth, np.arange(len(self.truth))

            losses = (bootstrap(np.mean, -each[every, self.truth], rng=rng) for each in (logs, raw))
            errors = (ece_estimate(each, self.truth, rng=rng) for each in (logs, raw))
            parts = {p: float(right[np.array(condition.parts) == p].mean()) for p in set(condition.parts)}
            results.append(
                Result(
                    name,
                    way,
                    len(few.train) / classes,
                    len(few.train),
                    condition.name,
                    share(right),
                    *losses,
                    *errors,
                    ece_floor(logs, rng=rng),
                    t,
                    dict(sorted(parts.items())),
                    reliability(logs, self.truth),
                    scores.kind,
                    found.parameters,
                    found.train_seconds,
                    found.score_seconds[condition.name],
                )
            )
        return results


# ---- rows


def _columns(formula: Formula, table: Table) -> tuple[str, list[str]]:
    """The column of classes and the sources. Raises ValueError if the formula is not that of a classifier."""
    targets, sources = formula.target_names, formula.source_names
    if len(targets) != 1 or not sources or table.columns[targets[0]].role != "class":
        raise ValueError(
            f"P({formula}) is no classifier's: write 'label | sources', with one column of labels on the left"
        )
    return targets[0], sources


def _subsets(table: Table, label: str, sizes: Sequence[int], seed: int) -> Iterator[Table]:
    """For each size the first rows of every class in one random order; sizes that add no row are left out."""
    order = _rng("rows", seed).permutation(len(table.train)).tolist()
    values, before = [str(v) for v in table.train.column(label)], 0
    for size in sorted(set(sizes)):
        taken: dict[str, int] = {}
        rows = []
        for i in order:
            taken[values[i]] = taken.get(values[i], 0) + 1
            if taken[values[i]] <= size:
                rows.append(i)
        if len(rows) > before:
            before = len(rows)
            yield table.subset_train(rows)


# ---- training


def _trained(model: Model, few: Table, plan: Plan, folder: Path) -> tuple[Model, float]:
    """The model trained, and the seconds it took; one that has ended has nothing left to resume.

    Raises RunError if the folder holds a model of other rows, another plan or other options.
    """
    begun, plan = (folder / checkpoint.MODEL).exists(), plan.resolved(model.family)
    if begun:
        state = checkpoint.load_state(folder)
        same = (
            state["data"]["fingerprint"] == few.fingerprint
            and state["plan"] == asdict(plan)
            and state["formula"] == str(model.formula)
            and state["options"] == model.options
        )
        if not same:
            raise RunError(
                f"{folder} holds a model of another comparison: of other rows, minutes, seed or "
                "options; give another folder"
            )
    if not begun or (folder / checkpoint.RESUME).exists():
        for _ in train(model, few, plan, folder, resume=begun):
            pass
        (folder / SCORES).unlink(missing_ok=True)
        (folder / checkpoint.RESUME).unlink(missing_ok=True)
    return Model.load(folder), float(checkpoint.load_state(folder)["elapsed"])


def _rng(*key: int | str) -> np.random.Generator:
    return np.random.default_rng(seed_of("classify", *key))


def _silent(line: str) -> None:
    """Say nothing."""
