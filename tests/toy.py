"""The toy world: four things with a picture, a label, a word and a number each, so that truth is known.

thing   picture (10 x 10, grey, moved by up to a pixel, noisy)   label   text       number
0       a disc in the upper left corner                          "0"     "a disc"   -3 +- 0.3
1       a square in the upper right corner                       "1"     "box"      -1 +- 0.3
2       a frame in the lower left corner                         "2"     "ring"      1 +- 0.3
3       a cross in the lower right corner                        "3"     "x"         3 +- 0.3
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from likewise.data.table import Table
from likewise.models.model import Model
from likewise.training.distributed import shutdown
from likewise.training.plan import Plan
from likewise.training.trainer import train

SIZE = 10
WORDS = ("a disc", "box", "ring", "x")
MEANS = (-3.0, -1.0, 1.0, 3.0)
SPREAD = 0.3


def picture(thing: int, dy: int = 0, dx: int = 0, size: int = SIZE) -> np.ndarray:
    """The clean picture of a thing, moved: (size, size) in {-1, 1}."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    y = y - dy + (1 if thing < 2 else -1) * size / 4
    x = x - dx + (-1 if thing % 2 else 1) * size / 4
    reach = size / 4 - 0.3
    square = np.maximum(abs(x), abs(y)) <= reach
    drawn = (
        np.hypot(x, y) <= reach,
        square,
        square & (np.maximum(abs(x), abs(y)) > reach - 1),
        square & (abs(abs(x) - abs(y)) < 0.6),
    )[thing]
    return np.where(drawn, 1.0, -1.0)


def rows(count: int, seed: int = 0, size: int = SIZE) -> list[dict[str, Any]]:
    """`count` rows, the things in turn."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        thing = i % 4
        pixels = picture(thing, *rng.integers(-1, 2, 2), size=size) * 0.8 + rng.normal(0, 0.1, (size, size))
        made.append(
            {
                "image": PIL.Image.fromarray(((pixels + 1) * 127.5).round().clip(0, 255).astype(np.uint8)),
                "label": str(thing),
                "text": WORDS[thing],
                "number": MEANS[thing] + SPREAD * float(rng.normal()),
            }
        )
    return made


def table(
    count: int = 256, seed: int = 0, size: int = SIZE, holdout: float = 0.0, number: str = "number"
) -> Table:
    """The toy world as a table; `number` is the kind of that column."""
    kinds = {"image": "image", "label": "label", "text": "text", "number": number}
    return Table.from_rows(rows(count, seed, size), kinds, holdout=holdout)


def folder(path: Path, count: int) -> None:
    """Pictures and labels as files."""
    path.mkdir()
    lines = ["file_name,label"]
    for i, row in enumerate(rows(count)):
        row["image"].save(path / f"{i}.png")
        lines.append(f"{i}.png,{row['label']}")
    (path / "metadata.csv").write_text("\n".join(lines))


def seen(image: PIL.Image.Image) -> int:
    """Which thing a picture shows: the template, over all moves, that it correlates with most."""
    pixels = np.asarray(image, dtype=float).ravel()
    pixels = (pixels - pixels.mean()) / (pixels.std() + 1e-6)
    best = []
    for thing in range(4):
        moved = [picture(thing, dy, dx, image.width).ravel() for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        best.append(max(float((pixels * (m - m.mean()) / m.std()).mean()) for m in moved))
    return int(np.argmax(best))


def number_seen(value: float) -> int:
    """Which thing a number is of: the nearest mean."""
    return int(np.argmin([abs(value - mean) for mean in MEANS]))


def thing(column: str, value: Any) -> int:
    """Which thing a value of a column stands for; -1 for a text that names none."""
    if column == "image":
        return seen(value)
    if column == "number":
        return number_seen(value)
    return int(value) if column == "label" else WORDS.index(value) if value in WORDS else -1


def agreement(things: Sequence[int], column: str, drawn: Sequence[dict[str, Any]]) -> float:
    """The share of drawn rows whose `column` is of the thing asked for."""
    return float(
        np.mean([thing(column, row[column]) == asked for asked, row in zip(things, drawn, strict=True)])
    )


def outside_links(html: str) -> list[str]:
    """The addresses of other hosts that a page loads or links to."""
    return re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?((?:[a-z]+:)?//[^"'\s>)]+)""", html, re.IGNORECASE)


def trained(model: Model, table: Table, steps: int, batch: int = 64) -> Model:
    """The model after so many steps, to be drawn from."""
    for _ in train(model, table, Plan(steps=steps, batch=batch, precision="float32", save_seconds=1e9)):
        pass
    return model.eval()


def run(
    folder: str, steps: int, resume: bool = False, formula: str = "image, number | label", **plan: Any
) -> list[float]:
    """Train a tiny model on the toy world up to `steps` of 12; the losses, printed as they come."""
    data = table(32)
    model = Model(formula, data.columns, width=32, depth=1)
    losses = []
    stepper = train(
        model,
        data,
        Plan(**{"steps": 12, "batch": 8, "precision": "float32", "warmup": 4, **plan}),
        folder,
        resume=resume,
    )
    for step in stepper:
        losses.append(step.loss)
        print(step.step, f"{step.loss:.9f}", flush=True)
        if step.step == steps:
            stepper.close()
    return losses


if __name__ == "__main__":  # a process of its own, to be killed, or one of several under torchrun
    torch.set_num_threads(1)
    for where, options in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        run(where, 12, **json.loads(options))
    shutdown()
