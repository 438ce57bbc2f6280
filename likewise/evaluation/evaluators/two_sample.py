"""TwoSampleTest: C2ST of the rows of some columns, in which a classifier sees every column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from likewise.evaluation.features.reduce import Reduced
from likewise.evaluation.features.values import features_of, numbers_of
from likewise.evaluation.metrics.c2st import c2st, c2st_by_column
from likewise.evaluation.metrics.estimate import Estimate
from likewise.evaluation.reference import ReferenceSet, ValueAndReference, class_ids, is_class
from likewise.modalities.base import Row

MAX_COLUMNS = 100  # of more, none is named
MAX_WORST, LEAST = 3, 0.02  # columns that are named, and the importance of one


class TwoSampleTest:
    """C2ST against test rows.

    Numbers and classes are features as they are, so that no other column outweighs them. Another column has
    features of its own, reduced to at most `size`. Those of a missing value are NaN.
    """

    def __init__(self, reference: ReferenceSet, columns: Sequence[str], name: str, size: int) -> None:
        """`name` seeds the test."""
        self.reference, self.name = reference, name
        self.columns = {c: reference.table.columns[c] for c in columns}
        train = {c: reference.train_values(c) for c in columns}
        self.reduced = {c: self._reduce(c, values, size) for c, values in train.items()}
        sizes = [1 if r is None else r.size for r in self.reduced.values()]
        self.categorical = np.repeat([is_class(column) for column in self.columns.values()], sizes)
        self.column_of = np.repeat(range(len(sizes)), sizes) if 1 < len(sizes) <= MAX_COLUMNS else None
        self.test = self._join({c: reference.test_values(c) for c in columns})
        rows = self._rng("others").permutation(len(reference.train_indices))[: len(self.test)]
        self.train_subset = self._join({c: [values[i] for i in rows] for c, values in train.items()})

    def features(self, samples: Sequence[Row]) -> np.ndarray:
        """The features of rows, (N, F) float64."""
        return self._join({c: [row[c] for row in samples] for c in self.columns})

    def __call__(self, samples: Sequence[Row]) -> ValueAndReference:
        """Of a sample for each test row, and of training rows in their place."""
        return self.with_worst(samples)[0]

    def with_worst(self, samples: Sequence[Row]) -> tuple[ValueAndReference, str]:
        """The same, and the columns by which samples are told, "" if they are not told."""
        value, importance = c2st_by_column(
            self.features(samples),
            self.test,
            rng=self._rng("c2st"),
            columns=self.column_of,
            paired=self.reference.paired,
            categorical=self.categorical,
        )
        told = value.low is not None and value.low > 0.5
        worst = [k for k in np.argsort(-importance)[:MAX_WORST] if told and importance[k] > LEAST]
        return (value, self._real), ", ".join(list(self.columns)[k] for k in worst)

    @cached_property
    def _real(self) -> Estimate:
        rng = self._rng("c2st", "floor")
        return c2st(self.train_subset, self.test, rng=rng, categorical=self.categorical)

    def _reduce(self, name: str, train: Sequence[Any], size: int) -> Reduced | None:
        """The reduction of the features of a column; None for numbers and classes."""
        column = self.columns[name]
        if is_class(column) or numbers_of(column, []) is not None:
            return None
        return Reduced(features_of(column, [v for v in train if v is not None]), size)

    def _join(self, values: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """The features of all columns, (N, F) float64."""
        parts = []
        for name, column in values.items():
            present = np.array([v is not None for v in column])
            reduced = self.reduced[name]
            part = np.full((len(column), 1 if reduced is None else reduced.size), np.nan)
            if present.any():
                part[present] = self._features(name, [v for v in column if v is not None], reduced)
            parts.append(part)
        return np.concatenate(parts, 1)

    def _features(self, name: str, values: Sequence[Any], reduced: Reduced | None) -> np.ndarray:
        column = self.columns[name]
        if reduced is not None:
            return reduced(features_of(column, values))
        numbers = numbers_of(column, values)
        return (class_ids(column, values) if numbers is None else numbers)[:, None]

    def _rng(self, *key: str) -> np.random.Generator:
        return self.reference.rng(self.name, *key)
