"""Comparison: the reports of several families, and the table of their metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from likewise.core.formula import Formula
from likewise.data.table import Table
from likewise.evaluation.evaluator import NO_LIKELIHOOD
from likewise.evaluation.metrics.estimate import Estimate, short
from likewise.evaluation.report import Better, MetricResult, Report
from likewise.modalities.base import Row

EXAMPLES = 16  # samples of each family that are shown
LIKELIHOOD, SECONDS = "bits/dim", "s per 1,000"
ARROWS = {"lower": "↓", "higher": "↑", "as real": "≈", "": ""}
Highlight = Literal["best", "near", ""]  # near: the interval overlaps that of the best


@dataclass(frozen=True)
class Column:
    """One metric in the table.

    better  "" if no direction is better; real: the real-data reference
    """

    heading: str
    better: Better | Literal[""] = ""
    real: Estimate | None = None
    note: str = ""

    @property
    def title(self) -> str:
        """The heading with an arrow for `better`."""
        return f"{self.heading} {ARROWS[self.better]}".rstrip()

    @property
    def real_cell(self) -> Cell:
        return Cell(short(self.real.value) if self.real else "", self.real)


@dataclass(frozen=True)
class Cell:
    """The value of a family in a column."""

    text: str
    value: Estimate | None = None
    highlight: Highlight = ""

    @property
    def interval(self) -> str:
        """The two ends of the interval, "" if there is none."""
        if self.value is None or self.value.low is None or self.value.high is None:
            return ""
        return f"{short(self.value.low)} – {short(self.value.high)}"


@dataclass(frozen=True)
class Entry:
    """One family: a report for each seed, or the `reason` why there is none.

    `samples` are those of the metrics and `examples` those that are shown, both of the first seed.
    """

    family: str
    reason: str = ""
    reports: tuple[Report, ...] = ()
    steps: tuple[int, ...] = ()
    parameters: int = 0
    samples: tuple[Row, ...] = ()
    examples: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`: `str` of it is the table.

    `examples` are test rows, whose sources condition the examples of all families; `test_rows` are all.
    """

    formula: str
    data: str | None
    minutes: float
    n: int
    seed: int
    entries: tuple[Entry, ...]
    examples: tuple[Row, ...]
    test_rows: tuple[Row, ...]
    table: Table = dataclasses.field(repr=False)

    @property
    def targets(self) -> list[str]:
        return Formula.parse(self.formula).target_names

    @property
    def sources(self) -> list[str]:
        return Formula.parse(self.formula).source_names

    @property
    def seeds(self) -> int:
        """Runs of each family."""
        return max((len(e.reports) for e in self.entries), default=1)

    @property
    def title(self) -> str:
        return f"P({self.formula}){f', {Path(self.data).name}' if self.data else ''}"

    @property
    def description(self) -> str:
        several = f", mean and range of {self.seeds} seeds" if self.seeds > 1 else ""
        return (
            f"{self.minutes:g} minutes of training each, {self.n} samples against {self.n} held-out rows, "
            f"seed {self.seed}{several}"
        )

    @property
    def columns(self) -> list[Column]:
        """Likelihood first, then the metrics in their order, then costs."""
        first: dict[str, MetricResult] = {}
        for result in (r for e in self.entries for report in e.reports for r in report.results):
            if result.heading:
                first.setdefault(result.heading, result)
        first.pop(LIKELIHOOD, None)
        likelihood = Column(
            LIKELIHOOD,
            "lower",
            note="-log2 P of held-out rows, over the dimensions of their targets: exact, an upper bound, or a "
            "noisy estimate",
        )
        metrics = [
            Column(
                heading,
                result.better,
                result.real,
                result.note or f"{result.name.partition(': ')[2]}, of samples against held-out rows",
            )
            for heading, result in first.items()
        ]
        return [
            likelihood,
            *metrics,
            Column(SECONDS, "lower", note="seconds of sampling for 1,000 samples"),
            Column("parameters"),
            Column("steps", note="of training, within the minutes"),
        ]

    def cells(self) -> list[list[Cell]]:
        """A row for each entry, a cell for each column; entries without a report have none."""
        columns = self.columns
        rows = [[_cell(e, c.heading) for c in columns] if e.reports else [] for e in self.entries]
        measured = [row for row in rows if row]
        for k, column in enumerate(columns):
            for row, highlight in zip(
                measured, highlights([row[k].value for row in measured], column), strict=True
            ):
                row[k] = dataclasses.replace(row[k], highlight=highlight)
        return rows

    def notes(self) -> list[str]:
        """Families that failed, then the notes of the reports, without repetition."""
        notes = [(e, note) for e in self.entries for report in e.reports for note in report.notes]
        failed = [f"{e.family}: {e.reason}" for e in self.entries if e.reason]
        single = [f"{e.family}: {note}" for e, note in notes if note.startswith(NO_LIKELIHOOD)]
        common = [note for _, note in notes if not note.startswith(NO_LIKELIHOOD)]
        return list(dict.fromkeys([*failed, *single, *common]))

    def __str__(self) -> str:
        columns = self.columns
        rows: list[list[str]] = [
            ["", *(c.heading for c in columns)],
            ["", *(c.better for c in columns)],
            ["real rows", *(c.real_cell.text for c in columns)],
        ]
        sign = {"best": "*", "near": "~", "": " "}
        for entry, cells in zip(self.entries, self.cells(), strict=True):
            texts = [c.text + sign[c.highlight] for c in cells] or ["—", *[""] * (len(columns) - 1)]
            rows.append([entry.family, *texts])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = []
        for row in rows:
            numbers = (text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))
            lines.append("  ".join([row[0].ljust(widths[0]), *numbers]).rstrip())
        legend = "* best; ~ its 95 % interval overlaps the best's"
        return "\n".join([self.title, self.description, "", *lines, "", legend, *self.notes()])

    def to_json(self) -> dict[str, Any]:
        """JSON values: the table, and the whole report of every run."""
        columns = self.columns
        entries = []
        for entry, cells in zip(self.entries, self.cells(), strict=True):
            table = {
                c.heading: dataclasses.asdict(cell) for c, cell in zip(columns, cells, strict=bool(cells))
            }
            entries.append(
                {
                    "family": entry.family,
                    "reason": entry.reason,
                    "parameters": entry.parameters,
                    "steps": entry.steps,
                    "table": table,
                    "reports": [r.to_json() for r in entry.reports],
                }
            )
        return {
            "formula": self.formula,
            "data": self.data,
            "minutes": self.minutes,
            "n": self.n,
            "seed": self.seed,
            "columns": [dataclasses.asdict(c) for c in columns],
            "entries": entries,
            "notes": self.notes(),
        }


def highlights(values: Sequence[Estimate | None], column: Column) -> list[Highlight]:
    """Which of a column's values is the best, and whose interval overlaps that of the best.

    >>> a, b, c = Estimate(1, 0.5, 1.5), Estimate(2, 1.4, 2.6), Estimate(3, 2.5, 3.5)
    >>> highlights([b, a, None, c], Column("KID", "lower"))
    ['near', 'best', '', '']
    """
    distance, known = _distance(column), [v for v in values if v is not None and np.isfinite(v.value)]
    if distance is None or len(known) < 2:
        return [""] * len(values)
    best = min(known, key=lambda v: distance(v.value))
    return [_highlight(v, best) if v in known else "" for v in values]


def _highlight(value: Estimate | None, best: Estimate) -> Highlight:
    if value is None:
        return ""
    if value.value == best.value:
        return "best"
    if value.low is None or value.high is None or best.low is None or best.high is None:
        return ""
    return "near" if value.low <= best.high and best.low <= value.high else ""


def _distance(column: Column) -> Callable[[float], float] | None:
    """The distance of a value from the ideal, up to a constant; None if no direction is better."""
    if column.better == "lower":
        return lambda v: v
    if column.better == "higher":
        return lambda v: -v
    if column.better == "as real" and column.real is not None:
        real = column.real.value
        return lambda v: abs(v - real)
    return None


def _cell(entry: Entry, heading: str) -> Cell:
    """The value of one family in one column, over its seeds."""
    if heading == "parameters":
        return Cell(f"{entry.parameters:,}", Estimate(entry.parameters))
    if heading == "steps":
        steps = Estimate(float(np.mean(entry.steps)))
        return Cell(f"{steps.value:,.0f}", steps)
    if heading == SECONDS:
        seconds = [Estimate(1000 * r.seconds / (r.n * r.draws)) for r in entry.reports]
        return Cell(short(float(np.mean([e.value for e in seconds]))), _aggregate(seconds))
    results = [r for report in entry.reports for r in report.results if r.heading == heading]
    if not results:
        return Cell("none" if heading == LIKELIHOOD else "")
    value = _aggregate([r.value for r in results])
    return Cell(f"{short(value.value)} {results[0].kind}".rstrip(), value)


def _aggregate(estimates: Sequence[Estimate]) -> Estimate:
    """A single estimate unchanged; of several seeds the mean, and their range as the interval."""
    if len(estimates) == 1:
        return estimates[0]
    values = [e.value for e in estimates]
    return Estimate(float(np.mean(values)), min(values), max(values), estimates[0].n)
