"""The family any_order: exact probabilities of tables with missing values, given any columns, and samples of them."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

from likewise.data.table import Table
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

SMALL = {"width": 32, "depth": 1}
Row = dict[str, Any]


def rows_of(count: int) -> list[Row]:
    """A label and a count that depends on it, each missing in some rows, and the count more often with one label."""
    draw = np.random.default_rng(0)
    rows: list[Row] = []
    for _ in range(count):
        kind = "abc"[draw.choice(3, p=[0.5, 0.3, 0.2])]
        number = int(
            draw.choice(3, p={"a": [0.8, 0.1, 0.1], "b": [0.1, 0.8, 0.1], "c": [0.2, 0.2, 0.6]}[kind])
        )
        gone = draw.random() < (0.5 if kind == "a" else 0.1)
        rows.append({"kind": None if draw.random() < 0.1 else kind, "number": None if gone else number})
    return rows


def learned(formula: str, table: Table, steps: int, batch: int = 256) -> Model:
    model = Model(formula, table.columns, "any_order", **SMALL)
    for _ in train(model, table, Plan(steps=steps, batch=batch, lr=0.01, warmup=5, save_seconds=1e9)):
        pass
    return model.eval()


ROWS = rows_of(2000)
COUNTS = Counter((row["kind"], row["number"]) for row in ROWS)
STATES = list(itertools.product(["a", "b", "c", None], [0, 1, 2, None]))


@pytest.fixture(scope="module")
def small() -> Model:
    table = Table.from_rows(ROWS, {"kind": "label", "number": "number"}, holdout=0.0)
    return learned("kind, number", table, 150)


def distance(p: dict[Any, float], q: dict[Any, float]) -> float:
    """Total variation."""
    return sum(abs(p.get(k, 0.0) - q.get(k, 0.0)) for k in {*p, *q}) / 2


def shares(values: list[Any]) -> dict[Any, float]:
    return {value: n / len(values) for value, n in Counter(values).items()}


def test_probabilities_are_those_of_the_counts_and_add_up_to_one(small: Model) -> None:
    """Missing values are values: each state of a row has a probability."""
    score = small.log_prob([{"kind": kind, "number": number} for kind, number in STATES])
    found = dict(zip(STATES, score.nats.exp().tolist(), strict=True))
    assert score.kind == "exact" and sum(found.values()) == pytest.approx(1, abs=1e-4)
    assert distance(found, {state: n / len(ROWS) for state, n in COUNTS.items()}) < 0.04


def test_any_column_may_be_known(small: Model) -> None:
    for known, other, value in (("kind", "number", "a"), ("kind", "number", "b"), ("number", "kind", 1)):
        rows = small.given(**{known: value}).sample(1000, batch=1000)
        assert all(row[known] == value for row in rows)
        right = shares([row[other] for row in ROWS if row[known] == value])
        assert distance(shares([row[other] for row in rows]), right) < 0.1


def test_samples_have_the_frequencies_of_rows_and_no_other_values(small: Model) -> None:
    rows = small.given().sample(1000, batch=1000)
    found = shares([(row["kind"], row["number"]) for row in rows])
    assert found.keys() <= set(STATES) and any(None in state for state in found)
    assert distance(found, {state: n / len(ROWS) for state, n in COUNTS.items()}) < 0.1


def test_a_sample_is_the_same_in_any_batch_and_of_a_saved_model(small: Model, tmp_path: Path) -> None:
    requests = [{}, {"kind": "a"}, {"number": 2}, {}, {"kind": "c"}] * 3
    rows = small.sample(requests, seed=4, batch=15)
    small.save(tmp_path)
    for model in (small, Model.load(tmp_path)):
        assert model.sample(requests, seed=4, batch=2) == rows
    assert small.sample(requests[7:8], seed=4, indices=[7]) == rows[7:8]


def test_one_column_with_and_without_missing_values() -> None:
    """Of a single target the values that rows have are learned."""
    rows = [{"x": None if i % 4 == 0 else i % 3 / 4} for i in range(400)]
    model = learned("x", Table.from_rows(rows, {"x": "number"}, holdout=0.0), 40)
    nats = model.log_prob([{"x": v} for v in (0.0, 0.25, 0.5)]).nats
    assert nats.exp().tolist() == pytest.approx([1 / 3] * 3, abs=0.06)
    assert {row["x"] for row in model.given().sample(40, batch=40)} == {0.0, 0.25, 0.5}


@pytest.mark.parametrize("source", ["text", "image"])
def test_sources_may_be_texts_and_pictures(source: str) -> None:
    model = learned(f"number, label | {source}", toy.table(), 80, batch=64)
    test = toy.rows(40, seed=9)
    rows = model.sample([{source: row[source]} for row in test], batch=40)
    things = [int(row["label"]) for row in test]
    assert toy.agreement(things, "label", rows) > 0.9 and toy.agreement(things, "number", rows) > 0.8
    without = model.sample([{}] * 80, batch=80)
    assert min(Counter(str(row["label"]) for row in without).get(k, 0) for k in "0123") >= 5


def test_many_columns() -> None:
    draw = np.random.default_rng(0)
    names = [f"c{i}" for i in range(300)]
    rows = [
        {n: float(v) for n, v in zip(names, draw.normal(size=300).round(2), strict=True)} for _ in range(60)
    ]
    table = Table.from_rows(rows, dict.fromkeys(names, "number"), holdout=0.0)
    model = learned(", ".join(names), table, 2, batch=32)
    [sample] = model.given().sample(1)
    for name in names:
        values = table.column(name)
        assert min(values) <= sample[name] <= max(values) and round(sample[name], 2) == sample[name]
    assert model.log_prob(rows[:2]).nats.isfinite().all()
