"""What one choice is worth: train the same formula under several settings, judge each alike.

    python benchmarks/ablate.py icons "image | text" --steps 300 "" t_mean=0,t_std=1.2 width=256 batch=128

A setting is options of the family and fields of Plan, by name; "" is the defaults. All settings see the same
rows in the same order, and the judge is likewise.evaluate with the same seed. With --minutes instead of
--steps they have equal wall time.
"""

from __future__ import annotations

import argparse
import ast
import time

from likewise import Model, Plan, Table, evaluate, train
from likewise.families import family_class


def parse(setting: str) -> dict[str, object]:
    """ "width=256,stem=patch" -> {"width": 256, "stem": "patch"} """
    found = {}
    for part in filter(None, setting.split(",")):
        name, value = part.split("=")
        try:
            found[name.strip()] = ast.literal_eval(value)
        except ValueError:
            found[name.strip()] = value
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("formula")
    parser.add_argument("settings", nargs="+")
    parser.add_argument("--family", default="flow")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--n", type=int, default=250)
    args = parser.parse_args()
    table = Table.open(args.data)
    known = family_class(args.family).options()
    target = Model(args.formula, table.columns, args.family).targets[0]
    table.train.encoded(target)  # once, and not on the first setting's clock
    for setting in args.settings:
        given = parse(setting)
        options = {k: v for k, v in given.items() if k in known}
        fields = {k: v for k, v in given.items() if k not in known}
        plan = Plan(steps=args.steps, minutes=args.minutes, save=1e9, **fields)
        model = Model(args.formula, table.columns, args.family, **options)
        began = time.perf_counter()
        for step in train(model, table, plan):
            last = step
        seconds = time.perf_counter() - began
        print(f"== {setting or 'defaults'}: {last.step} steps of {plan.batch} rows in {seconds:.0f} s, "
              f"{last.step * plan.batch / seconds:.0f} rows/s", flush=True)
        print(evaluate(model, table, n=args.n), flush=True)


if __name__ == "__main__":
    main()
