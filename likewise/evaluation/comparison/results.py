"""TODO evaluation.comparison.results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from likewise.core.formula import Formula
from likewise.data.table import Table
from likewise.evaluation.evaluator import NO_LIKELIHOOD
from likewise.evaluation.metrics.estimate import Estimate, short
from likewise.evaluation.report import Better, MetricResult, Report
from likewise.modalities.base import Row

SHOWN = 16  # draws of each family that are shown
LIKELIHOOD, SECONDS = "bits/dim", "s per 1,000"
ARROWS = {"lower": "↓", "higher": "↑", "as real": "≈", "": ""}


@dataclass(frozen=True)
class Column:
    """One metric in the table: its floor is what real rows score in the place of samples.

    better  "" where neither is
    """

    heading: str
    better: Better | str = ""
    floor: Estimate | None = None
    note: str = ""

    @property
    def title(self) -> str:
        """The heading with an arrow for better."""
        return f"{self.heading} {ARROWS[self.better]}".rstrip()

    @property
    def real(self) -> Cell:
        """The floor as a cell."""
        return Cell(short(self.floor.value) if self.floor else "", self.floor)


@dataclass(frozen=True)
class Cell:
    """What a family has in a column: `mark` is "best", "near" (its interval overlaps the best's) or ""."""

    text: str
    value: Estimate | None = None
    mark: str = ""

    @property
    def interval(self) -> str:
        return interval(self.value)


@dataclass(frozen=True)
class Entry:
    """One family: a report for each seed, or the `reason` why there is none.

    `drawn` are the samples that were judged and `samples` those that are shown, both of the first seed.
    """

    family: str
    reason: str = ""
    reports: tuple[Report, ...] = ()
    steps: tuple[int, ...] = ()
    parameters: int = 0
    drawn: tuple[Row, ...] = ()
    samples: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """What `compare` found: `str` of it is the table, `save` writes it as a page, a picture and JSON.

    `real` are rows held out, with the sources that the shown samples were drawn for; `held` are all that the
    samples were judged against.
    """

    formula: str
    data: str | None
    minutes: float
    n: int
    seed: int
    entries: tuple[Entry, ...]
    real: tuple[Row, ...]
    test_values: tuple[Row, ...]
    table: Table = dataclasses.field(repr=False)

    @property
    def targets(self) -> list[str]:
        return Formula.parse(self.formula).target_names

    @property
    def sources(self) -> list[str]:
        return Formula.parse(self.formula).source_names

    @property
    def title(self) -> str:
        return f"P({self.formula}){f', {Path(self.data).name}' if self.data else ''}"

    @property
    def about(self) -> str:
        """How it was done, in a line."""
        seeds = max((len(e.reports) for e in self.entries), default=1)
        several = f", mean and range of {seeds} seeds" if seeds > 1 else ""
        return (
            f"{self.minutes:g} minutes of training each, {self.n} samples against {self.n} rows "
            f"held out, seed {self.seed}{several}"
        )

    @property
    def columns(self) -> list[Column]:
        """Likelihood first, then what the judges measured, in their order, then what it costs."""
        lines = [line for e in self.entries for r in e.reports for line in r.results if line.heading]
        heads = list(dict.fromkeys([LIKELIHOOD, *(line.heading for line in lines)]))
        found = []
        for head in heads:
            line = next((line for line in lines if line.heading == head), None)
            if head == LIKELIHOOD:
                found.append(
                    Column(
                        head,
                        "lower",
                        note="-log2 P of rows held out, over the numbers in "
                        "their targets: exact, a bound that the truth is not above, or a noisy "
                        "estimate",
                    )
                )
            elif line is not None:
                note = line.note or f"{line.name.partition(': ')[2]}, of samples against rows held out"
                found.append(Column(head, line.better, line.real, note))
        return [
            *found,
            Column(SECONDS, "lower", note="seconds to draw 1,000 samples"),
            Column("parameters"),
            Column("steps", note="of training, within the minutes"),
        ]

    def cells(self) -> list[list[Cell]]:
        """A row for each entry, a cell for each column; entries without a report have none."""
        columns = self.columns
        rows = [[_cell(e, c.heading) for c in columns] if e.reports else [] for e in self.entries]
        full = [i for i, row in enumerate(rows) if row]
        for k, column in enumerate(columns):
            for i, mark in zip(full, marks([rows[i][k].value for i in full], column), strict=True):
                rows[i][k] = dataclasses.replace(rows[i][k], mark=mark)
        return rows

    def notes(self) -> list[str]:
        """What every reader should know, and what the reports remark."""
        said = [(e, note) for e in self.entries for report in e.reports for note in report.notes]
        own = [f"{e.family}: {note}" for e, note in said if note.startswith(NO_LIKELIHOOD)]
        common = [note for _, note in said if not note.startswith(NO_LIKELIHOOD)]
        failed = [f"{e.family}: {e.reason}" for e in self.entries if e.reason]
        return list(dict.fromkeys([*failed, *own, *common]))

    def __str__(self) -> str:
        columns, floors = self.columns, [c.floor for c in self.columns]
        heads = [["", *(c.title.rsplit(" ", 1)[0] if c.better else c.heading for c in columns)]]
        heads.append(["", *(f"{c.better or ''}" for c in columns)])
        rows = [*heads, ["real rows", *(short(f.value) if f else "" for f in floors)]]
        sign = {"best": "*", "near": "~", "": " "}
        for entry, cells in zip(self.entries, self.cells(), strict=True):
            rows.append(
                [entry.family, *(c.text + sign[c.mark] for c in cells)]
                if cells
                else [entry.family, "—", *[""] * (len(columns) - 1)]
            )
        widths = [max(len(row[k]) for row in rows) for k in range(len(columns) + 1)]
        table = [
            "  ".join(
                [row[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))]
            ).rstrip()
            for row in rows
        ]
        marks = "* best; ~ its 95 % interval overlaps the best's"
        return "\n".join([self.title, self.about, "", *table, "", marks, *self.notes()])

    def to_json(self) -> dict[str, Any]:
        """JSON values: the table, and the whole report of every run."""
        columns = self.columns
        entries = []
        for entry, cells in zip(self.entries, self.cells(), strict=True):
            table = {
                c.heading: {
                    "text": cell.text,
                    "mark": cell.mark,
                    "value": cell.value and dataclasses.asdict(cell.value),
                }
                for c, cell in zip(columns, cells, strict=bool(cells))
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


def marks(values: Sequence[Estimate | None], column: Column) -> list[str]:
    """Which of a column's values is the best, and whose interval overlaps the best one's.

    >>> a, b, c = Estimate(1, 0.5, 1.5), Estimate(2, 1.4, 2.6), Estimate(3, 2.5, 3.5)
    >>> marks([b, a, None, c], Column("KID", "lower"))
    ['near', 'best', '', '']
    """
    known = [i for i, v in enumerate(values) if v is not None and np.isfinite(v.value)]
    if not column.better or len(known) < 2 or (column.better == "as real" and column.floor is None):
        return [""] * len(values)
    loss = {"lower": lambda v: v, "higher": lambda v: -v, "as real": lambda v: abs(v - column.floor.value)}[
        column.better
    ]
    best = values[min(known, key=lambda i: loss(values[i].value))]
    found = [""] * len(values)
    for i in known:
        v = values[i]
        if v.value == best.value:
            found[i] = "best"
        elif None not in (v.low, v.high, best.low, best.high) and v.low <= best.high and best.low <= v.high:
            found[i] = "near"
    return found


def interval(value: Estimate | None) -> str:
    """Its two ends, "" if it has none."""
    if value is None or value.low is None or value.high is None:
        return ""
    return f"{short(value.low)} – {short(value.high)}"


def _cell(entry: Entry, head: str) -> Cell:
    """One family's number in one column, over its seeds."""
    if head == "parameters":
        return Cell(f"{entry.parameters:,}", Estimate(entry.parameters))
    if head == "steps":
        steps = Estimate(float(np.mean(entry.steps)))
        return Cell(f"{steps.value:,.0f}", steps)
    if head == SECONDS:
        found = [Estimate(1000 * r.seconds / (r.n * r.draws)) for r in entry.reports]
        return Cell(short(float(np.mean([e.value for e in found]))), _aggregate(found))
    lines: list[MetricResult] = [line for r in entry.reports for line in r.results if line.heading == head]
    if not lines:
        return Cell("none" if head == LIKELIHOOD else "")
    value = _aggregate([line.value for line in lines])
    kind = f" {lines[0].kind}" if lines[0].kind else ""
    return Cell(short(value.value) + kind, value)


def _aggregate(found: Sequence[Estimate]) -> Estimate:
    """One estimate as it is; of several seeds the mean, with the least and the largest as its interval."""
    if len(found) == 1:
        return found[0]
    values = [e.value for e in found]
    return Estimate(float(np.mean(values)), min(values), max(values), found[0].n)
