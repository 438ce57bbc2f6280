"""The quality score of sdmetrics of the samples of a report, beside that of training rows."""

from __future__ import annotations

from collections.abc import Sequence

from likewise.evaluation.evaluators.base import name_columns
from likewise.evaluation.features.cells import has_cells
from likewise.evaluation.features.values import numbers_of
from likewise.evaluation.metrics.sdmetrics_quality import NOTE, sdmetrics_quality
from likewise.evaluation.reference import is_class
from likewise.evaluation.report import MetricResult, ReportRows
from likewise.modalities.base import Row

Values = list[float | str | None]


def quality_result(rows: ReportRows) -> MetricResult:
    """Of the targets that are numbers, dates and the like, or classes.

    Raises ValueError if there is none, and if sdmetrics is not installed.
    """
    names = [name for name, column in rows.columns.items() if has_cells(column)]
    if not names:
        raise ValueError(
            "the quality score of sdmetrics is of targets that are numbers or classes, and there is none; "
            "leave sdmetrics out"
        )
    classes = [name for name in names if is_class(rows.columns[name])]
    real, train, samples = (
        {name: _values(rows, some, name) for name in names} for some in (rows.real, rows.train, rows.samples)
    )
    return MetricResult(
        f"{name_columns(names)}: sdmetrics",
        sdmetrics_quality(samples, real, classes),
        sdmetrics_quality(train, real, classes),
        better="higher",
        note=NOTE,
    )


def _values(rows: ReportRows, some: Sequence[Row], name: str) -> Values:
    """Numbers, and classes as texts."""
    column, values = rows.columns[name], [row[name] for row in some]
    if is_class(column):
        return [None if v is None else str(v) for v in values]
    numbers = numbers_of(column, [v for v in values if v is not None])
    assert numbers is not None
    present = iter(numbers.tolist())
    return [None if v is None else next(present) for v in values]
