"""Draw variations of a picture: noise is put on it and taken off again (Meng et al., 2022, "SDEdit")."""

from __future__ import annotations

from collections.abc import Sequence

from likewise.cli.commands._generation import (
    Request,
    add_known_option,
    add_sample_options,
    image_request,
    make_parser,
    parse_request,
    run_samples,
)
from likewise.cli.flags import parse_pairs
from likewise.core.formula import View
from likewise.modalities.base import Row
from likewise.modalities.latent import is_embedding
from likewise.models.pipeline import Pipeline
from likewise.models.requests import parse_prompts, parse_value

OUT, STRENGTH = "variations.png", 0.5


def run(argv: Sequence[str]) -> int:
    """`likewise vary RUN PICTURE [TEXT ...]`."""
    parser = make_parser(
        "vary",
        __doc__,
        "PICTURE [TEXT ...]",
        argv,
        "the file of a picture, then values of the model's text source",
    )
    parser.add_argument(
        "--strength",
        type=float,
        metavar="X",
        help="share of noise, in (0, 1]: near 0 the picture stays, 1 is a draw from scratch "
        f"(default {STRENGTH:g}; 1 where an embedding says what the picture shows)",
    )
    add_known_option(parser)
    add_sample_options(parser, OUT)
    asked = parse_request(parser, argv)
    model, args = asked.model, asked.args
    name, file, texts = image_request(asked, "vary", "Model.sample(init=...) varies any target")
    column, known = model.columns[name], asked.known(but=[name])
    picture = parse_value(column, file)
    views = [n for n in model.sources if View.parse(n).column == View.parse(name).column]
    args.given += [f"{n}={file}" for n in views if n not in parse_pairs(args.given, "--given")]
    embedded = any(is_embedding(model.columns[n]) for n in views)
    if isinstance(model, Pipeline):
        held = model.embed_targets({name: picture})
        _read(asked, texts, known, held)
        embedded |= bool(held)
    strength = args.strength if args.strength is not None else 1.0 if embedded else STRENGTH
    shown = column.decode(column.encode(picture))
    return run_samples(
        asked,
        texts,
        OUT,
        shown,
        {"picture": file, "strength": strength},
        known=known,
        init=({name: picture}, strength),
    )


def _read(asked: Request, texts: Sequence[str], known: Row, held: Row) -> None:
    """Raise ValueError for a source that only matters to what is known, or held as that of the picture."""
    model = asked.model
    prompts = parse_prompts(model, texts, parse_pairs(asked.args.given, "--given"))
    said = {name for prompt in prompts for name in prompt} | set(asked.negative or {})
    if idle := sorted(said - set(model.sources_from_known({*known, *held}))):
        made = ", ".join({**held, **known})
        raise ValueError(
            f"{idle[0]} has no part in a variation: it is read to make {made}, which is known "
            f"here; leave {idle[0]} out, or draw with likewise sample"
        )
