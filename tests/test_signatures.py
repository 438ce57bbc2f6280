"""Signatures are the schema of options, into dataclasses too."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pytest

from likewise.core.signatures import expand_dataclasses, keyword_parameters
from likewise.families import FAMILIES, family_class

SAMPLING_OPTIONS: dict[str, dict[str, Any]] = {
    "flow": {
        "steps": 8,
        "sampler": "auto",
        "guidance": None,
        "guidance_from": 0.0,
        "guidance_to": 0.9,
        "zero_star": True,
        "shift": 1.0,
        "eta": 1.0,
        "source_noise": 0.0,
        "precision": "auto",
    },
    "autoregressive": {
        "temperature": 1.0,
        "top_p": 1.0,
        "min_p": 0.0,
        "guidance": None,
        "presence": 0.0,
        "frequency": 0.0,
        "tokens": None,
        "precision": "auto",
    },
}


@dataclass(frozen=True)
class Size:
    width: int
    kind: Literal["a", "b"] = "a"


DEFAULT = Size(3)


@expand_dataclasses
def area(x: float, *, size: Size = DEFAULT, depth: int = 2) -> tuple[float, Size, int]:
    return x, size, depth


def test_fields_are_keywords_with_the_defaults_of_the_instance() -> None:
    parameters = keyword_parameters(area)
    assert {n: p.default for n, p in parameters.items()} == {"width": 3, "kind": "a", "depth": 2}
    assert parameters["width"].annotation is int and get_args(parameters["kind"].annotation) == ("a", "b")
    assert area(1.0) == (1.0, Size(3), 2) and area(1.0, width=5, depth=1) == (1.0, Size(5), 1)
    for wrong in ("size", "height"):
        with pytest.raises(TypeError, match=wrong):
            area(1.0, **{wrong: 1})


@pytest.mark.parametrize("name", SAMPLING_OPTIONS)
def test_sampling_options_are_flat(name: str) -> None:
    options = family_class(name).sampling_options()
    assert {n: p.default for n, p in options.items()} == SAMPLING_OPTIONS[name]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_option_is_a_value_of_json(name: str) -> None:
    """Which a run folder and a command line can hold, whatever dataclass it is a field of."""
    cls = family_class(name)
    options = cls.options() | cls.sampling_options()
    assert all(p.default is None or isinstance(p.default, bool | int | float | str) for p in options.values())
    assert all(p.annotation is not inspect.Parameter.empty for p in options.values())
