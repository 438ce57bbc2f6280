"""Draw from a trained model."""

from __future__ import annotations

import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence

from likewise.chain import Chain
from likewise.commands import drawing
from likewise.constraints import KINDS, Constraint
from likewise.flags import Parser, pairs
from likewise.formula import unknown
from likewise.model import Model

OUT = "samples.png"
HELP = {"json": ("SCHEMA", "the file of a JSON schema, or the schema, that texts must obey"),
        "regex": ("PATTERN", "a regular expression that texts must match as a whole"),
        "choice": ("A,B,C", "the texts to choose from"),
        "grammar": ("FILE", "the file of a Lark grammar of texts")}


def run(argv: Sequence[str]) -> int:
    """`likewise sample RUN [TEXT ...]`."""
    parser = drawing.parser("sample", __doc__, "[TEXT ...]", argv, drawing.TEXTS)
    drawing.several(parser, OUT)
    _constraining(parser)
    asked = drawing.read(parser, argv)
    constraint = constraints(asked.model, asked.args)
    about = {name: f"{c.kind}: {c.written}" for name, c in constraint.items()}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        done = drawing.draw(asked, asked.args.words, OUT, more={"constraint": about or None},
                            constraint=constraint)
    for warning in said:
        print(f"note: {warning.message}", file=sys.stderr)
    return done


def _constraining(parser: Parser) -> None:
    """The options of texts that are drawn under a constraint."""
    group = parser.add_argument_group("constraints, of models that draw texts; where there are several, as "
                                      "NAME=VALUE")
    for kind in KINDS:
        group.add_argument(f"--{kind}", action="append", default=[], metavar=HELP[kind][0],
                           help=HELP[kind][1])


def constraints(model: Model | Chain, args: Namespace) -> dict[str, Constraint]:
    """Target -> what it must obey. Raises ValueError that names the option."""
    texts = [name for name, column in model.made.items() if column.kind == "text"]
    found: dict[str, Constraint] = {}
    for kind in KINDS:
        for word in getattr(args, kind):
            if not texts:
                raise ValueError(f"--{kind} is for texts, and {str(model.formula)!r} draws none")
            named = pairs([word], f"--{kind}") if len(texts) > 1 else {texts[0]: word}
            for name, written in named.items():
                if name not in texts:
                    raise ValueError(f"--{kind}: {unknown('text target', name, texts)}")
                if name in found:
                    raise ValueError(f"--{kind}: {name} has one already, --{found[name].kind}; give one")
                try:
                    found[name] = Constraint.parse(kind, written)
                except (OSError, ValueError) as error:
                    reason = error.strerror if isinstance(error, OSError) else error
                    raise ValueError(f"--{kind} {written}: {reason}") from None
    return found
