"""Every family that has a density, on a plane where the density is known: on the right side of it, and near."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from matrix import mainly
from torch import Tensor

from likewise.data.table import Table
from likewise.families.registry import FAMILIES, family_class
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

SCORED = [name for name in FAMILIES if hasattr(family_class(name), "log_prob")]
STEPS = 600
SLACK = {"exact": 0.12, "bound": 0.35}  # nats that a model of some seconds may lose on the truth
CACHE: dict[str, Model] = {}

ONE = torch.distributions.MultivariateNormal(
    torch.tensor([-1.0, 0.0]), torch.tensor([[0.5, 0.4], [0.4, 0.5]])
)
TWO = torch.distributions.MultivariateNormal(
    torch.tensor([1.5, -1.0]), torch.tensor([[0.1, 0.0], [0.0, 0.4]])
)


def truth(points: Tensor) -> Tensor:
    """log p of a correlated Gaussian half the time, a narrow one beside it the other half: (B, 2) -> (B,)."""
    return torch.logaddexp(ONE.log_prob(points), TWO.log_prob(points)) - math.log(2)


def draws(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    one = rng.multivariate_normal([-1, 0], [[0.5, 0.4], [0.4, 0.5]], count // 2)
    two = rng.multivariate_normal([1.5, -1], [[0.1, 0], [0, 0.4]], count // 2)
    return np.concatenate([one, two])


def rows_of(points: np.ndarray) -> list[dict[str, Any]]:
    return [{"x": float(x), "y": float(y)} for x, y in points]


# By default the flow is on this plane in test_truth.py, and the others on one in test files of their own.
@pytest.fixture(params=mainly(["mixture"], SCORED))
def plane(request: pytest.FixtureRequest) -> Iterator[Model]:
    """A family trained on the plane, once for all tests."""
    family = request.param
    if family not in CACHE:
        table = Table.from_rows(rows_of(draws(4000, 0)), {"x": "number", "y": "number"}, holdout=0.0)
        shape = {n: v for n, v in {"width": 64, "depth": 2}.items() if n in family_class(family).options()}
        model = Model("x, y", table.columns, family, **shape)
        plan = Plan(
            steps=STEPS, batch=128, lr=5e-3, muon_lr=0.01, source_dropout=0.25, precision="float32", warmup=20
        )
        for _ in train(model, table, plan):
            pass
        CACHE[family] = model.eval()
    return CACHE[family]


def test_the_score_is_on_the_right_side_of_the_truth(plane: Model) -> None:
    """Over fresh points of the true density no model's mean can be above the truth's, and a trained one is near."""
    points = draws(600, 1)
    score = plane.log_prob(rows_of(points), batch=600)
    gap = truth(torch.tensor(points, dtype=torch.float32)) - score.nats
    error = float(gap.std()) / math.sqrt(len(gap))
    assert score.kind in SLACK and score.dims == 2
    assert float(gap.mean()) > -3 * error, f"{plane.family_name}: above the truth by {-float(gap.mean()):.3f}"
    slack = 0.25 if plane.family_name == "trees" else SLACK[score.kind]  # steps, and leaves of 12 rows
    assert float(gap.mean()) < slack, f"{plane.family_name}: below the truth by {gap.mean():.3f}"


def test_an_exact_score_integrates_to_one(plane: Model) -> None:
    """And a bound to at most one."""
    side = torch.linspace(-4.5, 4.5, 73)  # 0.125 apart, where the narrowest deviation is 0.32
    points = torch.cartesian_prod(side, side).numpy()
    score = plane.log_prob(rows_of(points), batch=4000)
    total = float(score.nats.exp().sum()) * float(side[1] - side[0]) ** 2
    if score.kind == "exact":
        tolerance = 0.1 if plane.family_name == "trees" else 0.04  # steps, exactly summed in test_trees.py
        assert abs(total - 1) < tolerance, f"{plane.family_name}: {total:.3f}"
    else:
        assert 0.5 < total < 1.1, f"{plane.family_name}: {total:.3f}"


def test_what_is_drawn_follows_the_truth(plane: Model) -> None:
    """Moments of each half, by which side of x = 0.4 a draw is on."""
    plain = {"guidance": 1.0, "steps": 30, "noise": True, "temperature": 1.0}
    sampling_options = {n: v for n, v in plain.items() if n in type(plane.family).sampling_options()}
    drawn = plane.given().sample(1500, batch=1500, **sampling_options)
    points = np.array([[row["x"], row["y"]] for row in drawn])
    left = points[:, 0] < 0.6
    assert abs(left.mean() - 0.5) < 0.08
    for part, mean in ((points[left], (-1.0, 0.0)), (points[~left], (1.5, -1.0))):
        assert np.abs(part.mean(0) - mean).max() < 0.2, f"{part.mean(0)} instead of {mean}"
    least = 0.35 if plane.family_name == "vae" else 0.6  # 0.8 in truth; a decoder's own noise has none
    assert np.corrcoef(points[left].T)[0, 1] > least


def test_a_known_number_conditions_the_other(plane: Model) -> None:
    """P(y | x) out of the joint: on the slope y follows x, beside it it does not."""
    for x, mean in ((-1.7, -0.56), (-0.3, 0.56), (1.5, -1.0)):
        drawn = [row["y"] for row in plane.sample([{}] * 300, known={"x": x}, batch=300)]
        assert abs(np.mean(drawn) - mean) < 0.3, f"E[y | x = {x}] is {np.mean(drawn):.2f}, not {mean}"
