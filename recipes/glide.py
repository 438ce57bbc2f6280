"""GLIDE's inpainting (Nichol et al., 2022): a text says what is to appear in a hole of a picture.

    image | text      family flow, infill=0.5: half of the rows have known parts in training

GLIDE was made by training a text-to-image model on with holes; with --from this is what is done here, on the
data of that run. Without it a model is trained from the beginning.

    python recipes/glide.py --data icons --minutes 5
    python recipes/glide.py --from emoji --minutes 10
"""

from __future__ import annotations

from pathlib import Path

import PIL.Image
from kit import asked, learn

from likewise import Model, Table
from likewise.cli.tables import open_training_table
from likewise.evaluation.tasks.inpainting import InpaintingTask
from likewise.viz import images
from likewise.viz.grid import image_grid


def fill(model: Model, task: InpaintingTask) -> tuple[list[PIL.Image.Image], list[PIL.Image.Image]]:
    """Every hole, filled in for the row's own text, and for the other row's, from the same noise."""
    drawn = []
    for i, (row, hole) in enumerate(zip(task.rows, task.holes, strict=True)):
        style = {n: row[n] for n in model.sources if n != "text"}  # is seen around the hole
        texts = [{"text": text, **style} for text in (task.texts[i], task.other_texts[i])]
        rows = model.sample(texts, indices=[i, i], known={"image": (row["image"], ~hole)})
        drawn.append([row["image"] for row in rows])
    return tuple(map(list, zip(*drawn, strict=True)))


def show(tasks: list[InpaintingTask], filled: list, path: Path, count: int = 8) -> None:
    """A row: as it was, with a hole, filled with its own text, and with another's."""
    shown, captions = [], []
    for task, (own, other) in zip(tasks, filled, strict=True):
        for i in range(0, len(task.rows), max(1, len(task.rows) // count))[:count]:
            shown += [*task.thumbnails(i), own[i], other[i]]
            captions += ["", "", task.texts[i], task.other_texts[i]]
    images.save(image_grid(shown, columns=8, captions=captions), path)
    print(f"picture: {path}")


def main() -> None:
    args = asked(__doc__, minutes=5, first=True)
    out = args.out or Path("runs/systems/glide")
    table = open_training_table(args.first) if args.first else Table.open(args.data)
    model = learn("image | text", table, out / "painter", args.minutes, first=args.first, infill=0.5)
    tasks = [InpaintingTask(table, args.n, kind) for kind in ("box", "random")]
    filled = [fill(model, task) for task in tasks]
    for kind, task, drawn in zip(("box", "random"), tasks, filled, strict=True):
        real = task.real()
        for name, value in task.metrics(*drawn).items():
            print(f"{kind:8}{name:28}{value!s:24}" + f"floor or chance {real.get(name)}" * (name in real))
    show(tasks, filled, args.picture or out / "picture.png")


if __name__ == "__main__":
    main()
