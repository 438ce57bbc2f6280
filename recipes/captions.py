"""Image understanding: the other direction, a text of a picture (Vinyals et al., 2015).

    text | image      family autoregressive

With --from RUN, a model of image | text: there and back again, what is read in what RUN draws for a text.

    python recipes/captions.py --data icons --minutes 3
    python recipes/captions.py --data icons --minutes 3 --from runs/systems/imagen/chain
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kit import asked, learn

from likewise import Model, Table
from likewise.modalities.base import Row
from likewise.models.io import load
from likewise.viz import images


def common(said: list[str], true: list[str]) -> float:
    """Words that two texts share, over all words of both; the mean over pairs."""
    words = [({*a.split()}, {*b.split()}) for a, b in zip(said, true, strict=True)]
    return sum(len(a & b) / max(1, len(a | b)) for a, b in words) / len(words)


def read(model: Model, rows: Sequence[Row], true: list[str], what: str) -> list[str]:
    """What is said of the pictures of some rows, and how right it is."""
    images = [next(v for n, v in reversed(row.items()) if n.startswith("image")) for row in rows]
    said = [row["text"] for row in model.sample([{"image": image} for image in images], temperature=0)]
    print(
        f"{len(rows)} held-out {what}: the whole text right "
        f"{sum(map(str.__eq__, said, true)) / len(rows):.3f}, words in common {common(said, true):.3f}, "
        f"with another picture's text {common(said, true[1:] + true[:1]):.3f}"
    )
    return said


def main() -> None:
    args = asked(__doc__, minutes=3, first=True)
    out = args.out or Path("runs/systems/captions")
    table = Table.open(args.data)
    model = learn("text | image", table, out / "reader", args.minutes, "autoregressive")
    rows = [table.test[i * len(table.test) // args.n] for i in range(min(args.n, len(table.test)))]
    true = [row["text"] for row in rows]
    said = read(model, rows, true, "pictures")
    if args.first:
        read(model, load(args.first).sample([{"text": text} for text in true]), true, "texts, drawn")
    few = list(range(0, len(rows), max(1, len(rows) // 24)))[:24]
    captions = [f"{said[i]} ({true[i]})" for i in few]
    images.save(
        images.sheet(table.columns, [rows[i] for i in few], ["image"], captions, 6),
        args.picture or out / "picture.png",
    )


if __name__ == "__main__":
    main()
