"""MetricResult and Report: metrics of samples, beside those of real data, a baseline and chance."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from likewise.evaluation.metrics.estimate import Estimate, short
from likewise.modalities.base import Modality, Row

Better = Literal["lower", "higher", "as real"]
MAX_COLUMNS = 10  # of the data, whose own metrics are shown


@dataclass(frozen=True)
class MetricResult:
    """One metric of a model's samples.

    real      the real-data reference: the same metric of real rows in place of samples
    baseline  that of a simple method; chance: its expectation for random samples
    kind      of a likelihood: exact, bound or estimate
    heading   of its column in a table of several models; "" if it is not in such a table
    column    of the data, if it is a metric of this column alone, named COLUMN: METRIC
    worst     the column or columns to which the value is due most
    warning   what the value means for a user who would share the samples; "" if nothing
    """

    name: str
    value: Estimate
    real: Estimate | None = None
    baseline: Estimate | None = None
    chance: float | None = None
    better: Better = "lower"
    note: str = ""
    kind: str = ""
    heading: str = ""
    column: str = ""
    worst: str = ""
    warning: str = ""


@dataclass(frozen=True)
class ReportRows:
    """The values of the targets, `columns`: of real (held-out) rows, of as many samples, and of training rows."""

    columns: Mapping[str, Modality]
    real: Sequence[Row]
    samples: Sequence[Row]
    train: Sequence[Row] = ()


@dataclass(frozen=True)
class Report:
    """The result of `evaluate`: `str` of it is a table, `to_json` has the same as JSON values.

    `seconds` is the time of sampling, which is ignored when reports are compared, as are `rows`.
    """

    formula: str
    data: str | None
    n: int
    draws: int
    seed: int
    sampling_options: dict[str, Any]
    results: tuple[MetricResult, ...]
    notes: tuple[str, ...] = ()
    seconds: float = dataclasses.field(default=0.0, compare=False)
    rows: ReportRows | None = dataclasses.field(default=None, compare=False, repr=False)

    def __getitem__(self, name: str) -> MetricResult:
        """The result of a metric. Raises KeyError with the available names."""
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(f"no metric {name!r}; there are: {', '.join(r.name for r in self.results)}")

    @property
    def warnings(self) -> list[str]:
        """Those of the metrics."""
        return [result.warning for result in self.results if result.warning]

    def to_json(self) -> dict[str, Any]:
        """JSON values; an estimate is {value, low, high, n}."""
        values = dataclasses.asdict(dataclasses.replace(self, rows=None))
        del values["rows"]
        return values

    @property
    def title(self) -> str:
        return f"P({self.formula}){f', {self.data}' if self.data else ''}"

    @property
    def description(self) -> str:
        """The number of rows and the options."""
        options = {"draws": self.draws, "seed": self.seed, **self.sampling_options}
        return f"{self.n} held-out rows, " + ", ".join(f"{name} {value}" for name, value in options.items())

    def by_column(self) -> dict[str, dict[str, MetricResult]]:
        """The metrics of each column on its own, the column first that differs most from real rows."""
        columns: dict[str, dict[str, MetricResult]] = {}
        for r in self.results:
            if r.column:
                columns.setdefault(r.column, {})[r.name.removeprefix(f"{r.column}: ")] = r
        order = sorted(columns, key=lambda c: -max(_excess(r) for r in columns[c].values()))
        return {name: columns[name] for name in order}

    def __str__(self) -> str:
        rows = [["", "model", "real rows", "baseline", "chance", "better", "worst"]]
        for r in (r for r in self.results if not r.column):
            real, baseline = ("" if e is None else str(e) for e in (r.real, r.baseline))
            chance = "" if r.chance is None else short(r.chance)
            rows.append([r.name, f"{r.value} {r.kind}".rstrip(), real, baseline, chance, r.better, r.worst])
        notes = [f"warning: {text}" for text in self.warnings]
        notes += [f"{r.name}: {r.note}" for r in self.results if r.note and not r.column]
        notes += self.notes
        lines = [f"{self.title}: {self.description}", "", *_align(rows), *self._column_lines(), ""]
        return "\n".join([*lines, *(textwrap.fill(note, 110, subsequent_indent="    ") for note in notes)])

    def _column_lines(self) -> list[str]:
        """The columns that differ most from real rows, a line for each; what the metrics are; none without any."""
        columns = self.by_column()
        if not columns:
            return []
        metrics = {m: r.note for results in columns.values() for m, r in results.items()}
        worst = list(columns)[:MAX_COLUMNS]
        few = f", the {MAX_COLUMNS} of {len(columns)} that differ most" if len(columns) > MAX_COLUMNS else ""
        rows = [["", *(text for m in metrics for text in (m, "real rows"))]]
        for name in worst:
            found = (columns[name].get(m) for m in metrics)
            cells = (
                ("", "") if r is None else (str(r.value), short(r.real.value) if r.real else "")
                for r in found
            )
            rows.append([name, *(text for pair in cells for text in pair)])
        notes = (f"{m}: {note}" for m, note in metrics.items())
        return ["", f"each column on its own{few}:", "", *_align(rows), "", *notes]


def _excess(result: MetricResult) -> float:
    """By how much a metric whose best value is 0 or 1 is worse than that of real rows."""
    excess = result.value.value - (result.real.value if result.real else 0.0)
    return -excess if result.better == "higher" else excess


def _align(rows: list[list[str]]) -> list[str]:
    """The lines of a table, without the columns that are empty below the heading."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    padded = ([cell.ljust(max(map(len, column))) for cell in column] for column in columns)
    return ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]
