"""Line and Report: what was measured, each number beside what real rows, a baseline and chance score."""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

from likewise.evaluation.metrics.estimate import Estimate, short

Better = Literal["lower", "higher", "as real"]


@dataclass(frozen=True)
class MetricResult:
    """One metric: of the model, of real rows in the place of its samples, of a baseline, and of chance.

    kind  of a likelihood: exact, bound or estimate
    head  over its column in a table of several models; "" if it has no place there
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


@dataclass(frozen=True)
class Report:
    """What `evaluate` found: `str` of it is a table to read, `to_json` the same as JSON values.

    `seconds` were spent on drawing; two reports are equal if all else is.
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

    def __getitem__(self, name: str) -> MetricResult:
        """The line of a metric. Raises KeyError that names those there are."""
        for line in self.results:
            if line.name == name:
                return line
        raise KeyError(f"no metric {name!r}; there are: {', '.join(line.name for line in self.results)}")

    def to_json(self) -> dict[str, Any]:
        """JSON values; an estimate is {value, low, high, n}."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        sampling_options = {"draws": self.draws, "seed": self.seed, **self.sampling_options}
        title = (
            f"P({self.formula}){f', {self.data}' if self.data else ''}: {self.n} rows held out, "
            + ", ".join(f"{name} {value}" for name, value in sampling_options.items())
        )
        rows = [("", "model", "real rows", "baseline", "chance", "better")]
        for line in self.results:
            others = ("" if e is None else str(e) for e in (line.real, line.baseline))
            value = f"{line.value}{f' {line.kind}' if line.kind else ''}"
            rows.append(
                (line.name, value, *others, "" if line.chance is None else short(line.chance), line.better)
            )
        columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
        padded = ([cell.ljust(max(map(len, column))) for cell in column] for column in columns)
        table = ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]
        notes = [*(f"{line.name}: {line.note}" for line in self.results if line.note), *self.notes]
        notes = [textwrap.fill(note, 110, subsequent_indent="    ") for note in notes]
        return "\n".join([title, "", *table, "", *notes])
