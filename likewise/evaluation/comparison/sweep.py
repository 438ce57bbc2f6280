"""sweep: one model, one sampling option, several values: fidelity against diversity."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from likewise.core.errors import did_you_mean
from likewise.core.options import OptionType, parse_option, validate_value, validated
from likewise.core.ranges import RowsToCompare, Seed
from likewise.data.table import Table
from likewise.evaluation.evaluator import Evaluator
from likewise.evaluation.metrics.density_coverage import spread
from likewise.evaluation.metrics.estimate import Estimate, short
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Modality, Row
from likewise.models.base import TypedDistribution

DEFAULT_VALUES: dict[str, tuple[Any, ...]] = {  # by the name of the option
    "guidance": (1.0, 1.5, 2.0, 3.0, 5.0),
    "temperature": (0.5, 0.7, 0.85, 1.0, 1.2),
    "truncation": (0.5, 0.7, 0.85, 1.0),
    "top_p": (0.5, 0.8, 0.9, 0.95, 1.0),
    "min_p": (0.0, 0.02, 0.05, 0.1, 0.2),
    "top_k": (1, 5, 20, 100),
    "eta": (0.0, 0.25, 0.5, 0.75, 1.0),
    "steps": (2, 4, 8, 16, 32),
    "shift": (0.5, 1.0, 2.0, 3.0),
}
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the default of any other number
EXAMPLES = 11  # samples of a value that are shown
METRICS = {  # of a point -> endings of the names of results: the first target's if there are several
    "distance": ("KID of edges", ": KID"),
    "density": (": density",),
    "coverage": (": coverage",),
    "agreement": (": accuracy", ": in top 10"),
}


@dataclass(frozen=True)
class SweepPoint:
    """A value of the option, and the metrics of its samples.

    agreement  with the source, None if it is not measured
    spread     mean distance of two samples, over that of two real rows
    """

    value: Any
    distance: Estimate
    density: Estimate | None
    coverage: Estimate | None
    agreement: Estimate | None
    spread: float
    examples: tuple[Row, ...] = dataclasses.field(repr=False, default=())

    @property
    def label(self) -> str:
        return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)

    @property
    def fidelity(self) -> Estimate:
        return self.density or self.agreement or self.distance

    @property
    def diversity(self) -> Estimate:
        return self.coverage or Estimate(self.spread)


@dataclass(frozen=True)
class Sweep:
    """The result of `sweep`: `str` of it is a table.

    real  the real-data reference by metric; names: those of the metrics in a report
    """

    run: str
    option: str
    formula: str
    n: int
    seed: int
    points: tuple[SweepPoint, ...]
    real: dict[str, Estimate]
    names: dict[str, str]
    examples: tuple[Row, ...] = dataclasses.field(repr=False)
    columns: dict[str, Modality] = dataclasses.field(repr=False)

    @property
    def targets(self) -> list[str]:
        return [part.strip() for part in self.formula.partition("|")[0].split(",")]

    @property
    def description(self) -> str:
        return (
            f"P({self.formula}), {self.n} samples for each value against {self.n} held-out rows, "
            f"seed {self.seed}"
        )

    @property
    def fidelity_name(self) -> str:
        metric = next(m for m in ("density", "agreement", "distance") if getattr(self.points[0], m))
        return "density (fidelity)" if metric == "density" else self.names[metric]

    @property
    def diversity_name(self) -> str:
        return "coverage (diversity)" if self.points[0].coverage else "spread relative to real rows"

    @property
    def distance_name(self) -> str:
        return self.names["distance"]

    def best(self, by: Literal["distance", "agreement"]) -> SweepPoint | None:
        """The point of the lowest distance, or of the highest agreement and then the lowest distance.

        None if that is not measured.
        """
        if by == "distance":
            return min(self.points, key=lambda p: p.distance.value)
        measured = [(p.agreement.value, -p.distance.value, p) for p in self.points if p.agreement]
        return max(measured, key=lambda m: m[:2])[2] if measured else None

    def __str__(self) -> str:
        optional = ("density", "coverage", "agreement")
        metrics = ["distance", *(m for m in optional if getattr(self.points[0], m))]
        rows = [
            [self.option, *(self.names[m] for m in metrics), "spread"],
            ["real rows", *(str(self.real.get(m, "")) for m in metrics), "1"],
        ]
        for point in self.points:
            rows.append([point.label, *(str(getattr(point, m)) for m in metrics), short(point.spread)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        padded = ([cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in rows)
        lines = ["  ".join(row).rstrip() for row in padded]
        best = [
            f"best by {self.names[by]}: {self.option} {point.label}"
            for by, point in self._best_points().items()
        ]
        return "\n".join([self.description, "", *lines, "", *best])

    def to_json(self) -> dict[str, Any]:
        """JSON values, without the examples."""
        points = [
            {name: value for name, value in dataclasses.asdict(point).items() if name != "examples"}
            for point in (dataclasses.replace(p, examples=()) for p in self.points)
        ]
        return {
            "run": self.run,
            "option": self.option,
            "formula": self.formula,
            "n": self.n,
            "seed": self.seed,
            "points": points,
            "real": {k: dataclasses.asdict(v) for k, v in self.real.items()},
            "names": self.names,
            "best": {by: point.value for by, point in self._best_points().items()},
        }

    def _best_points(self) -> dict[str, SweepPoint]:
        points = {"distance": self.best("distance"), "agreement": self.best("agreement")}
        return {by: point for by, point in points.items() if point is not None}


@validated
def sweep(
    model: TypedDistribution,
    table: Table,
    option: str,
    values: Sequence[Any] | None = None,
    *,
    n: RowsToCompare = 300,
    seed: Seed = 0,
    name: str = "the model",
    **sampling_options: Any,
) -> Sweep:
    """Sample for n held-out rows with each of `values` of an option (default `trial_values`).

    All values share their seeds, so that the option alone makes a difference. Raises ValueError for an option
    that the model lacks, with the nearest, and what `evaluate` raises.
    """
    parameters = model.sampling_options()
    if option not in parameters:
        raise ValueError(did_you_mean("sampling option", option, parameters))
    parameter = parameters[option]
    values = trial_values(option, parameter) if values is None else list(values)
    values = [validate_value(option, value, parameter.annotation) for value in values]
    table = table.with_views(model.columns, model.formula)
    evaluator = Evaluator(model.formula, table, n=n, seed=seed)
    count = len(evaluator.reference.test_indices)
    examples = sorted({i * count // EXAMPLES for i in range(EXAMPLES)})  # rows are in the order of the file
    points = []
    metrics: dict[str, MetricResult] = {}
    for value in values:
        samples, _ = evaluator.sample(model, **sampling_options, **{option: value})
        metrics = _select(evaluator.results(samples))
        estimates = {metric: result.value for metric, result in metrics.items()}
        points.append(
            SweepPoint(
                value,
                distance=estimates["distance"],
                density=estimates.get("density"),
                coverage=estimates.get("coverage"),
                agreement=estimates.get("agreement"),
                spread=_relative_spread(evaluator, samples),
                examples=tuple(samples[i] for i in examples),
            )
        )
    real = {metric: result.real for metric, result in metrics.items() if result.real}
    real["fidelity"] = real.get("density") or real.get("agreement") or real["distance"]
    real["diversity"] = real.get("coverage") or Estimate(1.0)
    return Sweep(
        run=name,
        option=option,
        formula=str(model.formula),
        n=count,
        seed=seed,
        points=tuple(points),
        real=real,
        names={metric: result.name for metric, result in metrics.items()},
        examples=tuple(evaluator.test_rows(model.formula.columns, examples)),
        columns=dict(table.columns),
    )


def trial_values(option: str, parameter: inspect.Parameter) -> list[Any]:
    """Values of an option that are worth a try: by its name, all of a choice, else around its default.

    Raises ValueError if there are none.

    >>> option = inspect.Parameter("churn", inspect.Parameter.KEYWORD_ONLY, default=2, annotation=int)
    >>> trial_values("churn", option)
    [1, 2, 4, 8]
    """
    kind, default = OptionType.of(parameter.annotation), parameter.default
    if option in DEFAULT_VALUES:
        return list(DEFAULT_VALUES[option])
    if kind.type is bool:
        return [False, True]
    if kind.choices:
        return list(kind.choices)
    if isinstance(default, int) and default:
        return sorted(filter(kind.accepts, {max(1, int(default * f)) for f in FACTORS}))
    if isinstance(default, float) and default:
        return sorted(filter(kind.accepts, {default * f for f in FACTORS}))
    raise ValueError(f"choose the values of {option}: --sweep {option}=V1,V2,...")


def parse_values(text: str, parameter: inspect.Parameter) -> list[Any]:
    """Values separated by commas, of the parameter's type. Raises ValueError.

    >>> parse_values("1,2.5", inspect.Parameter("guidance", inspect.Parameter.KEYWORD_ONLY, annotation=float))
    [1.0, 2.5]
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    return [parse_option(parameter.name, word, parameter.annotation) for word in words]


def _select(results: Sequence[MetricResult]) -> dict[str, MetricResult]:
    """The results of METRICS that are there."""
    selected = {}
    for metric, endings in METRICS.items():
        result = next((r for r in results if r.name.endswith(endings)), None)
        if result is not None:
            selected[metric] = result
    return selected


def _relative_spread(evaluator: Evaluator, samples: Sequence[Row]) -> float:
    """The mean distance of two samples, over that of two test rows."""
    group = evaluator.metric_groups[0]
    return spread(group.features(samples)) / max(spread(group.real), 1e-12)
