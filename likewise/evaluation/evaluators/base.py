"""MetricGroup, the metrics of some columns, and the results that groups share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate
from likewise.evaluation.metrics.memorization import copies
from likewise.evaluation.reference import FeatureSpace, ValueAndReference
from likewise.evaluation.report import MetricResult
from likewise.modalities.base import Row

MAX_NAMES = 10  # columns in the name of a metric


class MetricGroup(Protocol):
    """The metrics of some columns, prepared once on real rows for any number of models."""

    notes: list[str]

    @property
    def real(self) -> np.ndarray:
        """Features of the test rows, (N, F)."""

    def features(self, samples: Sequence[Row]) -> np.ndarray:
        """The same features of samples, (N * draws, F)."""

    def results(self, samples: Sequence[Row]) -> list[MetricResult]:
        """The metrics of samples: `draws` for each test row, those of one row in succession."""


def name_columns(columns: Sequence[str]) -> str:
    """The names of columns in the name of a metric.

    >>> name_columns(["a", "b"]), name_columns([f"x{i}" for i in range(300)])
    ('a, b', 'x0, x1, ... (300 columns)')
    """
    if len(columns) <= MAX_NAMES:
        return ", ".join(columns)
    return f"{columns[0]}, {columns[1]}, ... ({len(columns)} columns)"


def distance_results(
    space: FeatureSpace, x: np.ndarray, name: str, headings: bool, suffix: str = ""
) -> list[MetricResult]:
    """KID and FD-infinity of samples x (N, F)."""
    short_suffix = suffix.replace(" of ", " ").replace("_", " ")
    return [
        MetricResult(f"{name}: {metric}{suffix}", value, real, heading=f"{short}{short_suffix}" * headings)
        for metric, short, (value, real) in (
            ("KID", "KID", space.kid(x)),
            ("FD-infinity", "FD∞", space.fd_infinity(x)),
        )
    ]


def density_coverage_results(
    space: FeatureSpace, x: np.ndarray, name: str, headings: bool
) -> list[MetricResult]:
    """Density and coverage of samples x (N, F)."""
    notes = {
        "density": "the number of neighbourhoods of real rows that a sample lies in, over 5: fidelity",
        "coverage": "the share of neighbourhoods of real rows with a sample in them: diversity",
    }
    return [
        MetricResult(
            f"{name}: {metric}", value, real, better="higher", heading=metric * headings, note=notes[metric]
        )
        for metric, (value, real) in zip(notes, space.density_coverage(x), strict=True)
    ]


def c2st_result(
    estimates: ValueAndReference,
    name: str,
    heading: bool,
    what: str = "a sample from a real row",
    worst: str = "",
) -> MetricResult:
    """The classifier two-sample test, and the columns by which samples are told."""
    value, real = estimates
    return MetricResult(
        f"{name}: C2ST",
        value,
        real,
        chance=0.5,
        heading="C2ST" * heading,
        note=f"how often boosted trees tell {what}",
        worst=worst,
    )


def copy_results(
    space: FeatureSpace, x: np.ndarray, name: str, headings: bool, threshold: tuple[float, str]
) -> list[MetricResult]:
    """Memorization in samples x (N, F); `threshold` is the largest distance of a copy, and its description."""
    distance, description = threshold
    result = copies(
        x,
        space.train,
        space.test,
        rng=space.reference.rng("copies"),
        paired=space.reference.paired,
        exact=distance,
    )
    n = len(space.test)
    headings = headings and result.exact_real.value < 0.5  # else hardly any new row is possible
    return [
        MetricResult(
            f"{name}: distance to train",
            result.ratio,
            Estimate(1.0, n=n),
            better="as real",
            note="of samples to the nearest training row, median, over that of held-out rows",
        ),
        MetricResult(
            f"{name}: closer than 1 %",
            result.closer,
            Estimate(0.01, n=n),
            better="as real",
            note="share of samples closer to a training row than 99 % of held-out rows are",
        ),
        MetricResult(
            f"{name}: copies",
            result.exact,
            result.exact_real,
            better="as real",
            heading="copies" * headings,
            note=f"share {description}",
        ),
        MetricResult(
            f"{name}: closer to train than test",
            result.nearer,
            chance=0.5,
            better="lower",
            note="share of samples closer to training rows than to as many held-out ones",
        ),
    ]
