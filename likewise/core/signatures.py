"""Function signatures as schemas of options: keyword-only parameters, their types and defaults."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from likewise.core.errors import did_you_mean


def keyword_parameters(function: Any) -> dict[str, inspect.Parameter]:
    """The keyword-only parameters of a function, annotations resolved: the signature is the schema."""
    parameters = inspect.signature(function, eval_str=True).parameters
    return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def validate_options(given: Mapping[str, Any], known: Mapping[str, Any], what: str) -> dict[str, Any]:
    """`given`, if every name in it is in `known` and every choice one of its Literal's. Raises ValueError."""
    for name, value in given.items():
        if name not in known:
            raise ValueError(did_you_mean(what, name, known))
        choices = typing.get_args(known[name].annotation)
        if typing.get_origin(known[name].annotation) is typing.Literal and value not in choices:
            raise ValueError(f"{name} is one of {', '.join(map(str, choices))}, not {value!r}")
    return dict(given)
