"""Requests: prompts, and values of sources and targets; each is read as it is meant, changed with a note, or refused."""

from __future__ import annotations

import csv
import json
import shlex
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import toy

from likewise.cli.commands.train import example_sources
from likewise.cli.flags import parse_pairs
from likewise.cli.main import main
from likewise.core.errors import RequestWarning
from likewise.core.formula import Formula, View, quote_name
from likewise.data.arrow import TableError
from likewise.data.table import Table
from likewise.modalities.label import Label
from likewise.modalities.text import Text
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.models.prompts import split_labels
from likewise.models.requests import parse_prompts, text_columns

SMALL = {"width": 32, "depth": 1}
FEW = ["-n", "2", "--steps", "2"]
CAPTIONS = ["a cat, in flat style", "a dog, flat style", "a cat", "a red dog"]
STYLE = Label(("flat", "line art", "Paris, TX"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def columns() -> dict[str, Any]:
    numbers = Table.from_rows([{"number": i / 7} for i in range(20)], {"number": "number"}).columns
    return {"text": Text.fit(CAPTIONS), "style": STYLE, "title": Text.fit(["one", "two"]), **numbers}


def made(formula: str, family: str | None = None, **options: Any) -> Model:
    """A model of the columns above that was not trained."""
    if family is None:
        options = {**SMALL, **options}
    return Model(formula, columns(), family, **options)


@contextmanager
def noted(*expected: str) -> Iterator[None]:
    """Exactly these notes are given, and maybe one of words that are new."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", RequestWarning)
        yield
    notes = list(dict.fromkeys(str(w.message) for w in found if issubclass(w.category, RequestWarning)))
    notes = [note for note in notes if not note.startswith("no training text contains")]
    assert len(notes) == len(expected), notes
    for note, words in zip(notes, expected, strict=True):
        assert words in note, note


# ---- the grammar of prompts


@pytest.mark.parametrize(
    ("prompt", "text", "labels"),
    [
        ("a bird, Flat style", "a bird", {"style": "flat"}),
        ("a bird,line art style", "a bird", {"style": "line art"}),
        ("a bird, Paris, TX style", "a bird", {"style": "Paris, TX"}),
        ('a bird, flat "style"', 'a bird, flat "style"', {}),  # quotes are for names that need them
        ("a bird, flat", "a bird, flat", {}),
        ("flat style", "flat style", {}),
        (", flat style", "", {"style": "flat"}),
        ("two\nlines, flat style\n", "two\nlines", {"style": "flat"}),
        ("a bird, style", "a bird, style", {}),
        ("", "", {}),
    ],
)
def test_an_ending_gives_a_label(prompt: str, text: str, labels: dict[str, str]) -> None:
    with noted():
        assert split_labels(prompt, {"style": STYLE}, ["style"]) == (text, labels)


@pytest.mark.parametrize(
    ("prompt", "note"),
    [
        (
            "a cat, in flat style",
            "no class 'in flat' (did you mean 'flat'?); --given style=flat gives the label",
        ),
        ("a bird, flta style", "'flta style' is read as a part of the text"),
        ("a bird, xyz style", "no class 'xyz'; --given style=CLASS gives the label"),
        ("a dog, flat style", "as in training texts; --given style=flat gives the label"),  # a caption
        ("a bird, flat  style", "as in training texts"),  # not a caption, which end like this
    ],
)
def test_an_ending_that_is_text_is_text(prompt: str, note: str) -> None:
    """No class has that name, or training texts end so; how to give the label is said, and works."""
    model = made("number | text, style")
    with noted(note):
        [read] = parse_prompts(model, [prompt], {})
    assert read.strings == {"text": prompt}
    [forced] = parse_prompts(model, [prompt.replace("flat style", "flat")], {"style": "flat"})
    assert forced.strings["style"] == "flat"
    with noted():
        [whole] = parse_prompts(model, [], {"text": "a dog, flat style"})
    assert whole.strings == {"text": "a dog, flat style"}


def test_names_of_columns_in_endings() -> None:
    classes = {
        "Age (years)": Label(("1", "2")),
        "a,b": Label(("x",)),
        "art style": Label(("deco",)),
        "style": STYLE,
    }
    read = {
        "a cat, 2 Age (years), flat style": {"Age (years)": "2", "style": "flat"},
        'a cat, 2 "age (years)"': {"Age (years)": "2"},
        "a cat, x a,b": {"a,b": "x"},
        "a cat, deco art style": {"art style": "deco"},
    }
    for prompt, labels in read.items():
        assert split_labels(prompt, classes, classes) == ("a cat", labels)
    with pytest.raises(ValueError, match="gives style twice; give it once"):
        split_labels("a cat, flat style, line art style", classes, classes)


def test_a_model_that_was_saved_knows_its_endings(tmp_path: Path) -> None:
    made("number | text, style").save(tmp_path)
    with noted("as in training texts"):
        [read] = parse_prompts(Model.load(tmp_path), ["a dog, flat style"], {})
    assert read.strings == {"text": "a dog, flat style"}


# ---- which column a prompt is for


@pytest.mark.parametrize(
    ("formula", "given", "message"),
    [
        ("number | text, title", {}, "several texts"),
        ("number | text", {"text": "a cat"}, "is given already; leave 'a dog' out"),
        ("number | style", {}, "leave it out, or give values by name: --given style=..."),
        ("number, style", {}, "leave it out, or give values by name: --given number=... --given style=..."),
        ("number", {}, "leave it out"),
        ('style | "rate %"', {}, "give values by name: --given '\"rate %\"=...'"),
    ],
)
def test_a_prompt_without_its_column(formula: str, given: dict[str, str], message: str) -> None:
    """The advice is what can be done: each option in it is accepted in place of the prompt."""
    named = {"rate %": columns()["number"]}
    model = Model(formula, columns() | named, **SMALL)
    with pytest.raises(ValueError) as error:
        parse_prompts(model, ["a dog"], given)
    assert message in str(error.value)
    values = {"number": "1.5", "style": "flat", "rate %": "2"}
    options = shlex.split(str(error.value).partition("--given")[2])
    pairs = parse_pairs([word for word in options if word not in ("--given", "or")], "--given")
    assert bool(pairs) == ("--given" in message or "several" in message)
    for name, value in pairs.items():
        assert parse_prompts(model, [], {name: values.get(name, value)})


def test_a_text_that_is_a_target_is_known() -> None:
    joint = made("number, text, style")
    assert text_columns(joint, "a cat") == ["text"]
    [read] = parse_prompts(joint, ["a bird, line art style"], {"number": "1.5"})
    assert read.values == {"number": 1.5, "text": "a bird", "style": "line art"}
    assert read.strings == {"number": "1.5", "text": "a bird", "style": "line art"}
    assert text_columns(made("text | title"), "one") == ["title"]  # a source, if there is one


# ---- known targets of joint models


def test_values_of_targets_are_known() -> None:
    """As `given`, as rows, a value for each, and as `known`: the same samples."""
    world = toy.table(number="linear")
    model = toy.trained(Model("number, label", world.columns, "mixture", components=4), world, 40)
    for label, mean in zip("0123", toy.MEANS, strict=True):
        rows = model.given(label=label).sample(40, seed=1)
        assert {str(row["label"]) for row in rows} == {label}
        assert abs(sum(row["number"] for row in rows) / 40 - mean) < 0.3
        assert rows == model.given().sample(40, seed=1, known={"label": label})
    mixed = model.sample([{"label": "3"}, {}, {"number": toy.MEANS[0]}, {"label": "1"}], seed=1)
    assert toy.number_seen(mixed[0]["number"]) == 3 and toy.number_seen(mixed[3]["number"]) == 1
    assert str(mixed[2]["label"]) == "0" and mixed[2]["number"] == pytest.approx(toy.MEANS[0])


def test_a_density_given_targets(world: Table) -> None:
    """P(number | label) = P(number, label) / P(label), which a mixture can marginalise."""
    model = toy.trained(Model("number, label", world.columns, "mixture", components=4), world, 40)
    score = model.given(label="2").log_prob(number=1.1)
    joint = model.log_prob([{"number": 1.1, "label": "2"}]).nats
    marginal = model.log_prob([{"number": 1.1, "label": "2"}], observed={"label": True, "number": False}).nats
    assert score.nats == joint - marginal and score.kind == "exact" and score.dims == 1
    with pytest.raises(ValueError, match="'label' is given already"):
        model.given(label="2").log_prob(number=1.0, label="1")
    other = Model("number, label", world.columns, "autoregressive", **SMALL)
    with pytest.raises(ValueError, match="the family autoregressive has no density of a part of its targets"):
        other.given(label="2").log_prob(number=1.0)


@pytest.mark.parametrize(
    "family", ["flow", "diffusion", "autoregressive", "vae", "gan", "autoencoder", "mixture"]
)
def test_every_family_keeps_what_is_known(world: Table, family: str) -> None:
    options = {} if family == "mixture" else {**SMALL}
    if family == "autoencoder":
        options = {"width": 32}
    model = Model("image, label, number", world.columns, family, **options)
    with noted():
        rows = model.sample([{"label": "2"}, {"number": 0.5}, {}], seed=0)
    assert str(rows[0]["label"]) == "2" and rows[1]["number"] == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("family", ["flow", "autoregressive", "gan"])
def test_a_model_that_has_not_learned_to_condition_says_so(world: Table, family: str) -> None:
    model = Model("number, label", world.columns, family, infill=0, **SMALL)
    with noted("trained without known parts (infill 0)"):
        assert str(model.given(label="2").sample(1)[0]["label"]) == "2"
    with noted():
        model.sample([{}])


def test_rows_of_which_all_is_known_are_reported(world: Table) -> None:
    model = Model("number, label", world.columns, **SMALL)
    with noted("every target of 1 of 2 rows is known, so nothing is sampled in them"):
        rows = model.sample([{"number": 0.5, "label": "2"}, {"label": "2"}])
    assert rows[0]["number"] == 0.5 and str(rows[0]["label"]) == "2"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.given(label="2", number=1.0).sample(), "every target of 'number, label' is given"),
        (
            lambda m: m.given(lable="2"),
            "unknown column 'lable': did you mean 'label'? There are: number, label",
        ),
        (lambda m: m.given(label="9"), "label: unknown class '9'"),
        (lambda m: m.given(label="2").sample(known={"label": "1"}), "label is given twice"),
        (lambda m: m.sample([{"number": float("nan")}]), "number: nan is not a finite number"),
        (
            lambda m: m.interpolate({"label": "1"}, {"label": "2"}),
            "label is a target, and an interpolation is between",
        ),
    ],
)
def test_a_mistake_in_what_is_known(world: Table, ask: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        ask(Model("number, label", world.columns, **SMALL))
    assert message in str(error.value)


def test_targets_of_a_pipeline_are_known(world: Table) -> None:
    table = world.add_views("image[size=7] | label")
    small = Model("image[size=7] | label", table.columns, **SMALL)
    large = Model("image, number | image[size=7], label", table.columns, **SMALL)
    pipeline = Pipeline({"small": small, "large": large})
    picture = toy.rows(2)[1]["image"]
    row = pipeline.given(label="1", number=0.5).sample(1, steps=2)[0]
    assert row["number"] == pytest.approx(0.5, abs=1e-4)
    with noted():
        between = pipeline.given(**{"image[size=7]": picture}).sample(1, steps=2)[0]
    assert pipeline.sample([{}], known={"image[size=7]": picture}, steps=2)[0]["image[size=7]"] is picture
    with pytest.raises(ValueError, match="image\\[size=7\\]: str is not a picture"):
        pipeline.sample([{}], known={"image[size=7]": "none"})
    with pytest.raises(ValueError, match="is given twice, as known and in the rows"):
        pipeline.sample([{"number": 1.0}], known={"number": 2.0})
    assert between["image[size=7]"] is picture and between["image"].size == (10, 10)
    with pytest.raises(ValueError, match="unknown column 'lable'"):
        pipeline.given(lable="1")


# ---- texts that are too long


def test_a_source_that_is_too_long_is_cut() -> None:
    """In `given`, in rows, in a negative and in a pipeline; what is sampled is what the beginning gives."""
    model, long = (
        made("number | text", "flow", **SMALL),
        "a red dog that is much longer than any text in training",
    )
    with noted(
        "text: the text has 56 tokens and there is room for 21, so only its beginning is read: 'a red dog that is'"
    ):
        given = model.given(text=long)
    assert given.values == {"text": "a red dog that is"}
    with noted("text: 2 texts are too long; the longest has 58 tokens"):
        rows = model.sample(
            [{"text": long}, {"text": "a cat"}, {"text": long + " x"}], seed=3, indices=[0, 1, 0]
        )
    assert [row["text"] for row in rows] == ["a red dog that is", "a cat", "a red dog that is"]
    assert rows[0] == rows[2] == given.sample(1, seed=3)[0]
    with noted("only its beginning is read"):
        negative = model.sample([{}], negative={"text": long}, guidance=2.0)
    assert negative == model.sample([{}], negative={"text": "a red dog that is"}, guidance=2.0)
    with noted("only its beginning is read"):
        [prompt] = parse_prompts(model, [long], {})
    assert (
        prompt.strings == prompt.values == {"text": "a red dog that is"}
    )  # what is recorded is what was read


def test_targets_that_are_too_long_are_refused() -> None:
    joint, long = made("number, text"), "a red dog that is much longer than any text in training"
    for ask in (lambda: joint.given(text=long), lambda: joint.sample([{"text": long}])):
        with pytest.raises(ValueError, match="text: 56 tokens and room for 21; shorten it"):
            ask()
    with pytest.raises(ValueError, match="text: 56 tokens"):
        made("number | text").log_prob([{"number": 1.0, "text": long}])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a cat", "a cat"),
        ("x" * 10_000, "x" * 20),
        ("日本" * 20, "日本日本日本"),
        ("\U0001f642" * 10, "\U0001f642" * 5),
        ("a\nb\n" * 10, "a\nb\n" * 4 + "a\nb"),
        ("\0" * 30, "\0" * 20),
    ],
)
def test_a_text_is_cut_at_a_character(text: str, read: str) -> None:
    column = Text.fit(CAPTIONS)
    assert column.truncate(text) == read and column.check(read) is None


# ---- on the command line


def run_of(formula: str, folder: str = "r", **options: Any) -> None:
    """A trained run on the toy world."""
    table = toy.table(32)
    toy.trained(Model(formula, table.columns, "flow", **{**SMALL, **options}), table, 2).save(folder)


def printed(capsys: pytest.CaptureFixture[str], argv: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    """The samples that a command prints, and its notes."""
    capsys.readouterr()
    assert main([*argv]) == 0
    shown = capsys.readouterr()
    return [json.loads(line) for line in shown.out.splitlines()], shown.err


def test_a_joint_model_is_sampled_given_targets(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_of("number, label, text")
    for option in ("--given", "--known"):
        command = "sample" if option == "--given" else "infill"
        lines, notes = printed(capsys, [command, "r", option, "label=2", *FEW])
        assert [str(line["label"]) for line in lines] == ["2", "2"] and not notes
        assert lines[0]["likewise"]["known"] == {"label": "2"} and lines[0]["likewise"]["sources"] == {}
    lines, _ = printed(capsys, ["sample", "r", "box, 1 LABEL", "ring", *FEW])
    assert [line["text"] for line in lines] == ["box", "box", "ring", "ring"]
    assert [line["likewise"]["known"] for line in lines[1:3]] == [
        {"text": "box", "label": "1"},
        {"text": "ring"},
    ]
    assert str(lines[0]["label"]) == "1"
    lines, _ = printed(capsys, ["infill", "r", "box", *FEW])
    assert lines[0]["text"] == "box" and lines[0]["likewise"]["known"] == {"text": "box"}
    lines, _ = printed(
        capsys, ["interpolate", "r", "--given", "label=2", "--seeds", "0,1", "-n", "3", "--steps", "1"]
    )
    assert [str(line["label"]) for line in lines] == ["2"] * 3 and lines[0]["number"] != lines[2]["number"]
    assert main(["interpolate", "r", "--from", "label=2", "--to", "label=3"]) == 1
    assert "label is a target, and an interpolation is between sources" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--given", "label=2", "--given", "label=3"], "--given names 'label' twice"),
        (["--given", "label=2", "--given", '"label"=3'], "--given names 'label' twice"),
        (["box, 2 label", "--given", "label=2"], "label is given twice, in 'box, 2 label' and by itself"),
        (["--given", "label=2", "--given", "number=1", "--given", "text=box"], "every target of"),
        (["--given", "number=1,5"], "number: '1,5' is not a number; write one such as 3.5"),
        (["--given", "number=nan"], "number: nan is not a finite number"),
        (["--given", "number=1e999"], "number: inf is not a finite number"),
        (["--given", "number="], "number: '' is not a number"),
        (["--given", "label=nine"], "label: unknown class 'nine'"),
        (["--given", "label" * 5_000 + "=1"], "unknown column 'label"),
        (["--negative", "box"], "a negative is made of sources"),
    ],
)
def test_an_odd_request_is_refused_in_a_sentence(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    run_of("number, label, text")
    assert main(["sample", "r", *words, *FEW]) == 1
    shown = capsys.readouterr()
    assert message in shown.err and "Traceback" not in shown.err and len(shown.err) < 1_000 and not shown.out


def test_what_is_advised_for_a_label_that_is_given_twice(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of("number | text, label")
    assert main(["sample", "r", "box, 2 label", "--given", "label=2", *FEW]) == 1
    said = capsys.readouterr().err
    advice = shlex.split(said[said.index("--given") :])
    lines, _ = printed(capsys, ["sample", "r", *advice, "--given", "label=2", *FEW])
    assert lines[0]["likewise"]["sources"] == {"text": "box, 2", "label": "2"}  # there is room for so much


@pytest.mark.parametrize(
    ("words", "sources", "note"),
    [
        ([""], {}, "an empty text is no prompt: it is left out"),
        (["  \n "], {}, "an empty text is no prompt"),
        (["--given", "text="], {}, "text: an empty text is none, so it is left out"),
        ([", 2 label"], {"label": "2"}, "an empty text is no prompt"),
        (["two\nlines"], {"text": "two\nli"}, "only its beginning is read"),
        (["\U0001f642"], {"text": "\U0001f642"}, ""),
        (["x" * 10_000], {"text": "xxxxxx"}, "10,001 tokens"),
        (["BOX"], {"text": "box"}, "is read as 'box'"),
        (["--given", "label=2"], {"label": "2"}, ""),
        (["box, 9 label"], {"text": "box, 9"}, "'9 label' is read as a part of the text"),
    ],
)
def test_an_odd_request_is_read_with_a_note(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], sources: dict[str, str], note: str
) -> None:
    run_of("number | text, label")
    [line, _], notes = printed(capsys, ["sample", "r", *words, *FEW])
    assert line["likewise"]["sources"] == sources and note in notes and len(notes) < 1_000


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("folder", "image: folder: is a directory; name a file"),
        ("none.png", "image: none.png: no such file or directory; name a file"),
        ("https://host/a.png", "an address is not read; download it and name the file"),
        ("text.png", "image: text.png: unreadable picture"),
        ("x" * 5_000, "name a file"),
        ("", "name a file"),
    ],
)
def test_a_source_that_is_no_picture(
    here: Path, capsys: pytest.CaptureFixture[str], value: str, message: str
) -> None:
    run_of("number | image")
    Path("folder").mkdir()
    Path("text.png").write_text("no picture")
    assert main(["sample", "r", "--given", f"image={value}", *FEW]) == 1
    shown = capsys.readouterr()
    assert message in shown.err and len(shown.err) < 500


# ---- rows that a model cannot encode


def csv_of(path: Path, rows: Sequence[Sequence[Any]]) -> str:
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return str(path)


CITIES = ("Oslo", "Rome", "Bonn")
KNOWN_ROWS = [("age", "city", "note"), *((20 + i % 30, CITIES[i % 3], f"note {i % 9}") for i in range(60))]
OTHER_ROWS = [
    ("age", "city", "note"),
    (25, "Oslo", "note 1"),
    (30, "Paris", "note 2"),
    (31, "Rome", "a note that is longer than any of those of the training rows"),
    (40, "Bonn", "note 4"),
    (41, "Oslo", ""),  # a source may be missing
]


def test_rows_that_the_model_cannot_encode_are_not_scored(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --skip-bad row, column and value are named; with it they are counted, and have a line without scores."""
    data, other = csv_of(here / "data.csv", KNOWN_ROWS), csv_of(here / "other.csv", OTHER_ROWS)
    words = ["--family", "mixture", "--steps", "3", "--kind", "note=text", "--components", "3", "--out", "r"]
    assert main(["train", data, "age, city | note", *words]) == 0
    capsys.readouterr()
    assert main(["score", "r", other]) == 1
    said = capsys.readouterr().err
    assert "2 of 5 rows cannot be used" in said and "--skip-bad" in said
    assert "row 1 (line 3), city: unknown class 'Paris'" in said and "row 2 (line 4), note: 61 tokens" in said
    assert main(["score", "r", other, "--skip-bad", "--out", "s.jsonl"]) == 0
    shown = capsys.readouterr()
    assert (
        "3 rows" in shown.out
        and "None" not in shown.out
        and "1 row: city: unknown class 'Paris'" in shown.err
    )
    lines = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == [0, 1, 2, 3, 4]
    assert ["log p" in line for line in lines] == [True, False, False, True, True]
    assert (
        lines[1]["skipped"].startswith("city: unknown class 'Paris'") and "61 tokens" in lines[2]["skipped"]
    )
    assert (
        main(["score", "r", csv_of(here / "none.csv", OTHER_ROWS[:1] + OTHER_ROWS[2:3]), "--skip-bad"]) == 1
    )
    assert "Paris" in capsys.readouterr().err


def test_rows_that_a_view_cannot_encode(world: Table) -> None:
    """In Python too, of views as well as of columns; what remains is the table of the source."""
    codes = Model("text", world.columns, "vae", **SMALL)
    table = world.add_views("number | text@codes", codes=codes)
    model = Model("number | text@codes", table.columns, **SMALL)
    rows = [*toy.rows(8), toy.rows(1)[0] | {"text": "a text that is too long for the encoder"}]
    kinds = {"image": "image", "label": "label", "text": "text", "number": "number"}
    with pytest.raises(
        TableError, match=r"1 of 9 rows cannot be encoded by the model.*\n  row 8, text: \d+ tokens"
    ):
        Table.from_rows(rows, kinds, holdout=0.0).with_views(model.columns, model.formula)
    skipping = Table.from_rows(rows, kinds, holdout=0.0, skip_bad=True)
    seen = skipping.with_views(model.columns, model.formula)
    assert (
        len(seen) == 8 and [bad.row for bad in seen.skipped] == [8] and seen.row_numbers() == list(range(8))
    )
    assert seen.fingerprint == skipping.fingerprint and "text: " in " ".join(seen.report.notes())
    assert seen.with_views(model.columns, model.formula) is seen
    assert model.log_prob([seen[0]]).nats.isfinite()


# ---- names of columns


NAMES = (
    "Age (years)",
    "known x",
    "a,b",
    "p|q",
    "e@mail",
    "t[x=1]",
    'say "hi"',
    "a = b",
    "größe",
    "two\nlines",
    "../up",
)


def named_csv(path: Path, columns: Sequence[str] = NAMES) -> str:
    """Rows of numbers and classes in turn."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for i in range(60):
            writer.writerow(
                [f"{k + i % 7 / 8}" if k % 2 == 0 else "uvw"[i // (k + 1) % 3] for k in range(len(columns))]
            )
    return str(path)


def pasted(out: str, command: str) -> list[str]:
    """The words of the command that the output advises last, as a shell reads them."""
    return shlex.split(out[out.rindex(f"\n  likewise {command}") :])[1:]


def test_columns_of_any_name_from_data_to_samples(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command that is printed can be pasted; every name can be written wherever a name is."""
    data = named_csv(here / "data.csv")
    assert main(["data", data]) == 0
    advice = pasted(capsys.readouterr().out, "train")
    assert Formula.parse(advice[2]).expand(NAMES).check(NAMES) is None
    formula = Formula(tuple(map(View, NAMES[:6])), tuple(map(View, NAMES[6:])))
    options = ["--family", "mixture", "--components", "2", "--steps", "2", "--out", "r"]
    kinds = ["--kind", '"a = b"=label', "--kind", "two\nlines=label", "--by", '"known x"', "--pairs", "p|q"]
    assert main(["train", data, str(formula), *options, *kinds]) == 0
    command = pasted(capsys.readouterr().out, "sample")
    lines, notes = printed(capsys, command)
    assert len(lines) == 8 and not notes and set(lines[0]["likewise"]["sources"]) == set(NAMES[6:])
    assert set(lines[0]) == {"likewise", *NAMES[:6]} and lines[0]["likewise"]["formula"] == str(formula)
    values = {name: "0.5" if k % 2 == 0 else "v" for k, name in enumerate(NAMES)} | {
        "a = b": "v",
        "a,b": "2.5",
    }
    known = [word for name in NAMES[:5] for word in ("--known", f"{quote_name(name)}={values[name]}")]
    lines, _ = printed(capsys, ["infill", "r", *known, "--given", '"../up"=10.5', "-n", "1"])
    assert (
        lines[0]["e@mail"] == 0.5
        and lines[0]["p|q"] == "v"
        and lines[0]["likewise"]["known"] == {name: values[name] for name in NAMES[:5]}
    )
    assert main(["score", "r", data]) == 0
    assert '"say ""hi"""' in capsys.readouterr().out
    model = Model.load("r")
    assert str(model.formula) == str(formula) and list(model.columns) == list(NAMES)
    row = model.given(**{"Age (years)": 0.5, "known x": "v"}).sample(1)[0]
    assert row["known x"] == "v" and row["Age (years)"] == pytest.approx(0.5)
    assert main(["train", "--resume", "--out", "r", "--steps", "3"]) == 0
    assert main(["train", data, "--from", "r", "--out", "other", "--steps", "1", *kinds]) == 0


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("Age (years) | a", 'write "Age (years)" in quotes'),
        ("p|q|a", 'a name that has a bar in double quotes: "a|b"'),
        ("a,b | größe", "unknown column 'a'"),
        ("e@mail | größe", 'or write "e@mail" in quotes'),
        ("t[x] | größe", 'or "t[x]" in quotes if that is the name of a column'),
        ('"Age (yrs)" | größe', "did you mean '\"Age (years)\"'?"),
    ],
)
def test_a_name_without_its_quotes(
    here: Path, capsys: pytest.CaptureFixture[str], formula: str, message: str
) -> None:
    assert main(["train", named_csv(here / "data.csv"), formula, "--out", "r"]) == 1
    assert message in capsys.readouterr().err


def test_files_of_columns_of_any_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are in the folder, and all different."""
    picture = toy.table(8).columns["image"]
    names = ("../up", "..-up", "a/b", "two\nlines")
    model = Model(Formula(tuple(map(View, names))), dict.fromkeys(names, picture), **SMALL)
    model.save("r")
    assert main(["sample", "r", *FEW, "--out", "o/"]) == 0
    files = sorted(path.name for path in here.rglob("*.png"))
    assert len(files) == 8 and all((here / "o" / file).is_file() for file in files)
    lines = [json.loads(line)["likewise"] for line in Path("o/samples.jsonl").read_text().splitlines()]
    assert {line["column"] for line in lines} == {*names} and sorted(line["file"] for line in lines) == files


def test_a_target_and_a_source_that_is_called_known() -> None:
    """A source `known x` is another one than the known part of the target x."""
    columns = {"x": Label(("0", "1")), "y": Label(("0", "1")), "known x": Label(tuple("abcdefgh"))}
    for family in ("autoregressive", "gan", "autoencoder"):
        options = {"width": 32} if family == "autoencoder" else SMALL
        model = Model('x, y | "known x"', columns, family, **options)
        rows = model.given(**{"known x": "h", "x": "1"}).sample(2)
        assert [row["x"] for row in rows] == ["1", "1"] and rows[0]["known x"] == "h"


def test_a_column_and_a_view_of_one_name() -> None:
    """Rows have one value of a name, so they cannot be told apart."""
    table = Table.from_rows(
        [{"text": "ab", "text[length=5]": "c"} for _ in range(4)], {"text": "text"}, holdout=0.0
    )
    with pytest.raises(ValueError, match="the table has a column of that name as well; rename the column"):
        table.add_views("text[length=5]")
    assert Formula.parse('"text[length=5]"').check(table.kinds) is None


@pytest.mark.parametrize(
    ("text", "label", "arguments"),
    [
        ("a cat", "flat", "'a cat, flat style'"),
        (
            "a cat, flat style",
            "flat",
            "--given 'text=a cat, flat style' --given style=flat",
        ),  # it would be all text
        ("a cat, in flat style", "flat", "'a cat, in flat style, flat style'"),
    ],
)
def test_the_advised_prompt_is_read_as_the_row(text: str, label: str, arguments: str) -> None:
    table = Table.from_rows([{"number": i / 3, "text": text, "style": label} for i in range(12)], holdout=0.0)
    model = Model("number | text, style", table.columns, **SMALL)
    assert example_sources(model, table).strip() == arguments
    words = shlex.split(arguments)
    given = parse_pairs([word for word in words if "=" in word], "--given")
    [prompt] = parse_prompts(model, [word for word in words if "=" not in word and word != "--given"], given)
    assert prompt.strings == {"text": text, "style": label}
