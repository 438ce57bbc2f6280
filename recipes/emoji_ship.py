"""Write the model that comes with the package, likewise/models/emoji, from a run.

    python recipes/emoji_ship.py runs/emoji [--out likewise/models/emoji]

Weights are stored as bfloat16, half the size; how much that moves what is drawn is printed. The card,
README.md, is written by hand from what recipes/emoji_evaluate.py found; its report goes along.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np

from likewise import Model
from likewise.models.checkpoint import PRETRAINED, load_weights, save_weights

REPORT = "heldout.json"  # of recipes/emoji_evaluate.py


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=PRETRAINED / "emoji")
    args = parser.parse_args()
    state, weights = load_weights(args.run)
    del state["format"]  # which is written anew
    save_weights(args.out, state, {name: weight.bfloat16() for name, weight in weights.items()})
    shutil.copy(args.run / REPORT, args.out / REPORT)
    before, after = Model.load(args.run), Model.load(args.out)
    asked = [{"text": "red apple", "style": style} for style in before.columns["style"].classes]
    a, b = (np.stack([np.asarray(row["image"], float) for row in m.sample(asked)]) for m in (before, after))
    size = sum(file.stat().st_size for file in args.out.iterdir())
    print(
        f"{args.out}: {size / 1e6:.1f} MB; bfloat16 moves pixels by {abs(a - b).mean():.2f} of 255, on "
        "average"
    )


if __name__ == "__main__":
    main()
