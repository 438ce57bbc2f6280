"""Imagen (Saharia et al., 2022): a cascade, a small picture of a text and then a larger one of the small one.

    small:  image[size=12] | text               family flow
    large:  image | image[size=12], text        family flow, trained on small pictures with noise

The noise (Ho et al., 2022) makes the second model forgive what the first one draws; `source_noise` while
drawing says how much of it is added to what the first drew.

    python recipes/imagen.py --data icons --minutes 3
"""

from __future__ import annotations

from pathlib import Path

from kit import PROMPTS, asked, judge, learn, show

from likewise import Pipeline, Table


def main() -> None:
    args = asked(__doc__, minutes=3)
    out = args.out or Path("runs/systems/imagen")
    table = Table.open(args.data).add_views("image[size=12]")
    small = learn("image[size=12] | text", table, out / "small", args.minutes)
    large = learn("image | image[size=12], text", table, out / "large", args.minutes, source_noise=0.5)
    chain = Pipeline({"small": small, "large": large})
    chain.save(out / "chain")
    judge(chain, table, out, args.n, large={"source_noise": 0.1})
    show(
        chain,
        PROMPTS.get(args.data, table.test.column("text")[:8]),
        args.picture or out / "picture.png",
        large={"source_noise": 0.1},
    )


if __name__ == "__main__":
    main()
