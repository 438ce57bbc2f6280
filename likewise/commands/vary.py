"""Draw variations of a picture: noise is put on it and taken off again (Meng et al., 2022, "SDEdit")."""

from __future__ import annotations

from collections.abc import Sequence

from likewise.chain import Chain
from likewise.commands import drawing
from likewise.flags import pairs
from likewise.formula import View
from likewise.latent import embeds

OUT, STRENGTH = "variations.png", 0.5


def run(argv: Sequence[str]) -> int:
    """`likewise vary RUN PICTURE [TEXT ...]`."""
    parser = drawing.parser(
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
    drawing.known(parser)
    drawing.several(parser, OUT)
    asked = drawing.read(parser, argv)
    model, args = asked.model, asked.args
    name, file, texts = drawing.pictured(asked, "vary", "Model.sample(start=...) varies any target")
    column, known = model.columns[name], asked.known(but=[name])
    picture = drawing.value(column, file)
    views = [n for n in model.sources if View.parse(n).column == View.parse(name).column]
    args.given += [f"{n}={file}" for n in views if n not in pairs(args.given, "--given")]
    embedded = any(embeds(model.columns[n]) for n in views)
    if isinstance(model, Chain):
        held = model.embedded({name: picture})
        _read(asked, texts, known, held)
        embedded |= bool(held)
    strength = args.strength if args.strength is not None else 1.0 if embedded else STRENGTH
    shown = column.decode(column.encode(picture))
    return drawing.draw(
        asked,
        texts,
        OUT,
        shown,
        {"picture": file, "strength": strength},
        known=known,
        start=({name: picture}, strength),
    )


def _read(asked: drawing.Asked, texts: Sequence[str], known: drawing.Row, held: drawing.Row) -> None:
    """Raise ValueError for a source that only matters to what is known, or held as that of the picture."""
    model = asked.model
    prompts = drawing.prompts_of(model, texts, pairs(asked.args.given, "--given"))
    said = {name for prompt in prompts for name in prompt} | set(asked.negative or {})
    if idle := sorted(said - set(model.reads({*known, *held}))):
        made = ", ".join({**held, **known})
        raise ValueError(
            f"{idle[0]} has no part in a variation: it is read to make {made}, which is known "
            f"here; leave {idle[0]} out, or draw with likewise sample"
        )
