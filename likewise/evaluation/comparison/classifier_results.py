"""ClassifierComparison: the results of `compare_classifiers`, as tables and JSON values."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from likewise.evaluation.metrics.estimate import Estimate, short

METRICS = {  # field of ClassifierResult -> its name
    "accuracy": "accuracy",
    "log_loss": "log-loss, nats",
    "log_loss_raw": "log-loss without a temperature, nats",
    "ece": "calibration error",
    "ece_raw": "calibration error without a temperature",
}
Approach = Literal["direct", "Bayes", "baseline"]


@dataclass(frozen=True)
class ClassifierResult:
    """One method, trained on one number of rows, under one condition.

    rows_per_class  training rows per class, the mean; rows: all of them
    log_loss, ece  at the temperature; log_loss_raw, ece_raw: at temperature 1
    ece_reference  `ece` of a perfectly calibrated classifier with these confidences
    parts         accuracy on each part of the condition, such as each corruption
    reliability   (confidence, accuracy, rows) of bins of equally many rows, at the temperature
    score_seconds  for all rows of the condition
    """

    method: str
    approach: Approach
    rows_per_class: float
    rows: int
    condition: str
    accuracy: Estimate
    log_loss: Estimate
    log_loss_raw: Estimate
    ece: Estimate
    ece_raw: Estimate
    ece_reference: float
    temperature: float
    parts: dict[str, float]
    reliability: list[tuple[float, float, int]]
    score_kind: str
    parameters: int
    train_seconds: float
    score_seconds: float


@dataclass(frozen=True)
class TextTable:
    """A table of strings: its title, the headings of its columns, and its rows."""

    title: str
    headings: list[str]
    rows: list[list[str]]

    def __str__(self) -> str:
        lines = [self.headings, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ([cell.ljust(w) for cell, w in zip(line, widths, strict=True)] for line in lines)
        return "\n".join([self.title, *("  ".join(line).rstrip() for line in padded)])


@dataclass(frozen=True)
class ClassifierComparison:
    """`str` is a table; `majority` is the share of the most frequent class."""

    formula: str
    data: str | None
    n: int
    calibration: int
    minutes: float
    seed: int
    majority: float
    results: tuple[ClassifierResult, ...]
    notes: tuple[str, ...] = ()

    def of(self, method: str, condition: str) -> list[ClassifierResult]:
        """The results of a method, fewest rows first."""
        results = [r for r in self.results if (r.method, r.condition) == (method, condition)]
        return sorted(results, key=lambda r: r.rows)

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(r.method for r in self.results))

    @property
    def conditions(self) -> list[str]:
        return list(dict.fromkeys(r.condition for r in self.results))

    @property
    def sizes(self) -> list[float]:
        """The training rows per class of all results."""
        return sorted({r.rows_per_class for r in self.results})

    @property
    def description(self) -> str:
        return (
            f"P({self.formula}){f', {self.data}' if self.data else ''}: {self.n} held-out rows, seed "
            f"{self.seed}, at most {self.minutes:g} minutes of training; the most frequent class: "
            f"{short(self.majority)}"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values; an estimate is {value, low, high, n}."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        tables = map(str, self.tables(("accuracy", "log_loss", "ece")))
        notes = [textwrap.fill(note, 110, subsequent_indent="    ") for note in self.notes]
        return "\n\n".join([self.description, *tables, "\n".join(notes)]).rstrip()

    def tables(self, metrics: Sequence[str] = tuple(METRICS)) -> list[TextTable]:
        """A table for each metric and condition; columns are rows per class."""
        headings = ["rows per class", *map(short, self.sizes)]
        return [
            TextTable(
                f"{METRICS[metric]}, {condition}",
                headings,
                [[method, *self._values(metric, method, condition)] for method in self.methods],
            )
            for metric in metrics
            for condition in self.conditions
        ]

    def models_table(self) -> TextTable:
        """Sizes and costs of all models, and the kinds of their scores."""
        headings = [
            "method",
            "approach",
            "rows",
            "parameters",
            "seconds of training",
            "ms to score a row",
            "scores",
            "temperature",
        ]
        rows = [
            [
                r.method,
                r.approach,
                f"{r.rows:,}",
                f"{r.parameters:,}" if r.parameters else "",
                f"{r.train_seconds:.0f}",
                short(1000 * r.score_seconds / self.n),
                r.score_kind,
                short(r.temperature),
            ]
            for r in self.results
            if r.condition == self.conditions[0]
        ]
        return TextTable("Models", headings, rows)

    def _values(self, metric: str, method: str, condition: str) -> list[str]:
        """One metric of a method by size, "" where it was not trained."""
        values = {r.rows_per_class: str(getattr(r, metric)) for r in self.of(method, condition)}
        return [values.get(size, "") for size in self.sizes]
