"""Options of a training in a request: in `hyperparameters`, in `method`, or as strings in `metadata`."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import Field

from likewise.core.options import parse_option, validate_value
from likewise.core.ranges import MAX_SEED, ShareBelowOne
from likewise.core.signatures import keyword_parameters
from likewise.data.datasets import DATASETS
from likewise.data.readers import FileFormat
from likewise.families.registry import FAMILIES, family_class
from likewise.modalities import KINDS
from likewise.server.http.bodies import StrictBody
from likewise.server.http.errors import invalid
from likewise.server.limits import MAX_NAME, MAX_OPTIONS, MAX_TEXT
from likewise.training.plan import Plan

MINUTES = 10.0  # without minutes, steps and epochs
OPENAI = {"n_epochs": "epochs", "batch_size": "batch"}  # OpenAI's names of options -> ours
MULTIPLIER = "learning_rate_multiplier"
WORDS = ("formula", "family")  # that stand among the options
SAMPLES_SHOWN = 8  # times that a training is saved, and samples are made, at least
SAVE_SECONDS = (5.0, 60.0)  # between these, unless the request has `save_seconds`
Short = Annotated[str, Field(max_length=MAX_NAME)]
MetadataText = Annotated[str, Field(max_length=MAX_TEXT)]


def table_parameters(
    *,
    skip_bad: bool = False,
    holdout: ShareBelowOne | None = None,
    by: str | None = None,
    pairs: str | None = None,
    near_copies: bool | None = None,
) -> None:
    """Options of a table on the command line."""


class FineTuningBody(StrictBody):
    """POST /v1/fine_tuning/jobs: `formula` and all options are in `hyperparameters`, or as strings in `metadata`."""

    model: Annotated[
        str, Field(min_length=1, max_length=MAX_NAME, description="a model to begin with, or a family")
    ]
    training_file: Short | None = Field(default=None, description="id of a file, or name of a data set")
    validation_file: Short | None = Field(default=None, description="not supported: rows are held out")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    suffix: Annotated[str, Field(min_length=1, max_length=MAX_NAME)] | None = Field(
        default=None, description="name of the new model"
    )
    hyperparameters: dict[str, Any] | None = None
    method: dict[str, Any] | None = None
    metadata: Annotated[dict[str, MetadataText], Field(max_length=MAX_OPTIONS)] | None = None
    integrations: list[Any] | None = None


def known_options(families: Collection[str]) -> dict[str, inspect.Parameter]:
    """The options of `likewise train` with these families, by name."""
    functions = [Plan, *(family_class(name).__init__ for name in families)]
    found = {n: p for function in functions for n, p in parameters_of(function).items()}
    of_columns, of_table = data_parameters()
    return {**found, **of_columns, **of_table}


def data_parameters() -> tuple[dict[str, inspect.Parameter], dict[str, inspect.Parameter]]:
    """The options of columns and data sets, and those of a table and its file."""
    of_columns: dict[str, inspect.Parameter] = {}
    for function in (*(kind.fit for kind in KINDS.values()), *DATASETS.values()):
        of_columns |= keyword_parameters(function)
    return of_columns, {**keyword_parameters(table_parameters), **parameters_of(FileFormat)}


def parameters_of(function: Any) -> dict[str, inspect.Parameter]:
    """The parameters that have a default, with their annotations."""
    from_signature = inspect.signature(function, eval_str=True).parameters
    return {n: p for n, p in from_signature.items() if p.default is not p.empty}


def refuse_unsupported(body: FineTuningBody) -> None:
    if body.validation_file is not None:
        message = (
            "validation_file: rows of the training file are held out, see the option holdout; leave it out"
        )
        raise invalid(message, "validation_file", "unsupported_parameter")
    if body.integrations:
        raise invalid(
            "integrations are not supported; leave them out", "integrations", "unsupported_parameter"
        )


def read_options(body: FineTuningBody) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The options, the field of the request that each stands in, and the words of the metadata that are none."""
    options: dict[str, Any] = {}
    where: dict[str, str] = {}
    method = body.method or {}
    kind = method.get("type", "supervised")
    inner = method.get(kind, {}) if isinstance(kind, str) else {}
    if kind != "supervised" or set(method) - {"type", "supervised"} or not isinstance(inner, dict):
        raise invalid("method must be supervised", "method", "unsupported_parameter")
    for place, values in (
        ("hyperparameters", body.hyperparameters or {}),
        ("method.supervised.hyperparameters", inner.get("hyperparameters") or {}),
    ):
        if not isinstance(values, dict):
            raise invalid(f"{place} must be an object", place, "invalid_type")
        for name, value in values.items():
            field = f"{place}.{name[:100]}"
            if name in where:
                raise invalid(f"{name[:100]} is given twice", field)
            if value == "auto" and name in (*OPENAI, MULTIPLIER):
                continue
            if value is not None:
                options[name], where[name] = value, field
    words = _add_metadata(body.metadata or {}, options, where)
    if len(options) > MAX_OPTIONS:
        raise invalid(f"at most {MAX_OPTIONS} options", "hyperparameters")
    for name in WORDS:
        if name in options and not isinstance(options[name], str):
            raise invalid(f"{name} must be a text", where[name], "invalid_type")
    if "seed" in options and body.seed is not None:
        raise invalid("seed is given twice", where["seed"])
    return options, where, words


def _add_metadata(metadata: Mapping[str, str], options: dict[str, Any], where: dict[str, str]) -> list[str]:
    """Add the options that metadata have, as strings; the names of the others."""
    known, others = known_options(FAMILIES), []
    for name, text in metadata.items():
        place = f"metadata.{name[:100]}"
        option = OPENAI.get(name, name)
        if name not in WORDS and option not in known and name != MULTIPLIER:
            others.append(name)
            continue
        if name in where:
            raise invalid(f"{name} is in hyperparameters and in metadata; leave one out", place)
        try:
            annotation = float if name == MULTIPLIER else getattr(known.get(option), "annotation", str)
            options[name] = text if name in WORDS else parse_option(name, text, annotation)
        except ValueError as error:
            raise invalid(error, place) from None
        where[name] = place
    return others


def checked_option(name: str, value: Any, parameter: inspect.Parameter, where: str) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise invalid(f"{name} must be a number, a text, or true or false", where, "invalid_type")
    try:
        return validate_value(name, value, parameter.annotation)
    except ValueError as error:
        raise invalid(error, where) from None


def option_words(name: str, value: Any) -> list[str]:
    """
    >>> option_words("skip_bad", True), option_words("header", False), option_words("by", "--x")
    (['--skip-bad'], ['--no-header'], ['--by=--x'])
    """
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        if name == "skip_bad":
            return ["--skip-bad"] if value else []
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}={value}"]


def learning_rate_words(multiplier: Any, values: Mapping[str, Any], where: Mapping[str, str]) -> list[str]:
    """OpenAI's multiplier: both learning rates times a factor."""
    if multiplier is None:
        return []
    if isinstance(multiplier, bool) or not isinstance(multiplier, int | float) or not 0 < multiplier <= 100:
        raise invalid(f"{MULTIPLIER} must be a number above 0 and at most 100", where[MULTIPLIER])
    if clash := next((name for name in ("lr", "muon_lr") if name in values), None):
        raise invalid(f"{MULTIPLIER} changes {clash}, which is given too; leave one out", where[MULTIPLIER])
    plan = Plan(steps=1)
    return [f"--lr={plan.lr * multiplier}", f"--muon-lr={plan.muon_lr * multiplier}"]


def seconds_between_checkpoints(values: Mapping[str, Any]) -> float:
    """Seconds between two checkpoints, so that samples of a short training are seen too.

    >>> seconds_between_checkpoints({"minutes": 1}), seconds_between_checkpoints({}), seconds_between_checkpoints({"minutes": 0.1})
    (7.5, 60.0, 5.0)
    """
    minutes = values.get("minutes", MINUTES)
    if values.keys() & {"steps", "epochs", "n_epochs"} or not isinstance(minutes, int | float):
        return 15.0
    low, high = SAVE_SECONDS
    return min(high, max(low, 60 * minutes / SAMPLES_SHOWN))
