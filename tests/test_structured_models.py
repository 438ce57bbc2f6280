"""Models of tables with structure: computed columns, conditions through rules, log P, requirements."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path

import pytest
import torch
from test_structure import orders

from likewise.cli.main import main
from likewise.core.errors import RequestWarning
from likewise.data.structure import Structure, require
from likewise.data.table import Table
from likewise.modalities.conditions import Condition
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

COMPUTED = ["total", "cost", "country", "version"]


@pytest.fixture(scope="module")
def table() -> Table:
    return Table.from_rows(orders())


def trained(table: Table, family: str = "any_order", requirements: list[str] | None = None) -> Model:
    structure = table.structure
    if requirements:
        structure = require(structure, requirements, table.columns, [table[i] for i in range(len(table))])
    options = {"width": 32, "depth": 1} if family == "any_order" else {}
    model = Model("*", table.columns, family, structure=structure, **options)
    for _ in train(model, table, Plan(steps=30 if family == "any_order" else 1, batch=64)):
        pass
    return model


@pytest.fixture(scope="module")
def model(table: Table) -> Model:
    return trained(table)


def test_computed_columns_are_not_learned_and_are_sampled(model: Model) -> None:
    assert not {*model.family.targets} & {*COMPUTED}
    assert {*model.targets} >= {*COMPUTED}
    rows = model.sample([{}] * 200, seed=1)
    for row in rows:
        assert row["total"] == round(row["net"] + row["tax"] + row["tip"], 2)
        assert row["cost"] == round(row["amount"] * row["price"], 2)
        assert row["country"] == ("Norway" if row["city"] in ("Oslo", "Bergen") else "Italy")
        assert (row["second_income"] is None) == (row["second_age"] is None) == (row["kind"] == "single")
        assert row["start"] <= row["end"] and row["version"] == 2
    assert {row["kind"] for row in rows} == {"joint", "single"}


@pytest.mark.parametrize("family", ["trees", "mixture", "vae"])
def test_other_families_keep_the_structure(table: Table, family: str) -> None:
    model = trained(table, family)
    rows = model.sample([{}] * 60)
    assert not any(model.violations(rows))


def test_a_saved_model_computes_the_same(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path)
    loaded = Model.load(tmp_path)
    assert loaded.structure == model.structure
    assert loaded.sample([{}] * 3) == model.sample([{}] * 3)
    assert loaded.log_prob([orders(1)[0]]).nats.tolist() == model.log_prob([orders(1)[0]]).nats.tolist()


def test_without_structure_everything_is_learned(table: Table) -> None:
    model = Model("*", table.columns, width=16, depth=1)
    assert {*COMPUTED} <= {*model.family.targets} and not model.structure
    assert "structure" not in model.to_json()


def test_rows_do_not_depend_on_the_batch(model: Model) -> None:
    every = model.sample([{}] * 40, seed=3)
    assert model.sample([{}] * 20, seed=3, indices=range(20, 40), batch=7) == every[20:]


# ---- what is given


def test_a_given_class_of_classes_is_a_condition(model: Model) -> None:
    rows = model.given(country="Norway").sample(40)
    assert {row["city"] for row in rows} <= {"Oslo", "Bergen"} and {row["country"] for row in rows} == {
        "Norway"
    }
    rows = model.sample([{}] * 40, constraint={"country": {"Italy"}})
    assert {row["city"] for row in rows} <= {"Rome", "Milan"}


def test_a_given_total_conditions_the_term_that_is_not_given(model: Model) -> None:
    row = orders(1)[0]
    given = {n: row[n] for n in ("total", "net", "tip")}
    for sample in model.sample([given] * 5):
        assert math.isclose(sample["tax"], row["tax"]) and sample["total"] == row["total"]
    [sample] = model.sample([{}], known=given)
    assert math.isclose(sample["tax"], row["tax"])
    with pytest.raises(ValueError, match="total is computed"):
        model.sample([{"total": row["total"]}])
    with pytest.raises(ValueError, match="contradicts"):
        model.sample([{"city": "Oslo", "country": "Italy"}])
    with pytest.raises(ValueError, match="total is computed .* no condition"):
        model.sample([{}], constraint={"total": Condition(low=3)})


def test_a_value_that_only_some_rows_have_says_which_these_are(model: Model) -> None:
    assert {row["kind"] for row in model.sample([{"second_age": 30}] * 30)} == {"joint"}
    assert {row["kind"] for row in model.sample([{}] * 30, constraint={"second_age": (30, 40)})} == {"joint"}
    assert {row["second_age"] for row in model.sample([{"kind": "single"}] * 10)} == {None}


# ---- log P


def test_log_prob_is_that_of_what_is_learned_and_minus_infinity_where_a_rule_is_violated(
    model: Model,
) -> None:
    row = orders(1)[0]
    bad = {**row, "total": row["total"] + 1}
    without = {n: v for n, v in row.items() if n not in COMPUTED}
    nats = model.log_prob([row, without, bad], indices=[0, 0, 0]).nats
    assert torch.isfinite(nats[0]) and nats[0] == nats[1] and nats[2] == -math.inf
    assert model.violations([bad]) == [["total = net + tax + tip"]]


def test_log_prob_of_an_exception_is_finite() -> None:
    rows = orders(1200)
    rows[7]["total"] = 0.0
    table = Table.from_rows(rows)
    model = Model("net, tax, tip, total", table.columns, structure=table.structure, width=16, depth=1)
    nats = model.log_prob([rows[7], {**rows[7], "total": rows[6]["total"]}, rows[6]]).nats
    assert torch.isfinite(nats).all() and nats[0] < nats[2] - 3


# ---- requirements


def test_requirements_hold_in_every_sample(table: Table) -> None:
    names = ["amount <= 40", "net + tax >= 20", "(city, kind) in data", "start unique", "end < 150"]
    with pytest.warns(RequestWarning) as warnings:
        model = trained(table, requirements=names)
        rows = model.sample([{}] * 30)
    text = " ".join(str(w.message) for w in warnings)
    assert "rows of the data do not satisfy 'amount <= 40'" in text and "were drawn again" in text
    assert all(row["amount"] <= 40 and row["net"] + row["tax"] >= 20 and row["end"] < 150 for row in rows)
    assert len({row["start"] for row in rows}) == 30


def test_a_required_equation_is_computed() -> None:
    rows = [{"a": float(i % 7), "b": float(i % 11), "c": float(i % 7 + i % 11)} for i in range(60)]
    table = Table.from_rows(rows, {"a": "number", "b": "number", "c": "number"})
    structure = require(Structure(), ["a + b = c"], table.columns, rows)
    model = Model("*", table.columns, structure=structure, width=16, depth=1)
    assert [*model.family.targets] == ["a", "b"]
    assert all(row["c"] == row["a"] + row["b"] for row in model.sample([{}] * 20))


@pytest.mark.parametrize(
    ("requirement", "message"),
    [
        ("amount <= -3", "no row of the data satisfies"),
        ("amount < numbr", "numbr"),
        ("amount + 3", "compares no column"),
        ("3 < 4", "compares no column"),
        ("city matches '['", "regular expression"),
        ("(city, contry) in data", "country"),
        ("exec('1') = 2", "no comparison"),
    ],
)
def test_requirements_that_cannot_hold_are_refused(table: Table, requirement: str, message: str) -> None:
    rows = [table[i] for i in range(len(table))]
    with pytest.raises(ValueError, match=message):
        require(table.structure, [requirement], table.columns, rows)


def test_a_requirement_that_no_sample_satisfies_with_what_is_given(table: Table) -> None:
    model = trained(table, "trees", ["amount <= 40"])
    with pytest.raises(ValueError, match="none of 200 samples satisfies amount <= 40"):
        model.sample([{"amount": 45}])


def test_a_pattern_of_a_text_is_a_constraint() -> None:
    rows = [{"code": f"{'ABC'[i % 3]}{'XY'[i % 2]}-{i % 10}"} for i in range(40)]
    table = Table.from_rows(rows, {"code": "text"})
    structure = require(Structure(), ["code matches '[A-C]X-[0-4]'"], table.columns, rows)
    model = Model("code", table.columns, structure=structure, width=16, depth=1)
    codes = [row["code"] for row in model.sample([{}] * 8)]  # of random weights
    assert all(re.fullmatch("[A-C]X-[0-4]", code) for code in codes)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Structure in the report, in training, in samples and in scores; --no-structure and --require."""
    file, run = tmp_path / "orders.csv", str(tmp_path / "run")
    rows = orders()
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert main(["data", str(file)]) == 0
    assert (
        "total = net + tax + tip in all 400 rows, so total is computed, not learned"
        in capsys.readouterr().out
    )
    options = ["--steps", "3", "--width", "16", "--depth", "1"]
    assert main(["train", str(file), "*", "--out", run, "--require", "amount < 45", *options]) == 0
    said = capsys.readouterr().err
    assert "total = net + tax + tip in all 400 rows" in said and "amount < 45 is required" in said
    out_file = tmp_path / "samples.csv"
    assert main(["sample", run, "-n", "20", "--out", str(out_file)]) == 0
    with out_file.open() as lines:
        samples = list(csv.DictReader(lines))
    assert list(samples[0]) == list(rows[0])
    for row in samples:
        assert float(row["total"]) == round(sum(float(row[n]) for n in ("net", "tax", "tip")), 2)
        assert int(row["amount"]) < 45
    capsys.readouterr()
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows([{**rows[0], "total": 1.5}, *rows[1:50]])
    assert main(["score", run, str(file)]) == 0
    assert "total = net + tax + tip is violated in 1 of 50 rows: row 0" in capsys.readouterr().out
    assert main(["train", str(file), "*", "--out", str(tmp_path / "b"), "--no-structure", *options]) == 0
    assert not Model.load(tmp_path / "b").structure
    assert main(["train", "--from", run, "--out", str(tmp_path / "c"), "--no-structure"]) == 1
    assert "has its own structure" in capsys.readouterr().err
