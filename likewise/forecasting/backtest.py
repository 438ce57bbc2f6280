"""Backtest: forecasts from origins of the past by a forecaster that has not seen what follows, beside baselines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from likewise.core.formula import Formula
from likewise.core.option_names import option_text
from likewise.data.arrow import TableError
from likewise.forecasting.baselines import has_statsforecast, mstl, seasonal_naive
from likewise.forecasting.calibration import TAUS, coverage, crps
from likewise.forecasting.forecaster import MIN_WINDOWS, Forecaster, fit_forecaster
from likewise.forecasting.smoothing import future

ORIGINS = 28
MAX_MSTL = 200  # forecasts of MSTL, a second each


@dataclass
class Backtest:
    """Scores of each method: CRPS, coverage of the central intervals, mean absolute error of the median.

    below  method -> share of values below each of its 19 quantiles, which calibrated ones have at TAUS
    """

    origins: int
    horizon: int
    series: int
    scores: dict[str, dict[str, float]]
    below: dict[str, list[float]]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All of it, as JSON values."""
        return {**vars(self), "quantiles": TAUS.round(2).tolist()}

    def __str__(self) -> str:
        head = f"{self.origins} origins, {self.horizon} steps ahead, {self.series} series, none of them seen in training"
        lines = [head, f"{'':22}{'CRPS':>10}{'MAE':>10}{'in 50 %':>10}{'in 90 %':>10}"]
        for name, s in self.scores.items():
            cells = f"{s['CRPS']:>10.4g}{s['MAE']:>10.4g}{100 * s['0.5']:>9.0f}%{100 * s['0.9']:>9.0f}%"
            lines.append(f"{name:22}{cells}")
        return "\n".join([*lines, *self.notes])


def backtest(forecaster: Forecaster, origins: int = ORIGINS, seed: int = 0) -> Backtest:
    """Fit again without the last `origins` horizons, and forecast from the begin of each of them.

    Raises TableError if too few steps are left to learn from.
    """
    panel, horizon, periods = forecaster.panel, forecaster.horizon, forecaster.periods
    first = panel.steps - origins * horizon
    need = max(2 * max(periods, default=1), 8) + MIN_WINDOWS * horizon
    if first < need:
        most = (panel.steps - need) // horizon
        advice = f"give {option_text('origins', str(most))}" if most > 0 else "give more rows"
        raise TableError(
            f"{origins} origins of {horizon} steps leave {max(first, 0):,} of {panel.steps:,} steps to learn from, and "
            f"at least {need:,} are needed; {advice}"
        )
    at = first + horizon * np.arange(origins)
    fitted = fit_forecaster(
        panel.until(first),
        Formula.parse(forecaster.formula),
        forecaster.columns,
        horizon,
        periods=periods,
        seed=seed,
    )
    truth, notes = future(panel.y, at, horizon), []
    methods = {"likewise": fitted.predict(panel, at)}
    for period in periods or (1,):
        methods[f"seasonal naive, {period}"] = seasonal_naive(panel.y, period, at, horizon)
    if not periods:
        notes.append("the step has no cycle, so there is no MSTL")
    elif not has_statsforecast():
        notes.append("MSTL needs statsforecast: pip install 'likewise[series]'")
    else:
        few = max(1, MAX_MSTL // len(at))
        if len(panel.y) > few:
            notes.append(f"MSTL is of the first {few} series, as are the others in its line of scores")
        methods["MSTL"] = mstl(panel.y[:few], periods, at, horizon)
    scale = _weights(panel.y)
    scores = {name: _scores(q, truth[: len(q)], scale[: len(q)]) for name, q in methods.items()}
    below = {name: _below(q, truth[: len(q)]) for name, q in methods.items()}
    if len(panel.y) > 1:
        notes.append("CRPS and MAE are relative to the mean absolute value of each series")
    return Backtest(origins, horizon, len(panel.y), scores, below, notes)


def _weights(y: np.ndarray) -> np.ndarray:
    """What errors are divided by, (S,): 1 for a single series."""
    return np.ones(1) if len(y) == 1 else np.maximum(np.nanmean(np.abs(y), 1), 1e-12)


def _scores(q: np.ndarray, y: np.ndarray, scale: np.ndarray) -> dict[str, float]:
    units = scale[:, None, None]
    q, y = q / units[..., None], y / units
    error = float(np.nanmean(np.abs(y - q[..., 9])))
    return {"CRPS": crps(q, y), "MAE": error, **{str(n): s for n, s in coverage(q, y).items()}}


def _below(q: np.ndarray, y: np.ndarray) -> list[float]:
    ok = ~np.isnan(y)
    return (y[ok][:, None] <= q[ok]).mean(0).round(4).tolist()
