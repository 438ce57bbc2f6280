"""Intervals of the standard normal distribution, precise in both tails."""

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri


def log_mass(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """log of the mass of intervals [low, high], (N,) float64.

    >>> bool(abs(np.exp(log_mass(np.array([-1.0]), np.array([1.0])))[0] - 0.6827) < 1e-4)
    True
    """
    low, high, _ = _to_lower_tail(low, high)
    a, b = log_ndtr(low), log_ndtr(high)
    return b + np.log(-np.expm1(np.minimum(a - b, -1e-300)))


def middle(low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
    """The number that halves the mass of [low, high]."""
    return quantile(low, high, 0.5)


def quantile(low: np.ndarray | float, high: np.ndarray | float, share: np.ndarray | float) -> np.ndarray:
    """The number below which this share of the mass of [low, high] lies."""
    a, b, flip = _to_lower_tail(low, high)
    share = np.where(flip, 1 - np.asarray(share), share)
    z = ndtri(ndtr(a) + (ndtr(b) - ndtr(a)) * share)
    z = np.where(np.isfinite(z), z, (a + b) / 2)
    return np.where(flip, -z, z)


def _to_lower_tail(
    low: np.ndarray | float, high: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intervals mirrored to where masses are precise, below 0, and which of them were."""
    low, high = np.asarray(low), np.asarray(high)
    flip = low + high > 0
    return np.where(flip, -high, low), np.where(flip, -low, high), flip
