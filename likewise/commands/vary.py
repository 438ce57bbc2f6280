"""Draw variations of a picture: noise is put on it and taken off again (Meng et al., 2022, "SDEdit")."""

from __future__ import annotations

from collections.abc import Sequence

from likewise.commands import drawing

OUT = "variations.png"


def run(argv: Sequence[str]) -> int:
    """`likewise vary RUN PICTURE [TEXT ...]`."""
    parser = drawing.parser("vary", __doc__, "PICTURE [TEXT ...]", argv,
                            "the file of a picture, then values of the model's text source")
    parser.add_argument("--strength", type=float, default=0.5, metavar="X",
                        help="share of noise, in (0, 1]: near 0 the picture stays, 1 is a draw from scratch "
                             "(default 0.5)")
    drawing.known(parser)
    drawing.several(parser, OUT)
    asked = drawing.read(parser, argv)
    name, file, texts = drawing.pictured(asked, "vary", "Model.sample(start=...) varies any target")
    column, known = asked.model.columns[name], asked.known(but=[name])
    picture = drawing.value(column, file)
    strength, shown = asked.args.strength, column.decode(column.encode(picture))
    return drawing.draw(asked, texts, OUT, shown, {"picture": file, "strength": strength}, known=known,
                        start=({name: picture}, strength))
