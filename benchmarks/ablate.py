"""What one choice is worth: train the same formula under several settings, judge each alike.

    python benchmarks/ablate.py icons "image | text" --steps 300 "" t_mean=0,t_std=1.2 width=256 batch=128
    python benchmarks/ablate.py my.txt text --minutes 3 "" hashed_ngrams=8192 width=256,depth=6 vocabulary=1024

A setting is options of the family, of how a text is read, and fields of Plan, by name; "" is the defaults.
All settings see the same rows in the same order, and the judge is likewise.evaluate with the same seed; of
running text it is bits a byte alone. With --minutes instead of --steps they have equal wall time.
"""

from __future__ import annotations

import argparse
import ast
import time

from likewise import Model, Plan, Table, evaluate, train
from likewise.evaluation.metrics.bits_per_byte import bits_per_byte, held_out_rows
from likewise.evaluation.report import Report
from likewise.families.registry import family_class
from likewise.modalities import KINDS


def parse(setting: str) -> dict[str, object]:
    """ "width=256,stem=patch" -> {"width": 256, "stem": "patch"}"""
    found = {}
    for part in filter(None, setting.split(",")):
        name, value = part.split("=")
        try:
            found[name.strip()] = ast.literal_eval(value)
        except ValueError:
            found[name.strip()] = value
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("formula")
    parser.add_argument("settings", nargs="+")
    parser.add_argument("--family", help="default: what the formula has by itself")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--holdout", type=float, help="of the rows; 0.75 leaves a quarter to learn from")
    parser.add_argument("--n", type=int, default=250)
    args = parser.parse_args()
    first = Table.open(args.data, holdout=args.holdout)
    usual = Model(args.formula, first.columns, args.family)
    [target, *_], family = usual.targets, usual.family_name
    known, reads = family_class(family).options(), KINDS[first.columns[target].kind].options()
    for setting in args.settings:
        given = parse(setting)
        options = {k: v for k, v in given.items() if k in known}
        read = {k: v for k, v in given.items() if k in reads and k not in known}
        fields = {k: v for k, v in given.items() if k not in {**options, **read}}
        table = Table.open(args.data, options=read, holdout=args.holdout) if read else first
        table.train.encoded(target)  # once, and not on the setting's clock
        plan = Plan(steps=args.steps, minutes=args.minutes, save_seconds=1e9, **fields)
        model = Model(args.formula, table.columns, family, **options)
        rows, began = plan.rows_per_step(model.family), time.perf_counter()
        for step in train(model, table, plan):
            last = step
        seconds = time.perf_counter() - began
        print(
            f"== {setting or 'defaults'}: {last.step} steps of {rows} rows in {seconds:.0f} s, "
            f"{last.step * rows / seconds:.0f} rows/s",
            flush=True,
        )
        print(judged(model, table, args.n), flush=True)


def judged(model: Model, table: Table, n: int) -> Report | str:
    """All that `likewise evaluate` says; of running text, of which many draws would take long, its bits."""
    [target, *_] = model.targets
    if not table.columns[target].spec.windowed:
        return evaluate(model, table, n=n)
    line = bits_per_byte(model, held_out_rows(table, target), table.train.column(target))
    size = sum(p.numel() for p in model.parameters())
    return f"{line.name} {line.value}, xz {line.baseline}; {size:,} parameters"


if __name__ == "__main__":
    main()
