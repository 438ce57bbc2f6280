"""Sample emoji from a pretrained model; then train a model of digits, P(image | label), and evaluate it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from likewise.cli.commands.train import print_result
from likewise.cli.destination import file_to_write
from likewise.cli.flags import Parser
from likewise.cli.progress import SAMPLES, train_with_progress
from likewise.core.files import unused_path
from likewise.core.ranges import Minutes
from likewise.data.table import Table
from likewise.evaluation.evaluator import evaluate
from likewise.models.checkpoint import PRETRAINED, require_unused
from likewise.models.io import load
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.viz import images

TEXTS = ("red apple", "red heart", "grinning face", "cat face")
STYLES = ("noto", "twemoji", "flat", "blob")
LINES = 6  # of the sheet of digits, with one digit of every label in each
MIN_STEPS = 200  # of the training; fewer are said to be few


def run(argv: Sequence[str]) -> int:
    """`likewise demo`."""
    parser = Parser("demo", __doc__, usage="likewise demo [options]")
    parser.add_value_option("--minutes", annotation=Minutes, default=2.0, about="training time of the digits")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="RUN",
        help="the folder of the run (default runs/digits, or the first of runs/digits-2, ... that is free)",
    )
    args = parser.parse(argv)
    folder = args.out or unused_path(Path("runs") / "digits")
    require_unused(folder)
    sample_emoji(file_to_write(None, folder.with_name("emoji.png"), overwrite=False))
    table = Table.open("digits")
    model = Model("image | label", table.columns)
    labels = [{"label": label} for label in sorted(set(table.train.column("label")))]
    print(f"training P(image | label) on {len(table.train):,} digits, {args.minutes:g} minutes")
    result = train_with_progress(
        model, table, Plan(minutes=args.minutes), folder, across=len(labels), rows=labels * LINES
    )
    if result.interrupted or result.step is None:
        return print_result(result, model, table, folder)
    print(f"{result.step.step:,} steps; samples, a column for each label: {folder / SAMPLES}")
    if result.step.step < MIN_STEPS:
        print(
            "these are few steps, as this computer is slow or busy; for more:\n"
            f"  likewise train --resume --out {shlex.quote(str(folder))} --minutes {10 * args.minutes:g}"
        )
    print("\nmeasuring the samples with a classifier ...", flush=True)
    accuracy = evaluate(model, table)["image ~ label: accuracy"]
    run = shlex.quote(str(folder))
    print(f"""
accuracy of a classifier that was trained on real digits:
  sampled digits  {accuracy.value}
  real digits     {accuracy.real}

now try:
  likewise sample {run} --given label=7 -n 8
  likewise evaluate {run}
  likewise train icons "image | text" --minutes 10""")
    return 0


def sample_emoji(path: Path) -> None:
    """Write a sheet of samples of the model that comes with the package."""
    model, began = load(PRETRAINED / "emoji"), time.perf_counter()
    rows = [{"text": text, "style": style} for text in TEXTS for style in STYLES]
    samples = model.sample(rows, seed=0)
    seconds = time.perf_counter() - began
    captions = [images.caption(row, model.formula.sources) for row in rows]
    images.save(images.sheet(model.columns, samples, ["image"], captions, len(STYLES)), path)
    print(
        f"P(image | text, style), a pretrained model: {len(samples)} samples in {seconds:.1f} s, {path}\n"
        '  likewise sample emoji "a red apple, flat style"\n'
    )
