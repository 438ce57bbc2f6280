"""Fitting: template, regression and network on the steps before an end."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from likewise.forecasting.features import Inputs, Response, fit_response, make_features
from likewise.forecasting.quantiles import QuantileNet, train_quantiles
from likewise.forecasting.regression import Ridge, blocks, fit_ridge
from likewise.forecasting.smoothing import Gains, future, search

WINDOWS, MAX_SERIES = 1500, 200  # of a regression and a network


@dataclass(frozen=True)
class Standard:
    """Means and deviations of columns."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Standard:
        """Of the last axis of an array."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            axes = tuple(range(values.ndim - 1))
            mean, deviation = np.nanmean(values, axes), np.nanstd(values, axes)
        return cls(np.nan_to_num(mean), np.maximum(np.nan_to_num(deviation), 1e-6))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The same with mean 0 and deviation 1."""
        return (values - self.mean) / self.deviation


@dataclass(frozen=True)
class Task:
    """Values (S, T), of which a logarithm may have been taken, and what else is known of them; see Inputs."""

    y: np.ndarray
    known: np.ndarray
    past: np.ndarray
    static: np.ndarray
    periods: tuple[int, ...]
    horizon: int
    seed: int

    @property
    def start(self) -> int:
        """The first origin with enough history: two of the longest cycles."""
        return max(2 * max(self.periods, default=1), 8)

    def until(self, end: int) -> Task:
        """The same before step `end`."""
        return Task(
            self.y[:, :end], self.known, self.past, self.static, self.periods, self.horizon, self.seed
        )


@dataclass
class Fit:
    """What is learned of the steps before an end; `net` is trained afterwards."""

    center: np.ndarray  # (S,), of y, of the response
    gains: Gains
    response: Response | None
    ridge: Ridge
    standards: tuple[Standard, Standard, Standard]
    net: QuantileNet | None = None


def scale_of(y: np.ndarray, periods: Sequence[int]) -> np.ndarray:
    """The mean absolute change over the longest cycle of each series, (S,)."""
    lag = max(periods, default=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        change = np.nanmean(np.abs(y[:, lag:] - y[:, :-lag]), 1)
        change = np.where(np.nan_to_num(change) > 0, change, np.nanstd(y, 1))
    return np.maximum(np.nan_to_num(change), 1e-9)


def inputs_of(task: Task, fit: Fit, scale: np.ndarray, fitted: np.ndarray | None = None) -> Inputs:
    """The inputs of features; `fitted` (S, T') is what the response says, if it is not to be asked."""
    known = fit.standards[0](task.known)
    if fit.response is not None:
        says = fit.response(known) if fitted is None else fitted
        known = np.concatenate([known, says[..., None]], -1)
    return Inputs(
        task.y,
        scale,
        np.nan_to_num(known),
        np.nan_to_num(fit.standards[1](task.past)),
        fit.standards[2](task.static),
        task.periods,
        fit.gains,
    )


def fit_all(
    task: Task,
    scale: np.ndarray,
    steps: int,
    checks: Sequence[int] = (),
    check: Callable[[Fit, QuantileNet], float] | None = None,
) -> tuple[Fit, list[float]]:
    """Learn the steps of `task`, the network for `steps`. See train_quantiles for the checks."""
    rng = np.random.default_rng(task.seed)
    y, horizon, end = task.y, task.horizon, task.y.shape[1]
    few = np.sort(rng.permutation(len(y))[:32])
    gains, _ = search(y[few], task.periods, horizon, task.start, rng)
    standards = (Standard.of(task.known[:, :end]), Standard.of(task.past), Standard.of(task.static))
    center = np.nan_to_num(np.nanmean(y, 1))
    response, fitted = None, None
    if task.known.shape[2]:
        deviations = (y - center[:, None]) / scale[:, None]
        response, fitted = fit_response(deviations, standards[0](task.known), task.periods, rng)
    empty = np.zeros(0)
    fit = Fit(center, gains, response, Ridge(empty, empty, empty, 0.0), standards)
    rows = np.sort(rng.permutation(len(y))[:MAX_SERIES])
    origins = np.arange(task.start, end - horizon + 1)
    count = max(24, WINDOWS // len(rows))
    if len(origins) > count:
        origins = np.sort(rng.choice(origins, count, replace=False))
    part = Task(y[rows], task.known[rows], task.past[rows], task.static[rows], task.periods, horizon, 0)
    inputs = inputs_of(part, fit, scale[rows], None if fitted is None else fitted[rows])
    anchor, x = make_features(inputs, origins, horizon)
    target = (future(y[rows], origins, horizon) - anchor) / scale[rows, None, None]
    fold = np.broadcast_to(blocks(origins, end)[None, :, None], target.shape)
    flat = x.reshape(-1, x.shape[-1])
    fit.ridge, residual = fit_ridge(flat, target.reshape(-1), fold.reshape(-1))
    z = fit.ridge.standardise(x).reshape(-1, horizon, x.shape[-1])
    left = torch.from_numpy(residual.reshape(-1, horizon)).float()

    def heldout_loss(net: QuantileNet) -> float:
        assert check is not None
        return check(fit, net)

    fit.net, results = train_quantiles(
        torch.from_numpy(z), left, steps, task.seed, checks, heldout_loss if check else None
    )
    return fit, results


def predict(
    task: Task, fit: Fit, scale: np.ndarray, origins: np.ndarray, net: QuantileNet | None = None
) -> np.ndarray:
    """Quantiles (S, O, H, 19) of the values from each origin on, in the units of y."""
    net = net or fit.net
    assert net is not None
    out = []
    for rows in np.array_split(np.arange(len(task.y)), -(-len(task.y) // MAX_SERIES)):
        part = Task(
            task.y[rows], task.known[rows], task.past[rows], task.static[rows], task.periods, task.horizon, 0
        )
        anchor, x = make_features(inputs_of(part, fit, scale[rows]), origins, task.horizon)
        z = fit.ridge.standardise(x)
        middle = z @ fit.ridge.weights + fit.ridge.bias
        tokens: Tensor = torch.from_numpy(z.reshape(-1, task.horizon, z.shape[-1]))
        spread = net.predict(tokens).numpy().reshape(*middle.shape, -1)
        out.append(anchor[..., None] + scale[rows, None, None, None] * (middle[..., None] + spread))
    return np.concatenate(out)
