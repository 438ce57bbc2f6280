"""Draw from a trained model."""

from __future__ import annotations

from collections.abc import Sequence

from likewise.commands import drawing

OUT = "samples.png"


def run(argv: Sequence[str]) -> int:
    """`likewise sample RUN [TEXT ...]`."""
    parser = drawing.parser("sample", __doc__, "[TEXT ...]", argv, drawing.TEXTS)
    drawing.several(parser, OUT)
    asked = drawing.read(parser, argv)
    return drawing.draw(asked, asked.args.words, OUT)
