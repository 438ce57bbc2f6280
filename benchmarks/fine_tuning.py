"""Fine-tuning or training from scratch: P(image | text) from the weights of a run, by the time of training.

    python benchmarks/fine_tuning.py icons --arms emoji --seconds 100 300 900
    python benchmarks/fine_tuning.py icons --arms scratch --seconds 100 300 900 2700
    python benchmarks/fine_tuning.py icons --report                                # the table of both
    python benchmarks/fine_tuning.py digits --arms emoji emoji,lr=5e-4,muon_lr=5e-3 --seconds 100
    python benchmarks/fine_tuning.py digits --seconds 5 10 --n 40 --rows 300 --out runs/try      # does it run?

icons: 2,000 of them, 24 x 24 grey, with their names. digits: 2,000 MNIST digits, 28 x 28, each in one of eight
colours on white or on black, with texts such as "a red seven on black". An arm is "scratch" or a run to begin
with, and fields of Plan. Every number of --seconds is a training of its own with the whole schedule, so that its
samples are those that a user would have after this time; the seconds are of the processor (time.process_time,
--threads threads), of the training alone, and do not depend on what else the machine does. All arms have the same
rows, the same size and channels of images, and are evaluated by likewise.evaluate with the same seed.

A JSON for each data set has every report; trainings that it has are not repeated. The last table gives for each training that began
with a run the seconds that training from scratch needs for the same quality, between its own trainings, by
interpolation in log seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from ablate import parse

from likewise import Model, Plan, Table, evaluate, load, train
from likewise.training.process import tune_malloc
from likewise.viz.images import evenly_spaced

CALIBRATION_STEPS = 8  # of which the time of a step is measured, after as many others
SCRATCH = "scratch"
METRICS = {  # name in the report -> whether lower is better
    "image: KID of edges": True,
    "image ~ text: median rank": True,
    "image ~ text: in top 10": False,
}
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = {
    "red": (220, 30, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "yellow": (230, 190, 20),
    "orange": (240, 130, 20),
    "purple": (140, 60, 180),
    "pink": (240, 120, 180),
    "brown": (130, 80, 40),
}


def icons(rows: int) -> Table:
    """Some of the icons as training rows; the held-out ones are those of the whole data set."""
    table = Table.open("icons", options={"size": 24, "channels": 1})
    return table.subset_train([i * len(table.train) // rows for i in range(rows)])


def digits(rows: int) -> Table:
    """Digits in colours with texts; combinations of digit, colour and ground are held out."""
    source, rng = Table.open("digits"), np.random.default_rng(0)
    coloured = []
    for row in evenly_spaced(source, min(len(source), round(rows / 0.7))):
        name, ground = str(rng.choice(list(COLOURS))), str(rng.choice(["white", "black"]))
        ink = np.asarray(row["image"], dtype=float)[..., None] / 255
        paper = 255.0 if ground == "white" else 0.0
        pixels = ink * COLOURS[name] + (1 - ink) * paper
        image = PIL.Image.fromarray(pixels.round().astype(np.uint8))
        coloured.append({"image": image, "text": f"a {name} {WORDS[int(row['label'])]} on {ground}"})
    options = {"size": 28, "channels": 3}
    return Table.from_rows(coloured, {"text": "text"}, options=options, holdout=0.3, by="text")


DATA = {"icons": icons, "digits": digits}


def made(arm: str, table: Table) -> tuple[Model, dict[str, Any]]:
    """The model of an arm before its training, and the fields of its plan."""
    name, _, settings = arm.partition(",")
    if name == SCRATCH:
        return Model("image | text", table.columns), parse(settings)
    run = load(name)
    assert isinstance(run, Model)
    return run.adapt(table, "image | text", few_step=False), parse(settings)


def seconds_per_step(arm: str, table: Table) -> float:
    """Processor seconds of a step, once it is warm."""
    model, fields = made(arm, table)
    steps = train(model, table, Plan(steps=10**6, save_seconds=1e9, **fields))
    for _ in range(CALIBRATION_STEPS):
        next(steps)
    start = time.process_time()
    for _ in range(CALIBRATION_STEPS):
        next(steps)
    return (time.process_time() - start) / CALIBRATION_STEPS


def measure(
    arm: str, table: Table, seconds: float, per_step: float, args: argparse.Namespace
) -> dict[str, Any]:
    """Train an arm for about so many processor seconds and evaluate it."""
    steps = max(1, round(seconds / per_step))
    model, fields = made(arm, table)
    begins = [] if model.adaptation is None else model.adaptation.lines(arm.partition(",")[0])
    start = time.process_time()
    for _ in train(model, table, Plan(steps=steps, seed=args.seed, save_seconds=1e9, **fields)):
        pass
    used = time.process_time() - start
    report = evaluate(model.eval(), table, n=args.n, seed=args.seed, likelihood_rows=0, steps=args.steps)
    return {"seconds": used, "steps": steps, "begins": begins, "report": report.to_json()}


def values_of(cell: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Metric -> its result in a cell."""
    return {result["name"]: result for result in cell["report"]["results"]}


def print_table(
    cells: dict[str, dict[str, Any]], data: str, arms: Sequence[str], seconds: Sequence[float]
) -> None:
    """The metrics of every training."""
    print(f"\n{data:30} {'seconds':>8} {'steps':>6}", *(f"{name:>34}" for name in METRICS))
    for arm in arms:
        for budget in seconds:
            if cell := cells.get(cell_name(arm, budget)):
                results = values_of(cell)
                shown = (format_estimate(results[name]["value"]) for name in METRICS if name in results)
                print(
                    f"{arm:30} {cell['seconds']:8.0f} {cell['steps']:6d}", *(f"{text:>34}" for text in shown)
                )


def format_estimate(value: dict[str, Any]) -> str:
    return f"{value['value']:.3g} [{value['low']:.3g}, {value['high']:.3g}]"


def print_equal_quality(
    cells: dict[str, dict[str, Any]], data: str, arms: Sequence[str], seconds: Sequence[float]
) -> None:
    """Seconds from scratch to the quality of each training that began with a run."""
    scratch = [cells[key] for budget in seconds if (key := cell_name(SCRATCH, budget)) in cells]
    for arm in (arm for arm in arms if arm.partition(",")[0] != SCRATCH):
        for budget in seconds:
            if cell := cells.get(cell_name(arm, budget)):
                for name, lower in METRICS.items():
                    if name in values_of(cell):
                        equal = seconds_to_reach(
                            scratch, name, values_of(cell)[name]["value"]["value"], lower
                        )
                        print(f"{data}, {arm}, {cell['seconds']:.0f} s, {name}: from scratch {equal}")


def seconds_to_reach(cells: Sequence[dict[str, Any]], name: str, value: float, lower: bool) -> str:
    """The seconds at which the best so far of a series of trainings reaches a value."""
    sign, last = (1 if lower else -1), None
    for cell in cells:
        reached = sign * values_of(cell)[name]["value"]["value"]
        if reached <= sign * value:
            if last is None:
                return f"at most {cell['seconds']:.0f} s"
            before, seconds = last
            share = (before - sign * value) / (before - reached) if before > reached else 1.0
            return f"{math.exp(math.log(seconds) + share * math.log(cell['seconds'] / seconds)):.0f} s"
        last = (
            (reached, cell["seconds"]) if last is None or reached <= last[0] else (last[0], cell["seconds"])
        )
    return "more than " + (f"{cells[-1]['seconds']:.0f} s" if cells else "was measured")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", choices=list(DATA))
    parser.add_argument("--arms", nargs="+", default=[SCRATCH, "emoji"])
    parser.add_argument("--seconds", type=float, nargs="+", default=[100, 300, 900, 2700])
    parser.add_argument("--rows", type=int, default=2000, help="training rows (default 2,000)")
    parser.add_argument("--n", type=int, default=500, help="held-out rows of the evaluation (default 500)")
    parser.add_argument("--steps", type=int, default=8, help="of sampling (default 8)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the JSON (default runs)")
    parser.add_argument(
        "--report", action="store_true", help="print the tables of what there is; train nothing"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tune_malloc()
    for data in args.data:
        cells = run(data, args)
        print_table(cells, data, args.arms, args.seconds)
        print_equal_quality(cells, data, args.arms, args.seconds)


def run(data: str, args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The trainings of a data set, each by its arm and seconds; those that the JSON lacks are done and added."""
    settings = {name: getattr(args, name) for name in ("rows", "n", "steps", "seed", "threads")}
    path = args.out / f"fine_tuning_{data}.json"
    state = json.loads(path.read_text()) if path.exists() else {"settings": settings, "cells": {}}
    if state["settings"] != settings:
        raise SystemExit(f"{path} has other settings, {state['settings']}; give another --out")
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = [(arm, budget) for budget in args.seconds for arm in args.arms]
    missing = [pair for pair in wanted if cell_name(*pair) not in state["cells"]]
    if missing and not args.report:
        table = DATA[data](args.rows)
        per_step = {arm: seconds_per_step(arm, table) for arm, _ in dict(missing).items()}
        for arm, budget in missing:
            cell = measure(arm, table, budget, per_step[arm], args)
            state["cells"][cell_name(arm, budget)] = cell
            path.write_text(json.dumps(state, indent=1) + "\n")
            print(f"{data}, {arm}, {budget:g}: {cell['seconds']:.0f} s", flush=True)
    return state["cells"]


def cell_name(arm: str, budget: float) -> str:
    return f"{arm} {budget:g}"


if __name__ == "__main__":
    main()
