"""Learning: in the toy world a sample must say the same as what it was asked for, in every direction, after seconds of training."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import toy
from matrix import ROW_FAMILIES, mainly

from likewise.data.table import Table
from likewise.families.registry import family_class, sampling_families
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

ENOUGH = 0.9  # chance is 0.25
THINGS = [i % 4 for i in range(80)]
REAL = toy.rows(80, seed=9)  # rows that no model has seen

# A GAN needs other steps and rates: it has such tests in test_gan.py.
LEARNERS = [n for n in sampling_families() if n not in ("gan", *ROW_FAMILIES)]
EVERYTHING = "image, label, number | text"
# formula -> steps, and what must agree with what
FORMULAS: dict[str, tuple[int, list[tuple[str, str]]]] = {
    EVERYTHING: (200, [("text", "image"), ("text", "label"), ("text", "number")]),
    "label, number | image": (120, [("image", "label"), ("image", "number")]),
    "text | label": (200, [("label", "text")]),
    "number | label": (200, [("label", "number")]),
}
# What is learned by default; test_diffusion, test_views and test_gan have the other families.
OFTEN = [
    ("flow", EVERYTHING),
    *((family, "number | label") for family in ("autoregressive", "vae")),
    *(("mixture", formula) for formula in FORMULAS),
]
PICTURES = ["flow", "mixture"]  # families that learn pictures by default


def families(often: list[str], values: list[str] = LEARNERS) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("family", mainly(often, values))


CACHE: dict[tuple[str, str], Model] = {}
SHAPE = {"width": 64, "depth": 2}
PLAN = {"batch": 64, "lr": 4e-3, "muon_lr": 0.03, "warmup": 20, "precision": "float32"}
# What a family needs beside what a flow needs: times as many steps, other rates.
MORE: dict[str, float] = {"autoregressive": 1.5}  # 0.4 of them are for its codes
PLANS: dict[str, dict[str, Any]] = {"mixture": {"batch": 32}}
JOINT: dict[str, dict[str, Any]] = {
    "flow": {"infill": 1.0, "t_mean": 1.8},
    "diffusion": {"infill": 1.0},
    "vae": {"prior": "vamp"},
}


def learned(world: Table, family: str, formula: str, steps: int, **options: Any) -> Model:
    """A model of the toy world, trained once for all tests that ask it."""
    key = family, formula
    if key not in CACHE:
        cls = family_class(family)
        shape = {n: v for n, v in SHAPE.items() if n in cls.options()}
        model = Model(formula, world.columns, family, **shape, **options)
        steps = round(steps * MORE.get(family, 1))
        for _ in train(model, world, Plan(steps=steps, **(PLAN | PLANS.get(family, {})))):
            pass
        CACHE[key] = model.eval()
    return CACHE[key]


def joint(world: Table, family: str) -> Model:
    return learned(
        world, family, "image, label", 300 if family == "mixture" else 600, **JOINT.get(family, {})
    )


def answers(model: Model, source: str, target: str, **sampling_options: Any) -> float:
    """How often the target agrees with a source, over real values of the source."""
    drawn = model.sample([{source: row[source]} for row in REAL], batch=80, **sampling_options)
    return toy.agreement(THINGS, target, drawn)


def completes(model: Model, known: str, target: str) -> float:
    """How often the target agrees with another target that is known."""
    drawn = [model.given().sample(1, seed=i, known={known: row[known]})[0] for i, row in enumerate(REAL[:40])]
    return toy.agreement(THINGS[:40], target, drawn)


def everything(world: Table, family: str) -> Model:
    return learned(world, family, EVERYTHING, FORMULAS[EVERYTHING][0])


def test_the_toy_world_can_be_told_apart() -> None:
    for column in ("image", "label", "text", "number"):
        assert toy.agreement(THINGS, column, REAL) > 0.98
        assert toy.agreement(THINGS[1:] + THINGS[:1], column, REAL) < 0.02


@pytest.mark.parametrize(("family", "formula"), mainly(OFTEN, itertools.product(LEARNERS, FORMULAS)))
def test_targets_agree_with_their_source(world: Table, family: str, formula: str) -> None:
    steps, directions = FORMULAS[formula]
    model = learned(world, family, formula, steps)
    for source, target in directions:
        found = answers(model, source, target)
        assert found > ENOUGH, f"{source} -> {target}: {found:.2f}"


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("flow", {"sampler": "euler"}),
        ("flow", {"sampler": "heun"}),
        ("flow", {"sampler": "dpmpp_2m"}),
        ("flow", {"sampler": "stochastic"}),
        ("flow", {"sampler": "stochastic", "eta": 1.0, "steps": 20}),  # as a diffusion is sampled
        pytest.param("diffusion", {"sampler": "heun", "steps": 10}, marks=pytest.mark.full),  # as a flow
        pytest.param("diffusion", {"eta": 0.0, "steps": 20}, marks=pytest.mark.full),
    ],
)
def test_every_sampler_draws_what_is_asked(world: Table, family: str, options: dict[str, Any]) -> None:
    assert answers(everything(world, family), "text", "image", guidance=1.0, **options) > ENOUGH


@families(PICTURES)
def test_without_its_source_a_model_draws_all_things(world: Table, family: str) -> None:
    model = everything(world, family)
    counts = np.bincount([toy.seen(row["image"]) for row in model.given().sample(80)], minlength=4)
    assert counts.min() >= 5, f"the four things are drawn {counts} times of 80"


@families(PICTURES)
def test_draws_of_one_source_differ(world: Table, family: str) -> None:
    """A picture moves by up to a pixel: a model that has collapsed onto the mean picture draws it at one place only."""
    model = everything(world, family)
    drawn = np.stack(
        [np.asarray(row["image"], dtype=float) for row in model.given(text=toy.WORDS[1]).sample(40)]
    )
    real = np.stack([np.asarray(row["image"], dtype=float) for row in toy.rows(160) if row["label"] == "1"])
    assert 0.5 < drawn.std(0).mean() / real.std(0).mean() < 1.5
    assert np.abs(drawn.mean(0) - real.mean(0)).mean() < 25  # of 255


SPREADS = [(family, formula) for family in LEARNERS for formula in ("number | label", EVERYTHING)]


@pytest.mark.parametrize(
    ("family", "formula"),
    mainly([row for row in SPREADS if row in OFTEN], SPREADS),
)
def test_a_number_has_the_mean_and_the_deviation_of_its_source(
    world: Table, family: str, formula: str
) -> None:
    """Alone, and beside a picture of a hundred numbers: it must not collapse onto its mean."""
    model, source = learned(world, family, formula, FORMULAS[formula][0]), formula.partition(" | ")[2]
    for row, mean in zip(REAL[:4], toy.MEANS, strict=True):
        drawn = model.given(**{source: row[source]}).sample(200, batch=200, **plain(family))
        numbers = np.array([row["number"] for row in drawn])
        assert abs(numbers.mean() - mean) < 0.3, f"{numbers.mean():.2f} instead of {mean}"
        low, high = np.quantile(numbers, [0.25, 0.75])  # a few outliers of a short training do not count
        spread = (high - low) / 1.349
        assert 0.15 < spread < 0.6, f"the deviation is {spread:.2f} instead of {toy.SPREAD}"


def plain(family: str) -> dict[str, Any]:
    """Knobs that draw from the model as it is."""
    sampling_options = {"guidance": 1.0, "steps": 20, "noise": True, "temperature": 1.0}
    return {n: v for n, v in sampling_options.items() if n in family_class(family).sampling_options()}


# ---- one joint model, in both directions


@families(
    ["mixture"], [n for n in LEARNERS if n != "autoencoder"]
)  # its prior of all at once needs more steps
def test_a_joint_draw_agrees_with_itself(world: Table, family: str) -> None:
    drawn = joint(world, family).given().sample(80)
    assert toy.agreement([int(row["label"]) for row in drawn], "image", drawn) > ENOUGH
    assert np.bincount([int(row["label"]) for row in drawn], minlength=4).min() >= 5


@families(["mixture"])
@pytest.mark.parametrize(("known", "target"), [("label", "image"), ("image", "label")])
def test_a_joint_model_answers_in_both_directions(world: Table, family: str, known: str, target: str) -> None:
    found = completes(joint(world, family), known, target)
    assert found > ENOUGH, f"{known} known -> {target}: {found:.2f}"


@families(["mixture"])
def test_a_known_half_is_completed(world: Table, family: str) -> None:
    """The left half of a picture says which thing it is if it shows one; if it is empty, the thing is on the right."""
    model = joint(world, family)
    mask = torch.zeros(toy.SIZE, toy.SIZE, dtype=torch.bool)
    mask[:, : toy.SIZE // 2] = True
    agree = []
    for i, row in enumerate(REAL[:32]):
        drawn = model.given().sample(1, seed=i, known={"image": (row["image"], mask)})[0]
        thing = THINGS[i]
        allowed = (thing,) if thing in (0, 2) else (1, 3)
        agree.append(toy.seen(drawn["image"]) in allowed and int(drawn["label"]) in allowed)
        left = [
            np.asarray(image, dtype=float)[:, : toy.SIZE // 2] for image in (drawn["image"], row["image"])
        ]
        assert np.abs(left[0] - left[1]).max() <= 1
    assert np.mean(agree) > 0.75, f"{np.mean(agree):.2f}"
