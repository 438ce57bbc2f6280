"""TableMetrics: all targets without an evaluator of their own, together and each on its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from likewise.evaluation.evaluators.base import (
    c2st_result,
    copy_results,
    density_coverage_results,
    distance_results,
    name_columns,
)
from likewise.evaluation.evaluators.column import ColumnMetrics
from likewise.evaluation.evaluators.two_sample import TwoSampleTest
from likewise.evaluation.features.cells import has_cells
from likewise.evaluation.features.values import copy_distance, features_of
from likewise.evaluation.reference import FeatureSpace, ReferenceSet
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row

MAX_NEIGHBOURS = 1_000  # rows whose distances from each other are measured


class TableMetrics:
    """The metrics of targets such as labels, numbers and texts, their features concatenated, and of each target.

    Copies are measured by RowMetrics where all of several columns are numbers or classes.
    """

    def __init__(self, reference: ReferenceSet, columns: Sequence[str], *, main: bool, alone: bool) -> None:
        """`main`: its results have headings; `alone`: its C2ST has one too, as there is no joint one."""
        self.reference, self.columns, self.main, self.alone = reference, list(columns), main, alone
        self.notes: list[str] = []
        self.name = name_columns(columns)
        train, test = (
            self._features({c: values_of(c) for c in columns})
            for values_of in (reference.train_values, reference.test_values)
        )
        self.have_cells = len(columns) > 1 and all(has_cells(reference.table.columns[c]) for c in columns)
        self.space = FeatureSpace(self.name, reference, train, test[:MAX_NEIGHBOURS])
        if len(test) > MAX_NEIGHBOURS:
            self.notes.append(
                f"of {self.name} KID, FD-infinity, density and coverage are those of {MAX_NEIGHBOURS:,} rows"
            )
        self.two_sample_test = TwoSampleTest(reference, columns, self.name, self.space.max_features)
        self.each = [ColumnMetrics(reference, c, alone=len(columns) == 1) for c in columns]
        if not self.space.has_neighbourhoods:
            unmeasured = "density and coverage" if self.have_cells else "density, coverage and copies"
            self.notes.append(f"of {self.name} {unmeasured} are not measured, as most rows have duplicates")

    @property
    def real(self) -> np.ndarray:
        return self.space.test

    def features(self, samples: Sequence[Row]) -> np.ndarray:
        return self._features({c: [row[c] for row in samples] for c in self.columns})

    def results(self, samples: Sequence[Row]) -> list[MetricResult]:
        samples = samples[:: self.reference.draws]
        x, name, main = self.features(samples[:MAX_NEIGHBOURS]), self.name, self.main
        results = distance_results(self.space, x, name, main)
        if self.space.has_neighbourhoods:
            results += density_coverage_results(self.space, x, name, main)
        estimates, worst = self.two_sample_test.with_worst(samples)
        results.append(c2st_result(estimates, name, main and self.alone, worst=worst))
        if self.space.has_neighbourhoods and not self.have_cells:
            single = self.reference.table.columns[name] if len(self.columns) == 1 else None
            results += copy_results(self.space, x, name, main, copy_distance(single))
        return results + [r for c in self.each for r in c.results([row[c.name] for row in samples])]

    def _features(self, values: dict[str, Sequence[object]]) -> np.ndarray:
        columns = self.reference.table.columns
        return np.concatenate([features_of(columns[c], v) for c, v in values.items()], 1)
