"""Which evaluator measures a kind of column, and the groups of metrics for a formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from likewise.evaluation.evaluators.base import MetricGroup
from likewise.evaluation.evaluators.image import ImageMetrics
from likewise.evaluation.evaluators.joint import JointMetrics
from likewise.evaluation.evaluators.prediction import PredictionMetrics
from likewise.evaluation.evaluators.rows import RowMetrics
from likewise.evaluation.evaluators.table import TableMetrics
from likewise.evaluation.features.cells import has_cells
from likewise.evaluation.reference import ReferenceSet
from likewise.modalities.latent import is_embedding


class ColumnEvaluator(Protocol):
    """Makes the metrics of one column.

    candidates  other values that the true one is ranked among; concept: the column whose values these must not share
    main        results have headings; alone: there are no joint metrics
    """

    def __call__(
        self, reference: ReferenceSet, column: str, candidates: int, concept: str, *, main: bool, alone: bool
    ) -> MetricGroup: ...


EVALUATORS: dict[str, ColumnEvaluator] = {"image": ImageMetrics}  # by kind; all others share TableMetrics


def metric_groups(
    reference: ReferenceSet, candidates: int, concept: str, predict: Sequence[str] = ()
) -> tuple[list[MetricGroup], list[str]]:
    """The metrics for the targets of a formula, and notes on columns that are not measured.

    Raises ValueError for a column of `predict` that cannot be predicted.
    """
    columns, kinds = reference.table.columns, reference.table.kinds
    measured = [c for c in reference.columns if not is_embedding(columns[c])]
    single = [c for c in reference.targets if c in measured and kinds[c] in EVALUATORS]
    shared = [c for c in reference.targets if c in measured and c not in single]
    count = len(single) + bool(shared)
    joint = count > 1 or (count > 0 and len(measured) > len(reference.targets))
    groups: list[MetricGroup] = [
        EVALUATORS[kinds[c]](reference, c, candidates, concept, main=not i, alone=not joint)
        for i, c in enumerate(single)
    ]
    if shared:
        groups.append(TableMetrics(reference, shared, main=not single, alone=not joint))
    if joint:
        groups.append(JointMetrics(reference, measured))
    groups += _row_metrics(reference, [c for c in measured if has_cells(columns[c])], predict)
    return groups, [f"{c} ({kinds[c]}) is not measured" for c in reference.columns if c not in measured]


def _row_metrics(
    reference: ReferenceSet, columns: Sequence[str], predict: Sequence[str]
) -> list[MetricGroup]:
    """Those of rows of several targets that are numbers or classes."""
    targets = [c for c in columns if c in reference.targets]
    if len(targets) > 1:
        rows = RowMetrics(reference, targets, [c for c in columns if c not in targets])
        return [rows, PredictionMetrics(rows, predict)]
    if predict:
        raise ValueError(
            "TSTR is measured where several targets are numbers or classes, and so are columns that are predicted; "
            f"{', '.join(reference.targets)}: leave predict out"
        )
    return []
