"""Write the model that comes with the package, likewise/pretrained/emoji, from a run.

    python recipes/emoji_ship.py runs/emoji [--out likewise/pretrained/emoji]

Weights are stored as bfloat16, half the size; how much that changes samples is printed. The card, README.md, is
written by hand from the report of recipes/emoji_evaluate.py, which is copied.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np

from likewise import Model
from likewise.evaluation.reference import class_names
from likewise.models.checkpoint import PRETRAINED, load_weights, save_weights

REPORT = "heldout.json"  # of recipes/emoji_evaluate.py


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=PRETRAINED / "emoji")
    args = parser.parse_args()
    state, weights = load_weights(args.run)
    del state["format"]  # save_weights adds it
    save_weights(args.out, state, {name: weight.bfloat16() for name, weight in weights.items()})
    shutil.copy(args.run / REPORT, args.out / REPORT)
    before, after = Model.load(args.run), Model.load(args.out)
    styles = class_names(before.columns["style"])
    sources = [{"text": "red apple", "style": style} for style in styles]
    a, b = (np.stack([np.asarray(row["image"], float) for row in m.sample(sources)]) for m in (before, after))
    size = sum(file.stat().st_size for file in args.out.iterdir())
    print(
        f"{args.out}: {size / 1e6:.1f} MB; bfloat16 changes pixels by {abs(a - b).mean():.2f} of 255, on "
        "average"
    )


if __name__ == "__main__":
    main()
