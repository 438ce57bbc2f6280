"""Which evaluator measures a column of which kind, and the groups of metrics for a formula."""

from __future__ import annotations

from typing import Protocol

from likewise.evaluation.evaluators.base import MetricGroup
from likewise.evaluation.evaluators.image import ImageMetrics
from likewise.evaluation.evaluators.joint import JointMetrics
from likewise.evaluation.evaluators.table import TableMetrics
from likewise.evaluation.reference import ReferenceSet
from likewise.modalities.latent import is_embedding


class ColumnEvaluator(Protocol):
    """Makes the metrics of one column: of `main` ones the results have headings, `alone` without joint metrics."""

    def __call__(
        self, reference: ReferenceSet, column: str, candidates: int, concept: str, *, main: bool, alone: bool
    ) -> MetricGroup: ...


EVALUATORS: dict[str, ColumnEvaluator] = {"image": ImageMetrics}  # kind -> its own; others share TableMetrics


def metric_groups(
    reference: ReferenceSet, candidates: int, concept: str
) -> tuple[list[MetricGroup], list[str]]:
    """The metrics for the targets of a formula, and notes on columns of which nothing is measured."""
    columns, kinds = reference.table.columns, reference.table.kinds
    measured = [c for c in reference.columns if not is_embedding(columns[c])]
    own = [c for c in reference.targets if c in measured and kinds[c] in EVALUATORS]
    rest = [c for c in reference.targets if c in measured and c not in own]
    groups = len(own) + bool(rest)
    joint = groups > 1 or (groups > 0 and len(measured) > len(reference.targets))
    found: list[MetricGroup] = [
        EVALUATORS[kinds[c]](reference, c, candidates, concept, main=not i, alone=not joint)
        for i, c in enumerate(own)
    ]
    if rest:
        found.append(TableMetrics(reference, rest, main=not own, alone=not joint))
    if joint:
        found.append(JointMetrics(reference, measured))
    lost = [c for c in reference.columns if c not in measured]
    return found, [f"of {c} ({kinds[c]}) nothing is measured" for c in lost]
