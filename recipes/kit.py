"""What the recipes share: learn a model or go on with it, and draw what is asked in one picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from likewise import Model, Plan, Table, evaluate
from likewise.cli.progress import train_with_progress
from likewise.evaluation.reference import encode_images
from likewise.evaluation.report import Report
from likewise.evaluation.tasks.variations import variations
from likewise.modalities.base import Row
from likewise.models.checkpoint import MODEL, resolve_run
from likewise.models.pipeline import Pipeline
from likewise.viz import images

EMOJI_JUDGE = Path("runs/emoji-judge")  # of emoji_judge.py, if it is there

PROMPTS = {
    "icons": (
        "truck",
        "heart outline",
        "account plus",
        "bell alert",
        "file document",
        "weather rainy",
        "arrow down circle",
        "home minus",
    ),
    "emoji": ("red apple", "red heart", "cat face", "grinning face", "automobile", "sun", "star", "pizza"),
}


def asked(about: str | None, minutes: float, data: str = "icons", first: bool = False) -> argparse.Namespace:
    """The command line of a recipe: data, minutes of training of each part, the folder, rows to judge on.

    `first`: whether it can begin with a run.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=data, help=f"a source with image and text (default {data})")
    parser.add_argument("--minutes", type=float, default=minutes, help=f"of each part (default {minutes:g})")
    parser.add_argument("--out", type=Path, help="folder of the runs (default runs/systems/RECIPE)")
    parser.add_argument("--n", type=int, default=300, help="held-out rows to judge on (default 300)")
    if first:
        parser.add_argument("--from", dest="first", metavar="RUN", help="begin with a run, on its data")
    parser.add_argument("--picture", type=Path, help="where the picture goes (default into the folder)")
    return parser.parse_args()


def learn(
    formula: str,
    table: Table,
    folder: Path,
    minutes: float,
    family: str = "flow",
    first: str | None = None,
    **options: Any,
) -> Model:
    """P(formula), trained into `folder`, or as it is there already; an interrupted training goes on.

    With `first` it is a run that is trained on.
    """
    begun = (folder / MODEL).exists()
    model = (
        Model.load(folder)
        if begun
        else Model.load(resolve_run(first), **options)
        if first
        else Model(formula, table.columns, family, **options)
    )
    print(f"P({model.formula}), {model.family_name}: {folder}", flush=True)
    result = train_with_progress(model, table, Plan(minutes=minutes), folder, resume=begun)
    if result.interrupted:
        raise SystemExit("stopped; the same command goes on")
    return model.eval()


def show(
    model: Model | Pipeline, prompts: Sequence[str], path: Path, n: int = 4, **sampling_options: Any
) -> None:
    """`n` draws of each prompt, a prompt a line; what lies on the way to a picture stands before it."""
    rows = [{"text": prompt} for prompt in prompts for _ in range(n)]
    drawn = model.sample(rows, seed=0, indices=list(range(n)) * len(prompts), **sampling_options)
    steps = [t for link in getattr(model, "links", {"": model}).values() for t in link.targets]
    names = [t for t in steps if not hasattr(drawn[0][t], "ndim")]
    captions = [prompt if i % n == 0 else "" for i, prompt in enumerate(p for p in prompts for _ in range(n))]
    images.save(images.sheet(model.target_columns, drawn, names, captions, n), path)
    print(f"picture: {path}")


def judge(model: Model | Pipeline, table: Table, folder: Path, n: int, **sampling_options: Any) -> None:
    """The report of `likewise evaluate`, beside the model."""
    report = evaluate(model, table, n=n, likelihood_rows=0, **sampling_options)
    (folder / "report.txt").write_text(f"{report}\n")
    print(report)


def vary(chain: Pipeline, upsampler: Model, table: Table, folder: Path, n: int, each: int = 4) -> None:
    """Variations of `n` pictures held out through image@clip: what stays, what changes, and how they look."""
    rows = images.evenly_spaced(table.test, n)
    drawn = chain.sample([{"image@clip": row["image"]} for row in rows for _ in range(each)])
    large = upsampler.sample([{"image[size=12]": row["image"]} for row in rows])
    real, varied, best = (
        encode_images(table, "image", [row["image"] for row in of]) for of in (rows, drawn, large)
    )
    lines = variations(real, varied.reshape(len(rows), each, *varied.shape[1:]), best)
    report = Report(str(chain.formula), table.source, len(rows), each, 0, {}, tuple(lines))
    (folder / "variations.txt").write_text(f"{report}\n")
    print(report)
    cells = [of for i, row in enumerate(rows[:8]) for of in (row, *drawn[each * i : each * (i + 1)])]
    captions = [row["text"] if k == 0 else "" for row in rows[:8] for k in range(each + 1)]
    images.save(images.sheet(table.columns, cells, ["image"], captions, each + 1), folder / "variations.png")
    if table.source == "emoji" and EMOJI_JUDGE.exists():
        same_emoji({"variations": drawn, "upsampled": large, "originals": rows}, rows)


def same_emoji(groups: dict[str, Sequence[Row]], rows: Sequence[Row]) -> None:
    """How often a judge sees the same emoji and style in pictures, as many of each group for each of `rows`.

    Only of rows that the judge has not learned from: see emoji_judge.
    """
    from emoji_evaluate import judged
    from emoji_judge import Judge

    eye, about = Judge.load(EMOJI_JUDGE)
    apart = {(emoji, style) for emoji, style, _ in about["unseen"]}
    kept = [i for i, row in enumerate(rows) if (row["concept"], row["style"]) in apart]
    for name, of in groups.items():
        each = len(of) // len(rows)
        shown = [of[each * i + k]["image"] for i in kept for k in range(each)]
        truth = [rows[i] for i in kept for _ in range(each)]
        found = judged(eye, shown, truth, np.random.default_rng(0))
        print(f"{name}, of {len(kept)} emoji: " + ", ".join(f"{k} {v}" for k, v in found.items()))
