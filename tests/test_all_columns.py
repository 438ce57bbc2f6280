"""`*` in a formula: all columns of a table that it does not name, and that can be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import likewise
from likewise.cli.main import main
from likewise.core.errors import RequestWarning, receive_warnings
from likewise.core.formula import Formula, FormulaError
from likewise.data.suggestion import suggest_formula
from likewise.data.table import Table
from likewise.evaluation.comparison.families import compare
from likewise.models.model import Model
from likewise.server.data.formulas import check_formula
from likewise.training.plan import Plan
from likewise.training.trainer import train

ROWS = [
    {
        "customer_id": 100 + i,
        "age": 20 + i * i % 37,
        "income": 1000.25 + i * 7 % 41 / 4,
        "city": ["Oslo", "Rome"][i % 2],
        "remark": f"note {i} of a customer",
        "void": None,
    }
    for i in range(60)
]
LEFT_OUT = "void: it has no value in any row; customer_id: its values count the rows"


@pytest.fixture(scope="module")
def table() -> Table:
    return Table.from_rows(ROWS)


def expand(table: Table, formula: str) -> tuple[str, list[str]]:
    notes: list[str] = []
    with receive_warnings(notes.append):
        return str(table.expand(formula)), notes


@pytest.mark.parametrize("text", ["*", "income | *", "income, age | *", "* | city", "*, age | city", "P(*)"])
def test_a_star_is_parsed_and_written(text: str) -> None:
    formula = Formula.parse(text)
    assert formula.has_all and Formula.parse(str(formula)) == formula


def test_a_column_may_be_called_star() -> None:
    assert not Formula.parse('"*" | a').has_all
    table = Table.from_rows([{"*": i % 3 * 1.5, "b": i % 2 * 2.5} for i in range(20)])
    assert str(table.expand('b | "*"')) == 'b | "*"' and str(table.expand("b | *")) == 'b | "*"'


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("*", "age, income, city"),
        ("income | *", "income | age, city"),
        ("income, age | *", "income, age | city"),
        ("* | city", "age, income | city"),
        ("*, age", "income, city, age"),
        ("customer_id | *", "customer_id | age, income, city"),
    ],
)
def test_a_star_stands_for_the_columns_that_are_not_named(table: Table, text: str, expanded: str) -> None:
    formula, [note] = expand(table, text)
    assert formula == expanded
    assert note.startswith("* leaves out ") and note.endswith("remark: a text beside numbers and labels")


def test_texts_are_used_where_they_can_be(table: Table) -> None:
    assert expand(table, "remark | *") == ("remark | age, income, city", [f"* leaves out {LEFT_OUT}"])
    assert expand(table, "* | remark")[0] == "age, income, city | remark"
    texts = Table.from_rows([{"title": f"word {i}", "body": f"words {i} of it"} for i in range(20)])
    assert expand(texts, "*") == ("title, body", [])
    pictures = Table.open("digits", options={"size": 8})
    assert expand(pictures, "image | *") == ("image | label", [])


@pytest.mark.parametrize(
    ("values", "name", "left_out"),
    [
        (range(1000, 1030), "number", True),  # they count the rows
        ([1000 - i for i in range(30)], "number", True),
        ([i * 7 % 31 for i in range(30)], "number", True),  # in another order
        ([i * 7919 % 100_003 for i in range(30)], "number", False),
        ([i * 7919 % 100_003 for i in range(30)], "customer id", True),
        ([i * 7919 % 100_003 for i in range(30)], "orderId", True),
        ([i * 7919 % 100_003 for i in range(30)], "paid", False),
        ([i // 2 for i in range(30)], "customer_id", False),  # not one of each
        ([i + 0.5 for i in range(30)], "id", False),
        (range(6), "number", False),  # too few to tell
    ],
)
def test_ids_are_left_out(values: range | list[float], name: str, left_out: bool) -> None:
    table = Table.from_rows([{name: v, "y": i % 5 * 1.5} for i, v in enumerate(values)])
    formula, notes = expand(table, "*")
    assert (formula == "y", bool(notes)) == (left_out, left_out)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("*, *", "appears twice"),
        ("* | *", "appears twice"),
        ("*[size=3]", "no options"),
        ("*@codes", "no options"),
        ("*, agee", "did you mean 'age'"),
        ("void | *", "it has no value in any row"),
        ("customer_id, age, income, city, remark | *", "all are named already|no column that"),
    ],
)
def test_errors(table: Table, text: str, message: str) -> None:
    with pytest.raises(FormulaError, match=message):
        table.expand(text)


def test_in_python(table: Table) -> None:
    with pytest.warns(RequestWarning, match="customer_id: its values count the rows"):
        model = Model("*", table.columns, width=16, depth=1)
    assert str(model.formula) == "age, income, city" and model.family_name == "any_order"
    list(train(model, table, Plan(steps=1)))
    assert [*model.sample([{}])[0]] == ["age", "income", "city"]
    with pytest.raises(FormulaError, match="table.expand"):
        Formula.parse("*").check(table.kinds)
    with pytest.warns(RequestWarning):
        adapted = model.adapt(table, "age, income | *")
    assert str(adapted.formula) == "age, income | city"
    assert likewise.Model is Model


def test_views_beside_a_star() -> None:
    table = Table.open("digits", options={"size": 8}).add_views("image[size=4], *")
    assert "image[size=4]" in table.columns
    assert str(table.expand("image[size=4] | *")) == "image[size=4] | label"


def write(folder: Path) -> Path:
    lines = [
        ",".join(ROWS[0]),
        *(",".join("" if v is None else str(v) for v in row.values()) for row in ROWS),
    ]
    path = folder / "people.csv"
    path.write_text("\n".join(lines))
    return path


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, run = write(tmp_path), tmp_path / "run"
    words = ["--steps", "1", "--width", "16", "--depth", "1", "--out", str(run)]
    assert main(["train", str(path), "income | *", *words]) == 0
    assert f"* leaves out {LEFT_OUT}" in capsys.readouterr().err
    state = json.loads((run / "model.json").read_text())
    assert (state["formula"], state["family"]) == ("income | age, city", "any_order")
    assert main(["train", str(path), "income | *", "--resume", "--out", str(run)]) == 0
    assert main(["train", str(path), "age | *", "--resume", "--out", str(run)]) != 0
    assert "was started with the formula income | age, city" in capsys.readouterr().err
    second = [*words[:2], "--from", str(run), "--out", str(tmp_path / "second")]
    assert main(["train", str(path), "income | *", *second]) == 0
    assert main(["data", str(path)]) == 0


def test_compare(table: Table, tmp_path: Path) -> None:
    with pytest.warns(RequestWarning, match="leaves out"):
        comparison = compare("* | city", table, ["mixture"], minutes=0.001, folder=tmp_path, n=5)
    assert comparison.formula == "age, income | city"


def test_suggestion() -> None:
    wide = [{f"x{k}": (i * k) % 7 / 2 for k in range(1, 9)} for i in range(20)]
    assert suggest_formula(Table.from_rows(wide)) == "*"


CHECK: Callable[..., dict] = lambda text, columns: check_formula(text, columns, list)  # noqa: E731


@pytest.mark.parametrize("text", ["*", "age | *", "* | city", "age, *"])
def test_a_server_checks_stars(text: str) -> None:
    answer = CHECK(text, {"age": "number", "city": "label"})
    assert answer["valid"] and answer["formula"] == text and "columns" in answer["meaning"]


def test_a_server_completes_and_refuses_stars() -> None:
    columns = {"age": "number", "city": "label"}
    assert "*" in CHECK("age | ", columns)["completions"] and "*" not in CHECK("* | ", columns)["completions"]
    wrong = CHECK("age, city | *", columns)
    assert not wrong["valid"] and "all are named already" in wrong["error"]["message"]
    twice = CHECK("* | *", columns)
    assert not twice["valid"] and twice["error"]["position"] == {"start": 4, "end": 5}
