"""The bound of log p of images: bits/dim by the lowest noise level, for flow and settings of diffusion.

    python benchmarks/bound.py digits "image | label" --steps 250 flow diffusion diffusion,predict=noise

A setting is a family and its options. All are trained on the same rows in the same order for as many steps,
and scored by Model.log_prob on the same held-out rows with the same noise. With --minutes they have equal
wall time instead.
"""

from __future__ import annotations

import argparse

from ablate import parse

from likewise import Model, Plan, Table, train
from likewise.training.process import tune_malloc
from likewise.viz.images import evenly_spaced

FLOORS = (0.001, 0.002, 0.004, 0.01, 0.03, 0.07, 0.1, 0.15)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("formula")
    parser.add_argument("settings", nargs="+")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--rows", type=int, default=200, help="held-out rows that are scored")
    parser.add_argument("--draws", type=int, default=32, help="noise levels of the bound")
    args = parser.parse_args()
    tune_malloc()
    table = Table.open(args.data)
    rows = evenly_spaced(table.test, args.rows)
    print(f"{'bits/dim down to t =':34}", *(f"{floor:8g}" for floor in FLOORS))
    for setting in args.settings:
        family, _, settings = setting.partition(",")
        options = {"width": args.width, "depth": args.depth, **parse(settings)}
        model = Model(args.formula, table.columns, family, **options)
        for _ in train(model, table, Plan(steps=args.steps, minutes=args.minutes, save_seconds=1e9)):
            pass
        model.eval()
        scores = (model.log_prob(rows, method="bound", floor=floor, draws=args.draws) for floor in FLOORS)
        print(f"{setting:34}", *(f"{float(score.bits_per_dim.mean()):8.2f}" for score in scores), flush=True)


if __name__ == "__main__":
    main()
