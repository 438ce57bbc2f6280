"""ReferenceSet and FeatureSpace: the real rows that samples are compared with, and their features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from likewise.core.formula import Formula, distinct_columns
from likewise.core.rng import seed_of
from likewise.data.table import Table
from likewise.evaluation.features.reduce import Reduced
from likewise.evaluation.metrics.c2st import c2st
from likewise.evaluation.metrics.density_coverage import density_coverage, radii
from likewise.evaluation.metrics.estimate import Estimate
from likewise.evaluation.metrics.frechet import fd_infinity
from likewise.evaluation.metrics.kid import kid
from likewise.modalities.base import Modality
from likewise.modalities.latent import base_of

MAX_TRAIN_ROWS = 20_000  # training rows that samples are compared with
MAX_TRAIN_BYTES = 2**29  # of one of their columns, encoded

ValueAndReference = tuple[Estimate, Estimate]  # a metric of samples, and of real rows in their place


@dataclass(frozen=True)
class ReferenceSet:
    """The real rows of a table that samples are compared with.

    test_indices   rows of table.test, whose sources condition the samples
    train_indices  rows of table.train
    draws          samples for each test row
    """

    table: Table
    formula: Formula
    test_indices: np.ndarray
    train_indices: np.ndarray
    draws: int
    seed: int

    @classmethod
    def choose(cls, table: Table, formula: Formula, n: int, draws: int, seed: int) -> ReferenceSet:
        """At random: at most n held-out rows, and as many training rows as fit in the limits of memory."""
        test = np.sort(rng_of("rows", seed).permutation(len(table.test))[:n])
        specs = (table.columns[name].spec for name in formula.columns)
        room = min(MAX_TRAIN_BYTES // (4 * spec.tokens * spec.width) for spec in specs)
        train = rng_of("reference", seed).permutation(len(table.train))[: max(2, min(MAX_TRAIN_ROWS, room))]
        return cls(table, formula, test, np.sort(train), draws, seed)

    @property
    def targets(self) -> list[str]:
        return self.formula.target_names

    @property
    def sources(self) -> list[str]:
        return self.formula.source_names

    @property
    def columns(self) -> list[str]:
        """Targets, and one source of each group of views of the same values."""
        return [*self.targets, *distinct_columns(self.formula.sources)]

    @property
    def paired(self) -> bool:
        """Whether sample i is conditioned on the sources of test row i."""
        return bool(self.formula.sources)

    def test_values(self, column: str) -> list[Any]:
        """The values of the test rows."""
        return self._values(column, self.table.test, self.test_indices)

    def train_values(self, column: str) -> list[Any]:
        """The values of the training rows."""
        return self._values(column, self.table.train, self.train_indices)

    def _values(self, column: str, rows: Table, indices: np.ndarray) -> list[Any]:
        """The values of some rows; small ones are read once."""
        key = column, rows is self.table.test
        if key in self._read:
            return self._read[key]
        values = rows.column(column)
        chosen = [values[int(i)] for i in indices]
        if not base_of(self.table.columns[column]).lazy:
            self._read[key] = chosen
        return chosen

    @cached_property
    def _read(self) -> dict[tuple[str, bool], list[Any]]:
        return {}

    def rng(self, *key: int | str) -> np.random.Generator:
        return rng_of(*key, self.seed)


class FeatureSpace:
    """Features of real rows, and metrics of samples: each returns those of samples and of real rows.

    For the real-data reference as many training rows take the place of the samples; where samples are
    compared with training rows, the test rows do.
    """

    def __init__(self, name: str, reference: ReferenceSet, train: np.ndarray, test: np.ndarray) -> None:
        """`name` seeds the metrics; features (M, F) of the training rows and (N, F) of the test rows."""
        self.name, self.reference, self.train, self.test = name, reference, train, test
        self.train_subset = train[self._rng("others").permutation(len(train))[: len(test)]]

    def kid(self, x: np.ndarray) -> ValueAndReference:
        """Against test rows."""
        return kid(x, self.test, rng=self._rng(), paired=self.reference.paired), self._kid

    def fd_infinity(self, x: np.ndarray) -> ValueAndReference:
        """Against training rows: there are more, and samples are not conditioned on their sources."""
        return fd_infinity(self.reduced(x), self.reduced(self.train), rng=self._rng("fd")), self._fd

    def c2st(self, x: np.ndarray) -> ValueAndReference:
        """Against test rows, on reduced features."""
        test = self.reduced(self.test)
        return c2st(self.reduced(x), test, rng=self._rng("c2st"), paired=self.reference.paired), self._c2st

    def density_coverage(self, x: np.ndarray) -> tuple[ValueAndReference, ValueAndReference]:
        """Density and coverage, against test rows."""
        density, coverage = density_coverage(
            x, self.test, rng=self._rng("balls"), paired=self.reference.paired
        )
        real_density, real_coverage = self._density_coverage
        return (density, real_density), (coverage, real_coverage)

    @cached_property
    def reduced(self) -> Reduced:
        """The map to at most `max_features`."""
        return Reduced(self.train, self.max_features)

    @property
    def max_features(self) -> int:
        """64 at most, fewer than half the smallest subset of `fd_infinity`."""
        return min(64, max(2, len(self.test) // 8))

    @cached_property
    def has_neighbourhoods(self) -> bool:
        """Whether most test rows have no duplicates, so that the balls around them have a positive radius."""
        return float(np.median(radii(self.test, min(5, len(self.test) - 1)))) > 0

    @cached_property
    def _kid(self) -> Estimate:
        return kid(self.train_subset, self.test, rng=self._rng("floor"))

    @cached_property
    def _fd(self) -> Estimate:
        return fd_infinity(self.reduced(self.test), self.reduced(self.train), rng=self._rng("fd", "floor"))

    @cached_property
    def _c2st(self) -> Estimate:
        return c2st(self.reduced(self.train_subset), self.reduced(self.test), rng=self._rng("c2st", "floor"))

    @cached_property
    def _density_coverage(self) -> tuple[Estimate, Estimate]:
        return density_coverage(self.train_subset, self.test, rng=self._rng("balls", "floor"))

    def _rng(self, *key: str) -> np.random.Generator:
        return self.reference.rng(self.name, *key)


def rng_of(*key: int | str) -> np.random.Generator:
    return np.random.default_rng(seed_of("evaluate", *key))


def encode_images(table: Table, column: str, values: Sequence[Any]) -> np.ndarray:
    """Images at the size of a column, or of the column under its codes: (N, H, W, C) in [-1, 1]."""
    modality = base_of(table.columns[column])
    return modality.encode_all(values).unflatten(1, modality.spec.grid).numpy()


def is_class(column: Modality) -> bool:
    """Whether a value is one of a fixed set of classes."""
    spec = base_of(column).spec
    return spec.categorical and spec.tokens == 1


def class_ids(column: Modality, values: Sequence[Any]) -> np.ndarray:
    """Values of a column of classes -> their ids, (N,) int."""
    base = base_of(column)
    ids = {key: int(base.encode(key[1])) for key in {(type(value), value) for value in values}}
    return np.array([ids[type(value), value] for value in values], dtype=np.int64)


def class_names(column: Modality) -> list[Any]:
    """The values of a column of classes, in the order of their ids."""
    base = base_of(column)
    return [base.decode(torch.tensor([i])) for i in range(base.spec.classes or 0)]
