"""Draw emoji from words; then learn to draw digits, P(image | label), in two minutes, and measure it."""

from __future__ import annotations

import itertools
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from likewise.cli.commands.train import report
from likewise.cli.flags import Parser
from likewise.cli.progress import SAMPLES, train_with_progress
from likewise.data.table import Table
from likewise.evaluation.evaluator import evaluate
from likewise.models.checkpoint import PRETRAINED
from likewise.models.io import load
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.viz import images

TEXTS = ("red apple", "red heart", "grinning face", "cat face")
STYLES = ("noto", "twemoji", "flat", "blob")
EACH = 6  # lines of the grid, one digit of every label in each


def run(argv: Sequence[str]) -> int:
    """`likewise demo`."""
    parser = Parser("demo", __doc__, usage="likewise demo [options]")
    parser.add_argument("--minutes", type=float, default=2.0, metavar="X", help="of training (default 2)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="RUN",
        help="the folder of the run (default runs/digits, or the next name that is free)",
    )
    args = parser.read(argv)
    folder = args.out or free(Path("runs") / "digits")
    emoji(folder.with_name("emoji.png"))
    table = Table.open("digits")
    model = Model("image | label", table.columns)
    classes = table.columns["label"].classes
    print(f"learning P(image | label) from {len(table.train):,} digits, {args.minutes:g} minutes")
    ending = train_with_progress(
        model,
        table,
        Plan(minutes=args.minutes),
        folder,
        across=len(classes),
        rows=[{"label": c} for c in classes * EACH],
    )
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


def emoji(path: Path) -> None:
    """A picture of prompts, drawn by the model that comes with the package."""
    model, began = load(PRETRAINED / "emoji"), time.perf_counter()
    asked = [{"text": text, "style": style} for text in TEXTS for style in STYLES]
    drawn = model.sample(asked, seed=0)
    seconds = time.perf_counter() - began
    captions = [images.caption(row, ["text", "style"]) for row in asked]
    images.save(images.sheet(model.columns, drawn, ["image"], captions, len(STYLES)), path)
    print(
        f"P(image | text, style), which comes trained: {len(drawn)} pictures in {seconds:.1f} s, {path}\n"
        '  likewise sample emoji "a red apple, flat style"\n'
    )


def free(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3, ... that is not there yet."""
    others = (folder.with_name(f"{folder.name}-{i}") for i in itertools.count(2))
    return next(p for p in itertools.chain([folder], others) if not p.exists())
