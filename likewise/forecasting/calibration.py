"""Spread of held-out forecasts, correlation of the steps of a horizon, and scores of quantiles."""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import toeplitz
from scipy.special import ndtri

from likewise.forecasting.quantiles import LEVELS, MIDDLE, pinball

TAUS = LEVELS.double().numpy()
NORMAL = ndtri(TAUS)
MIN_FACTOR, MAX_FACTOR = 0.5, 3.0
INTERVALS = {0.5: (4, 14), 0.9: (0, 18)}  # nominal coverage -> places of its quantiles


def spread_factors(quantiles: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Factors (19,) of the distances of quantiles (N, 19) from the median with which intervals of y (N,) cover as named.

    Their logarithm is linear in the level, fitted to the nine central intervals.
    """
    ok = ~np.isnan(y)
    q, y = quantiles[ok], y[ok]
    distance = y - q[:, MIDDLE]
    logs = []
    for j in range(MIDDLE):
        size = np.where(distance > 0, q[:, 18 - j] - q[:, MIDDLE], q[:, MIDDLE] - q[:, j])
        ratio = np.abs(distance) / np.maximum(size, 1e-9)
        logs.append(np.log(np.clip(np.quantile(ratio, TAUS[18 - j] - TAUS[j]), MIN_FACTOR, MAX_FACTOR)))
    line = np.polyfit(np.arange(MIDDLE), logs, 1)
    half = np.clip(np.exp(np.polyval(line, np.arange(MIDDLE))), MIN_FACTOR, MAX_FACTOR)
    return np.concatenate([half, [1.0], half[::-1]])


def scale_spread(quantiles: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Quantiles (..., 19) with distances from the median times `factors`, in order."""
    middle = quantiles[..., MIDDLE : MIDDLE + 1]
    return np.sort(middle + (quantiles - middle) * factors, -1)


def crps(quantiles: np.ndarray, y: np.ndarray) -> float:
    """Twice the mean pinball loss of 19 quantiles (..., 19) for values (...); nan are left out."""
    ok = ~np.isnan(y)
    return 2 * float(pinball(torch.from_numpy(quantiles[ok]), torch.from_numpy(y[ok])).mean())


def coverage(quantiles: np.ndarray, y: np.ndarray) -> dict[float, float]:
    """The share of values (...) within the central intervals of quantiles (..., 19): nominal -> share."""
    ok = ~np.isnan(y)
    q, y = quantiles[ok], y[ok]
    return {n: float(((y >= q[:, a]) & (y <= q[:, b])).mean()) for n, (a, b) in INTERVALS.items()}


def normal_scores(quantiles: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Phi^-1 of the place of each value (N, H) among its quantiles (N, H, 19), linear between and beyond them."""
    out = np.full(y.shape, np.nan)
    for index in zip(*np.where(~np.isnan(y)), strict=True):
        q = quantiles[index]
        j = int(np.clip(np.searchsorted(q, y[index]), 1, len(q) - 1))
        width = max(q[j] - q[j - 1], 1e-12)
        z = NORMAL[j - 1] + (NORMAL[j] - NORMAL[j - 1]) * (y[index] - q[j - 1]) / width
        out[index] = np.clip(z, -4, 4)
    return out


def lag_correlations(scores: np.ndarray) -> np.ndarray:
    """Correlations of scores (N, H) of steps 0, 1, ... H - 1 apart, (H,), of a matrix that is positive definite."""
    z = np.nan_to_num(scores)
    horizon = z.shape[1]
    products = np.array([(z[:, : horizon - k] * z[:, k:]).sum(1).mean() / horizon for k in range(horizon)])
    return products / max(products[0], 1e-9)


def sample_paths(
    quantiles: np.ndarray, correlations: np.ndarray, draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Joint paths (draws, H) of quantiles (H, 19): a Gaussian copula with these correlations of lags."""
    horizon = len(quantiles)
    matrix = toeplitz(correlations[:horizon]) + 1e-6 * np.eye(horizon)
    z = rng.standard_normal((draws, horizon)) @ np.linalg.cholesky(matrix).T
    out = np.empty_like(z)
    for h, q in enumerate(quantiles):
        j = np.clip(np.searchsorted(NORMAL, z[:, h]), 1, len(q) - 1)
        slope = (q[j] - q[j - 1]) / (NORMAL[j] - NORMAL[j - 1])
        out[:, h] = q[j - 1] + slope * (z[:, h] - NORMAL[j - 1])
    return out
