"""Sample from a trained model."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import PIL.Image

from likewise.cli import child_tables
from likewise.cli.constraints import (
    add_constraint_options,
    constraint_details,
    parse_constraints,
)
from likewise.cli.output import Samples, output_path, write_samples
from likewise.cli.requests import (
    TEXTS,
    Request,
    add_sample_options,
    add_stop_option,
    make_parser,
    parse_request,
)
from likewise.cli.sample_table import makes_table, sample_table
from likewise.generation.sequence.constraints import Constraint
from likewise.modalities.base import Row
from likewise.models.base import TypedDistribution
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.models.requests import parse_prompts, require_unknown
from likewise.models.text_prompt import TextPrompt, is_single_text
from likewise.viz import images

OUT = "samples.png"
RULE = "-" * 80  # between texts


def run(argv: Sequence[str]) -> int:
    """`likewise sample RUN [TEXT ...]`."""
    if any(map(child_tables.is_parent_child, argv)):
        return child_tables.sample(argv)
    words = f"{TEXTS}; for a model of text without a text source: the beginning of the text"
    parser = make_parser("sample", __doc__, "[TEXT ...]", argv, words)
    add_sample_options(parser, OUT)
    add_stop_option(parser)
    parser.add_argument(
        "--prompt",
        metavar="TEXT",
        help="for models of text that have a text source: the beginning of the sampled text",
    )
    add_constraint_options(parser)
    request = parse_request(parser, argv)
    args, constraints = request.args, parse_constraints(request.model, request.args)
    if continues_text(request.model):
        if args.prompt is not None:
            raise ValueError(
                "--prompt: write it as a word: "
                f"likewise sample {shlex.quote(str(args.run))} {shlex.quote(args.prompt)}"
            )
        return sample_texts(request, args.words, constraints)
    details = {**constraint_details(constraints), "prompt": args.prompt, "stop": args.stop or None}
    return sample_rows(
        request, args.words, OUT, details=details, constraint=constraints, **_text_options(request)
    )


def sample_rows(
    request: Request,
    texts: Sequence[str],
    default: str,
    *,
    start: PIL.Image.Image | None = None,
    details: Mapping[str, Any] | None = None,
    known: Row | None = None,
    **options: Any,
) -> int:
    """Sample -n rows for each prompt and write them.

    default  the file, unless --out names another
    start    the image that the samples start from
    details  further provenance of the samples
    known    pictures that are known in part, or as a whole; values of other targets are given by the request
    options  keywords of Model.sample
    """
    model, args = request.model, request.args
    prompts = parse_prompts(model, texts, request.given)
    require_unknown(
        model, [*prompts[0].values, *(n for n, v in (known or {}).items() if not isinstance(v, tuple))]
    )
    if start is None and makes_table(request):
        options = {"negative": request.negative, "known": known, **options}
        return sample_table(request, prompts, details or {}, options)
    provenance = [
        request.provenance(i, prompt.strings, seed=args.seed, **(details or {}))
        for prompt in prompts
        for i in range(args.n)
    ]
    out = output_path(request, default, provenance)
    began = time.perf_counter()
    rows = model.sample(
        [prompt.values for prompt in prompts for _ in range(args.n)],
        seed=args.seed,
        indices=list(range(args.n)) * len(prompts),  # seeds a sample by its place in its prompt
        negative=request.negative,
        known=known,
        **options,
        **request.sampling_options,
    )
    seconds = time.perf_counter() - began
    captions = [
        images.caption(about["sources"], model.formula.sources) if about["index"] == 0 else ""
        for about in provenance
    ]
    summary = {**provenance[0], "sources": [about["sources"] for about in provenance[:: args.n]]}
    write_samples(request, Samples(rows, provenance, captions, summary, seconds, len(prompts), start), out)
    return 0


def continues_text(model: TypedDistribution) -> bool:
    """Whether the one target is a text that words of the command line begin, as no source takes them."""
    prompts = [name for name in model.sources if model.columns[name].role == "prompt"]
    return not prompts and is_single_text(model.target_columns)


def sample_texts(
    request: Request, prompts: Sequence[TextPrompt], constraints: Mapping[str, Constraint]
) -> int:
    """Sample -n texts for each prompt: a single one is printed while it is sampled, others are when all are done."""
    model, args = request.model, request.args
    [given] = parse_prompts(model, [], request.given)
    require_unknown(model, given.values)
    sources, strings = given.values, given.strings
    lines = max(1, len(prompts))
    expanded = [prompt for prompt in prompts for _ in range(args.n)]
    details = {"seed": args.seed, "stop": args.stop or None, **constraint_details(constraints)}
    provenance = [
        request.provenance(i % args.n, strings, prompt=prompt or None, **details)
        for i, prompt in enumerate(expanded or [""] * args.n)
    ]
    if makes_table(request) and not args.out.endswith(".jsonl"):
        options = {"negative": request.negative, "constraint": constraints}
        options |= _text_prompts(request, expanded or None)
        return sample_table(request, [given] * lines, details, options)
    out = output_path(request, OUT, provenance)
    [(name, column)] = model.target_columns.items()
    plain = out is None and column.passages
    single = lines == args.n == 1 and request.negative is None and not constraints
    if plain and single and isinstance(model, Model):
        _stream(request, model, sources, prompts[0] if prompts else "")
        return 0
    began = time.perf_counter()
    rows = model.sample(
        [sources] * lines * args.n,
        seed=args.seed,
        indices=list(range(args.n)) * lines,
        negative=request.negative,
        constraint=constraints,
        **_text_prompts(request, expanded or None),
        **request.sampling_options,
    )
    seconds = time.perf_counter() - began
    if plain:
        print(f"\n{RULE}\n".join(row[name] for row in rows))
        print(
            f"{len(rows)} texts in {seconds:.1f} s, model loaded in {request.load_seconds:.1f} s",
            file=sys.stderr,
        )
        return 0
    samples = Samples(rows, provenance, [""] * len(rows), provenance[0], seconds, lines)
    write_samples(request, samples, out)
    return 0


def _stream(request: Request, model: Model, sources: Row, prompt: TextPrompt) -> None:
    """Print a text while it is sampled."""
    prefix, suffix = (prompt, "") if isinstance(prompt, str) else prompt
    args = request.args
    pieces = model.stream(sources, prompt=prompt, stop=args.stop, seed=args.seed, **request.sampling_options)
    print(
        prefix + next(pieces, ""), end="", flush=True
    )  # the first piece raises what is wrong with the request
    for piece in pieces:
        print(piece, end="", flush=True)
    print(suffix)


def _text_options(request: Request) -> Row:
    """The keywords of Model.sample for --prompt and --stop."""
    args = request.args
    count = args.n * max(1, len(args.words))
    return _text_prompts(request, None if args.prompt is None else [args.prompt] * count)


def _text_prompts(request: Request, prompts: Sequence[TextPrompt] | None) -> Row:
    """The keywords of Model.sample for prompts and --stop. Raises ValueError for a pipeline, which has none."""
    options = {name: v for name, v in {"prompts": prompts, "stop": request.args.stop}.items() if v}
    if options and isinstance(request.model, Pipeline):
        raise ValueError("a pipeline takes no text prompt and no --stop; sample from one of its links")
    return options
