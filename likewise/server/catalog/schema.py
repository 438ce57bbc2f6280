"""What a model is and what may be asked of it, from its columns and the signatures of its family."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from likewise.core.options import OptionType
from likewise.core.signatures import parameter_descriptions
from likewise.families.base import Family
from likewise.families.capabilities import CanEmbed, CanScore
from likewise.modalities.base import Modality
from likewise.modalities.latent import base_of
from likewise.modalities.text import Text
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.models.requests import all_columns
from likewise.models.text_prompt import is_single_text

JSON_TYPES: dict[Any, str] = {int: "integer", float: "number", bool: "boolean", str: "string"}
MAX_CLASSES = 1000  # that a schema lists


def model_schema(model: Model | Pipeline) -> dict[str, Any]:
    """The value of the key "likewise" of a model: formula, columns, sampling options, controls."""
    links = model.links if isinstance(model, Pipeline) else {"": model}
    families = [link.family for link in links.values()]
    return {
        "kind": "pipeline" if isinstance(model, Pipeline) else "model",
        "formula": str(model.formula),
        "family": ", ".join(dict.fromkeys(link.family_name for link in links.values())),
        "parameters": sum(p.numel() for family in families for p in family.parameters()),
        "targets": list(model.targets),
        "columns": [
            column_schema(name, column, "source" if name in model.sources else "target")
            for name, column in all_columns(model).items()
        ],
        "options": options_schema(model),
        "controls": controls(model),
    }


def column_schema(name: str, column: Modality, role: str) -> dict[str, Any]:
    """A column: what it is, and how its values are sent."""
    base, spec = base_of(column), column.spec
    schema: dict[str, Any] = {
        "name": name,
        "role": role,
        "kind": column.kind,
        "media_type": column.media_type,
        "input": input_type(column),
        "description": column.describe(),
        "visual": column.visual,
        "optional": True,
    }
    if column.role == "class":
        schema["classes"] = base.class_names()[:MAX_CLASSES]
    if column.visual and len(base.spec.grid) == len(base.spec.axes):
        sizes = dict(zip(base.spec.axes, base.spec.grid, strict=True))
        schema["shape"] = {**sizes, "channels": base.spec.width}
    if base.numeric:
        bounds = {n: getattr(base, n, None) for n in ("low", "high", "integer")}
        schema["range"] = {n: v for n, v in bounds.items() if v is not None}
    if spec.categorical and input_type(column) == "text":
        schema["max_tokens"] = spec.tokens
    return {**schema, "grid": list(spec.grid)}


def input_type(column: Modality) -> str:
    """How a person gives a value: "class", "number", "text", "json" or "file"."""
    if column.media_type.startswith("text/"):
        return "class" if column.role == "class" else "number" if column.numeric else "text"
    return "json" if column.media_type == "application/json" else "file"


def controls(model: Model | Pipeline) -> list[str]:
    """What may be asked of a model beside options: names of fields of a request, and of further routes."""
    links = list(model.links.values()) if isinstance(model, Pipeline) else [model]
    able = {control for link in links for control in type(link.family).sampling_controls()}
    can_sample = all(hasattr(link.family, "sample") for link in links)
    single_text = isinstance(model, Model) and is_single_text(model.target_columns)
    texts = any(isinstance(column, Text) for column in model.target_columns.values())
    found = {
        "sample": can_sample,
        "known": can_sample,
        "negative": "negative" in able and bool(model.sources),
        "init": "init" in able,
        "interpolate": can_sample,
        "interpolate_sources": "interpolate_to" in able,
        "prompt": "prompt" in able and single_text,
        "suffix": "suffix" in able and single_text,
        "stop": "prompt" in able and single_text,
        "stream": "prompt" in able and single_text,
        "constraint": "constraint" in able and texts,
        "score": isinstance(model, Model) and isinstance(model.family, CanScore),
        "embed": isinstance(model, Model) and isinstance(model.family, CanEmbed),
    }
    return [name for name, there in found.items() if there]


# ---- options


def options_schema(model: Model | Pipeline) -> dict[str, Any]:
    """The JSON schema of the sampling options; of a pipeline those of each link too, under its name."""
    if isinstance(model, Model):
        return object_schema(model.sampling_options(), _descriptions(model.family))
    links = {name: options_schema(link) for name, link in model.links.items()}
    shared = {n: s for schema in reversed(links.values()) for n, s in schema["properties"].items()}
    return _closed_object({**shared, **links})


def object_schema(
    parameters: Mapping[str, inspect.Parameter], descriptions: Mapping[str, str]
) -> dict[str, Any]:
    """The JSON schema of keyword-only parameters with annotations and defaults."""
    return _closed_object({n: option_schema(p, descriptions.get(n, "")) for n, p in parameters.items()})


def _closed_object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}


def option_schema(parameter: inspect.Parameter, description: str = "") -> dict[str, Any]:
    """The JSON schema of a parameter.

    >>> from likewise.core.ranges import Share
    >>> option_schema(inspect.Parameter("x", inspect.Parameter.KEYWORD_ONLY, default=0.5, annotation=Share))
    {'type': 'number', 'minimum': 0, 'maximum': 1, 'default': 0.5}
    """
    kind = OptionType.of(parameter.annotation)
    schema: dict[str, Any] = {}
    if kind.choices:
        schema["enum"] = list(kind.choices) + [None] * kind.optional
    elif kind.type in JSON_TYPES:
        name = JSON_TYPES[kind.type]
        schema["type"] = [name, "null"] if kind.optional else name
    bounds = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    for bound, keyword in {**bounds, "multiple_of": "multipleOf"}.items():
        if (value := kind.bound(bound)) is not None:
            schema[keyword] = value
    if isinstance(parameter.default, str | int | float | bool | dict | None):
        schema["default"] = parameter.default
    return {**schema, "description": description} if description else schema


def _descriptions(family: Family) -> dict[str, str]:
    """The descriptions of sampling options in the docstrings of a family."""
    functions: list[Callable[..., Any]] = [getattr(type(family), "sample", type(family).compute_copy)]
    functions.append(type(family).compute_copy)
    names = type(family).sampling_options()
    found: dict[str, str] = {}
    for function in functions:
        found = {**parameter_descriptions(inspect.getdoc(function) or "", names), **found}
    return found
