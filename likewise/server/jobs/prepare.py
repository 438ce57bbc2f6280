"""Requests -> work of the sampling thread, checked against the model; runs in a thread, as it encodes values."""

from __future__ import annotations

import secrets
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import PIL.Image

from likewise.core.errors import receive_warnings
from likewise.core.options import validate_options
from likewise.core.ranges import MAX_SEED
from likewise.generation.sequence.constraints import Constraint
from likewise.modalities.base import Modality, Row
from likewise.modalities.latent import is_embedding
from likewise.models.holes import fit_known_pixels, hole_of_mask, image_shape, transparent_pixels
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.models.requests import require_unknown
from likewise.models.sample_request import SampleRequest
from likewise.models.text_prompt import TextPrompt
from likewise.server.catalog.registry import AnyModel
from likewise.server.http.bodies import StrictBody
from likewise.server.http.errors import invalid
from likewise.server.jobs.requests import (
    ConstraintBody,
    InfillBody,
    InterpolateBody,
    SampleBody,
    SamplingBody,
    ScoreBody,
)
from likewise.server.jobs.values import ValueReader
from likewise.server.limits import MAX_CHOICES, MAX_PATTERN, MAX_SAMPLED_TOKENS, MAX_SAMPLES

MAX_RANDOM_SEED = 2**31  # so that every program can keep it exactly


@dataclass(frozen=True)
class Prepared:
    """Samples that have been checked, for a job.

    request   what is kept of the request: seeds as they are, media by their ids
    requests  for each sample
    keys      of the batches of each
    inputs    media to be kept, by id
    """

    request: dict[str, Any]
    requests: list[SampleRequest]
    keys: list[Hashable]
    inputs: Mapping[str, tuple[bytes, str]]
    warnings: list[str] = field(default_factory=list)


def prepare_samples(model: AnyModel, body: SampleBody | InfillBody, reader: ValueReader) -> Prepared:
    """Check a request for samples. Raises APIError that names what is wrong."""
    notes: list[str] = []
    with receive_warnings(lambda note: None if note in notes else notes.append(note)):
        return replace(_prepare(model, body, reader), warnings=notes)


def _prepare(model: AnyModel, body: SampleBody | InfillBody, reader: ValueReader) -> Prepared:
    kept: dict[str, Any] = kept_fields(body)
    rows, known = _rows_and_known(model, body, reader, kept)
    if len(rows) * body.n > MAX_SAMPLES:
        raise invalid(f"{len(rows)} rows with {body.n} samples each are more than {MAX_SAMPLES:,}", "n")
    _check_tokens(model, body.options)
    negative, init = None, None
    if body.negative is not None:
        negative, kept["negative"] = reader.read_sources(model, body.negative, "negative")
    if body.init is not None:
        values, stored = reader.read_row(model, body.init.values, "init.values")
        init, kept["init"] = (values, body.init.strength), {"values": stored, "strength": body.init.strength}
    seed = random_seed() if body.seed < 0 else body.seed
    if seed + body.n - 1 > MAX_SEED:
        raise invalid(f"seed + n is larger than {MAX_SEED}", "seed")
    kept |= {"seed": seed, "n": body.n}
    kept = {name: kept[name] for name in type(body).model_fields if name in kept}
    template = SampleRequest(
        {},
        index=body.index,
        known=known,
        negative=negative,
        init=init,
        prompt=_prompt(body),
        stop=tuple(body.stop),
        constraint=read_constraints(body.constraint),
        options=body.options,
    )
    requests = [replace(template, row=row, seed=seed + i) for row in rows for i in range(body.n)]
    try:
        require_unknown(model, [*rows[0], *(n for n, v in known.items() if not isinstance(v, tuple))])
        keys = [model.batch_key(request) for request in requests[:: body.n]]
    except ValueError as error:
        raise invalid(error, _blamed_field(error, body)) from None
    return Prepared(kept, requests, [key for key in keys for _ in range(body.n)], reader.inputs)


def _check_tokens(model: AnyModel, options: Mapping[str, Any], where: str = "options") -> None:
    """Raise APIError for a text so long that it would hold up the others; most end with the context of their model."""
    if not any(column.spec.windowed for column in model.target_columns.values()):
        return
    for name, value in options.items():
        if isinstance(value, Mapping):  # of a link
            _check_tokens(model, value, f"{where}.{name}")
        elif name == "tokens" and isinstance(value, int) and value > MAX_SAMPLED_TOKENS:
            raise invalid(f"tokens must be at most {MAX_SAMPLED_TOKENS:,}, not {value:,}", f"{where}.tokens")


def kept_fields(body: StrictBody) -> dict[str, Any]:
    """What is kept of a request as it is: all that says what is to be sampled."""
    return body.model_dump(exclude_defaults=True, exclude={"background", "stream", "media"})


def random_seed() -> int:
    """A seed that nobody can guess."""
    return secrets.randbelow(MAX_RANDOM_SEED)


def _rows_and_known(
    model: AnyModel, body: SampleBody | InfillBody, reader: ValueReader, kept: dict[str, Any]
) -> tuple[list[Row], dict[str, Any]]:
    """The rows, and the parts of targets that are known."""
    if isinstance(body, InfillBody):
        return _infill_rows(model, body, reader, kept)
    if body.given is not None and body.rows is not None:
        raise invalid("given is one row, and rows are several; send one of the two", "rows")
    pairs = [
        reader.read_row(model, values, "given" if body.rows is None else f"rows.{i}", body.text)
        for i, values in enumerate([body.given or {}] if body.rows is None else body.rows)
    ]
    if body.rows is not None:
        kept["rows"] = [stored for _, stored in pairs]
    elif body.given:
        kept["given"] = pairs[0][1]
    known: dict[str, Any] = {}
    stored_known: dict[str, Any] = {}
    for name, value in body.known.items():
        known[name], stored_known[name] = _read_known(model, name, value, reader)
    if known:
        kept["known"] = stored_known
    return [row for row, _ in pairs], known


def _infill_rows(
    model: AnyModel, body: InfillBody, reader: ValueReader, kept: dict[str, Any]
) -> tuple[list[Row], dict[str, Any]]:
    row, kept["row"] = reader.read_row(model, body.row, "row", body.text)
    known: dict[str, Any] = {}
    masks: dict[str, Any] = {}
    for name, mask in body.mask.items():
        where = f"mask.{name}"
        if name not in model.target_columns or row.get(name) is None:
            raise invalid(f"{name[:100]} is masked, and the row has no such target", where)
        known |= known_part(model, name, row.pop(name), _read_mask(model, name, mask, reader, masks), where)
    if masks:
        kept["mask"] = masks
    if not known and not any(name in model.target_columns for name in row) and body.prompt is None:
        raise invalid(
            "nothing is known: give a value of a target in row, and what to redo of it in mask", "row"
        )
    return [row], known


def _read_mask(
    model: AnyModel, name: str, mask: Any, reader: ValueReader, kept: dict[str, Any]
) -> np.ndarray | PIL.Image.Image:
    """What to redo, as booleans or as a picture."""
    where = f"mask.{name}"
    if isinstance(mask, list):
        kept[name] = mask
        return read_booleans(mask, where)
    picture, kept[name] = reader.read_media(model.target_columns[name], mask, where)
    if not isinstance(picture, PIL.Image.Image):
        raise invalid(f"{where} must be a list of booleans, one for each place of the grid", where)
    return picture


def _read_known(model: AnyModel, name: str, value: Any, reader: ValueReader) -> tuple[Any, Any]:
    """What is known of a target, and the same to be kept."""
    where = f"known.{name}"
    masked = isinstance(value, dict) and set(value) == {"value", "mask"}
    row, kept = reader.read_row(model, {name: value["value"] if masked else value}, where)
    if name not in model.target_columns:
        raise invalid(f"{name[:100]} is a source; give it as such", where)
    if not masked:
        return row[name], kept[name]
    masks: dict[str, Any] = {}
    mask = _read_mask(model, name, value["mask"], reader, masks)
    redo = ~mask if isinstance(mask, np.ndarray) else mask
    return known_part(model, name, row[name], redo, where)[name], {"value": kept[name], "mask": masks[name]}


def read_booleans(values: Sequence[Any], where: str) -> np.ndarray:
    """A list of booleans, nested or not, as an array. Raises APIError."""
    flat: list[Any] = list(values)
    while flat and all(isinstance(v, list) for v in flat):
        flat = [v for inner in flat for v in inner]
    if not flat or not all(isinstance(v, bool) for v in flat):
        raise invalid(f"{where} must be a list of booleans", where, "invalid_type")
    return np.array(flat, dtype=bool)


def known_part(
    model: AnyModel, name: str, value: Any, redo: np.ndarray | PIL.Image.Image | None, where: str
) -> dict[str, Any]:
    """The known part of a target, where it is not to be redone; of a picture in a pipeline, of all its views.

    redo  of a picture: a mask of its size, transparent or white where it is redone, or None for where the picture
          is transparent; else booleans over the grid
    """
    column = model.target_columns[name]
    if isinstance(redo, np.ndarray):
        if redo.size != column.spec.tokens:
            raise invalid(f"{where} has {redo.size} places, and the column {column.spec.tokens}", where)
        return {name: (value, ~redo.reshape(column.spec.grid))}
    try:
        if value.mode == "P":
            value = value.convert("RGBA")
        hole = transparent_pixels(value) if redo is None else hole_of_mask(redo, value.size, "the mask")
        fitted = {
            other: fit_known_pixels(image_shape(view), value, hole, quiet=other != name)
            for other, view in _views(model, name, column).items()
        }
    except ValueError as error:
        raise invalid(error, where) from None
    if not hole.any():
        raise invalid("the picture has no transparent part, so there is nothing to redo; send a mask", where)
    return {other: part for other, part in fitted.items() if other == name or part[1].any()}


def _views(model: AnyModel, name: str, column: Modality) -> dict[str, Modality]:
    """A target, and in a pipeline those of the same column that are sampled on the way to it."""
    views = {name: column}
    if isinstance(model, Pipeline) and name in model.targets:
        others = model.views_of(model.formula.view(name).column)
        views |= {other: view for other, view in others.items() if not is_embedding(view)}
    return views


def _prompt(body: SamplingBody) -> TextPrompt | None:
    if body.suffix is not None:
        return body.prompt or "", body.suffix
    return body.prompt


def read_constraints(constraints: Mapping[str, ConstraintBody]) -> dict[str, Constraint]:
    """Target -> constraint. Raises APIError."""
    return {name: _read_constraint(body, f"constraint.{name}") for name, body in constraints.items()}


def _read_constraint(body: ConstraintBody, where: str) -> Constraint:
    value = body.value
    expected = {"json": dict, "choice": list}.get(body.kind, str)
    if not isinstance(value, expected):
        raise invalid(f"{where}.value must be {_NOUNS[expected]} for the kind {body.kind}", f"{where}.value")
    if isinstance(value, list) and len(value) > MAX_CHOICES:
        raise invalid(f"{where}: at most {MAX_CHOICES} choices", where)
    if len(str(value)) > MAX_PATTERN:
        raise invalid(f"{where} has more than {MAX_PATTERN:,} characters", where)
    makers: dict[str, Any] = {
        "json": Constraint.json,
        "choice": Constraint.choice,
        "regex": Constraint.regex,
        "grammar": Constraint.grammar,
    }
    try:
        constraint: Constraint = makers[body.kind](value)
        return constraint
    except ValueError as error:
        raise invalid(f"{where}: {error}", where) from None


_NOUNS = {dict: "an object", list: "a list of texts", str: "a text"}


def _blamed_field(error: ValueError, body: SamplingBody) -> str | None:
    """The option that an error is about."""
    return next((f"options.{name}" for name in body.options if name in str(error)), None)


# ---- interpolation and scores


@dataclass(frozen=True)
class PreparedCall:
    """Arguments of a call of a model, checked, and what is kept of the request."""

    request: dict[str, Any]
    arguments: dict[str, Any]
    inputs: Mapping[str, tuple[bytes, str]]
    warnings: list[str]


def prepare_interpolation(model: AnyModel, body: InterpolateBody, reader: ValueReader) -> PreparedCall:
    """The arguments of `interpolate`. Raises APIError."""
    notes: list[str] = []
    kept = kept_fields(body)
    with receive_warnings(notes.append):
        first, kept["first"] = reader.read_row(model, body.first, "first")
        last, kept["last"] = reader.read_row(model, body.last, "last")
        negative = None
        if body.negative is not None:
            negative, kept["negative"] = reader.read_sources(model, body.negative, "negative")
        seeds = [random_seed() if seed < 0 else seed for seed in body.seeds]
        kept["seeds"], kept["n"] = seeds, body.n
        try:
            require_unknown(model, first)
            model.batch_key(SampleRequest(first, negative=negative, options=body.options))
        except ValueError as error:
            raise invalid(error) from None
    arguments = {"first": first, "last": last, "n": body.n, "seeds": tuple(seeds), "negative": negative}
    return PreparedCall(kept, {**arguments, **body.options}, reader.inputs, notes)


def prepare_scores(model: AnyModel, body: ScoreBody, reader: ValueReader) -> PreparedCall:
    """The arguments of `log_prob`. Raises APIError."""
    if not isinstance(model, Model):
        raise invalid(
            f"{body.model} is a pipeline, which has no log-probability; score one of its links", "model"
        )
    notes: list[str] = []
    kept = kept_fields(body)
    with receive_warnings(notes.append):
        try:
            known = model.scoring_options()
        except ValueError as error:
            raise invalid(error, "model") from None
        pairs = [reader.read_row(model, values, f"rows.{i}") for i, values in enumerate(body.rows)]
        kept["rows"] = [stored for _, stored in pairs]
        for i, (row, _) in enumerate(pairs):
            for name in model.targets:
                if row.get(name) is None:
                    raise invalid(f"rows.{i} has no value of the target {name!r}", f"rows.{i}.{name}")
        options = _scoring_options(body.options, known)
    rows = [row for row, _ in pairs]
    return PreparedCall(kept, {"rows": rows, "seed": body.seed, **options}, reader.inputs, notes)


def _scoring_options(options: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: parameter for name, parameter in known.items() if name != "observed"}
    try:
        return validate_options(options, known, "scoring option")
    except ValueError as error:
        raise invalid(error, "options") from None
