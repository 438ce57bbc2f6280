"""Stable Diffusion (Rombach et al., 2022): an autoencoder, then a flow in its codes, given a text.

codes:    image                      family autoencoder
latent:   image@codes | text         family flow, guided

python recipes/stable_diffusion.py --data icons --minutes 3
"""

from __future__ import annotations

from pathlib import Path

from kit import PROMPTS, asked, judge, learn, show

from likewise import Table


def main() -> None:
    args = asked(__doc__, minutes=3)
    out = args.out or Path("runs/systems/stable_diffusion")
    table = Table.open(args.data)
    codes = learn("image", table, out / "codes", args.minutes, "autoencoder", max_grid=6, code_dim=8)
    seen = table.add_views("image@codes | text", codes=codes)
    model = learn("image@codes | text", seen, out / "latent", args.minutes)
    judge(model, table, out, args.n)
    show(model, PROMPTS.get(args.data, table.test.column("text")[:8]), args.picture or out / "picture.png")


if __name__ == "__main__":
    main()
