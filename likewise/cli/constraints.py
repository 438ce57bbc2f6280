"""Constraints on the command line: what the texts of a model must obey."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping

from likewise.cli.flags import Parser, parse_pairs
from likewise.core.errors import did_you_mean
from likewise.generation.sequence.constraints import CONSTRAINT_KINDS, Constraint
from likewise.modalities.base import Row
from likewise.modalities.text import Text
from likewise.models.base import TypedDistribution

HELP = {
    "json": ("SCHEMA", "a JSON schema, or its file, that texts must obey"),
    "regex": ("PATTERN", "a regular expression that texts must match as a whole"),
    "choice": ("A,B,C", "the texts to choose from"),
    "grammar": ("FILE", "the file of a Lark grammar that texts must obey"),
}


def add_constraint_options(parser: Parser) -> None:
    """Add an option for each kind of constraint."""
    group = parser.add_argument_group(
        "constraints", "For models of text. If there are several targets that are texts, write NAME=VALUE."
    )
    for kind in CONSTRAINT_KINDS:
        metavar, about = HELP[kind]
        group.add_argument(f"--{kind}", action="append", default=[], metavar=metavar, help=about)


def parse_constraints(model: TypedDistribution, args: Namespace) -> dict[str, Constraint]:
    """Target -> its constraint. Raises ValueError that names the option."""
    texts = [name for name, column in model.target_columns.items() if isinstance(column, Text)]
    constraints: dict[str, Constraint] = {}
    for kind in CONSTRAINT_KINDS:
        for word in getattr(args, kind):
            if not texts:
                raise ValueError(
                    f"--{kind} is for texts, and {str(model.formula)!r} has no target that is one"
                )
            values = parse_pairs([word], f"--{kind}") if len(texts) > 1 else {texts[0]: word}
            for name, value in values.items():
                if name not in texts:
                    raise ValueError(f"--{kind}: {did_you_mean('text target', name, texts)}")
                if name in constraints:
                    raise ValueError(
                        f"--{kind}: {name} has a constraint already, --{constraints[name].kind}; give one"
                    )
                try:
                    constraints[name] = Constraint.parse(kind, value)
                except (OSError, ValueError) as error:
                    reason = error.strerror if isinstance(error, OSError) else error
                    raise ValueError(f"--{kind} {value}: {reason}") from None
    return constraints


def constraint_details(constraints: Mapping[str, Constraint]) -> Row:
    """Constraints in the provenance of samples."""
    return {"constraint": {name: f"{c.kind}: {c.text}" for name, c in constraints.items()} or None}
