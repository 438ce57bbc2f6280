"""JointMetrics: targets and sources together, whether they belong to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from likewise.evaluation.evaluators.base import c2st_result, name_columns
from likewise.evaluation.evaluators.two_sample import TwoSampleTest
from likewise.evaluation.reference import ReferenceSet
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row

MAX_FEATURES = 64  # of a column


class JointMetrics:
    """The joint distribution of targets and sources."""

    def __init__(self, reference: ReferenceSet, columns: Sequence[str]) -> None:
        self.reference, self.name = reference, name_columns(columns)
        self.notes: list[str] = []
        self.two_sample_test = TwoSampleTest(reference, columns, self.name, MAX_FEATURES)

    @property
    def real(self) -> np.ndarray:
        return self.two_sample_test.test

    def features(self, samples: Sequence[Row]) -> np.ndarray:
        return self.two_sample_test.features(samples)

    def results(self, samples: Sequence[Row]) -> list[MetricResult]:
        estimates, worst = self.two_sample_test.with_worst(samples[:: self.reference.draws])
        return [c2st_result(estimates, self.name, True, "samples with their sources from real rows", worst)]
