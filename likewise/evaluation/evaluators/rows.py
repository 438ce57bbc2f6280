"""RowMetrics: what rows of several numbers and classes can be asked beside a two-sample test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from likewise.evaluation.evaluators.base import name_columns
from likewise.evaluation.features.cells import Cells
from likewise.evaluation.metrics.estimate import Estimate, share
from likewise.evaluation.metrics.missing_share import missing_share
from likewise.evaluation.metrics.neighbours import Neighbours, nearer
from likewise.evaluation.metrics.pair_variation import pair_variation
from likewise.evaluation.reference import ReferenceSet
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row

MIN_ROWS = 100  # of training and of held-out rows: of fewer the interval of DCR would be wider than 0.2
MAX_PAIRS = 1_000  # of columns, evenly spaced among all
DCR = "share of samples nearer to a training row than to a held-out one, as many of each: ranks of numbers, classes 0 or 1"
FAULTS = {
    "out_of_range": ("out of range", "share of numbers outside of the range of the training rows"),
    "extra_decimals": ("more decimals", "share of numbers with more decimals than training rows have"),
    "unseen": ("unseen classes", "share of classes that no training row has"),
}


class RowMetrics:
    """DCR, exact copies, faults of cells, missing shares and pairs, of targets and sources that are numbers or classes."""

    def __init__(self, reference: ReferenceSet, targets: Sequence[str], sources: Sequence[str]) -> None:
        """Of columns that have cells, see `has_cells`."""
        self.reference, self.name, self.targets = reference, name_columns(targets), list(targets)
        names = [*targets, *sources]
        self.cells = Cells.fit(reference.table.columns, {c: reference.train_values(c) for c in names})
        self.train = self.cells.read({c: reference.train_values(c) for c in names})
        self.test = self.cells.read({c: reference.test_values(c) for c in names})
        order = self._rng("others").permutation(len(self.train))
        n = min(len(self.train), len(self.test))
        self.train_subset, self.others = self.train[order[:n]], self.train[order[n : 2 * n]]
        self.notes = list(self._notes())

    @property
    def real(self) -> np.ndarray:
        return self.test

    def features(self, samples: Sequence[Row]) -> np.ndarray:
        return self.cells.read({c: [row[c] for row in samples] for c in self.cells.names})

    def results(self, samples: Sequence[Row]) -> list[MetricResult]:
        x = self.features(samples[:: self.reference.draws])
        return [*self._closeness(x), *self._faults(x), *self._missing(x), *self._pairs(x)]

    def _notes(self) -> Iterator[str]:
        if not self.can_compare_distances:
            yield (
                f"{self.name}: DCR is not measured, as it needs at least {MIN_ROWS} training rows and as many held-out "
                f"ones; there are {len(self.train):,} and {len(self.test):,}"
            )
        if len(self.train) < len(self.reference.table.train):
            yield (
                f"{self.name}: copies are those of {len(self.train):,} of the {len(self.reference.table.train):,} "
                "training rows"
            )
        if len(self._all_pairs) > MAX_PAIRS:
            yield f"{self.name}: {MAX_PAIRS:,} of the {len(self._all_pairs):,} pairs of columns are compared"

    # ---- memorization

    @property
    def can_compare_distances(self) -> bool:
        """Whether there are rows enough for DCR."""
        return min(len(self.train), len(self.test)) >= MIN_ROWS

    def _closeness(self, x: np.ndarray) -> list[MetricResult]:
        copied = self._targets.keys(x[:, : len(self.targets)])
        results = [
            MetricResult(
                f"{self.name}: copies",
                self._copies(copied),
                self._copies(self._targets.keys(self.test[:, : len(self.targets)])),
                better="as real",
                heading="copies",
                note="share of samples that are a training row; real rows: of held-out rows",
            )
        ]
        if self.can_compare_distances:
            value = self._nearer(x, paired=self.reference.paired, key="samples")
            dcr = MetricResult(
                f"{self.name}: DCR",
                value,
                self._real_dcr,
                chance=0.5,
                heading="DCR",
                note=DCR,
                warning=_warning(value),
            )
            results.insert(0, dcr)
        return results

    @cached_property
    def _targets(self) -> Cells:
        """The targets alone, as samples have the sources of held-out rows."""
        return Cells({name: self.cells.columns[name] for name in self.targets})

    @cached_property
    def _train_keys(self) -> set[bytes]:
        return set(self._targets.keys(self.train[:, : len(self.targets)]))

    def _copies(self, keys: Sequence[bytes]) -> Estimate:
        return share(np.array([key in self._train_keys for key in keys]))

    def _nearer(self, x: np.ndarray, *, paired: bool, key: str) -> Estimate:
        n, k = len(self.train_subset), len(self.targets)
        test, x = self.test[:n], x[:n] if paired else x
        to_train = Neighbours.find(self._targets.distances(x[:, :k], self.train_subset[:, :k]))
        to_test = Neighbours.find(self._targets.distances(x[:, :k], test[:, :k]), without_self=paired)
        return nearer(to_train, to_test, rng=self._rng("dcr", key))

    @cached_property
    def _real_dcr(self) -> Estimate | None:
        """Of other training rows, if there are enough."""
        return self._nearer(self.others, paired=False, key="floor") if len(self.others) >= MIN_ROWS else None

    # ---- cells

    def _faults(self, x: np.ndarray) -> Iterator[MetricResult]:
        """Of cells of the targets that training rows could not have."""
        k = len(self.targets)
        for method, (metric, note) in FAULTS.items():
            of_kind = self._targets.classes == (method == "unseen")
            if of_kind.any():
                bad, present = self._targets.each(method, x[:, :k]), ~np.isnan(x[:, :k])
                real, real_present = self._targets.each(method, self.test[:, :k]), ~np.isnan(self.test[:, :k])
                chosen, chosen_real = present & of_kind, real_present & of_kind
                if chosen.any() and chosen_real.any():
                    yield MetricResult(
                        f"{self.name}: {metric}",
                        share(bad[chosen]),
                        share(real[chosen_real]),
                        note=note,
                        worst=self._worst((bad & chosen).sum(0)),
                    )

    def _missing(self, x: np.ndarray) -> Iterator[MetricResult]:
        k = len(self.targets)
        train, test, samples = (np.isnan(cells[:, :k]) for cells in (self.train_subset, self.test, x))
        if not (train.any() or test.any() or samples.any()):
            return
        paired = self.reference.paired
        value, worst = missing_share(samples, test, rng=self._rng("missing", "samples"), paired=paired)
        real, _ = missing_share(train, test, rng=self._rng("missing", "floor"))
        yield MetricResult(
            f"{self.name}: missing",
            value,
            real,
            note="largest difference of the share of missing values of a column",
            worst=self.targets[worst],
        )

    def _worst(self, counts: np.ndarray) -> str:
        return self.targets[int(counts.argmax())] if counts.any() else ""

    # ---- pairs

    @cached_property
    def _all_pairs(self) -> list[tuple[int, int]]:
        """Of columns, one of which is a target."""
        pairs = itertools.combinations(range(len(self.cells.names)), 2)
        return [(i, j) for i, j in pairs if i < len(self.targets)]

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Those that are compared."""
        count = len(self._all_pairs)
        chosen = np.unique(np.linspace(0, count - 1, min(count, MAX_PAIRS)).astype(int))
        return [self._all_pairs[k] for k in chosen]

    def _pairs(self, x: np.ndarray) -> list[MetricResult]:
        paired = self.reference.paired
        bins = self.cells.each("bins", x)
        value, each = pair_variation(
            bins, self._test_bins, self.pairs, rng=self._rng("pairs", "samples"), paired=paired
        )
        i, j = self.pairs[int(each.argmax())]
        return [
            MetricResult(
                f"{self.name}: pairs",
                value,
                self._real_pairs,
                heading="pairs",
                note="total variation of pairs of columns, in ten bins or the most frequent classes of each: mean over pairs",
                worst=f"{self.cells.names[i]}, {self.cells.names[j]}",
            )
        ]

    @cached_property
    def _test_bins(self) -> np.ndarray:
        return self.cells.each("bins", self.test)

    @cached_property
    def _real_pairs(self) -> Estimate:
        bins = self.cells.each("bins", self.train_subset)
        return pair_variation(bins, self._test_bins, self.pairs, rng=self._rng("pairs", "floor"))[0]

    def _rng(self, *key: str) -> np.random.Generator:
        return self.reference.rng(self.name, "rows", *key)


def _warning(dcr: Estimate) -> str:
    """If the whole interval is above one half."""
    if dcr.low is None or dcr.low <= 0.5:
        return ""
    return (
        f"samples are nearer to training rows than to held-out ones: DCR {dcr}, where 0.5 is best; the model remembers "
        "rows of its training, so do not share its samples as if they were none of these: docs/privacy.md"
    )
