"""DALL-E (Ramesh et al., 2021): pictures as discrete codes, then a transformer that writes them after a text.

vq:      image                family autoencoder, bottleneck fsq: one of 1000 codes at each place
writer:  image@vq | text      family autoregressive

python recipes/dalle.py --data icons --minutes 3
"""

from __future__ import annotations

from pathlib import Path

from kit import PROMPTS, asked, judge, learn, show

from likewise import Table


def main() -> None:
    args = asked(__doc__, minutes=3)
    out = args.out or Path("runs/systems/dalle")
    table = Table.open(args.data)
    vq = learn("image", table, out / "vq", args.minutes, "autoencoder", bottleneck="fsq", max_grid=6)
    seen = table.add_views("image@vq | text", vq=vq)
    model = learn("image@vq | text", seen, out / "writer", args.minutes, "autoregressive")
    judge(model, table, out, args.n)
    show(model, PROMPTS.get(args.data, table.test.column("text")[:8]), args.picture or out / "picture.png")


if __name__ == "__main__":
    main()
