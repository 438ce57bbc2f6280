"""Judges: each turns the samples of some columns into lines of a report; its real rows are prepared once."""

from __future__ import annotations

from likewise.evaluation.evaluators.base import VALUE_KINDS, MetricGroup
from likewise.evaluation.evaluators.image import ImageMetrics
from likewise.evaluation.evaluators.joint import JointMetrics
from likewise.evaluation.evaluators.table import TableMetrics
from likewise.evaluation.reference import ReferenceSet


def metric_groups(ground: ReferenceSet, candidates: int, concept: str) -> tuple[list[MetricGroup], list[str]]:
    """All that can judge the targets of a formula, and of which columns nobody can say anything."""
    kinds = ground.table.kinds
    images = [c for c in ground.targets if kinds[c] == "image"]
    rest = [c for c in ground.targets if kinds[c] in VALUE_KINDS]
    known = [c for c in ground.columns if kinds[c] in ("image", *VALUE_KINDS)]
    groups = len(images) + bool(rest)
    joint = groups > 1 or (groups and len(known) > len(ground.targets))
    found: list[MetricGroup] = [
        ImageMetrics(ground, c, candidates, concept, main=not i, alone=not joint)
        for i, c in enumerate(images)
    ]
    if rest:
        found.append(TableMetrics(ground, rest, main=not images, alone=not joint))
    if joint:
        found.append(JointMetrics(ground, known))
    lost = [c for c in ground.columns if c not in known]
    return found, [f"of {c} ({kinds[c]}) nothing is measured" for c in lost]
