"""Image captioning: the text of an image (Vinyals et al., 2015).

    text | image      family autoregressive

With --from RUN, a model of image | text, images that RUN samples for the held-out texts are captioned as well.

    python recipes/captions.py --data icons --minutes 3
    python recipes/captions.py --data icons --minutes 3 --from runs/systems/imagen/chain
"""

from __future__ import annotations

from collections.abc import Sequence

from kit import parse_args, train_or_load

from likewise import Model, Table
from likewise.modalities.base import Row
from likewise.models.io import load
from likewise.viz import images


def word_overlap(captions: list[str], truth: list[str]) -> float:
    """The Jaccard index of the words of two texts; the mean over pairs."""
    words = [({*a.split()}, {*b.split()}) for a, b in zip(captions, truth, strict=True)]
    return sum(len(a & b) / max(1, len(a | b)) for a, b in words) / len(words)


def caption(model: Model, rows: Sequence[Row], truth: list[str], what: str) -> list[str]:
    """Captions of the images of some rows; prints how well they agree with the true texts."""
    images = [next(v for n, v in reversed(row.items()) if n.startswith("image")) for row in rows]
    captions = [row["text"] for row in model.sample([{"image": image} for image in images], temperature=0)]
    print(
        f"{len(rows)} {what}: exact match {sum(map(str.__eq__, captions, truth)) / len(rows):.3f}, "
        f"word overlap {word_overlap(captions, truth):.3f}, "
        f"with the text of another image {word_overlap(captions, truth[1:] + truth[:1]):.3f}"
    )
    return captions


def main() -> None:
    args = parse_args("captions", __doc__, minutes=3, from_run=True)
    table = Table.open(args.data)
    model = train_or_load("text | image", table, args.out / "reader", args.minutes, "autoregressive")
    rows = images.evenly_spaced(table.test, args.n)
    truth = [row["text"] for row in rows]
    captions = caption(model, rows, truth, "held-out images")
    if args.from_run:
        samples = load(args.from_run).sample([{"text": text} for text in truth])
        caption(model, samples, truth, "samples for held-out texts")
    few = range(0, len(rows), max(1, len(rows) // 24))[:24]
    labels = [f"{captions[i]} ({truth[i]})" for i in few]
    images.save(images.sheet(table.columns, [rows[i] for i in few], ["image"], labels, 6), args.picture)


if __name__ == "__main__":
    main()
