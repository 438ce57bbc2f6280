"""Pixels or codes: P(image | text) as a flow of pixels, and as a flow over the codes of an autoencoder.

    python benchmarks/latent_or_pixel.py --data icons --minutes 10
    python benchmarks/latent_or_pixel.py --minutes 10 --share 0.3 --steps 5 10 20

All have the same wall time. That of the codes begins with the first step of their autoencoder, which has
--share of it, continues with encoding the rows, and ends with the last step of the flow. `together` is the
family autoencoder on the same formula, which learns codes and their flow at once. texts.py describes the
evaluation; "reconstructions" is the limit for any flow over these codes.
"""

from __future__ import annotations

import argparse
import time

from texts import Images, TextToImage, compare, fit, likewise_of, options, parameters, sampler_of

from likewise import Model, Table


def latent(table: Table, args: argparse.Namespace) -> TextToImage:
    """P(image), an autoencoder, then P(image@codes | text), a flow (Rombach et al., 2022)."""
    codes = Model(
        "image", table.columns, "autoencoder", seed=args.seed, max_grid=args.max_grid, code_dim=args.code_dim
    )
    flows: list[Model] = []
    notes: list[str] = []

    def train(seconds: float) -> tuple[int, float]:
        start = time.perf_counter()
        rows, fit_seconds = fit(codes, table, args.share * seconds, args.seed)
        views = table.add_views("image@codes | text", codes=codes)
        flows.append(Model("image@codes | text", views.columns, "flow", seed=args.seed))
        notes.append(f"{rows:,} rows in the autoencoder's {fit_seconds:.1f} s; {codes.code_spec('image')}")
        return fit(flows[0], views, max(1e-3, seconds - (time.perf_counter() - start)), args.seed)

    def reconstruct(images: Images) -> Images:
        return codes.from_codes("image", codes.to_codes("image", images))

    return TextToImage(
        train,
        {"": sampler_of(lambda: flows[0], args.seed)},
        lambda: parameters(codes, *flows),
        reconstruct,
        notes,
    )


def together(table: Table, args: argparse.Namespace) -> TextToImage:
    """P(image | text) of the family autoencoder, with the same codes."""
    return likewise_of("autoencoder", max_grid=args.max_grid, code_dim=args.code_dim)(table, args)


METHODS = {"pixel": likewise_of(), "latent": latent, "together": together}


def main() -> None:
    parser = options(__doc__, 10, "runs/latent_or_pixel.json", list(METHODS), (10, 20))
    parser.add_argument("--share", type=float, default=0.4, help="of the time for the codes (default 0.4)")
    parser.add_argument("--max-grid", type=int, default=6, help="codes a side (default 6)")
    parser.add_argument("--code-dim", type=int, default=8, help="of a code (default 8)")
    compare(METHODS, parser.parse_args())


if __name__ == "__main__":
    main()
