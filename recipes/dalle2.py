"""DALL-E 2, unCLIP (Ramesh et al., 2022): an embedding from the text, a small image from it, then a larger one.

    clip:      image, text                       family contrastive
    prior:     image@clip | text                 family flow
    decoder:   image[size=12] | image@clip       family flow
    upsampler: image | image[size=12]            family flow

The same decoder samples variations of an image: from its embedding, without a text. They are compared with
originals that are reduced and upsampled, the best result that is possible with this upsampler.

    python recipes/dalle2.py --data icons --minutes 3
"""

from __future__ import annotations

from kit import evaluate_variations, parse_args, prompts, save_samples, train_or_load, write_report

from likewise import Pipeline, Table


def main() -> None:
    args = parse_args("dalle2", __doc__, minutes=3)
    table = Table.open(args.data)
    clip = train_or_load("image, text", table, args.out / "clip", args.minutes, "contrastive")
    table = table.add_views("image@clip | image[size=12]", clip=clip)
    prior = train_or_load("image@clip | text", table, args.out / "prior", args.minutes)
    decoder = train_or_load("image[size=12] | image@clip", table, args.out / "decoder", args.minutes)
    upsampler = train_or_load(
        "image | image[size=12]", table, args.out / "upsampler", args.minutes, source_noise=0.5
    )
    pipeline = Pipeline({"prior": prior, "decoder": decoder, "upsampler": upsampler})
    pipeline.save(args.out / "chain")
    write_report(pipeline, table, args.out, args.n)
    save_samples(pipeline, prompts(args, table), args.picture)

    image_to_image = Pipeline({"decoder": decoder, "upsampler": upsampler})
    evaluate_variations(image_to_image, upsampler, table, args.out, min(args.n, 100))


if __name__ == "__main__":
    main()
