"""Ground: the real rows that samples are held against, in feature spaces where every metric has its floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from likewise.core.formula import Formula, distinct_columns
from likewise.core.rng import seed_of
from likewise.data.table import Table
from likewise.evaluation.features.reduce import Reduced
from likewise.evaluation.metrics.c2st import c2st
from likewise.evaluation.metrics.density_coverage import density_coverage, radii
from likewise.evaluation.metrics.estimate import Estimate
from likewise.evaluation.metrics.frechet import fd_infinity
from likewise.evaluation.metrics.kid import kid
from likewise.evaluation.report import MetricResult
from likewise.modalities.latent import base_of

REFERENCE_ROWS = 20_000  # training rows, at most, that samples are held against
REFERENCE_BYTES = 2**29  # of their encoded images, at most


@dataclass(frozen=True)
class ReferenceSet:
    """Which rows of a table samples are held against.

    rows       of table.test, whose sources are drawn for
    reference  rows of table.train
    draws      samples for each of `rows`
    """

    table: Table
    formula: Formula
    rows: np.ndarray
    reference: np.ndarray
    draws: int
    seed: int

    @classmethod
    def choose(cls, table: Table, formula: Formula, n: int, draws: int, seed: int) -> ReferenceSet:
        """At random: at most n held-out rows, and as many training rows as there is room for."""
        rows = np.sort(rng_of("rows", seed).permutation(len(table.test))[:n])
        specs = (table.columns[name].spec for name in formula.columns)
        most = min(REFERENCE_BYTES // (4 * spec.tokens * spec.width) for spec in specs)
        kept = rng_of("reference", seed).permutation(len(table.train))[: max(2, min(REFERENCE_ROWS, most))]
        return cls(table, formula, rows, np.sort(kept), draws, seed)

    @property
    def targets(self) -> list[str]:
        return self.formula.target_names

    @property
    def sources(self) -> list[str]:
        return self.formula.source_names

    @property
    def columns(self) -> list[str]:
        """Targets, and sources that are not the same values once more, seen otherwise."""
        return [*self.targets, *distinct_columns(self.sources)]

    @property
    def paired(self) -> bool:
        """Whether sample i was drawn for the sources of row i."""
        return bool(self.formula.sources)

    def test_values(self, column: str) -> list[Any]:
        """The values of `rows`."""
        values = self.table.test.column(column)
        return [values[int(i)] for i in self.rows]

    def train_values(self, column: str) -> list[Any]:
        """The values of `reference`."""
        values = self.table.train.column(column)
        return [values[int(i)] for i in self.reference]

    def rng(self, *key: int | str) -> np.random.Generator:
        return rng_of(*key, self.seed)


class FeatureSpace:
    """Real rows in a feature space, and the metrics of samples there: each is (of samples, of real rows).

    In the place of the samples stand as many training rows, or, where samples are held against training rows,
    the held-out ones.
    """

    def __init__(self, name: str, ground: ReferenceSet, train: np.ndarray, test: np.ndarray) -> None:
        """`name` seeds the judges; features (M, F) of the reference and (N, F) of the rows held out."""
        self.name, self.reference, self.train, self.test = name, ground, train, test
        self.others = train[self._rng("others").permutation(len(train))[: len(test)]]
        self._c2st: Estimate | None = None

    def kid(self, x: np.ndarray) -> tuple[Estimate, Estimate]:
        """Against held-out rows."""
        return kid(x, self.test, rng=self._rng(), paired=self.reference.paired), self._kid

    def fd_infinity(self, x: np.ndarray) -> tuple[Estimate, Estimate]:
        """Against training rows, of which there are more, and none of which a sample was drawn for."""
        return fd_infinity(self.reduced(x), self.reduced(self.train), rng=self._rng("fd")), self._fd

    def c2st(self, x: np.ndarray, reduce: bool = True) -> tuple[Estimate, Estimate]:
        """Against held-out rows, on the reduced features or on all."""

        def to(v: np.ndarray) -> np.ndarray:
            return self.reduced(v) if reduce else v

        if self._c2st is None:
            self._c2st = c2st(to(self.others), to(self.test), rng=self._rng("c2st", "floor"))
        return c2st(to(x), to(self.test), rng=self._rng("c2st"), paired=self.reference.paired), self._c2st

    def density_coverage(self, x: np.ndarray) -> tuple[tuple[Estimate, Estimate], tuple[Estimate, Estimate]]:
        """Against held-out rows."""
        found = density_coverage(x, self.test, rng=self._rng("balls"), paired=self.reference.paired)
        return found, self._balls

    @cached_property
    def reduced(self) -> Reduced:
        """The map to at most 64 dimensions, of which the smallest part in `fd_infinity` has two rows each."""
        return Reduced(self.train, min(64, max(2, len(self.test) // 8)))

    @cached_property
    def has_balls(self) -> bool:
        """Whether most held-out rows are no twins of others, so that the balls around them are no points."""
        return float(np.median(radii(self.test, min(5, len(self.test) - 1)))) > 0

    @cached_property
    def _kid(self) -> Estimate:
        return kid(self.others, self.test, rng=self._rng("floor"))

    @cached_property
    def _fd(self) -> Estimate:
        return fd_infinity(self.reduced(self.test), self.reduced(self.train), rng=self._rng("fd", "floor"))

    @cached_property
    def _balls(self) -> tuple[Estimate, Estimate]:
        return density_coverage(self.others, self.test, rng=self._rng("balls", "floor"))

    def _rng(self, *key: str) -> np.random.Generator:
        return self.reference.rng(self.name, *key)


def pair(space: FeatureSpace, x: np.ndarray, name: str, heads: bool) -> list[MetricResult]:
    """Density and coverage as lines."""
    (density, coverage), (real_density, real_coverage) = space.density_coverage(x)
    return [
        MetricResult(
            f"{name}: density",
            density,
            real_density,
            better="higher",
            heading="density" * heads,
            note="how many of the real rows' neighbourhoods a sample lies in, over 5: fidelity",
        ),
        MetricResult(
            f"{name}: coverage",
            coverage,
            real_coverage,
            better="higher",
            heading="coverage" * heads,
            note="share of the real rows' neighbourhoods with a sample in them: diversity",
        ),
    ]


def measured(space: FeatureSpace, x: np.ndarray, name: str, suffix: str, heads: bool) -> list[MetricResult]:
    """KID and FD-infinity as lines."""
    found: list[tuple[str, str, Callable[[np.ndarray], tuple[Estimate, Estimate]]]] = [
        ("KID", "KID", space.kid),
        ("FD-infinity", "FD∞", space.fd_infinity),
    ]
    lines = []
    for long, head, metric in found:
        value, real = metric(x)
        lines.append(
            MetricResult(
                f"{name}: {long}{suffix}",
                value,
                real,
                heading=f"{head}{suffix.replace(' of ', ' ').replace('_', ' ')}" if heads else "",
            )
        )
    return lines


def rng_of(*key: int | str) -> np.random.Generator:
    return np.random.default_rng(seed_of("evaluate", *key))


def pictures_of(table: Table, column: str, values: Sequence[Any]) -> np.ndarray:
    """Pictures as the model sees them, of codes as their coder does: (N, H, W, C) in [-1, 1]."""
    modality = base_of(table.columns[column])
    return modality.encode_all(values).unflatten(1, modality.spec.grid).numpy()
