"""Samples within ranges and sets of values: the distribution is that of the samples in which the conditions hold."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from likewise import Model, Plan, Table
from likewise.core.errors import RequestWarning
from likewise.modalities import Label, Number
from likewise.modalities.conditions import Condition
from likewise.training.trainer import train

pytestmark = pytest.mark.filterwarnings("ignore::likewise.core.errors.RequestWarning")


def rows(n: int = 3000, seed: int = 0) -> list[dict]:
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        age = int(draw.integers(18, 90))
        city = draw.choice(["Oslo", "Bergen", "Moss"], p=[0.5, 0.3, 0.2])
        income = float(np.round(draw.lognormal(2 + age / 50 + (city == "Oslo"), 0.5), 1))
        made.append({"age": age, "city": str(city), "income": None if draw.random() < 0.3 else income})
    return made


@pytest.fixture(scope="module")
def model() -> Model:
    table = Table.from_rows(rows(), {"age": "number", "city": "label", "income": "number"}, holdout=0.0)
    model = Model("age, city, income", table.columns, width=64, depth=2, ordered=0.2)
    for _ in train(model, table, Plan(steps=400, lr=5e-3)):
        pass
    return model


N = 4000


def shares(samples: list[dict]) -> dict[str, float]:
    """Statistics of samples, of which each has a standard error below 0.02."""
    incomes = [s["income"] for s in samples if s["income"] is not None]
    return {
        "old": float(np.mean([s["age"] > 60 for s in samples])),
        "Oslo": float(np.mean([s["city"] == "Oslo" for s in samples])),
        "Moss": float(np.mean([s["city"] == "Moss" for s in samples])),
        "missing": 1 - len(incomes) / len(samples),
        "rich": float(np.mean(np.array(incomes) > 20)) if incomes else 0.0,
    }


CONDITIONS = {
    "a range of the first column": {"age": (60, None)},
    "a range of the last column": {"income": (10, 25)},
    "classes": {"city": {"Oslo", "Moss"}},
    "several": {"age": Condition(30, 50, above=True), "city": {"Moss", "Bergen"}, "income": (None, 15)},
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_samples_within_conditions_are_those_in_which_they_hold(model: Model, name: str) -> None:
    within = CONDITIONS[name]
    samples = model.sample([{}] * N, constraint=within, batch=N)
    holds = [
        lambda s: s["age"] >= 60,
        lambda s: s["income"] is not None and 10 <= s["income"] <= 25,
        lambda s: s["city"] in ("Oslo", "Moss"),
        lambda s: (
            30 < s["age"] <= 50 and s["city"] != "Oslo" and s["income"] is not None and s["income"] <= 15
        ),
    ][list(CONDITIONS).index(name)]
    assert all(map(holds, samples))
    expected = [s for s in model.sample([{}] * (12 * N), seed=1, batch=4000) if holds(s)]
    assert len(expected) > 400
    for (key, value), other in zip(shares(samples).items(), shares(expected).values(), strict=True):
        error = 4 * (0.25 / len(expected) + 0.25 / N) ** 0.5
        assert abs(value - other) < error, f"{key}: {value:.3f}, not {other:.3f}"


def test_what_is_known_counts_in_a_condition(model: Model) -> None:
    """P(age | city, age > 60) of a known city, and the same sample alone and among others."""
    samples = model.sample([{"city": "Moss"}] * 50, constraint={"age": (60, None)}, batch=50)
    assert {s["city"] for s in samples} == {"Moss"} and min(s["age"] for s in samples) >= 60
    alone = model.sample([{"city": "Moss"}], indices=[7], constraint={"age": (60, None)}, precision="float32")
    beside = model.sample(
        [{"city": "Moss"}] * 50, constraint={"age": (60, None)}, precision="float32", batch=50
    )
    assert alone[0] == beside[7]


def test_a_condition_that_excludes_missing_values_only(model: Model) -> None:
    """It changes nothing else: the ages are those of all rows, not those of rows that have an income."""
    samples = model.sample([{}] * N, constraint={"income": Condition()}, batch=N)
    free = model.sample([{}] * N, seed=1, batch=N)
    assert all(s["income"] is not None for s in samples) and any(s["income"] is None for s in free)
    assert abs(shares(samples)["old"] - shares(free)["old"]) < 0.05


def test_conditions_that_hold_together_rarely_say_how_often(model: Model) -> None:
    with pytest.warns(
        RequestWarning, match=r"the conditions on age and income hold together in \d+(\.\d+)? %"
    ):
        model.sample([{}] * 200, constraint={"age": (70, None), "income": (None, 20)}, batch=200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.sample([{}] * 20, constraint={"age": (70, None)}, batch=20)


def test_bad_conditions(model: Model) -> None:
    for within, message in (
        ({"age": (95, None)}, "age: no value is at least 95: the training rows have values from 18 to 89"),
        ({"age": Condition(40, 41, above=True, below=True)}, "no value is above 40 and below 41"),
        ({"city": {"Olso"}}, "city: .*did you mean 'Oslo'"),
        ({"city": (1, 2)}, "city: its values are classes, which have no range"),
        ({"town": {"Oslo"}}, "town"),
        ({"age": 60}, r"a condition is a pair \(low, high\) or a set of values, not 60"),
    ):
        with pytest.raises(ValueError, match=message):
            model.sample([{}], constraint=within)
    with pytest.raises(ValueError, match="age is known, and has a condition"):
        model.sample([{"age": 70}], constraint={"age": (60, None)})
    flow = Model("x", {"x": Number.fit([1.0, 2.0, 3.0])}, "flow", width=32, depth=1)
    with pytest.raises(
        ValueError, match="flow cannot sample values of a range or set; those that can: any_order"
    ):
        flow.sample([{}], constraint={"x": (1, 2)})


def test_tokens_of_conditions() -> None:
    number = Number.fit([None] * 30 + [0.0] * 30 + [round(0.5 * k, 1) for k in range(1, 41)])
    for low, high, above, below in (
        (0, 0, False, False),
        (0, None, True, False),
        (2, 7, False, True),
        (None, 3, 0, 0),
    ):
        ends = number.tokens_within(Condition(low, high, bool(above), bool(below)))
        inner = torch.linspace(max(-4.0, float(ends[0])), min(4.0, float(ends[1])), 400)[1:-1]
        found = number.decode_all(inner[:, None, None])
        assert None not in found
        low_found, high_found = min(found), max(found)
        assert low_found >= (number.low if low is None else low + 0.5 * above) - 1e-9
        assert high_found <= (number.high if high is None else high - 0.5 * below) + 1e-9
        if low is not None:
            assert low_found <= low + 1
    mask = Label.fit(["a", "b", None]).tokens_within(Condition())
    assert mask.tolist() == [True, True, False]
