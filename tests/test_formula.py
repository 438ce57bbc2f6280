"""Formula, Spec, Layout and Rng: what is written is what is read, and what is wrong is named."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likewise.cli.flags import parse_pairs
from likewise.core.batch import Context, Layout
from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula, FormulaError, View, distinct_columns, parse_name, quote_name
from likewise.core.rng import Rng, seed_of
from likewise.core.spec import IMAGE, Spec


@pytest.mark.parametrize(
    "text",
    [
        "image",
        "image | text",
        "image, label",
        "image, label | text, style",
        "image@codes | text",
        "image[size=64] | image[size=32], text",
        "image@clip[size=64, mode=fast] | text",
        "größe | name-2, a.b",
        '"Age (years)" | "rate %", "1st"',
        '"e@mail"@codes[size=8], "a,b" | "p|q", "t[x]"',
        '"say ""hi""", """", "" | " led ", "two\nlines"',
    ],
)
def test_str_is_the_inverse_of_parse(text: str) -> None:
    formula = Formula.parse(text)
    assert str(formula) == text
    assert Formula.parse(str(formula)) == formula


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("P(image|text)", "image | text"),
        ("  image,label|  text ", "image, label | text"),
        ("image[ size = 64 ]", "image[size=64]"),
        ('P("image"|"P(x)")', 'image | "P(x)"'),
        ('"age"|  "rate %" ', 'age | "rate %"'),
    ],
)
def test_spaces_and_the_letter_p_do_not_matter(text: str, canonical: str) -> None:
    assert str(Formula.parse(text)) == canonical


NAMES = (
    "age",
    "Age (years)",
    "e@mail",
    "t[x]",
    'say "hi"',
    '"',
    "",
    " file",
    "known x",
    "P(x)",
    "a = b",
    "日本",
    "a\nb",
)


@settings(deadline=None, database=None)
@given(st.lists(st.text(), min_size=1, unique=True), st.data())
def test_any_names_survive_a_formula(names: list[str], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(names)))
    formula = Formula(tuple(map(View, names[:count])), tuple(map(View, names[count:])))
    again = Formula.parse(f"P({formula})")
    assert again == formula == Formula.parse(str(formula)) and again.columns == names
    for name in names:
        view = View(name, "codes", (("size", "8"),))
        assert View.parse(str(view)) == view and View.parse(str(View(name))) == View(name)
        assert parse_name(str(View(name))) == name and parse_name(str(view)) == view.name


def test_names_are_quoted_where_they_must_be() -> None:
    quoted = [quote_name(name) for name in ("age", "größe", "a.b-c", "_x", "2nd", "a b", 'a"b', "")]
    assert quoted == ["age", "größe", "a.b-c", "_x", '"2nd"', '"a b"', '"a""b"', '""']


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_on_the_command_line_has_any_name(name: str) -> None:
    """In quotes as in a formula, and where nothing else is meant also as it is."""
    for value in ("1", "a=b", "", '"[', "two\nlines"):
        assert parse_pairs([f"{quote_name(name)}={value}"], "--given") == {name: value}
        if name and not {*name} & {*'="['}:
            assert parse_pairs([f"{name}={value}"], "--given") == {name: value}
    assert parse_pairs(["image[size=8]=a.png"], "--given") == {"image[size=8]": "a.png"}
    with pytest.raises(ValueError, match="names 'age' twice"):
        parse_pairs(["age=1", '"age"=2'], "--given")


def test_names_of_views_are_those_of_tables_and_rows() -> None:
    formula = Formula.parse('"rate %", "e@mail"@codes | text@minilm, text')
    assert formula.columns == ["rate %", '"e@mail"@codes', "text@minilm", "text"]
    assert [formula.view(name) for name in formula.columns] == list(formula.views)
    assert distinct_columns(formula.views) == ["rate %", '"e@mail"@codes', "text@minilm"]
    with pytest.raises(FormulaError, match="unknown column 'rate'"):
        formula.view("rate")


def test_parts() -> None:
    formula = Formula.parse("image@codes[size=64], label | text, image[size=32]")
    assert formula.targets == (View("image", "codes", (("size", "64"),)), View("label"))
    assert formula.sources == (View("text"), View("image", None, (("size", "32"),)))
    assert formula.target_names == ["image@codes[size=64]", "label"] and formula.source_names == [
        "text",
        "image[size=32]",
    ]
    assert formula.columns == formula.target_names + formula.source_names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no target"),
        (" | text", "names no target"),
        ("image |", "no source after it"),
        ("image | a | b", "two bars"),
        ("image, | text", "cannot read ''"),
        ("im age", "cannot read 'im age'"),
        ("image[size]", "option 'size'"),
        ("image, image", "appears twice"),
        ("image | image", "appears twice"),
        ("image@", "cannot read"),
        ("Age (years) | rate %", 'write "Age \\(years\\)" in quotes'),
        ("1st", 'write "1st" in quotes'),
        ("t[x] | image", 'write .* "t\\[x\\]" in quotes'),
        ("a | p | q", 'in double quotes: "a\\|b"'),
        ('"Age | text', "has no end"),
        ('"a"b', "cannot read"),
        ('"a@b", a@b', "appears twice"),  # one name in tables and rows
    ],
)
def test_what_cannot_be_read_is_said(text: str, says: str) -> None:
    with pytest.raises(FormulaError, match=says):
        Formula.parse(text)


def test_check_names_the_nearest_column() -> None:
    with pytest.raises(FormulaError, match="did you mean 'image'"):
        Formula.parse("imgae | text").check(["image", "text"])
    with pytest.raises(
        FormulaError, match=r"'image@codes' is a view of 'image' that the table does not have yet"
    ):
        Formula.parse("image@codes | text").check(["image", "text"])
    Formula.parse("image | text").check(["text", "label", "image"])


def test_unknown_lists_what_there_is() -> None:
    assert (
        did_you_mean("option", "stepz", ["steps", "eta"])
        == "unknown option 'stepz': did you mean 'steps'? There are: steps, eta"
    )
    assert did_you_mean("option", "xyz", []).endswith("There are: none")


@pytest.mark.parametrize(
    "wrong",
    [
        {"grid": ()},
        {"grid": (0,)},
        {"grid": (1,), "width": 0},
        {"grid": (1,), "classes": -1},
        {"grid": (1,), "classes": 3, "width": 2},
    ],
)
def test_a_spec_is_a_shape(wrong: dict) -> None:
    with pytest.raises(ValueError):
        Spec(**wrong)


def test_layout_packs_and_unpacks() -> None:
    layout = Layout(
        {"image": Spec((2, 3), width=3, axes=IMAGE), "price": Spec((1,)), "series": Spec((5,), width=2)}
    )
    batch = {n: torch.randn(4, s.tokens, s.width) for n, s in layout.specs.items()}
    flat = layout.pack(batch)
    assert flat.shape == (4, layout.size) == (4, 18 + 1 + 10)
    assert all(torch.equal(part, batch[n]) for n, part in layout.unpack(flat).items())
    spread = layout.spread(torch.tensor([[1.0, 2.0, 3.0]]))
    assert spread.tolist() == [[1.0] * 18 + [2.0] + [3.0] * 10]


def test_sources_are_dropped_each_on_its_own() -> None:
    c = Context.full({"a": torch.zeros(4000, 1), "b": torch.zeros(4000, 1)}, 4000).drop(
        Rng(range(4000), "drop"), 0.25
    )
    kept = c.present.float()
    assert (kept.mean(0) - 0.75).abs().max() < 0.03
    assert abs(float((kept[:, 0] * kept[:, 1]).mean()) - 0.75**2) < 0.03  # independent of each other
    assert not c.unconditional().present.any()
    both = c + c.unconditional()
    assert both.present.shape == (8000, 2) and both.values["a"].shape == (8000, 1)


def test_a_row_has_its_own_numbers() -> None:
    whole, part = Rng(range(8), "noise", 3), Rng([5, 2], "noise", 3)
    for draw in ("normal", "uniform", "normal"):
        a, b = getattr(whole, draw)(2, 3), getattr(part, draw)(2, 3)
        assert torch.equal(a[[5, 2]], b)
    draws = Rng(range(2000), "noise", 0).normal(4)
    assert abs(float(draws.mean())) < 0.04 and abs(float(draws.std()) - 1) < 0.04
    assert abs(float((draws[:-1] * draws[1:]).mean())) < 0.04  # rows are independent
    assert not torch.equal(Rng([0], "noise", 0).normal(4), Rng([0], "noise", 1).normal(4))


def test_seeds_are_the_same_in_every_process() -> None:
    code = "from likewise.core.rng import seed_of; print(seed_of('noise', 0, 7))"
    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "3"},
    )
    assert int(other.stdout) == seed_of("noise", 0, 7)
