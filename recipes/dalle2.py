"""DALL-E 2, unCLIP (Ramesh et al., 2022): an embedding from the text, a picture from it, then a larger one.

    clip:      image, text                       family contrastive
    prior:     image@clip | text                 family flow
    decoder:   image[size=12] | image@clip       family flow
    upsampler: image | image[size=12]            family flow

The same decoder makes variations: of a picture that is given, through its embedding, without a text. They
are measured beside the originals upsampled, which is the best that this upsampler can do.

    python recipes/dalle2.py --data icons --minutes 3
"""

from __future__ import annotations

from pathlib import Path

from kit import PROMPTS, asked, judge, learn, show, vary

from likewise import Pipeline, Table


def main() -> None:
    args = asked(__doc__, minutes=3)
    out = args.out or Path("runs/systems/dalle2")
    table = Table.open(args.data)
    clip = learn("image, text", table, out / "clip", args.minutes, "contrastive")
    table = table.add_views("image@clip | image[size=12]", clip=clip)
    prior = learn("image@clip | text", table, out / "prior", args.minutes)
    decoder = learn("image[size=12] | image@clip", table, out / "decoder", args.minutes)
    upsampler = learn("image | image[size=12]", table, out / "upsampler", args.minutes, source_noise=0.5)
    chain = Pipeline({"prior": prior, "decoder": decoder, "upsampler": upsampler})
    chain.save(out / "chain")
    judge(chain, table, out, args.n)
    show(chain, PROMPTS.get(args.data, table.test.column("text")[:8]), args.picture or out / "picture.png")

    varied = Pipeline({"decoder": decoder, "upsampler": upsampler})
    vary(varied, upsampler, table, out, min(args.n, 100))


if __name__ == "__main__":
    main()
