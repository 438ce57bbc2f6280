"""Sample variations of a picture: noise is added to it and removed again (Meng et al., 2022, "SDEdit")."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from likewise.cli.commands.sample import sample_rows
from likewise.cli.requests import (
    Request,
    add_known_option,
    add_sample_options,
    make_parser,
    parse_request,
    split_image_words,
)
from likewise.core.ranges import Strength
from likewise.modalities.latent import is_embedding
from likewise.models.pipeline import Pipeline
from likewise.models.requests import given_option, parse_prompts, parse_value

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
    parser.add_value_option(
        "--strength",
        annotation=Strength,
        about="how much noise: near 0 the picture hardly changes, 1 samples from scratch "
        f"(default {STRENGTH:g}, or 1 for a model that sees an embedding of the picture)",
    )
    add_known_option(parser)
    add_sample_options(parser, OUT)
    request = parse_request(parser, argv)
    model, args = request.model, request.args
    name, file, texts = split_image_words(request, "vary", "Model.sample(init=...) varies any target")
    column, picture = model.columns[name], parse_value(model.columns[name], file)
    if name in request.known:
        raise ValueError(
            f"{file} is what {name} begins with; leave {given_option(model, name, option='known')} out"
        )
    # sources that are views of the same column are given by the picture too
    column_name = model.formula.view(name).column
    views = [view.name for view in model.formula.sources if view.column == column_name]
    given = request.given | {n: file for n in views if n not in request.given}
    request = dataclasses.replace(request, given=given)
    for prompt in parse_prompts(model, texts, request.given):
        if without := [n for n in model.targets if n != name and n not in prompt.values]:
            raise ValueError(
                f"a variation begins with a value of every target, and {without[0]!r} has none; give "
                f"{given_option(model, without[0], option='known')}"
            )
    embedded = any(is_embedding(model.columns[n]) for n in views)
    if isinstance(model, Pipeline):
        embeddings = model.embed_targets({name: picture})
        _check_sources_matter(request, model, texts, [*embeddings, *request.known])
        embedded |= bool(embeddings)
    strength = args.strength if args.strength is not None else 1.0 if embedded else STRENGTH
    return sample_rows(
        request,
        texts,
        OUT,
        start=column.decode(column.encode(picture)),
        details={"picture": file, "strength": strength},
        init=({name: picture}, strength),
    )


def _check_sources_matter(
    request: Request, model: Pipeline, texts: Sequence[str], known: Sequence[str]
) -> None:
    """Raise ValueError for a source that is read only to sample what is known here."""
    names = {name for prompt in parse_prompts(model, texts, request.given) for name in prompt.values}
    names = (names - {*model.target_columns}) | set(request.negative or {})
    if idle := sorted(names - set(model.sources_from_known(known))):
        raise ValueError(
            f"{idle[0]} has no effect on a variation: it is read to sample {', '.join(known)}, which is known "
            f"here; leave {idle[0]} out, or use likewise sample"
        )
