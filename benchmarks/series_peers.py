"""Forecasts of other methods for benchmarks/series.py, in an environment that has statsforecast.

    python benchmarks/series_peers.py mstl values.npy origins.npy quantiles.npy --horizon 48 --periods 48,336

Quantiles are (origins, horizon, 19). A line of JSON has the CPU-seconds, without imports.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings

import numpy as np
from statsforecast.models import MSTL, AutoETS, AutoTheta

LEVELS = [90, 80, 70, 60, 50, 40, 30, 20, 10]
MAX_HISTORY = 4000


def model_of(method: str, periods: list[int]) -> object:
    """MSTL with AutoETS of its trend, or AutoTheta of the shortest cycle."""
    if method == "mstl":
        return MSTL(season_length=periods, trend_forecaster=AutoETS(model="ZZN"))
    return AutoTheta(season_length=periods[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("method", choices=["mstl", "auto_theta"])
    parser.add_argument("values")
    parser.add_argument("origins")
    parser.add_argument("out")
    parser.add_argument("--horizon", type=int, required=True)
    parser.add_argument("--periods", required=True)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    y, periods = np.load(args.values), [int(p) for p in args.periods.split(",")]
    begin, out = time.process_time(), []
    for origin in np.load(args.origins):
        history = y[max(0, origin - MAX_HISTORY) : origin]
        known = np.where(~np.isnan(history))[0]
        filled = np.interp(np.arange(len(history)), known, history[known])
        f = model_of(args.method, periods).forecast(y=filled, h=args.horizon, level=LEVELS[::-1])
        low, high = [f[f"lo-{level}"] for level in LEVELS], [f[f"hi-{level}"] for level in LEVELS[::-1]]
        out.append(np.stack([*low, f["mean"], *high], -1))
    np.save(args.out, np.stack(out))
    print(json.dumps({"cpu": time.process_time() - begin}))


if __name__ == "__main__":
    main()
