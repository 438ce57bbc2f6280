"""Image understanding: the other direction, a text of a picture (Vinyals et al., 2015).

    text | image      family autoregressive

    python recipes/captions.py --data icons --minutes 3
"""

from __future__ import annotations

from pathlib import Path

from kit import asked, learn

from likewise import Table, pictures


def common(said: list[str], true: list[str]) -> float:
    """Words that two texts share, over all words of both; the mean over pairs."""
    words = [({*a.split()}, {*b.split()}) for a, b in zip(said, true, strict=True)]
    return sum(len(a & b) / max(1, len(a | b)) for a, b in words) / len(words)


def main() -> None:
    args = asked(__doc__, minutes=3)
    out = args.out or Path("runs/systems/captions")
    table = Table.open(args.data)
    model = learn("text | image", table, out / "reader", args.minutes, "autoregressive")
    rows = [table.test[i * len(table.test) // args.n] for i in range(min(args.n, len(table.test)))]
    said = [row["text"] for row in model.sample([{"image": row["image"]} for row in rows], temperature=0.3)]
    true = [row["text"] for row in rows]
    print(f"{len(rows)} held-out pictures: the whole text right "
          f"{sum(map(str.__eq__, said, true)) / len(rows):.3f}, words in common {common(said, true):.3f}, "
          f"with another picture's text {common(said, true[1:] + true[:1]):.3f}")
    few = list(range(0, len(rows), max(1, len(rows) // 24)))[:24]
    captions = [f"{said[i]} ({true[i]})" for i in few]
    pictures.save(pictures.sheet([rows[i] for i in few], ["image"], captions, 6),
                  args.picture or out / "picture.png")


if __name__ == "__main__":
    main()
