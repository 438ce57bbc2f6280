"""TableMetrics: all targets without an evaluator of their own, as one row of features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from likewise.evaluation.evaluators.base import copy_metrics
from likewise.evaluation.features.values import copy_distance, features_of
from likewise.evaluation.reference import FeatureSpace, ReferenceSet, measured, pair
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row


class TableMetrics:
    """All targets that are labels, numbers or texts, as one row of features."""

    def __init__(self, ground: ReferenceSet, columns: Sequence[str], *, main: bool, alone: bool) -> None:
        self.reference, self.columns, self.main, self.alone = ground, list(columns), main, alone
        self.notes: list[str] = []
        kept, held = (
            [dict(zip(columns, row, strict=True)) for row in zip(*map(of, columns), strict=True)]
            for of in (ground.train_values, ground.test_values)
        )
        self.name = ", ".join(columns)
        self.space = FeatureSpace(self.name, ground, self.features(kept), self.features(held))
        if not self.space.has_balls:
            self.notes.append(
                f"of {self.name} density, coverage and copies are not measured, as most rows have twins"
            )

    @property
    def real(self) -> np.ndarray:
        return self.space.test

    def results(self, drawn: Sequence[Row]) -> list[MetricResult]:
        x, name, main = self.features(drawn[:: self.reference.draws]), self.name, self.main
        lines = measured(self.space, x, name, "", main)
        if self.space.has_balls:
            lines += pair(self.space, x, name, main)
        value, real = self.space.c2st(x)
        lines.append(
            MetricResult(
                f"{name}: C2ST",
                value,
                real,
                chance=0.5,
                heading="C2ST" * (main and self.alone),
                note="how often boosted trees take a sample, and not a real row, for the sample",
            )
        )
        if not self.space.has_balls:
            return lines
        one = self.reference.table.columns[name] if len(self.columns) == 1 else None
        return lines + copy_metrics(self.space, x, name, main, copy_distance(one))

    def features(self, rows: Sequence[Row]) -> np.ndarray:
        known = self.reference.table.columns
        parts = [features_of(known[c], [row[c] for row in rows]) for c in self.columns]
        return np.concatenate(parts, 1)
