"""Draw from a trained model."""

from __future__ import annotations

import shlex
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Sequence

from likewise.cli.commands._generation import (
    TEXTS,
    Request,
    add_sample_options,
    add_stop_option,
    make_parser,
    output_path,
    parse_request,
    run_samples,
    write_samples,
)
from likewise.cli.flags import Parser, parse_pairs
from likewise.core.errors import did_you_mean
from likewise.generation.sequence.constraints import CONSTRAINT_KINDS, Constraint
from likewise.modalities.base import Row
from likewise.modalities.text import Text
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.models.requests import parse_sources
from likewise.models.text_prompt import TextPrompt, is_single_text

OUT = "samples.png"
RULE = "-" * 80  # between texts
HELP = {
    "json": ("SCHEMA", "the file of a JSON schema, or the schema, that texts must obey"),
    "regex": ("PATTERN", "a regular expression that texts must match as a whole"),
    "choice": ("A,B,C", "the texts to choose from"),
    "grammar": ("FILE", "the file of a Lark grammar of texts"),
}


def run(argv: Sequence[str]) -> int:
    """`likewise sample RUN [TEXT ...]`."""
    words = f"{TEXTS}; of a model that writes, and has none: what the text begins with"
    parser = make_parser("sample", __doc__, "[TEXT ...]", argv, words)
    add_sample_options(parser, OUT)
    add_stop_option(parser)
    parser.add_argument(
        "--prompt",
        metavar="TEXT",
        help="of a model that writes and has a text source: what its text begins with",
    )
    _constraining(parser)
    asked = parse_request(parser, argv)
    args, constraint = asked.args, constraints(asked.model, asked.args)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        if writes(asked.model):
            if args.prompt is not None:
                raise ValueError(
                    f"--prompt: write it as a word: likewise sample {args.run} {shlex.quote(args.prompt)}"
                )
            done = write(asked, args.words, constraint)
        else:
            done = run_samples(
                asked,
                args.words,
                OUT,
                constraint=constraint,
                **_led(asked),
                more={**_told(constraint), "prompt": args.prompt, "stop": args.stop or None},
            )
    for warning in said:
        print(f"note: {warning.message}", file=sys.stderr)
    return done


def _led(asked: Request) -> Row:
    """What the texts of a model with a text source begin with, and where they end."""
    args = asked.args
    prompts = None if args.prompt is None else [args.prompt] * (args.n * max(1, len(args.words)))
    ways = {"prompts": prompts, "stop": args.stop}
    if any(ways.values()) and isinstance(asked.model, Pipeline):
        raise ValueError("--prompt and --stop are for a model, and this is a chain; take one of its links")
    return {name: way for name, way in ways.items() if way}


def _told(constraint: dict[str, Constraint]) -> Row:
    """What files say of constraints."""
    return {"constraint": {name: f"{c.kind}: {c.written}" for name, c in constraint.items()} or None}


def writes(model: Model | Pipeline) -> bool:
    """Whether the model draws one text, and words are what it begins with: no source takes them."""
    texts = [name for name in model.sources if model.columns[name].role == "prompt"]
    return not texts and is_single_text(model.target_columns)


def write(asked: Request, prompts: Sequence[TextPrompt], constraint: dict[str, Constraint]) -> int:
    """Write -n texts for each prompt: as they come if there is one, as they are, or to a file."""
    model, args = asked.model, asked.args
    given = parse_pairs(args.given, "--given")
    sources = parse_sources(model, given)
    out = output_path(model, args.out, OUT)
    if args.n < 1:
        raise ValueError(f"-n must be at least 1, not {args.n}")
    [(name, column)] = model.target_columns.items()
    plain = out is None and column.passages
    if plain and len(prompts or [""]) == args.n == 1 and asked.negative is None and not constraint:
        [prompt] = prompts or [""]
        prefix, suffix = (prompt, "") if isinstance(prompt, str) else prompt
        pieces = model.stream(
            sources, prompt=prompt, stop=args.stop, seed=args.seed, **asked.sampling_options
        )
        print(prefix + next(pieces, ""), end="", flush=True)  # after what is wrong, if anything, is said
        for piece in pieces:
            print(piece, end="", flush=True)
        print(suffix)
        return 0
    began, lines = time.perf_counter(), max(1, len(prompts))
    begun = [prompt for prompt in prompts for _ in range(args.n)]
    rows = model.sample(
        [sources] * lines * args.n,
        seed=args.seed,
        indices=[*range(args.n)] * lines,
        prompts=begun or None,
        stop=args.stop,
        negative=asked.negative,
        constraint=constraint,
        **asked.sampling_options,
    )
    seconds = time.perf_counter() - began
    if plain:
        print(f"\n{RULE}\n".join(row[name] for row in rows))
        print(f"{len(rows)} texts in {seconds:.1f} s, loaded in {asked.seconds:.1f} s", file=sys.stderr)
        return 0
    about = [
        asked.about(
            i % args.n,
            given,
            seed=args.seed,
            prompt=prompt or None,
            stop=args.stop or None,
            **_told(constraint),
        )
        for i, prompt in enumerate(begun or [None] * args.n)
    ]
    write_samples(asked, out, rows, about, [""] * len(rows), about[0], seconds, lines)
    return 0


def _constraining(parser: Parser) -> None:
    """The options of texts that are drawn under a constraint."""
    group = parser.add_argument_group(
        "constraints, of models that draw texts; where there are several, as NAME=VALUE"
    )
    for kind in CONSTRAINT_KINDS:
        group.add_argument(
            f"--{kind}", action="append", default=[], metavar=HELP[kind][0], help=HELP[kind][1]
        )


def constraints(model: Model | Pipeline, args: Namespace) -> dict[str, Constraint]:
    """Target -> what it must obey. Raises ValueError that names the option."""
    texts = [name for name, column in model.target_columns.items() if isinstance(column, Text)]
    found: dict[str, Constraint] = {}
    for kind in CONSTRAINT_KINDS:
        for word in getattr(args, kind):
            if not texts:
                raise ValueError(f"--{kind} is for texts, and {str(model.formula)!r} draws none")
            named = parse_pairs([word], f"--{kind}") if len(texts) > 1 else {texts[0]: word}
            for name, written in named.items():
                if name not in texts:
                    raise ValueError(f"--{kind}: {did_you_mean('text target', name, texts)}")
                if name in found:
                    raise ValueError(f"--{kind}: {name} has one already, --{found[name].kind}; give one")
                try:
                    found[name] = Constraint.parse(kind, written)
                except (OSError, ValueError) as error:
                    reason = error.strerror if isinstance(error, OSError) else error
                    raise ValueError(f"--{kind} {written}: {reason}") from None
    return found
