"""Stable Diffusion (Rombach et al., 2022): an autoencoder, and a flow of its codes given a text.

codes:    image                      family autoencoder
latent:   image@codes | text         family flow, guided

python recipes/stable_diffusion.py --data icons --minutes 3
"""

from __future__ import annotations

from kit import parse_args, prompts, save_samples, train_or_load, write_report

from likewise import Table


def main() -> None:
    args = parse_args("stable_diffusion", __doc__, minutes=3)
    table = Table.open(args.data)
    codes = train_or_load(
        "image", table, args.out / "codes", args.minutes, "autoencoder", max_grid=6, code_dim=8
    )
    views = table.add_views("image@codes | text", codes=codes)
    model = train_or_load("image@codes | text", views, args.out / "latent", args.minutes)
    write_report(model, table, args.out, args.n)
    save_samples(model, prompts(args, table), args.picture)


if __name__ == "__main__":
    main()
