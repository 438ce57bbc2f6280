"""Sampling options that have no effect are named: whatever else is in the request decides which these are."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import toy

from likewise.core.errors import RequestWarning
from likewise.data.table import Table
from likewise.families.registry import family_class
from likewise.models.model import Model

# family, formula, options that are given, those of them that have no effect where the source is given
CASES: list[tuple[str, str, dict[str, Any], set[str]]] = [
    ("flow", "image | label", {"eta": 0.5}, {"eta"}),
    ("flow", "image | label", {"eta": 0.5, "sampler": "stochastic"}, set()),
    ("flow", "image | label", {"zero_star": False, "guidance_to": 0.5, "shift": 2.0}, set()),
    (
        "flow",
        "image | label",
        {"zero_star": False, "guidance_to": 0.5, "guidance": 1.0},
        {"zero_star", "guidance_to"},
    ),
    ("flow", "number | label", {"guidance": 3.0}, set()),
    ("flow", "number | label", {"guidance": 3.0, "zero_star": True}, {"zero_star"}),
    ("flow", "number | label", {"guidance_from": 0.1}, {"guidance_from"}),
    ("diffusion", "image | label", {"eta": 0.5}, set()),
    ("diffusion", "image | label", {"eta": 0.5, "sampler": "heun"}, {"eta"}),
    ("autoencoder", "number | label", {"noise": True, "eta": 0.5}, {"noise", "eta"}),
    ("autoencoder", "image | label", {"noise": True, "guidance": 2.0}, set()),
    (
        "autoregressive",
        "number | label",
        {"guidance": 2.0, "top_p": 0.5, "presence": 1.0},
        {"guidance", "top_p", "presence"},
    ),
    ("autoregressive", "text | label", {"guidance": 2.0, "top_p": 0.5, "presence": 1.0}, set()),
    ("autoregressive", "text | label", {"temperature": 0.0, "min_p": 0.5}, {"min_p"}),
    ("vae", "image | label", {"noise": True, "candidates": 3}, {"candidates"}),
    ("mixture", "text | label", {"temperature": 0.5}, {"temperature"}),
]


def model_of(world: Table, family: str, formula: str) -> Model:
    """A model that samples something, without training."""
    small = {
        n: v
        for n, v in {"width": 16, "depth": 1, "components": 3}.items()
        if n in family_class(family).options()
    }
    model = Model(formula, world.columns, family, **small)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    return model


def values(rows: list[dict[str, Any]]) -> list[Any]:
    return [v.tobytes() if hasattr(v, "tobytes") else v for row in rows for v in row.values()]


@pytest.mark.parametrize(("family", "formula", "options", "idle"), CASES)
def test_what_has_no_effect_is_named(
    world: Table, family: str, formula: str, options: dict[str, Any], idle: set[str]
) -> None:
    model = model_of(world, family, formula)
    source = {"label": "2"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = model.sample([source] * 4, batch=2, **options)
    messages = [str(w.message) for w in caught if w.category is RequestWarning]
    assert sorted(m.split(" has no effect: ")[0] for m in messages) == sorted(idle), messages
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        without = {n: v for n, v in options.items() if n not in idle}
        assert values(model.sample([source] * 4, batch=2, **without)) == values(rows), (
            "it does have an effect"
        )


@pytest.mark.parametrize("family", ["flow", "diffusion", "autoencoder", "autoregressive"])
def test_guidance_without_a_source_has_no_effect(world: Table, family: str) -> None:
    model = model_of(world, family, "image | label, text")
    with pytest.warns(RequestWarning, match="guidance has no effect: no source is given"):
        rows = model.sample([{}] * 2, guidance=4.0)
    assert values(rows) == values(model.sample([{}] * 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.sample([{}, {"text": toy.WORDS[0]}], guidance=4.0)
        model.sample([{}], guidance=1.0)
        model.sample([{}], negative={"text": toy.WORDS[0]}, guidance=4.0)


def test_jumps_are_guided_as_they_were_trained(world: Table) -> None:
    model = Model("number | label", world.columns, "flow", width=16, depth=1, few_step=True)
    for options in ({"sampler": "jump"}, {"steps": 2}):
        with pytest.warns(RequestWarning, match="zero_star has no effect"):
            model.sample([{"label": "1"}], zero_star=False, guidance=2.0, **options)
