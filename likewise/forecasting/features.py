"""What a forecast is made from: for each origin and each step of the horizon, deviations from the template.

All of them are differences, in units of the series' scale, so that a level that was never seen changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from likewise.forecasting.regression import Ridge, blocks, fit_ridge
from likewise.forecasting.smoothing import Gains, smooth

HARMONICS = 2  # of each cycle
MAX_ROWS = 60_000  # of the regression on covariates
KNOTS = (0.1, 0.3, 0.5, 0.7, 0.9)  # quantiles of a covariate, at which its effect may bend


@dataclass(frozen=True)
class Response:
    """What covariates, alone and by the time of the cycle, say of the values: a regression on piecewise linear terms.

    knots  of each covariate and of its mean over the last cycle
    """

    knots: tuple[tuple[float, ...], ...]
    periods: tuple[int, ...]
    ridge: Ridge

    def terms(self, known: np.ndarray) -> np.ndarray:
        """Covariates (T, C) -> (T, F)."""
        return response_terms(known, self.periods, self.knots)

    def __call__(self, known: np.ndarray) -> np.ndarray:
        """Covariates (S, T, C) -> (S, T)."""
        return np.stack([self.ridge(self.terms(series)) for series in known])


def response_terms(known: np.ndarray, periods: Sequence[int], knots: Sequence[Sequence[float]]) -> np.ndarray:
    """Piecewise linear terms of covariates (T, C) and their running means, by sines of the shortest cycle, (T, F)."""
    t = np.arange(len(known))
    wave = _waves(t, periods[:1], 4)
    bends = []
    for values, at in zip(_with_means(known, periods), knots, strict=True):
        bends += [values, *(np.maximum(values - k, 0) for k in at)]
    products = [b[:, None] * np.concatenate([np.ones((len(t), 1)), wave], 1) for b in bends]
    return np.concatenate([*products, _waves(t, periods, 7)], 1)


def fit_response(
    y: np.ndarray, known: np.ndarray, periods: Sequence[int], rng: np.random.Generator
) -> tuple[Response, np.ndarray]:
    """The regression of y (S, T), in units of scale around 0, on covariates (S, T', C), and (S, T') what it says.

    Of steps with a value, what a regression says that has not seen their weeks.
    """
    count, steps = y.shape
    columns = list(zip(*(_with_means(series, periods) for series in known), strict=True))
    knots = [_knots(np.concatenate(values)) for values in columns]
    terms = [response_terms(series, periods, knots) for series in known]
    rows = np.stack(np.meshgrid(np.arange(count), np.arange(steps), indexing="ij"), -1).reshape(-1, 2)
    rows = rows[~np.isnan(y.reshape(-1))]
    if len(rows) > MAX_ROWS:
        rows = rows[np.sort(rng.choice(len(rows), MAX_ROWS, replace=False))]
    x = np.stack([terms[s][t] for s, t in rows])
    target = y[rows[:, 0], rows[:, 1]]
    ridge, residual = fit_ridge(x, target, blocks(rows[:, 1], steps, repeats=3))
    response = Response(tuple(map(tuple, knots)), tuple(periods), ridge)
    fitted = np.stack([ridge(term) for term in terms])
    fitted[rows[:, 0], rows[:, 1]] = target - residual
    return response, fitted


@dataclass(frozen=True)
class Inputs:
    """What features are made of.

    y, scale    (S, T), (S,)
    covariates  (S, T', C) standardised, known in the future; past (S, T, P); static (S, Q)
    """

    y: np.ndarray
    scale: np.ndarray
    covariates: np.ndarray
    past: np.ndarray
    static: np.ndarray
    periods: tuple[int, ...]
    gains: Gains


def make_features(inputs: Inputs, origins: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """The template (S, O, H) in the units of y, and features (S, O, H, F) float32."""
    y, periods = inputs.y, inputs.periods
    unit = inputs.scale[:, None, None]
    forecasts, residuals = smooth(y, periods, inputs.gains, origins, horizon)
    anchor = forecasts.mean(2).astype(np.float64)
    shape = anchor.shape
    ahead = np.arange(1, horizon + 1)
    at = origins[:, None] + ahead - 1
    out: list[np.ndarray] = []

    def add(values: np.ndarray) -> None:
        out.append(np.broadcast_to(np.nan_to_num(values), shape).astype(np.float32))

    for c in range(forecasts.shape[2]):
        add((forecasts[:, :, c] - anchor) / unit)
    u = residuals / inputs.scale[:, None]
    cycle, longest = (periods[0], periods[-1]) if periods else (1, 1)
    for span in _spans(min(longest, 2 * cycle)):
        mean = _mean_before(u, origins, span)[:, :, None]
        add(mean)
        if span <= max(cycle, 4):
            add(mean * np.exp(-ahead / (2.0 * span + 4)))
    for m in periods:
        for k in (1, 2, 3):
            lag = at - ((ahead - 1) // m + k) * m
            add((_at(y, lag) - anchor) / unit)
            if k < 3:
                add(_at(u, lag))
    last = at - ((ahead - 1) // cycle + 1) * cycle
    size = np.abs(u)
    for span in (max(cycle, 2), 2 * max(longest, 2)):
        add(np.log(_mean_before(size, origins, span)[:, :, None] + 0.02))
    add(np.log(np.nan_to_num(_at(size, last)) + 0.05))
    for c in range(inputs.covariates.shape[2]):
        x = inputs.covariates[:, :, c]
        now = x[:, np.minimum(at, x.shape[1] - 1)]
        add(now)
        add(now - smooth(x, periods, inputs.gains, origins, horizon)[0].mean(2))
        add(now - _at(x, last))
        if len(periods) > 1:
            add(now - _at(x, at - ((ahead - 1) // longest + 1) * longest))
        if cycle > 1:
            add(now - _mean_at(x, at, cycle))
            add(_mean_at(x, at, cycle) - _mean_at(x, at - cycle, cycle))
    for c in range(inputs.past.shape[2]):
        x = inputs.past[:, :, c]
        move = smooth(x, periods, inputs.gains, [], horizon)[1]
        for span in sorted({1, max(1, cycle // 4), cycle}):
            mean = _mean_before(move, origins, span)[:, :, None]
            add(mean)
            add(mean * np.exp(-ahead / (2.0 * span + 4)))
    for c in range(inputs.static.shape[1]):
        add(inputs.static[:, None, c, None])
    add(ahead / horizon)
    add(np.sqrt(ahead / horizon))
    for wave in _waves(at.ravel(), periods, HARMONICS).T:
        add(wave.reshape(1, *at.shape))
    return anchor, np.stack(out, -1)


def _waves(t: np.ndarray, periods: Sequence[int], harmonics: int) -> np.ndarray:
    """Sines and cosines of each cycle at steps (T,), (T, F)."""
    out = [
        f(2 * np.pi * k * t / m)
        for m in periods
        for k in range(1, min(harmonics, m // 2) + 1)
        for f in (np.sin, np.cos)
    ]
    return np.stack(out, 1) if out else np.zeros((len(t), 0))


def _with_means(known: np.ndarray, periods: Sequence[int]) -> list[np.ndarray]:
    """Each covariate of (T, C), and its means over the last cycle and the last three of the shortest."""
    columns = list(known.T)
    if periods:
        t = np.arange(len(known))
        columns += [_mean_at(x[None], t[None], periods[0] * k)[0, 0] for k in (1, 3) for x in known.T]
    return columns


def _knots(values: np.ndarray) -> list[float]:
    """Where the effect of a covariate may bend; nowhere if it has few values."""
    if len(np.unique(values[:2000])) <= 6:
        return []
    return sorted({float(v) for v in np.quantile(values[~np.isnan(values)], KNOTS)})


def _spans(longest: int) -> list[int]:
    """1, 2, 4, 8, 13, 22 ... up to `longest`."""
    spans, span = [], 1
    while span <= max(longest, 1):
        spans.append(span)
        span = span * 2 if span < 8 else int(span * 1.7)
    return spans


def _at(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """x (S, T) at steps (O, H); nan before the first and beyond the last."""
    inside = (index >= 0) & (index < x.shape[1])
    return np.where(inside, x[:, np.clip(index, 0, x.shape[1] - 1)], np.nan)


def _mean_before(x: np.ndarray, origins: np.ndarray, span: int) -> np.ndarray:
    """Means of x (S, T) over `span` steps before each origin, (S, O)."""
    total = np.concatenate([np.zeros((len(x), 1)), x.cumsum(1, dtype=np.float64)], 1)
    return (total[:, origins] - total[:, np.maximum(origins - span, 0)]) / span


def _mean_at(x: np.ndarray, at: np.ndarray, span: int) -> np.ndarray:
    """Means of x (S, T) over the `span` steps that end with steps (O, H), (S, O, H)."""
    total = np.concatenate([np.zeros((len(x), 1)), np.nan_to_num(x).cumsum(1, dtype=np.float64)], 1)
    end = np.clip(at + 1, 1, x.shape[1])
    begin = np.clip(at + 1 - span, 0, end - 1)
    return (total[:, end] - total[:, begin]) / (end - begin)
