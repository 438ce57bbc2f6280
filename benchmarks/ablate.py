"""The effect of single options: train one formula under several settings and evaluate each alike.

    python benchmarks/ablate.py icons "image | text" --steps 300 "" t_mean=0,t_std=1.2 width=256 batch=128
    python benchmarks/ablate.py my.txt text --minutes 3 "" hashed_ngrams=8192 width=256,depth=6 vocabulary=1024

A setting is options of the family, options of the target's column, and fields of Plan, by name; "" is the
defaults. All settings see the same rows in the same order and are evaluated by likewise.evaluate with the same
seed; for running text only by bits per byte. With --minutes instead of --steps they have equal wall time.
"""

from __future__ import annotations

import argparse
import ast
import time
from typing import Any

from likewise import Model, Plan, Table, evaluate, train
from likewise.evaluation.metrics.bits_per_byte import bits_per_byte, held_out_rows
from likewise.evaluation.report import Report
from likewise.families.registry import family_class
from likewise.modalities import KINDS


def parse(setting: str) -> dict[str, Any]:
    """ "width=256,stem=patch" -> {"width": 256, "stem": "patch"}"""
    options: dict[str, Any] = {}
    for part in filter(None, setting.split(",")):
        name, value = part.split("=")
        try:
            options[name.strip()] = ast.literal_eval(value)
        except ValueError:
            options[name.strip()] = value
    return options


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("formula")
    parser.add_argument("settings", nargs="+")
    parser.add_argument("--family", help="default: the default family of the formula")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--holdout", type=float, help="share of the rows; 0.75 leaves a quarter for training")
    parser.add_argument("--n", type=int, default=250)
    args = parser.parse_args()
    default_table = Table.open(args.data, holdout=args.holdout)
    default_model = Model(args.formula, default_table.columns, args.family)
    [target, *_], family = default_model.targets, default_model.family_name
    of_family, of_column = family_class(family).options(), KINDS[default_table.columns[target].kind].options()
    for setting in args.settings:
        values = parse(setting)
        options = {k: v for k, v in values.items() if k in of_family}
        column_options = {k: v for k, v in values.items() if k in of_column and k not in of_family}
        fields = {k: v for k, v in values.items() if k not in {**options, **column_options}}
        table = default_table
        if column_options:
            table = Table.open(args.data, options=column_options, holdout=args.holdout)
        table.train.encoded(target)  # before the training time starts
        plan = Plan(steps=args.steps, minutes=args.minutes, save_seconds=1e9, **fields)
        model = Model(args.formula, table.columns, family, **options)
        rows, start = plan.rows_per_step(model.family), time.perf_counter()
        for step in train(model, table, plan):
            last = step
        seconds = time.perf_counter() - start
        print(
            f"== {setting or 'defaults'}: {last.step} steps of {rows} rows in {seconds:.0f} s, "
            f"{last.step * rows / seconds:.0f} rows/s",
            flush=True,
        )
        print(evaluation(model, table, args.n), flush=True)


def evaluation(model: Model, table: Table, n: int) -> Report | str:
    """The report of `likewise evaluate`; for running text, whose sampling takes long, only bits per byte."""
    [target, *_] = model.targets
    if not table.columns[target].spec.windowed:
        return evaluate(model, table, n=n)
    result = bits_per_byte(model, held_out_rows(table, target), table.train.column(target))
    size = sum(p.numel() for p in model.parameters())
    return f"{result.name} {result.value}, xz {result.baseline}; {size:,} parameters"


if __name__ == "__main__":
    main()
