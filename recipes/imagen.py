"""Imagen (Saharia et al., 2022): a cascade of a small image from a text and a larger one from the small one.

    small:  image[size=12] | text               family flow
    large:  image | image[size=12], text        family flow, trained on small images with noise

The noise (Ho et al., 2022) makes the second model robust to errors of the first; the sampling option
`source_noise` is its level in sampling.

    python recipes/imagen.py --data icons --minutes 3
"""

from __future__ import annotations

from kit import parse_args, prompts, save_samples, train_or_load, write_report

from likewise import Pipeline, Table


def main() -> None:
    args = parse_args("imagen", __doc__, minutes=3)
    table = Table.open(args.data).add_views("image[size=12]")
    small = train_or_load("image[size=12] | text", table, args.out / "small", args.minutes)
    large = train_or_load(
        "image | image[size=12], text", table, args.out / "large", args.minutes, source_noise=0.5
    )
    pipeline = Pipeline({"small": small, "large": large})
    pipeline.save(args.out / "chain")
    write_report(pipeline, table, args.out, args.n, large={"source_noise": 0.1})
    save_samples(
        pipeline,
        prompts(args, table),
        args.picture,
        large={"source_noise": 0.1},
    )


if __name__ == "__main__":
    main()
