"""Sample a transition between two sources, or between two seeds, as a strip or an animation."""

from __future__ import annotations

import time
from collections.abc import Sequence

from likewise.cli.destination import add_overwrite_option
from likewise.cli.flags import parse_pairs
from likewise.cli.output import Samples, output_path, write_samples
from likewise.cli.requests import make_parser, parse_request
from likewise.core.options import parse_option
from likewise.core.ranges import InterpolationSteps, Seed
from likewise.models.requests import parse_prompts, require_unknown
from likewise.viz import images

OUT = "strip.png"


def run(argv: Sequence[str]) -> int:
    """`likewise interpolate RUN [TEXT [TEXT]]`."""
    parser = make_parser(
        "interpolate",
        __doc__,
        "[TEXT [TEXT]]",
        argv,
        "the values of the model's text source at the two ends; one text, or none, with two --seeds",
    )
    parser.add_argument(
        "--from",
        dest="first",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the value of a source at the first end; may be given several times",
    )
    parser.add_argument(
        "--to",
        dest="last",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the value of a source at the last end; may be given several times",
    )
    parser.add_value_option(
        "-n",
        "--n",
        annotation=InterpolationSteps,
        default=7,
        about="number of samples, both ends included",
    )
    parser.add_argument(
        "--seeds",
        default="0",
        metavar="A[,B]",
        help="the random seed, or those of the two ends (default 0)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help=f"a .png for a strip (default {OUT}), a .gif for an animation, a .jsonl for values, "
        "or a folder/ for a file per sample",
    )
    add_overwrite_option(parser)
    request = parse_request(parser, argv)
    model, args, seeds = request.model, request.args, _parse_seeds(request.args.seeds)
    ends = [parse_pairs(pairs, option) for pairs, option in ((args.first, "--from"), (args.last, "--to"))]
    if twice := request.given.keys() & {name for end in ends for name in end}:
        raise ValueError(
            f"--given is for both ends; leave --given {min(twice)}=... out, or --from and --to of it"
        )
    if len(args.words) > 2:
        raise ValueError(f"an interpolation has two ends; leave {args.words[2]!r} out")
    texts = (args.words * 2)[:2]  # a single text is that of both ends
    first, last = (
        parse_prompts(model, texts[i : i + 1], request.given | end)[0] for i, end in enumerate(ends)
    )
    require_unknown(model, first.values)
    if first.strings == last.strings and seeds[0] == seeds[1]:
        raise ValueError(
            "both ends are the same; give two texts, or --from NAME=VALUE --to NAME=VALUE, or "
            "two seeds: --seeds 0,1"
        )
    to = {name: string for name, string in last.strings.items() if name in model.sources}
    provenance = [
        request.provenance(i, first.strings, to=to, share=round(i / max(1, args.n - 1), 6), seeds=seeds)
        for i in range(args.n)
    ]
    out = output_path(request, OUT, provenance, ".gif")
    began = time.perf_counter()
    rows = model.interpolate(
        first.values,
        last.values,
        args.n,
        seeds=seeds,
        negative=request.negative,
        **request.sampling_options,
    )
    seconds = time.perf_counter() - began
    captions = [""] * args.n
    captions[0], captions[-1] = (images.caption(end.strings, model.formula.sources) for end in (first, last))
    summary = {name: value for name, value in provenance[0].items() if name != "share"}
    write_samples(request, Samples(rows, provenance, captions, summary, seconds), out)
    return 0


def _parse_seeds(text: str) -> tuple[int, int]:
    """
    >>> _parse_seeds("3"), _parse_seeds("0,1")
    ((3, 3), (0, 1))
    """
    try:
        first, last = text.split(",") if "," in text else (text, text)
    except ValueError:
        raise ValueError(f"cannot read --seeds {text!r}; write a whole number, or two: --seeds 0,1") from None
    return parse_option("--seeds", first, Seed), parse_option("--seeds", last, Seed)
