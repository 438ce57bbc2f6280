"""Function signatures as schemas of options: keyword-only parameters, their types, ranges and defaults."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from likewise.core.options import parameter_annotations

R = TypeVar("R")


def expand_dataclasses(function: Callable[..., R]) -> Callable[..., R]:
    """Replace each keyword of a function whose default is a dataclass by the fields of the dataclass.

    The default of a field is that of the keyword's default. The signature shows the fields, and is the schema.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Size:
    ...     width: int
    ...     depth: int = 2
    >>> @expand_dataclasses
    ... def area(unit: str, *, size: Size = Size(5)) -> str:
    ...     return f"{size.width * size.depth} {unit}"
    >>> area("m", depth=3), {name: p.default for name, p in keyword_parameters(area).items()}
    ('15 m', {'width': 5, 'depth': 2})
    """
    signature = _signature(function)
    groups = {
        name: p.default
        for name, p in signature.parameters.items()
        if dataclasses.is_dataclass(p.default) and not isinstance(p.default, type)
    }
    fields = {name: [field.name for field in dataclasses.fields(group)] for name, group in groups.items()}

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> R:
        values = {
            name: dataclasses.replace(group, **{f: options.pop(f) for f in fields[name] if f in options})
            for name, group in groups.items()
        }
        return function(*args, **options, **values)

    parameters: list[inspect.Parameter] = []
    for name, p in signature.parameters.items():
        if name in groups:
            hints = typing.get_type_hints(type(groups[name]), include_extras=True)
            parameters += [
                p.replace(name=f, default=getattr(groups[name], f), annotation=hints[f]) for f in fields[name]
            ]
        else:
            parameters.append(p)
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    """The signature with the annotations of parameters resolved; that of the result may name a class that is being
    defined."""
    signature = inspect.signature(function)
    annotated = types.SimpleNamespace(
        __annotations__={
            n: p.annotation for n, p in signature.parameters.items() if p.annotation is not p.empty
        }
    )
    hints = typing.get_type_hints(annotated, function.__globals__, include_extras=True)
    parameters = [p.replace(annotation=hints.get(n, p.annotation)) for n, p in signature.parameters.items()]
    return signature.replace(parameters=parameters)


def keyword_parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a function, annotations resolved: the signature is the schema."""
    return dict(_keyword_parameters(getattr(function, "__func__", function)))  # the cache keeps no instances


@functools.cache
def _keyword_parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters, annotations = inspect.signature(function).parameters, parameter_annotations(function)
    return {
        n: p.replace(annotation=annotations.get(n, p.empty))
        for n, p in parameters.items()
        if p.kind is p.KEYWORD_ONLY
    }


def parameter_descriptions(doc: str, names: Collection[str]) -> dict[str, str]:
    """The descriptions in a docstring: `name  text` on lines of their own, or `name: text` after a semicolon.

    >>> parameter_descriptions("width  of a token; in floats; depth, stem: blocks", ["width", "depth", "stem"])
    {'width': 'of a token; in floats', 'depth': 'blocks', 'stem': 'blocks'}
    """
    descriptions: dict[str, str] = {}
    for line in re.split(r"\n(?!\s)", inspect.cleandoc(doc)):
        current: list[str] = []
        for part in re.split(r";\s+", line):
            item = re.match(r"(\w+(?:, \w+)*)(?:  +|: )(.+)", part, re.DOTALL)
            if item and set(subjects := item[1].split(", ")) <= set(names):
                current, part = subjects, item[2]
            else:
                part = f"; {part}"
            for name in current:
                descriptions[name] = descriptions.get(name, "") + " ".join(part.split()).rstrip(".")
    return descriptions
