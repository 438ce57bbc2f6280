"""MetricResult and Report: metrics of samples, beside those of real data, a baseline and chance."""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import dataclass
from typing import Any, Literal

from likewise.evaluation.metrics.estimate import Estimate, short

Better = Literal["lower", "higher", "as real"]


@dataclass(frozen=True)
class MetricResult:
    """One metric of a model's samples.

    real      the real-data reference: the same metric of real rows in place of samples
    baseline  that of a simple method; chance: its expectation for random samples
    kind      of a likelihood: exact, bound or estimate
    heading   of its column in a table of several models; "" if it is not in such a table
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
    """The result of `evaluate`: `str` of it is a table, `to_json` has the same as JSON values.

    `seconds` is the time of sampling, which is ignored when reports are compared.
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
        """The result of a metric. Raises KeyError with the available names."""
        for result in self.results:
            if result.name == name:
                return result
        raise KeyError(f"no metric {name!r}; there are: {', '.join(r.name for r in self.results)}")

    def to_json(self) -> dict[str, Any]:
        """JSON values; an estimate is {value, low, high, n}."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        options = {"draws": self.draws, "seed": self.seed, **self.sampling_options}
        title = (
            f"P({self.formula}){f', {self.data}' if self.data else ''}: {self.n} held-out rows, "
            + ", ".join(f"{name} {value}" for name, value in options.items())
        )
        rows = [("", "model", "real rows", "baseline", "chance", "better")]
        for r in self.results:
            real, baseline = ("" if e is None else str(e) for e in (r.real, r.baseline))
            chance = "" if r.chance is None else short(r.chance)
            rows.append((r.name, f"{r.value} {r.kind}".rstrip(), real, baseline, chance, r.better))
        columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
        padded = ([cell.ljust(max(map(len, column))) for cell in column] for column in columns)
        table = ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]
        notes = [*(f"{r.name}: {r.note}" for r in self.results if r.note), *self.notes]
        notes = [textwrap.fill(note, 110, subsequent_indent="    ") for note in notes]
        return "\n".join([title, "", *table, "", *notes])
