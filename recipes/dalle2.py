"""DALL-E 2, unCLIP (Ramesh et al., 2022): an embedding from the text, a picture from it, then a larger one.

    clip:      image, text                       family contrastive
    prior:     image@clip | text                 family flow
    decoder:   image[size=12] | image@clip       family flow
    upsampler: image | image[size=12]            family flow

The same decoder makes variations: of a picture that is given, through its embedding, without a text.

    python recipes/dalle2.py --data icons --minutes 3
"""

from __future__ import annotations

from pathlib import Path

from kit import PROMPTS, asked, judge, learn, show

from likewise import Chain, Table, pictures


def main() -> None:
    args = asked(__doc__, minutes=3)
    out = args.out or Path("runs/systems/dalle2")
    table = Table.open(args.data)
    clip = learn("image, text", table, out / "clip", args.minutes, "contrastive")
    table = table.see("image@clip | image[size=12]", clip=clip)
    prior = learn("image@clip | text", table, out / "prior", args.minutes)
    decoder = learn("image[size=12] | image@clip", table, out / "decoder", args.minutes)
    upsampler = learn("image | image[size=12]", table, out / "upsampler", args.minutes, source_noise=0.5)
    chain = Chain({"prior": prior, "decoder": decoder, "upsampler": upsampler})
    chain.save(out / "chain")
    judge(chain, table, out, args.n)
    show(chain, PROMPTS.get(args.data, table.test.column("text")[:8]), args.picture or out / "picture.png")

    varied = Chain({"decoder": decoder, "upsampler": upsampler})
    shown = [table.test[i] for i in range(0, len(table.test), max(1, len(table.test) // 8))][:8]
    drawn = varied.sample([{"image@clip": row["image"]} for row in shown for _ in range(4)])
    lines = [[row, *drawn[4 * i : 4 * i + 4]] for i, row in enumerate(shown)]
    captions = [row["text"] if k == 0 else "" for row in shown for k in range(5)]
    flat = [{"image": row["image"]} for line in lines for row in line]
    pictures.save(pictures.sheet(flat, ["image"], captions, 5), out / "variations.png")


if __name__ == "__main__":
    main()
