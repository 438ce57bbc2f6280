"""Forecasts to compare with: seasonal naive, and MSTL of the package statsforecast, which is the extra `series`."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

from likewise.forecasting.calibration import TAUS

MAX_HISTORY = 4000  # steps that MSTL is given


def seasonal_naive(y: np.ndarray, period: int, origins: np.ndarray, horizon: int) -> np.ndarray:
    """Quantiles (S, O, H, 19): the value a cycle ago, with the normal spread of such errors in the history."""
    ahead = np.arange(horizon)
    at = origins[:, None] + ahead - (ahead // period + 1) * period
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        middle = y[:, np.maximum(at, 0)]
        past = [y[:, period:o] - y[:, : o - period] for o in origins]
        deviation = np.stack([np.sqrt(np.nanmean(p**2, 1)) for p in past], 1)
        level = np.stack([np.nanmean(y[:, :o], 1) for o in origins], 1)
    middle = np.where(np.isnan(middle), level[:, :, None], middle)
    cycles = np.sqrt(ahead // period + 1)
    return middle[..., None] + (deviation[:, :, None] * cycles)[..., None] * ndtri(TAUS)


def has_statsforecast() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("statsforecast") is not None


def mstl(y: np.ndarray, periods: Sequence[int], origins: np.ndarray, horizon: int) -> np.ndarray:
    """Quantiles (S, O, H, 19) of MSTL with AutoETS of its trend, fitted anew at each origin; gaps are interpolated."""
    from statsforecast.models import MSTL, AutoETS

    levels = [round(100 * (1 - 2 * t)) for t in TAUS[:9]]
    out = np.empty((len(y), len(origins), horizon, len(TAUS)))
    for s, series in enumerate(y):
        for i, origin in enumerate(origins):
            history = series[max(0, origin - MAX_HISTORY) : origin]
            known = np.where(~np.isnan(history))[0]
            filled = np.interp(np.arange(len(history)), known, history[known])
            model = MSTL(season_length=list(periods), trend_forecaster=AutoETS(model="ZZN"))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                f = model.forecast(y=filled, h=horizon, level=sorted(levels))
            low = [f[f"lo-{level}"] for level in levels]
            high = [f[f"hi-{level}"] for level in reversed(levels)]
            out[s, i] = np.stack([*low, f["mean"], *high], -1)
    return out
