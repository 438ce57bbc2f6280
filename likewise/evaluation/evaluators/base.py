"""MetricGroup: the metrics of some columns, whose real rows are prepared once; and metrics of copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate
from likewise.evaluation.metrics.memorization import copies
from likewise.evaluation.reference import FeatureSpace
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row


class MetricGroup(Protocol):
    """One for each thing that is looked at."""

    notes: list[str]
    real: np.ndarray  # features of the rows held out, in which samples may be held against each other

    def features(self, drawn: Sequence[Row]) -> np.ndarray:
        """The same of samples, (N * draws, F)."""

    def results(self, drawn: Sequence[Row]) -> list[MetricResult]:
        """What it says of samples, `draws` for each row held out, one after the other."""


def copy_metrics(
    space: FeatureSpace, x: np.ndarray, name: str, heads: bool, distance: tuple[float, str]
) -> list[MetricResult]:
    """Whether samples x (N, F) are training rows: nearer than `distance`, which is said in words too."""
    exact, within = distance
    found = copies(
        x,
        space.train,
        space.test,
        rng=space.reference.rng("copies"),
        paired=space.reference.paired,
        exact=exact,
    )
    n = len(space.test)
    heads = heads and found.exact_real.value < 0.5  # else there is hardly room for new rows
    return [
        MetricResult(
            f"{name}: distance to train",
            found.ratio,
            Estimate(1.0, n=n),
            better="as real",
            note="of samples to the nearest training row, median, over the same of real rows",
        ),
        MetricResult(
            f"{name}: closer than 1 %",
            found.closer,
            Estimate(0.01, n=n),
            better="as real",
            note="share of samples closer to a training row than 99 % of real rows are",
        ),
        MetricResult(
            f"{name}: copies",
            found.exact,
            found.exact_real,
            better="as real",
            heading="copies" * heads,
            note=f"share {within}",
        ),
        MetricResult(
            f"{name}: closer to train than test",
            found.nearer,
            chance=0.5,
            better="lower",
            note="share of samples closer to training rows than to as many held-out ones",
        ),
    ]
