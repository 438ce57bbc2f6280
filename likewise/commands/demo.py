"""Learn to draw digits, P(image | label), in about two minutes, and measure how well they can be read."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from pathlib import Path

from likewise.commands.train import report
from likewise.evaluation import evaluate
from likewise.flags import Parser
from likewise.model import Model
from likewise.progress import SAMPLES, follow
from likewise.table import Table
from likewise.training import Plan

EACH = 6        # lines of the grid, one digit of every label in each


def run(argv: Sequence[str]) -> int:
    """`likewise demo`."""
    parser = Parser("demo", __doc__, usage="likewise demo [options]")
    parser.add_argument("--minutes", type=float, default=2.0, metavar="X", help="of training (default 2)")
    parser.add_argument("--out", type=Path, metavar="RUN",
                        help="the folder of the run (default runs/digits, or the next name that is free)")
    args = parser.read(argv)
    folder = args.out or free(Path("runs") / "digits")
    table = Table.open("digits")
    model = Model("image | label", table.columns)
    classes = table.columns["label"].classes
    print(f"learning P(image | label) from {len(table.train):,} digits, {args.minutes:g} minutes")
    ending = follow(model, table, Plan(minutes=args.minutes), folder, across=len(classes),
                    rows=[{"label": c} for c in classes * EACH])
    if ending.stopped or ending.step is None:
        return report(ending, model, table, folder)
    print(f"{ending.step.step:,} steps; the digits it draws, a column for each label: {folder / SAMPLES}\n")
    agreement = evaluate(model, table)["image ~ label: accuracy"]
    where = shlex.quote(str(folder))
    print(f"""agreement: how often a classifier that has seen only real digits reads the label asked for
  drawn digits  {agreement.value}
  real digits   {agreement.real}

now try:
  likewise sample {where} --given label=7 -n 8
  likewise evaluate {where}
  likewise train icons "image | text" --minutes 10""")
    return 0


def free(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3, ... that is not there yet."""
    others = (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(2))
    return next(p for p in itertools.chain([folder], others) if not p.exists())
