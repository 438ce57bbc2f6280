"""What the commands that sample have in common: their options, and the request that a command line makes."""

from __future__ import annotations

import shlex
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likewise.cli.destination import add_overwrite_option
from likewise.cli.flags import Parser, is_pair, parse_pairs
from likewise.core.provenance import provenance
from likewise.core.ranges import NumSamples, Seed
from likewise.core.spec import IMAGE
from likewise.modalities.base import Row
from likewise.modalities.latent import base_of
from likewise.models.base import TypedDistribution
from likewise.models.io import load
from likewise.models.prompts import Strings
from likewise.models.requests import check_names, parse_sources, text_columns
from likewise.viz import images

TEXTS = (
    "values of the model's text source, or if it has none of its text target; the ending ', VALUE COLUMN' gives a "
    "label as well: 'red apple, flat style'"
)
RUN = "the folder of a run, or emoji, the model that comes with likewise"


@dataclass(frozen=True)
class Request:
    """A parsed command line, and the model that it names.

    given  the values of --given and --known: sources, and targets, which are known
    """

    args: Namespace
    given: Strings
    sampling_options: Row
    model: TypedDistribution
    load_seconds: float

    @property
    def known(self) -> list[str]:
        """The targets that are given."""
        return [name for name in self.given if name in self.model.target_columns]

    @property
    def negative(self) -> Row | None:
        """The sources that guidance leads away from: pairs NAME=VALUE, and texts."""
        strings: Strings = {}
        for word in self.args.negative:
            pair = is_pair(word, self.model.sources)
            names = [] if pair else text_columns(self.model, word)
            if any(name not in self.model.sources for name in names):
                raise ValueError(
                    f"a negative is made of sources, and {str(self.model.formula)!r} has no text source; leave "
                    f"--negative {shlex.quote(word)} out"
                )
            new = parse_pairs([word], "--negative") if pair else dict.fromkeys(names, word)
            if twice := strings.keys() & new:
                raise ValueError(f"--negative names {min(twice)!r} twice; give it once")
            strings |= new
        return parse_sources(self.model, strings) if strings else None

    def provenance(self, index: int, strings: Strings, **details: Any) -> Row:
        """How sample `index` of a prompt was made, as JSON values; details that are None are left out."""
        known = {name: string for name, string in strings.items() if name in self.model.target_columns}
        defaults = {name: p.default for name, p in self.model.sampling_options().items()}
        return {
            **provenance(model=str(self.args.run)),
            "formula": str(self.model.formula),
            "sources": {name: string for name, string in strings.items() if name not in known},
            **{n: v for n, v in {"negative": self.args.negative, "known": known}.items() if v},
            **{n: v for n, v in details.items() if v is not None},
            "index": index,
            "options": defaults | self.sampling_options,
        }


def make_parser(command: str, description: str | None, usage: str, argv: Sequence[str], words: str) -> Parser:
    """A parser with the options that all these commands have; `words` describes the positional arguments."""
    parser = Parser(
        command,
        f"{description} Sources of the formula may be left out.",
        usage=f"likewise {command} RUN {usage} [--given NAME=VALUE ...] [options]",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help=RUN)
    parser.add_argument("words", nargs="*", metavar=usage.split()[0].strip("[]"), help=words)
    parser.add_argument(
        "--given",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the value of a source, or of a target, which is known then; of a picture its file; may be given several "
        "times",
    )
    parser.add_argument(
        "--negative",
        action="append",
        default=[],
        metavar="TEXT",
        help="negative prompt, what the samples should not show: a text, or NAME=VALUE of a source",
    )
    parser.add_sampling_options(argv)
    return parser


def add_sample_options(parser: Parser, out: str) -> None:
    """Add the options of a command that makes several samples for each prompt, into the file `out` by default."""
    parser.add_value_option("-n", "--n", annotation=NumSamples, default=4, about="samples for each prompt")
    parser.add_value_option(
        "--seed", annotation=Seed, default=0, about="random seed; the same one gives the same samples"
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help=f"a .png for a grid (default {out}), a .csv, .tsv, .parquet, .xlsx or .jsonl for values, or a folder/ for a file "
        "per sample",
    )
    add_overwrite_option(parser)


def add_stop_option(parser: Parser) -> None:
    """Add the option for strings at which generated text ends."""
    parser.add_argument(
        "--stop",
        action="append",
        default=[],
        metavar="TEXT",
        help="for models of text: end a sample where this text appears; may be given several times",
    )


def add_known_option(parser: Parser) -> None:
    """Add the option that gives targets."""
    parser.add_argument(
        "--known",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="the value of a target, which is kept as it is, as --given NAME=VALUE; may be given several times",
    )


def parse_request(parser: Parser, argv: Sequence[str]) -> Request:
    """Parse the command line and load its model."""
    args, start = parser.parse(argv), time.perf_counter()
    model = load(args.run)
    seconds = time.perf_counter() - start
    known = check_names(parse_pairs(getattr(args, "known", []), "--known"), "target", model.target_columns)
    given = parse_pairs(args.given, "--given")
    if twice := given.keys() & known:
        raise ValueError(f"{min(twice)} is given twice, by --given and --known; give it once")
    return Request(args, given | known, parser.values_of(args, "sampling"), model, seconds)


def image_targets(model: TypedDistribution) -> list[str]:
    """The targets whose values are images, seen through a model or not."""
    return [
        name
        for name in images.visual_columns(model.columns, model.targets)
        if base_of(model.columns[name]).spec.axes == IMAGE
    ]


def split_image_words(request: Request, command: str, advice: str) -> tuple[str, str, list[str]]:
    """The target that is an image, the file of one, which is the first positional argument, and the other ones.

    Raises ValueError if the model has no or several such targets, or if no file is named.
    """
    names, formula = image_targets(request.model), str(request.model.formula)
    if len(names) != 1:
        raise ValueError(
            f"likewise {command} starts from a picture, and {formula!r} has "
            f"{'several targets that are' if names else 'no target that is'} one; {advice}"
        )
    if not request.args.words:
        raise ValueError(f"name a picture: likewise {command} {shlex.quote(str(request.args.run))} PICTURE")
    return names[0], request.args.words[0], request.args.words[1:]
