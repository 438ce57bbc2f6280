"""Draw what lies between two sources, or between two seeds: a strip, or an animation."""

from __future__ import annotations

import time
from collections.abc import Sequence

from likewise.cli.commands._generation import make_parser, output_path, parse_request, write_samples
from likewise.cli.flags import parse_pairs
from likewise.models.requests import parse_prompts, parse_sources
from likewise.viz import images

OUT = "strip.png"


def run(argv: Sequence[str]) -> int:
    """`likewise interpolate RUN [TEXT [TEXT]]`."""
    parser = make_parser(
        "interpolate",
        __doc__,
        "[TEXT [TEXT]]",
        argv,
        "two values of the model's text source; one, or none, with two --seeds",
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
        help="the same at the last end",
    )
    parser.add_argument(
        "-n", "--n", type=int, default=7, metavar="N", help="steps, both ends included (default 7)"
    )
    parser.add_argument(
        "--seeds", default="0", metavar="A[,B]", help="the seed, or those of the two ends (default 0)"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help=f"a .png for a strip (default {OUT}), a .gif for an "
        "animation, a .jsonl for values, a folder/ for files",
    )
    asked = parse_request(parser, argv)
    model, args = asked.model, asked.args
    given, seeds = parse_pairs(args.given, "--given"), _seeds(args.seeds)
    ends = [parse_pairs(written, option) for written, option in ((args.first, "--from"), (args.last, "--to"))]
    if twice := given.keys() & {name for end in ends for name in end}:
        raise ValueError(f"--given is of both ends; leave --given {min(twice)}=... or the others of it out")
    if len(args.words) > 2:
        raise ValueError(f"an interpolation has two ends; leave {args.words[2]!r} out")
    texts = (args.words * 2)[:2]  # one is of both ends
    first, last = (parse_prompts(model, texts[i : i + 1], given | end)[0] for i, end in enumerate(ends))
    if first == last and seeds[0] == seeds[1]:
        raise ValueError(
            "both ends are the same; give two texts, or --from NAME=VALUE --to NAME=VALUE, or "
            "two seeds: --seeds 0,1"
        )
    out = output_path(model, args.out, OUT, ".gif")
    began = time.perf_counter()
    rows = model.interpolate(
        parse_sources(model, first),
        parse_sources(model, last),
        args.n,
        seeds=seeds,
        negative=asked.negative,
        **asked.sampling_options,
    )
    seconds = time.perf_counter() - began
    about = [
        asked.about(i, first, to=last, share=round(i / (args.n - 1), 6), seeds=seeds) for i in range(args.n)
    ]
    captions = [""] * args.n
    captions[0], captions[-1] = (images.caption(end, model.sources) for end in (first, last))
    whole = {k: v for k, v in about[0].items() if k != "share"}
    write_samples(asked, out, rows, about, captions, whole, seconds)
    return 0


def _seeds(text: str) -> tuple[int, int]:
    """
    >>> _seeds("3"), _seeds("0,1")
    ((3, 3), (0, 1))
    """
    try:
        first, last = (int(word) for word in (text.split(",") * 2 if "," not in text else text.split(",")))
    except ValueError:
        raise ValueError(f"cannot read --seeds {text!r}; write a whole number, or two: --seeds 0,1") from None
    return first, last
