"""Calibration of a classifier: functions of log-probabilities (N, K) and true classes (N,)."""

from __future__ import annotations

import numpy as np

from likewise.evaluation.metrics.estimate import Estimate

BINS = 15


def log_loss(log_probs: np.ndarray, truth: np.ndarray) -> float:
    """The mean of -log P(true class), nats.

    >>> round(log_loss(np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1])), 4)      # -ln(0.5 x 0.75) / 2
    0.4904
    """
    return -float(log_probs[np.arange(len(truth)), truth].mean())


def reliability(log_probs: np.ndarray, truth: np.ndarray, bins: int = BINS) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and number of rows of each bin, in order of confidence.

    Confidence is the probability of the predicted class; bins have equally many rows (Nguyen and O'Connor, 2015).
    """
    confidence, correct = _predictions(log_probs, truth)
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(truth)))
    return [(float(confidence[part].mean()), float(correct[part].mean()), len(part)) for part in parts]


def ece(log_probs: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: the mean of |accuracy - confidence| over those bins (Naeini et al., 2015).

    It is biased upwards on few rows: compare it with `ece_reference`.
    """
    return _calibration_gap(*_predictions(log_probs, truth), bins)


def ece_estimate(
    log_probs: np.ndarray,
    truth: np.ndarray,
    *,
    rng: np.random.Generator,
    bins: int = BINS,
    repeats: int = 500,
) -> Estimate:
    """`ece` with its bootstrap interval.

    Repeated rows make bins noisier and bias resampled values upwards, so the interval is centred on `ece`.
    """
    confidence, correct = _predictions(log_probs, truth)
    value, n = _calibration_gap(confidence, correct, bins), len(truth)
    resamples = (rng.integers(n, size=n) for _ in range(repeats))
    values = [_calibration_gap(confidence[i], correct[i], bins) for i in resamples]
    low, high = np.quantile(values, [0.025, 0.975]) - np.mean(values) + value
    return Estimate(value, max(0.0, float(low)), float(high), n)


def ece_reference(
    log_probs: np.ndarray, *, rng: np.random.Generator, bins: int = BINS, repeats: int = 200
) -> float:
    """The mean `ece` of a perfectly calibrated classifier: classes are sampled from these probabilities."""
    confidence = np.exp(log_probs.max(1))
    outcomes = (rng.random(len(log_probs)) < confidence for _ in range(repeats))
    return float(np.mean([_calibration_gap(confidence, correct, bins) for correct in outcomes]))


def _predictions(log_probs: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The probability of the most likely class, (N,), and whether it is the true one, (N,) bool."""
    return np.exp(log_probs.max(1)), log_probs.argmax(1) == truth


def _calibration_gap(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    order = np.argsort(confidence, kind="stable")
    gaps = (correct[order] - confidence[order]).astype(np.float64)
    starts = [part[0] for part in np.array_split(np.arange(len(gaps)), min(bins, len(gaps)))]
    return float(np.abs(np.add.reduceat(gaps, starts)).sum() / len(gaps))
