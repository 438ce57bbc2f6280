"""sweep: one model, one knob of its `sample`, several values: fidelity against diversity."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from likewise.core.errors import did_you_mean
from likewise.data.table import Table
from likewise.evaluation.evaluator import Evaluator
from likewise.evaluation.metrics.density_coverage import spread
from likewise.evaluation.metrics.estimate import Estimate, short
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Modality, Row
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline

VALUES: dict[str, tuple[Any, ...]] = {  # what to try of a knob, by its name
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
SHOWN = 11  # samples of a value that are shown
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the default of any other number


@dataclass(frozen=True)
class Point:
    """A value of the knob and what its samples score.

    agreement  with the source, None if nothing measures it
    spread     mean distance of two samples, over that of two real rows
    """

    value: Any
    distance: Estimate
    density: Estimate | None
    coverage: Estimate | None
    agreement: Estimate | None
    spread: float
    samples: tuple[Row, ...] = dataclasses.field(repr=False, default=())

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
    """What `sweep` found: `str` of it is a table; `floor` has what real rows score."""

    run: str
    option: str
    formula: str
    n: int
    seed: int
    points: tuple[Point, ...]
    floor: dict[str, Estimate]
    names: dict[str, str]
    real: tuple[Row, ...] = dataclasses.field(repr=False)
    columns: dict[str, Modality] = dataclasses.field(repr=False)

    @property
    def targets(self) -> list[str]:
        return [part.strip() for part in self.formula.partition("|")[0].split(",")]

    @property
    def about(self) -> str:
        return (
            f"P({self.formula}), {self.n} samples for each value against {self.n} rows held out, "
            f"seed {self.seed}"
        )

    @property
    def fidelity_name(self) -> str:
        return "density (fidelity)" if self.points[0].density else self.names["agreement"]

    @property
    def diversity_name(self) -> str:
        return "coverage (diversity)" if self.points[0].coverage else "spread relative to real rows"

    @property
    def distance_name(self) -> str:
        return self.names["distance"]

    def best(self, by: str) -> Point | None:
        """The point of the lowest "distance", or of the highest "agreement" and then the lowest distance.

        None if that is not measured.
        """
        if by == "distance":
            return min(self.points, key=lambda p: p.distance.value)
        known = [p for p in self.points if p.agreement]
        return max(known, key=lambda p: (p.agreement.value, -p.distance.value)) if known else None

    def __str__(self) -> str:
        optional = ("density", "coverage", "agreement")
        measures = ["distance", *(m for m in optional if getattr(self.points[0], m))]
        rows = [
            [self.option, *(self.names[m] for m in measures), "spread"],
            ["real rows", *(str(self.floor.get(m, "")) for m in measures), "1"],
        ]
        for point in self.points:
            rows.append([point.label, *(str(getattr(point, m)) for m in measures), short(point.spread)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        padded = ([cell.ljust(w) for cell, w in zip(row, widths, strict=True)] for row in rows)
        lines = ["  ".join(row).rstrip() for row in padded]
        said = [
            f"best by {self.names[by]}: {self.option} {point.label}"
            for by in ("distance", "agreement")
            if (point := self.best(by))
        ]
        return "\n".join([self.about, "", *lines, "", *said])

    def to_json(self) -> dict[str, Any]:
        """JSON values, without the samples."""
        points = []
        for p in self.points:
            plain = dataclasses.asdict(dataclasses.replace(p, samples=()))
            points.append({name: value for name, value in plain.items() if name != "samples"})
        best = {by: p.value for by in ("distance", "agreement") if (p := self.best(by))}
        return {
            "run": self.run,
            "option": self.option,
            "formula": self.formula,
            "n": self.n,
            "seed": self.seed,
            "points": points,
            "floor": {k: dataclasses.asdict(v) for k, v in self.floor.items()},
            "names": self.names,
            "best": best,
        }


def sweep(
    model: Model | Pipeline,
    table: Table,
    option: str,
    values: Sequence[Any] | None = None,
    *,
    n: int = 300,
    seed: int = 0,
    name: str = "the model",
    **sampling_options: Any,
) -> Sweep:
    """Draw for n rows held out with each of `values` of a knob (see `tries`) and the other knobs as given.

    All values share their seeds, so that differences are the knob's. Raises ValueError for a knob that the
    family lacks, with the nearest, and what `evaluate` raises.
    """
    known = model.sampling_options()
    if option not in known:
        raise ValueError(did_you_mean("sampling option", option, known))
    values = parse_trials(option, known[option]) if values is None else list(values)
    table = table.with_views(model.columns)
    exam = Evaluator(model.formula, table, n=n, seed=seed)
    count = len(exam.reference.rows)
    shown = sorted({i * count // SHOWN for i in range(SHOWN)})  # rows lie in the order of the file
    points, floor, names = [], {}, {}
    for value in values:
        drawn, _ = exam.draw(model, **sampling_options, **{option: value})
        lines = exam.results(drawn)
        found = {m: _line(lines, m) for m in ("distance", "density", "coverage", "agreement")}
        floor = {m: line.real for m, line in found.items() if line and line.real}
        names = {m: line.name for m, line in found.items() if line}
        own = {m: line.value for m, line in found.items() if line}
        points.append(
            Point(
                value,
                own["distance"],
                own.get("density"),
                own.get("coverage"),
                own.get("agreement"),
                _spread(exam, drawn),
                tuple(drawn[i] for i in shown),
            )
        )
    floor |= {
        "fidelity": floor.get("density") or floor.get("agreement") or floor["distance"],
        "diversity": floor.get("coverage") or Estimate(1.0),
    }
    rows = exam.rows_of(model.formula.columns, range(len(exam.reference.rows)))
    return Sweep(
        name,
        option,
        str(model.formula),
        len(rows),
        seed,
        tuple(points),
        floor,
        names,
        tuple(rows[i] for i in shown),
        dict(table.columns),
    )


def parse_trials(option: str, parameter: inspect.Parameter) -> list[Any]:
    """Values of a knob that are worth a try: by its name, of a choice all, else around its default.

    Raises ValueError if there is no telling.

    >>> tries("churn", inspect.Parameter("churn", inspect.Parameter.KEYWORD_ONLY, default=2, annotation=int))
    [1, 2, 4, 8]
    """
    annotation, default = parameter.annotation, parameter.default
    if option in VALUES:
        return list(VALUES[option])
    if annotation is bool:
        return [False, True]
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    if isinstance(default, (int, float)) and default:
        kind = type(default)
        return sorted({max(kind(1), kind(default * f)) if kind is int else default * f for f in FACTORS})
    raise ValueError(f"say which values of {option} to try: --sweep {option}=V1,V2,...")


def read_values(text: str, parameter: inspect.Parameter) -> list[Any]:
    """Values written with commas, of the parameter's type. Raises ValueError.

    >>> read_values("1,2.5", inspect.Parameter("guidance", inspect.Parameter.KEYWORD_ONLY, annotation=float))
    [1.0, 2.5]
    """
    found = typing.get_args(parameter.annotation) or (parameter.annotation,)
    kinds = [k for k in found if k is not type(None)]
    kind = kinds[0] if isinstance(kinds[0], type) else str
    words = [word.strip() for word in text.split(",") if word.strip()]
    if kind is bool:
        return [word in ("yes", "true", "1") for word in words]
    try:
        return [kind(word) for word in words]
    except ValueError:
        raise ValueError(
            f"cannot read {text!r} as values of {parameter.name}; write one {kind.__name__} or "
            "more, with commas between them"
        ) from None


def _line(lines: Sequence[MetricResult], measure: str) -> MetricResult | None:
    """The line of a measure: of the first target if there are several."""
    ends = {
        "distance": ("KID of edges", ": KID"),
        "density": (": density",),
        "coverage": (": coverage",),
        "agreement": (": accuracy", ": in top 10"),
    }[measure]
    return next((line for line in lines if line.name.endswith(ends)), None)


def _spread(exam: Evaluator, drawn: Sequence[Row]) -> float:
    """How unlike each other samples are, over how unlike rows held out are."""
    judge = exam.metric_groups[0]
    x, real = judge.features(drawn), judge.real
    return spread(x) / max(spread(real), 1e-12)
