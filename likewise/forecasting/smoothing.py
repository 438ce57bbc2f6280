"""Exponential smoothing with several seasons, the template of a forecast (Taylor, 2003, "Short-term electricity demand
forecasting using double seasonal exponential smoothing").

    u_t = y_t - (level + trend + sum_m season_m[t mod m]),  v_t = u_t - phi u_(t-1)
    level += trend + a v_t,  trend = damping trend + b v_t,  season_m[t mod m] += g_m v_t
    forecast(h) = level + sum_(i<=h) damping^(i-1) trend + sum_m season_m[(t + h) mod m] + phi^h u_t

Many sets of gains run side by side, so that a search over them costs a second. Missing values change no state.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DAMPING = 0.97
NUM_TEMPLATES = 4
CANDIDATES, ROUNDS, BEST, COPIES = (
    256,
    (0.6, 0.35, 0.2),
    16,
    6,
)  # of the search: first ones, spread of later ones


@dataclass(frozen=True)
class Gains:
    """C sets of gains of the smoothing: a, b, phi (C,), g (seasons, C)."""

    a: np.ndarray
    b: np.ndarray
    phi: np.ndarray
    g: np.ndarray

    @classmethod
    def random(cls, seasons: int, count: int, rng: np.random.Generator) -> Gains:
        """Random gains over their usable range, log-uniform; some have no trend or no season."""
        g = [
            np.where(rng.random(count) < 0.2, 0.0, 10 ** rng.uniform(-2.2, 0, count)) for _ in range(seasons)
        ]
        return cls(
            10 ** rng.uniform(-3.5, -0.2, count),
            np.where(rng.random(count) < 0.7, 0.0, 10 ** rng.uniform(-4, -0.5, count)),
            1 - 10 ** rng.uniform(-2.6, -0.2, count),
            np.array(g).reshape(seasons, count),
        )

    def near(self, copies: int, spread: float, rng: np.random.Generator) -> Gains:
        """Gains near each of these."""
        a, b, phi, g = (np.repeat(v, copies, -1) for v in (self.a, self.b, self.phi, self.g))

        def factor(shape: tuple[int, ...]) -> np.ndarray:
            return np.exp(rng.normal(0, spread, shape))

        n = a.shape
        return Gains(
            np.clip(a * factor(n), 0, 0.95),
            np.clip(b * factor(n), 0, 0.5),
            1 - np.clip((1 - phi) * factor(n), 5e-4, 1),
            np.clip(g * factor(g.shape), 0, 1),
        )

    def take(self, index: np.ndarray) -> Gains:
        """Some of the sets."""
        return Gains(self.a[index], self.b[index], self.phi[index], self.g[:, index])

    def __add__(self, other: Gains) -> Gains:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Gains(*(np.concatenate(pair, -1) for pair in pairs))


def smooth(
    y: np.ndarray, periods: Sequence[int], gains: Gains, origins: np.ndarray | Sequence[int], horizon: int
) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts of series y (S, T) from origins (O,), each the first step that is not known yet.

    Returns forecasts (S, O, C, H) float32, and u (S, T) float32, the mean residual of all sets.
    """
    steps, count = y.shape[1], len(gains.a)
    level, seasons = _start(y, periods, count)
    trend, u = np.zeros_like(level), np.zeros_like(level)
    ahead = np.arange(1, horizon + 1)
    decay = gains.phi[None, :, None] ** ahead
    slope = np.cumsum(DAMPING ** (ahead - 1))
    forecasts = np.empty((len(y), len(origins), count, horizon), np.float32)
    residuals = np.zeros(y.shape, np.float32)
    place = {int(o): i for i, o in enumerate(origins)}
    known = ~np.isnan(y)
    complete, has_trend = known.all(0), bool((gains.b > 0).any())
    for t in range(max(max(place, default=-1) + 1, steps)):
        if (i := place.get(t)) is not None:
            f = level[:, :, None] + decay * u[:, :, None]
            if has_trend:
                f = f + trend[:, :, None] * slope
            for season in seasons:
                f = f + season[(t + ahead - 1) % len(season)].transpose(1, 2, 0)
            forecasts[:, i] = f
        if t >= steps:
            break
        base = level + trend if has_trend else level
        for season in seasons:
            base = base + season[t % len(season)]
        if complete[t]:
            new = y[:, t, None] - base
            v = new - gains.phi * u
        else:
            there = known[:, t, None]
            new = np.where(there, np.nan_to_num(y[:, t, None]) - base, gains.phi * u)
            v = np.where(there, new - gains.phi * u, 0.0)
        level = level + gains.a * v
        if has_trend:
            level = level + trend
            trend = DAMPING * trend + gains.b * v
        for season, gain in zip(seasons, gains.g, strict=True):
            season[t % len(season)] += gain * v
        u = new
        residuals[:, t] = u.mean(1)
    return forecasts, residuals


def _start(y: np.ndarray, periods: Sequence[int], count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The first level (S, C), and seasons (m, S, C), by means over the first two of the longest cycles."""
    length = min(2 * max(periods, default=5), y.shape[1])
    t = np.arange(length)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of means of nothing
        mean = np.nan_to_num(np.nanmean(y[:, :length], 1))
        rest = y[:, :length] - mean[:, None]
        seasons = []
        for m in periods:
            profile = np.nan_to_num(np.stack([np.nanmean(rest[:, t % m == k], 1) for k in range(m)]))
            rest = rest - profile[t % m].T
            seasons.append(np.repeat(profile[:, :, None], count, 2))
    return np.repeat(mean[:, None], count, 1), seasons


def future(y: np.ndarray, origins: np.ndarray, horizon: int) -> np.ndarray:
    """The values from each origin on, (S, O, H); nan beyond the end."""
    at = origins[:, None] + np.arange(horizon)
    return np.where(at < y.shape[1], y[:, np.minimum(at, y.shape[1] - 1)], np.nan)


def search(
    y: np.ndarray, periods: Sequence[int], horizon: int, start: int, rng: np.random.Generator
) -> tuple[Gains, float]:
    """The few gains whose mean forecast has the least absolute error, relative to the deviation of each series.

    start  the first origin that counts

    Returns them and that error.
    """
    last = y.shape[1] - horizon
    count = min(150, max(1, (last - start) // max(1, horizon // 3)) + 1)
    origins = np.unique(np.linspace(start, last, count).astype(int))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = y / np.maximum(np.nanstd(y, 1), 1e-12)[:, None]
        truth = future(y, origins, horizon)
        gains = Gains.random(len(periods), CANDIDATES, rng)
        forecasts = smooth(y, periods, gains, origins, horizon)[0]
        for spread in (*ROUNDS, None):
            errors = np.nanmean(np.abs(forecasts - truth[:, :, None]), (0, 1, 3))
            if spread is None:
                break
            more = gains.take(errors.argsort()[:BEST]).near(COPIES, spread, rng)
            forecasts = np.concatenate([forecasts, smooth(y, periods, more, origins, horizon)[0]], 2)
            gains = gains + more
        chosen: list[int] = []
        total: np.ndarray | float = 0.0
        best = np.inf
        for j in range(NUM_TEMPLATES):
            others = [i for i in errors.argsort()[:40] if i not in chosen]
            means = [np.nanmean(np.abs((total + forecasts[:, :, i]) / (j + 1) - truth)) for i in others]
            chosen.append(int(others[int(np.argmin(means))]))
            total, best = total + forecasts[:, :, chosen[-1]], float(min(means))
    return gains.take(np.array(chosen)), best
