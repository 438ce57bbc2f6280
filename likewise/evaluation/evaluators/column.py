"""ColumnMetrics: a column on its own, whatever the others are: one line of a report for each column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

from likewise.evaluation.features.values import features_of, numbers_of
from likewise.evaluation.metrics.estimate import Estimate, share
from likewise.evaluation.metrics.kid import kid
from likewise.evaluation.metrics.kolmogorov_smirnov import kolmogorov_smirnov
from likewise.evaluation.metrics.total_variation import total_variation
from likewise.evaluation.reference import ReferenceSet, class_ids, is_class
from likewise.evaluation.report import MetricResult

TwoSets = Callable[..., Estimate]  # (samples, real, *, rng, paired)

DISTANCE = "of values: Kolmogorov-Smirnov of numbers, total variation of classes; 0 to 1, in real rows by chance alone"
OUT_OF_RANGE = "share of numbers outside of the range of the training rows"
DECIMALS = "total variation of the number of decimals, which is below 0 for multiples of 10: are numbers rounded alike?"
KID = "kernel distance of the features of the column"


@dataclass(frozen=True)
class ColumnMetric:
    """A distance of features of values (N, ...) from those of test rows."""

    name: str
    note: str
    features: Callable[[Sequence[Any]], np.ndarray]
    distance: TwoSets


class ColumnMetrics:
    """The metrics of one target."""

    def __init__(self, reference: ReferenceSet, name: str, *, alone: bool) -> None:
        """`alone`: the column has no metrics with others; then it has the KID of its features already."""
        self.reference, self.name, column = reference, name, reference.table.columns[name]
        self.test, train = reference.test_values(name), reference.train_values(name)
        rows = reference.rng("columns", "others").permutation(len(train))[: len(self.test)]
        self.train_subset = [train[i] for i in rows]
        self.range: tuple[float, float] | None = None
        present = [value for value in train if value is not None]
        if (numbers := numbers_of(column, present)) is not None:
            self.range = (float(numbers.min()), float(numbers.max())) if len(numbers) else None
            self.metrics = [
                ColumnMetric("distance", DISTANCE, self._numbers, kolmogorov_smirnov),
                ColumnMetric("decimals", DECIMALS, lambda v: decimals(self._numbers(v)), total_variation),
            ]
        elif is_class(column):
            self.metrics = [
                ColumnMetric("distance", DISTANCE, lambda v: class_ids(column, v), total_variation)
            ]
        else:
            self.metrics = [] if alone else [ColumnMetric("KID", KID, lambda v: features_of(column, v), kid)]

    def results(self, values: Sequence[Any]) -> list[MetricResult]:
        """The metrics of a sample for each test row."""
        results = [
            self._result(metric.name, self._estimate(metric, values, "samples"), real, metric.note)
            for metric, real in zip(self.metrics, self._real, strict=True)
        ]
        if self.range:
            outside = (self._outside(values), self._outside(self.test))
            results.insert(1, self._result("out of range", *outside, OUT_OF_RANGE))
        return results

    def _result(self, metric: str, value: Estimate, real: Estimate, note: str) -> MetricResult:
        return MetricResult(f"{self.name}: {metric}", value, real, note=note, column=self.name)

    @cached_property
    def _real(self) -> list[Estimate]:
        return [self._estimate(metric, self.train_subset, "real") for metric in self.metrics]

    @cached_property
    def _test_features(self) -> dict[str, np.ndarray]:
        return {metric.name: metric.features(self.test) for metric in self.metrics}

    def _estimate(self, metric: ColumnMetric, values: Sequence[Any], what: str) -> Estimate:
        rng = self.reference.rng(self.name, metric.name, what)
        features, real = metric.features(values), self._test_features[metric.name]
        if not (len(features) and len(real)):  # all values are missing
            return Estimate(float(len(features) != len(real)), n=len(values))
        complete = len(features) == len(values) and len(real) == len(self.test)
        paired = self.reference.paired and what == "samples" and complete
        return metric.distance(features, real, rng=rng, paired=paired)

    def _numbers(self, values: Sequence[Any]) -> np.ndarray:
        """The numbers of the values that are not missing."""
        present = [value for value in values if value is not None]
        numbers = numbers_of(self.reference.table.columns[self.name], present)
        assert numbers is not None
        return numbers

    def _outside(self, values: Sequence[Any]) -> Estimate:
        assert self.range is not None
        low, high = self.range
        numbers = self._numbers(values)
        return share((numbers < low) | (numbers > high)) if len(numbers) else Estimate(0.0)


def decimals(numbers: np.ndarray) -> np.ndarray:
    """The number of decimals of each number as it is written, (N,) int; of multiples of 10, 100, ... -1, -2, ...

    >>> decimals(np.array([0.25, 3.0, 0.1 + 0.2, 1200.0, 0.0]))
    array([ 2,  0, 17, -2,  0])
    """
    exponents = (Decimal(repr(float(v))).normalize().as_tuple().exponent for v in numbers)
    return np.array([-int(e) for e in exponents])
