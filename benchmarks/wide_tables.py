"""The cost of a row by its number of columns: CPU-seconds of training and sampling, for every family.

    python benchmarks/wide_tables.py [--columns 10,30,100] [--families flow,...] [--kinds number,label] [--steps 3]

Columns are targets of one token each: numbers that share a factor, or labels of five classes that do. CPU-seconds of
all threads are divided by rows, after a step or a sample that is not counted. `exponent` is the slope of log cost over
log columns between the last two numbers of columns: 1 is linear.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from likewise import Model, Plan, Table
from likewise.families.registry import FAMILIES, sampling_families
from likewise.training.process import tune_malloc
from likewise.training.trainer import train

ROWS, SAMPLES, BATCH = 512, 32, 96


def table_of(kind: str, columns: int) -> Table:
    """Rows of numbers or labels that share one factor."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(ROWS, 1)) + rng.normal(size=(ROWS, columns))
    if kind == "label":
        values = np.digitize(values, [-1.5, -0.5, 0.5, 1.5]).astype(str)
    names = [f"c{i}" for i in range(columns)]
    rows = [dict(zip(names, row.tolist(), strict=True)) for row in values]
    return Table.from_rows(rows, dict.fromkeys(names, kind), holdout=0.0)


def cpu_seconds(function: Callable[[], object]) -> float:
    """CPU-seconds of all threads of this process."""
    start = time.process_time()
    function()
    return time.process_time() - start


def costs(family: str, kind: str, columns: int, steps: int) -> dict[str, Any]:
    """Milliseconds of CPU for each row of a training step and for each sample."""
    table = table_of(kind, columns)
    model = Model(", ".join(table.columns), table.columns, family)
    training = train(model, table, Plan(steps=steps + 1, batch=BATCH, save_seconds=1e9))
    next(training)  # with the initialisation from data
    step = cpu_seconds(lambda: [next(training) for _ in range(steps)]) / steps
    training.close()
    model.sample([{}] * 2)
    sample = cpu_seconds(lambda: model.sample([{}] * SAMPLES))
    return {
        "family": family,
        "kind": kind,
        "columns": columns,
        "train_ms_per_row": round(1e3 * step / BATCH, 3),
        "sample_ms_per_row": round(1e3 * sample / SAMPLES, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    able = [name for name in FAMILIES if name in sampling_families()]
    parser.add_argument("--columns", default="10,30,100")
    parser.add_argument("--families", default=",".join(able))
    parser.add_argument("--kinds", default="number,label")
    parser.add_argument("--steps", type=int, default=3)
    args = parser.parse_args()
    tune_malloc()
    counts = [int(n) for n in args.columns.split(",")]
    for family, kind in itertools.product(args.families.split(","), args.kinds.split(",")):
        before: dict[str, Any] | None = None
        for columns in counts:
            result = costs(family, kind, columns, args.steps)
            if before is not None:
                widths = math.log(columns / before["columns"])
                for name in ("train", "sample"):
                    ratio = result[f"{name}_ms_per_row"] / before[f"{name}_ms_per_row"]
                    result[f"{name}_exponent"] = round(math.log(ratio) / widths, 2)
            print(json.dumps(result), flush=True)
            before = result


if __name__ == "__main__":
    main()
