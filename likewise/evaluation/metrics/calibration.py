"""Calibration: does a classifier know how sure it may be?

Functions of log-probabilities (N, K) and true classes (N,).
"""

from __future__ import annotations

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate

BINS = 15


def log_loss(logs: np.ndarray, truth: np.ndarray) -> float:
    """The mean of -log P(true class), nats.

    >>> round(log_loss(np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1])), 4)      # -ln(0.5 x 0.75) / 2
    0.4904
    """
    return -float(logs[np.arange(len(truth)), truth].mean())


def reliability(logs: np.ndarray, truth: np.ndarray, bins: int = BINS) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and number of rows in each bin of equally many rows, least confident first.

    The confidence is the probability of the class that is taken; equal bins as in Nguyen and O'Connor (2015).
    """
    confidence, right = _taken(logs, truth)
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(truth)))
    return [(float(confidence[part].mean()), float(right[part].mean()), len(part)) for part in parts]


def ece(logs: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: the mean of |accuracy - confidence| over those bins (Naeini et al., 2015).

    Noise alone makes it positive on few rows: hold it against `ece_floor`.
    """
    return _gap(*_taken(logs, truth), bins)


def ece_estimate(
    logs: np.ndarray, truth: np.ndarray, *, rng: np.random.Generator, bins: int = BINS, repeats: int = 500
) -> Estimate:
    """`ece` with its bootstrap interval.

    Rows that come twice make bins noisier, so that redrawn values lie above: they are moved back onto it.
    """
    confidence, right = _taken(logs, truth)
    value, n = _gap(confidence, right, bins), len(truth)
    drawn = [_gap(confidence[i], right[i], bins) for i in (rng.integers(n, size=n) for _ in range(repeats))]
    low, high = np.quantile(drawn, [0.025, 0.975]) - np.mean(drawn) + value
    return Estimate(value, max(0.0, float(low)), float(high), n)


def ece_floor(logs: np.ndarray, *, rng: np.random.Generator, bins: int = BINS, repeats: int = 200) -> float:
    """The mean `ece` of as many rows whose classes are drawn from these very probabilities."""
    confidence = np.exp(logs.max(1))
    drawn = (rng.random(len(logs)) < confidence for _ in range(repeats))
    return float(np.mean([_gap(confidence, right, bins) for right in drawn]))


def _taken(logs: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probability of the likeliest class, (N,), and whether it is the true one, (N,) bool."""
    return np.exp(logs.max(1)), logs.argmax(1) == truth


def _gap(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    order = np.argsort(confidence, kind="stable")
    gaps = (right[order] - confidence[order]).astype(np.float64)
    starts = [part[0] for part in np.array_split(np.arange(len(gaps)), min(bins, len(gaps)))]
    return float(np.abs(np.add.reduceat(gaps, starts)).sum() / len(gaps))
