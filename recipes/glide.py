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
from likewise.cli.commands._table import open_training_table
from likewise.evaluation.tasks.inpainting import Holes
from likewise.viz import images
from likewise.viz.grid import image_grid


def fill(model: Model, exam: Holes) -> tuple[list[PIL.Image.Image], list[PIL.Image.Image]]:
    """Every hole, filled in for the row's own text, and for the other row's, from the same noise."""
    drawn = []
    for i, (row, hole) in enumerate(zip(exam.rows, exam.holes, strict=True)):
        style = {n: row[n] for n in model.sources if n != "text"}  # is seen around the hole
        texts = [{"text": text, **style} for text in (exam.texts[i], exam.other_texts[i])]
        rows = model.sample(texts, indices=[i, i], known={"image": (row["image"], ~hole)})
        drawn.append([row["image"] for row in rows])
    return tuple(map(list, zip(*drawn, strict=True)))


def show(exams: list[Holes], filled: list, path: Path, count: int = 8) -> None:
    """A row: as it was, with a hole, filled with its own text, and with another's."""
    shown, captions = [], []
    for exam, (own, other) in zip(exams, filled, strict=True):
        for i in range(0, len(exam.rows), max(1, len(exam.rows) // count))[:count]:
            shown += [*exam.before(i), own[i], other[i]]
            captions += ["", "", exam.texts[i], exam.other_texts[i]]
    images.save(image_grid(shown, columns=8, captions=captions), path)
    print(f"picture: {path}")


def main() -> None:
    args = asked(__doc__, minutes=5, first=True)
    out = args.out or Path("runs/systems/glide")
    table = open_training_table(args.first) if args.first else Table.open(args.data)
    model = learn("image | text", table, out / "painter", args.minutes, first=args.first, infill=0.5)
    exams = [Holes(table, args.n, kind) for kind in ("box", "random")]
    filled = [fill(model, exam) for exam in exams]
    for kind, exam, drawn in zip(("box", "random"), exams, filled, strict=True):
        real = exam.real()
        for name, value in exam.measures(*drawn).items():
            print(f"{kind:8}{name:28}{value!s:24}" + f"floor or chance {real.get(name)}" * (name in real))
    show(exams, filled, args.picture or out / "picture.png")


if __name__ == "__main__":
    main()
