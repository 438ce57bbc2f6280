"""Mean and standard deviation of numbers, a few of which may be far from all others, or of any magnitude."""

from __future__ import annotations

import numpy as np

FAR = 10.0  # a value is usual if its distance to the median is at most so many times the scale of the values
RARE = 0.01  # of all values: where fewer differ from the median, their distances are no scale


def is_usual(values: np.ndarray) -> np.ndarray:
    """Whether each value (N,) lies within FAR scales of the median, (N,) bool; half of the values at least do.

    The scale is the larger of the interquartile range and the median distance to the median of the values that
    differ from it, so it is above 0 where many values are equal, such as zeros. If hardly any value differs,
    only the others are usual.
    """
    values = _scaled(values)[0]
    distances = np.abs(values - np.median(values))
    others = distances[distances > 0]
    if len(others) < RARE * len(values):
        return distances == 0
    lower, upper = np.quantile(values, [0.25, 0.75])
    return distances / FAR <= max(upper - lower, np.median(others))


def mean_and_std(usual: np.ndarray, others: np.ndarray, integer: bool) -> tuple[float, float]:
    """Of the usual values; what std is of a single value depends on the other values (M,), if there are any.

    It is 1 of integers, else the value's magnitude, at most 1, and of zeros the median magnitude of the others.
    """
    if usual.min() != usual.max():
        scaled, exponent = _scaled(usual)
        return float(np.ldexp(scaled.mean(), exponent)), float(np.ldexp(scaled.std(), exponent))
    value = float(usual[0])
    if integer:
        return value, 1.0
    return value, min(1.0, abs(value)) or (float(np.median(np.abs(others))) if len(others) else 1.0)


def _scaled(values: np.ndarray) -> tuple[np.ndarray, int]:
    """values / 2^k in [-1, 1], whose squares do not overflow, and k."""
    exponent = int(np.frexp(np.abs(values).max())[1])
    return np.ldexp(values, -exponent), exponent
