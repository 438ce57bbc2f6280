"""DALL-E (Ramesh et al., 2021): images as discrete codes, and a transformer that predicts them from a text.

vq:      image                family autoencoder, bottleneck fsq: one of 1000 codes at each position
writer:  image@vq | text      family autoregressive

python recipes/dalle.py --data icons --minutes 3
"""

from __future__ import annotations

from kit import parse_args, prompts, save_samples, train_or_load, write_report

from likewise import Table


def main() -> None:
    args = parse_args("dalle", __doc__, minutes=3)
    table = Table.open(args.data)
    vq = train_or_load(
        "image", table, args.out / "vq", args.minutes, "autoencoder", bottleneck="fsq", max_grid=6
    )
    views = table.add_views("image@vq | text", vq=vq)
    model = train_or_load("image@vq | text", views, args.out / "writer", args.minutes, "autoregressive")
    write_report(model, table, args.out, args.n)
    save_samples(model, prompts(args, table), args.picture)


if __name__ == "__main__":
    main()
