"""Forecaster: P(the next values | history, covariates), fitted on a panel, saved in a run folder, and used.

1. The latest origins are held out; template, regression and network are fitted on what comes before.
2. On the held-out origins the network's number of steps is chosen, the spread is calibrated, and the correlation of
   the steps of a horizon is estimated.
3. All is fitted again on the whole history.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from likewise.core.files import atomic_write
from likewise.core.formula import Formula
from likewise.core.provenance import KEY, provenance
from likewise.data.arrow import TableError
from likewise.forecasting.calendar import Calendar
from likewise.forecasting.calibration import (
    TAUS,
    crps,
    lag_correlations,
    normal_scores,
    sample_paths,
    scale_spread,
    spread_factors,
)
from likewise.forecasting.features import Response
from likewise.forecasting.fitting import Fit, Standard, Task, fit_all, predict, scale_of
from likewise.forecasting.panel import Columns, Panel
from likewise.forecasting.quantiles import QuantileNet
from likewise.forecasting.regression import Ridge
from likewise.forecasting.smoothing import Gains, future, search, smooth
from likewise.models.checkpoint import FORECAST, WEIGHTS, RunError, damaged

HELD_OUT, MAX_SHARE = 28, 0.35  # horizons to calibrate on, and their share of the steps at most
CHECKS = (0, 25, 50, 100, 200, 400)  # steps of the network that are tried
MIN_WINDOWS = 4  # horizons in the history, beside its first two cycles


@dataclass(frozen=True)
class Forecast:
    """Quantiles (S, H, 19) at TAUS and joint paths (S, draws, H) for the times (H,) of series `ids`."""

    ids: tuple[str, ...]
    times: tuple[str, ...]
    quantiles: np.ndarray
    paths: np.ndarray


@dataclass
class Forecaster:
    """A fitted model of forecasts.

    panel         the history that it was fitted on
    scale         (S,) of its series; log: whether logarithms are forecast; floor: what no value is below
    factors       (19,), of the distances of quantiles from the median
    correlations  (H,) of steps of a horizon; steps: of the network
    """

    formula: str
    columns: Columns
    panel: Panel
    periods: tuple[int, ...]
    horizon: int
    log: bool
    floor: float
    scale: np.ndarray
    fit: Fit
    factors: np.ndarray
    correlations: np.ndarray
    steps: int
    seed: int

    def forecast(
        self, panel: Panel | None = None, horizon: int | None = None, draws: int = 200, seed: int = 0
    ) -> Forecast:
        """Forecasts of the steps after the end of a panel, by default of the history that it was fitted on.

        Raises TableError for a longer horizon than was trained, a history that is too short, and covariates that lack
        values over the horizon.
        """
        panel, steps = panel or self.panel, horizon or self.horizon
        if steps > self.horizon:
            raise TableError(
                f"the run forecasts at most {self.horizon} steps; train one with [horizon={steps}] for more"
            )
        quantiles = self.predict(panel, np.array([panel.steps]), steps)[:, 0]
        rng = np.random.default_rng(seed)
        paths = np.stack([sample_paths(q, self.correlations, draws, rng) for q in quantiles])
        times = tuple(panel.calendar.label(panel.steps + h) for h in range(steps))
        return Forecast(panel.ids, times, quantiles, np.maximum(paths, self.floor))

    def predict(self, panel: Panel, origins: np.ndarray, horizon: int | None = None) -> np.ndarray:
        """Calibrated quantiles (S, O, H, 19) of the values from each origin on. Raises TableError as `forecast` does."""
        steps = horizon or self.horizon
        self._require(panel, int(origins.min()), int(origins.max()) + steps)
        y = _transform(panel.y, self.log)
        place = {name: s for name, s in zip(self.panel.ids, self.scale, strict=True)}
        own = scale_of(y, self.periods)
        scale = np.array([place.get(name, s) for name, s in zip(panel.ids, own, strict=True)])
        known = _pad(panel.known, int(origins.max()) + self.horizon)
        task = Task(y, known, panel.past, panel.static, self.periods, self.horizon, self.seed)
        return self._finish(predict(task, self.fit, scale, origins)[:, :, :steps])

    def _finish(self, quantiles: np.ndarray) -> np.ndarray:
        q = scale_spread(quantiles, self.factors)
        return np.maximum(np.exp(q) if self.log else q, self.floor)

    def _require(self, panel: Panel, first: int, end: int) -> None:
        """Raise TableError for another step, a short history, a gap in covariates, or values without a logarithm."""
        ours, theirs = self.panel.calendar, panel.calendar
        if (ours.unit, ours.step) != (theirs.unit, theirs.step):
            raise TableError(f"the history has a step of {theirs.describe()}, and the run {ours.describe()}")
        need = max(2 * max(self.periods, default=1), 8)
        if first < need:
            raise TableError(f"a forecast needs a history of {need:,} steps, and there are {first:,}")
        if self.log and np.nanmin(panel.y) <= 0:
            raise TableError(
                "the run forecasts logarithms, as all its values were above 0; the history has others"
            )
        names = self.columns.numeric(self.columns.known)
        for c, name in enumerate(names):
            lacking = np.isnan(_pad(panel.known, end)[:, first:end, c])
            if lacking.any():
                series, step = (int(v) for v in np.argwhere(lacking)[0])
                of = f" of {panel.ids[series]}" if len(panel.ids) > 1 else ""
                raise TableError(
                    f"{name.partition('=')[0]} has no value at {panel.calendar.label(first + step)}{of}; a forecast needs "
                    f"it for {end - first} steps after the last value: give a file with these rows, and no value of "
                    f"{' or '.join(self.columns.targets)} in them"
                )

    # ---- run folders

    def save(self, folder: Path) -> None:
        """Write forecast.json and weights.safetensors."""
        response, net, fit = self.fit.response, self.fit.net, self.fit
        assert net is not None
        arrays = {f"net.{k}": v.numpy() for k, v in net.state_dict().items()}
        arrays |= {f"gains.{k}": v for k, v in vars(fit.gains).items()}
        arrays |= _ridge_arrays("ridge", fit.ridge)
        for name, standard in zip(("known", "past", "static"), fit.standards, strict=True):
            arrays |= {f"standard.{name}.{k}": v for k, v in vars(standard).items()}
        arrays |= {f"panel.{k}": getattr(self.panel, k) for k in ("y", "known", "past", "static")}
        arrays |= {"scale": self.scale, "center": fit.center}
        arrays |= {"factors": self.factors, "correlations": self.correlations}
        if response is not None:
            arrays |= _ridge_arrays("response", response.ridge)
        state = {
            KEY: provenance(model=str(folder)),
            "format": 1,
            "formula": self.formula,
            "columns": asdict(self.columns),
            "calendar": asdict(self.panel.calendar),
            "ids": self.panel.ids,
            "periods": self.periods,
            "horizon": self.horizon,
            "log": self.log,
            "floor": None if self.floor == -np.inf else self.floor,
            "steps": self.steps,
            "seed": self.seed,
            "knots": None if response is None else response.knots,
            "features": int(net.w1.shape[1]),
        }
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, folder / WEIGHTS)
        atomic_write(folder / FORECAST, (json.dumps(state, indent=1, ensure_ascii=False) + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> Forecaster:
        """Read a run folder. Raises RunError if it is none of a forecaster, or damaged."""
        if not (folder / FORECAST).is_file():
            raise RunError(
                f'{folder} is no run that forecasts; `likewise train DATA "y[horizon=24]"` makes one'
            )
        try:
            state = json.loads((folder / FORECAST).read_text(encoding="utf-8"))
            arrays = load_file(folder / WEIGHTS)
            return cls._from_state(state, arrays)
        except (ValueError, KeyError, TypeError, OSError, RuntimeError) as error:
            raise damaged(folder / FORECAST, error) from error

    @classmethod
    def _from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Forecaster:
        named: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in state["columns"].items()
        }
        named["levels"] = {k: tuple(v) for k, v in state["columns"]["levels"].items()}
        periods = tuple(state["periods"])
        panel = Panel(
            Calendar(**state["calendar"]),
            tuple(state["ids"]),
            *(arrays[f"panel.{k}"] for k in ("y", "known", "past", "static")),
        )
        net = QuantileNet(state["features"])
        net.load_state_dict(
            {k.removeprefix("net."): torch.from_numpy(v) for k, v in arrays.items() if k.startswith("net.")}
        )
        net.eval()
        knots = state["knots"]
        response = (
            None
            if knots is None
            else Response(tuple(map(tuple, knots)), periods, _ridge_of("response", arrays))
        )
        standards = [
            Standard(*(arrays[f"standard.{n}.{k}"] for k in ("mean", "deviation")))
            for n in ("known", "past", "static")
        ]
        fit = Fit(
            arrays["center"],
            Gains(*(arrays[f"gains.{k}"] for k in ("a", "b", "phi", "g"))),
            response,
            _ridge_of("ridge", arrays),
            (standards[0], standards[1], standards[2]),
            net,
        )
        return cls(
            state["formula"],
            Columns(**named),
            panel,
            periods,
            state["horizon"],
            state["log"],
            -np.inf if state["floor"] is None else state["floor"],
            arrays["scale"],
            fit,
            arrays["factors"],
            arrays["correlations"],
            state["steps"],
            state["seed"],
        )


def fit_forecaster(
    panel: Panel,
    formula: Formula,
    columns: Columns,
    horizon: int,
    *,
    periods: tuple[int, ...] | None = None,
    seed: int = 0,
) -> Forecaster:
    """Fit a forecaster on all steps of a panel.

    periods  lengths of the cycles in steps (default: those of the calendar that the history has three of)

    Raises TableError for fewer steps than that needs.
    """
    possible = panel.calendar.periods(panel.steps) if periods is None else tuple(sorted(periods))
    cycles = tuple(c for c in possible if 3 * c <= panel.steps - MIN_WINDOWS * horizon)
    start = max(2 * max(cycles, default=1), 8)
    need = start + MIN_WINDOWS * horizon
    if panel.steps < need:
        raise TableError(
            f"the history has {panel.steps:,} steps, and a horizon of {horizon} needs at least {need:,}; take a shorter "
            "horizon, or give more rows"
        )
    cycles, log = _choose_template(panel.y, cycles, horizon, start, seed, fixed=periods is not None)
    y = _transform(panel.y, log)
    scale = scale_of(y, cycles)
    known = _pad(panel.known, panel.steps + horizon)
    task = Task(y, known, panel.past, panel.static, cycles, horizon, seed)
    held = max(horizon, min(HELD_OUT * horizon, int(MAX_SHARE * (panel.steps - start))))
    end = panel.steps - held
    origins = np.unique(np.linspace(end, panel.steps - horizon, min(held - horizon + 1, 168)).astype(int))
    truth = future(y, origins, horizon)
    found: list[np.ndarray] = []

    def check(fit: Fit, net: QuantileNet) -> float:
        quantiles = predict(task, fit, scale, origins, net) / scale[:, None, None, None]
        units = truth / scale[:, None, None]
        factors = spread_factors(quantiles.reshape(-1, quantiles.shape[-1]), units.reshape(-1))
        found.append(factors)
        return crps(scale_spread(quantiles, factors), units)

    before, scores = fit_all(task.until(end), scale, CHECKS[-1], CHECKS, check)
    best = int(np.argmin(scores))
    steps, factors = CHECKS[best], found[best]
    fit, _ = fit_all(task, scale, steps)
    quantiles = scale_spread(predict(task, before, scale, origins), factors)
    rows = np.linspace(0, len(y) * len(origins) - 1, min(len(y) * len(origins), 2000)).astype(int)
    z = normal_scores(quantiles.reshape(-1, horizon, len(TAUS))[rows], truth.reshape(-1, horizon)[rows])
    floor = 0.0 if np.nanmin(panel.y) >= 0 else -np.inf
    return Forecaster(
        str(formula),
        columns,
        panel,
        cycles,
        horizon,
        log,
        floor,
        scale,
        fit,
        factors,
        lag_correlations(z),
        steps,
        seed,
    )


def _transform(y: np.ndarray, log: bool) -> np.ndarray:
    return np.log(y) if log else y


def _choose_template(
    y: np.ndarray, cycles: tuple[int, ...], horizon: int, start: int, seed: int, *, fixed: bool
) -> tuple[tuple[int, ...], bool]:
    """The cycles, all or all but the longest, and whether logarithms are forecast: what has less error.

    fixed  whether all cycles are taken
    """
    few = y[:8]
    positive = np.nanmin(y) > 0 and np.nanmax(y) > 1.5 * np.nanmin(y)
    origins = np.unique(np.linspace(start, y.shape[1] - horizon, 60).astype(int))
    truth = future(few, origins, horizon)
    unit = np.maximum(np.nanmean(np.abs(few), 1), 1e-12)[:, None, None]
    errors = {}
    for some in dict.fromkeys([cycles] if fixed else [cycles[:-1] or cycles, cycles]):
        for log in (False, True) if positive else (False,):
            values = _transform(few, log)
            gains, _ = search(values, some, horizon, start, np.random.default_rng(seed))
            values_ahead = smooth(values, some, gains, origins, horizon)[0].mean(2)
            forecasts = np.exp(values_ahead) if log else values_ahead
            penalty = (1.03 if log else 1.0) * (1.01 if some == cycles else 1.0)
            errors[some, log] = penalty * float(np.nanmean(np.abs(forecasts - truth) / unit))
    return min(errors, key=lambda choice: errors[choice])


def _pad(known: np.ndarray, length: int) -> np.ndarray:
    """Known covariates (S, T', C) with nan up to `length` steps at least."""
    lacking = max(0, length - known.shape[1])
    return np.pad(known, ((0, 0), (0, lacking), (0, 0)), constant_values=np.nan)


def _ridge_arrays(name: str, ridge: Ridge) -> dict[str, np.ndarray]:
    return {f"{name}.{k}": np.asarray(v) for k, v in vars(ridge).items()}


def _ridge_of(name: str, arrays: Mapping[str, np.ndarray]) -> Ridge:
    mean, deviation, weights = (arrays[f"{name}.{k}"] for k in ("mean", "deviation", "weights"))
    return Ridge(mean, deviation, weights, float(arrays[f"{name}.bias"][0]))
