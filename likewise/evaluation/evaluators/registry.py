"""Which evaluator measures a kind of column, and the groups of metrics for a formula."""

from __future__ import annotations

from typing import Protocol

from likewise.evaluation.evaluators.base import MetricGroup
from likewise.evaluation.evaluators.image import ImageMetrics
from likewise.evaluation.evaluators.joint import JointMetrics
from likewise.evaluation.evaluators.table import TableMetrics
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
    reference: ReferenceSet, candidates: int, concept: str
) -> tuple[list[MetricGroup], list[str]]:
    """The metrics for the targets of a formula, and notes on columns that are not measured."""
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
    return groups, [f"{c} ({kinds[c]}) is not measured" for c in reference.columns if c not in measured]
