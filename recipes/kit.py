"""What the recipes share: learn a model or go on with it, and draw what is asked in one picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from likewise import Model, Plan, Table, evaluate, pictures
from likewise.chain import Chain
from likewise.checkpoint import MODEL
from likewise.progress import follow

PROMPTS = {
    "icons": ("truck", "heart outline", "account plus", "bell alert", "file document", "weather rainy",
              "arrow down circle", "home minus"),
    "emoji": ("red apple", "red heart", "cat face", "grinning face", "automobile", "sun", "star", "pizza"),
}


def asked(about: str | None, minutes: float, data: str = "icons") -> argparse.Namespace:
    """The command line of a recipe: data, minutes of training of each part, the folder, rows to judge on."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=data, help=f"a source with image and text (default {data})")
    parser.add_argument("--minutes", type=float, default=minutes, help=f"of each part (default {minutes:g})")
    parser.add_argument("--out", type=Path, help="folder of the runs (default runs/systems/RECIPE)")
    parser.add_argument("--n", type=int, default=300, help="held-out rows to judge on (default 300)")
    parser.add_argument("--picture", type=Path, help="where the picture goes (default into the folder)")
    return parser.parse_args()


def learn(formula: str, table: Table, folder: Path, minutes: float, family: str = "flow",
          **options: Any) -> Model:
    """P(formula), trained into `folder`, or as it is there already; an interrupted training goes on."""
    begun = (folder / MODEL).exists()
    model = Model.load(folder) if begun else Model(formula, table.columns, family, **options)
    print(f"P({formula}), {model.family_name}: {folder}", flush=True)
    ending = follow(model, table, Plan(minutes=minutes), folder, resume=begun)
    if ending.stopped:
        raise SystemExit("stopped; the same command goes on")
    return model.eval()


def show(model: Model | Chain, prompts: Sequence[str], path: Path, n: int = 4, **knobs: Any) -> None:
    """`n` draws of each prompt, a prompt a line; what lies on the way to a picture stands before it."""
    rows = [{"text": prompt} for prompt in prompts for _ in range(n)]
    drawn = model.sample(rows, seed=0, indices=list(range(n)) * len(prompts), **knobs)
    steps = [t for link in getattr(model, "links", {"": model}).values() for t in link.targets]
    names = [t for t in steps if not hasattr(drawn[0][t], "ndim")]
    captions = [prompt if i % n == 0 else "" for i, prompt in enumerate(p for p in prompts for _ in range(n))]
    pictures.save(pictures.sheet(drawn, names, captions, n), path)
    print(f"picture: {path}")


def judge(model: Model | Chain, table: Table, folder: Path, n: int, **knobs: Any) -> None:
    """The report of `likewise evaluate`, beside the model."""
    report = evaluate(model, table, n=n, likelihood_rows=0, **knobs)
    (folder / "report.txt").write_text(f"{report}\n")
    print(report)
