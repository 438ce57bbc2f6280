"""JointMetrics: targets and sources together, whether they belong to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from likewise.evaluation.features.reduce import Reduced
from likewise.evaluation.features.values import features_of
from likewise.evaluation.reference import FeatureSpace, ReferenceSet
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row


class JointMetrics:
    """Targets and sources together: do they belong to each other as in real rows?"""

    def __init__(self, ground: ReferenceSet, columns: Sequence[str]) -> None:
        self.reference, self.columns, self.name = ground, list(columns), ", ".join(columns)
        self.notes: list[str] = []
        kept = {c: self._features(c, ground.train_values(c)) for c in columns}
        # one by one, so that a column of few numbers is not lost among pixels
        self.reduced = {c: Reduced(x) for c, x in kept.items()}
        held = {c: self._features(c, ground.test_values(c)) for c in columns}
        self.space = FeatureSpace(self.name, ground, self._joined(kept), self._joined(held))

    @property
    def real(self) -> np.ndarray:
        return self.space.test

    def features(self, drawn: Sequence[Row]) -> np.ndarray:
        return self._joined({c: self._features(c, [row[c] for row in drawn]) for c in self.columns})

    def results(self, drawn: Sequence[Row]) -> list[MetricResult]:
        x = self.features(drawn[:: self.reference.draws])
        value, real = self.space.c2st(x, reduce=False)
        return [
            MetricResult(
                f"{self.name}: C2ST",
                value,
                real,
                chance=0.5,
                heading="C2ST",
                note="the same of targets and sources together: they must also belong to each other",
            )
        ]

    def _features(self, column: str, values: Sequence[object]) -> np.ndarray:
        return features_of(self.reference.table.columns[column], values)

    def _joined(self, parts: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([self.reduced[c](x) for c, x in parts.items()], 1)
