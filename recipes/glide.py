"""GLIDE's inpainting (Nichol et al., 2022): a text describes what fills a hole in an image.

    image | text      family flow, infill=0.5: half of the training rows have known parts

GLIDE was made by training a text-to-image model further on images with holes; --from does this with a run, on
its data. Without it a model is trained from scratch.

    python recipes/glide.py --data icons --minutes 5
    python recipes/glide.py --from emoji --minutes 10
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import PIL.Image
from kit import parse_args, train_or_load

from likewise import Model, Table
from likewise.cli.tables import open_training_table
from likewise.evaluation.tasks.inpainting import InpaintingTask
from likewise.viz import images
from likewise.viz.grid import image_grid

Images = list[PIL.Image.Image]


def fill(model: Model, task: InpaintingTask) -> tuple[Images, Images]:
    """Every hole filled for the row's own text, and for the text of another row, from the same noise."""
    own, other = [], []
    for i, (row, hole) in enumerate(zip(task.rows, task.holes, strict=True)):
        visible = {n: row[n] for n in model.sources if n != "text"}  # such as a style, around the hole
        sources = [{"text": text, **visible} for text in (task.texts[i], task.other_texts[i])]
        a, b = model.sample(sources, indices=[i, i], known={"image": (row["image"], ~hole)})
        own.append(a["image"])
        other.append(b["image"])
    return own, other


def save_sheet(
    tasks: list[InpaintingTask], fills: list[tuple[Images, Images]], path: Path, count: int = 8
) -> None:
    """Two rows a line, four images of each: original, with a hole, filled for its own text and for another."""
    cells, captions = [], []
    for task, (own, other) in zip(tasks, fills, strict=True):
        for i in range(0, len(task.rows), max(1, len(task.rows) // count))[:count]:
            cells += [*task.thumbnails(i), own[i], other[i]]
            captions += ["", "", task.texts[i], task.other_texts[i]]
    images.save(image_grid(cells, columns=8, captions=captions), path)
    print(f"image of samples: {path}")


def main() -> None:
    args = parse_args("glide", __doc__, minutes=5, from_run=True)
    table = open_training_table(args.from_run) if args.from_run else Table.open(args.data)
    model = train_or_load(
        "image | text", table, args.out / "painter", args.minutes, from_run=args.from_run, infill=0.5
    )
    kinds: tuple[Literal["box", "random"], ...] = ("box", "random")
    tasks = [InpaintingTask(table, args.n, kind) for kind in kinds]
    fills = [fill(model, task) for task in tasks]
    for kind, task, (own, other) in zip(kinds, tasks, fills, strict=True):
        reference = task.real()
        for name, value in task.metrics(own, other).items():
            real = f"real data or chance {reference[name]}" if name in reference else ""
            print(f"{kind:8}{name:28}{value!s:24}{real}")
    save_sheet(tasks, fills, args.picture)


if __name__ == "__main__":
    main()
