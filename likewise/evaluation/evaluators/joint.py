"""JointMetrics: targets and sources together, whether they belong to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from likewise.evaluation.evaluators.base import c2st_result
from likewise.evaluation.features.reduce import Reduced
from likewise.evaluation.features.values import features_of
from likewise.evaluation.reference import FeatureSpace, ReferenceSet
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row


class JointMetrics:
    """The joint distribution of targets and sources."""

    def __init__(self, reference: ReferenceSet, columns: Sequence[str]) -> None:
        self.reference, self.columns, self.name = reference, list(columns), ", ".join(columns)
        self.notes: list[str] = []
        train = {c: self._features(c, reference.train_values(c)) for c in columns}
        # each column on its own, else a column of few numbers has no weight beside pixels
        self.reduced = {c: Reduced(x) for c, x in train.items()}
        test = {c: self._features(c, reference.test_values(c)) for c in columns}
        self.space = FeatureSpace(self.name, reference, self._joined(train), self._joined(test))

    @property
    def real(self) -> np.ndarray:
        return self.space.test

    def features(self, samples: Sequence[Row]) -> np.ndarray:
        return self._joined({c: self._features(c, [row[c] for row in samples]) for c in self.columns})

    def results(self, samples: Sequence[Row]) -> list[MetricResult]:
        x = self.features(samples[:: self.reference.draws])
        estimates = self.space.c2st(x, reduce=False)
        return [c2st_result(estimates, self.name, True, "samples with their sources from real rows")]

    def _features(self, column: str, values: Sequence[object]) -> np.ndarray:
        return features_of(self.reference.table.columns[column], values)

    def _joined(self, parts: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([self.reduced[c](x) for c, x in parts.items()], 1)
