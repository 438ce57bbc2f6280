"""The command line: each command, what it leaves behind, and what it says to a user's mistakes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import toy

from likewise.cli import progress
from likewise.cli.commands import compare as compare_command
from likewise.cli.main import COMMANDS, main
from likewise.core.provenance import is_output
from likewise.data.arrow import from_rows
from likewise.data.datasets import DATASETS
from likewise.data.table import Table
from likewise.evaluation.comparison.classifier_plan import ClassifierPlan
from likewise.families.registry import FAMILIES
from likewise.modalities.label import Label
from likewise.modalities.text import Text
from likewise.models import checkpoint, prompts
from likewise.models.model import Model
from likewise.training import memory

TINY = ["--width", "64", "--depth", "1", "--batch", "4", "--steps", "3"]
SHAPES = ("bar", "post", "ring", "cross")
COLOURS = ("red", "green", "blue", "pink", "grey", "gold", "lime", "teal")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with the toy world of two-word texts in things/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "things").mkdir()
    with open("things/metadata.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "text", "label", "number"])
        for i, row in enumerate(toy.rows(48)):
            row["image"].save(f"things/{i}.png")
            text = f"{COLOURS[i % 8]} {SHAPES[i // 8 % 4]}"
            table.writerow([f"{i}.png", text, row["label"], row["number"]])
    return tmp_path


def made(formula: str, out: str, **options: str) -> Path:
    """A run folder whose model draws something, without training."""
    table = Table.open("things", **options)
    default = Model(formula, table.columns, width=64, depth=1)
    flow = default.family_name == "any_order"
    model = Model(formula, table.columns, "flow", width=64, depth=1) if flow else default
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng))
    model.save(out, step=1, plan={}, data={**table.reopen_args(), "fingerprint": table.fingerprint})
    return Path(out)


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(PIL.Image.open(path), dtype=int)


# ---- each command


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from likewise.cli import main; main(['--help']); "
        "print(sorted({'torch', 'numpy', 'datasets', 'PIL', 'argparse'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.endswith("[]\n") and all(f"\n  {name} " in said for name in COMMANDS)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("data", ["--size N", "--skip-bad"]),
        ("train", ["--width N", "--batch N", "rows per step", "--stem {conv,patch}", "--no-tie-embeddings"]),
        ("sample", ["--guidance X", "--no-zero-star", "--given"]),
        ("evaluate", ["--n N", "--steps N", "--sweep OPTION"]),
        ("compare", ["--families A,B,...", "--minutes X", "--skip-bad"]),
        ("chain", ["--out FOLDER"]),
        ("demo", ["--minutes"]),
    ],
)
def test_help_of_a_command_lists_what_signatures_have(command: str, expected: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0 and all(part in said for part in expected), said


@pytest.mark.parametrize("family", FAMILIES)
def test_options_of_a_family_and_of_data_go_together(family: str, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "digits", "image", "--family", family, "--help"])
    assert ended.value.code == 0 and "--size" in capsys.readouterr().out


def test_data(here: Path, capsys) -> None:
    assert main(["data", "things", "--preview", "look.png"]) == 0
    said = capsys.readouterr().out
    assert "things: 48 rows" in said and "held out" in said
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "image image names of .png files 10 x 10 pixels, grey" in lines
    assert "label label its name, and 4 different values 4 classes: 0, 1, 2, 3" in lines
    assert "red bar" in said and "likewise train things 'image | text'" in said
    assert PIL.Image.open("look.png").width > 8 * 12


def test_data_names_bad_rows_and_can_skip_them(here: Path, capsys) -> None:
    Path("things/5.png").write_bytes(b"no picture")
    assert main(["train", "things", "image | text", *TINY]) == 1
    assert "row 5 (line 7), image: unreadable picture" in capsys.readouterr().err
    assert main(["data", "things"]) == 0
    said = capsys.readouterr().out
    assert "47 rows" in said and "1 row: image: unreadable picture" in said and "(row 5 (line 7))" in said
    assert "training stops at rows that cannot be used" in said
    assert main(["data", "things", "--skip-bad"]) == 0
    assert "training stops" not in capsys.readouterr().out


@pytest.mark.usefixtures("short_classifier")
def test_train_then_sample_then_evaluate(here: Path, capsys) -> None:
    assert main(["train", "things", "image | text", *TINY]) == 0
    said = capsys.readouterr().out
    assert "3 steps in 0:0" in said and "held-out loss" in said and "likewise sample runs/things" in said
    for name in ("model.json", "weights.safetensors", "metrics.jsonl"):
        assert Path("runs/things", name).exists()
    for name in ("samples.png", "curve.png"):
        assert PIL.Image.open(Path("runs/things", name)).width > 100
    assert main(["sample", "runs/things", "red ring", "-n", "2", "--steps", "2"]) == 0
    assert PIL.Image.open("samples.png").width > 100
    assert main(["evaluate", "runs/things", "--n", "4", "--steps", "2"]) == 0
    said = capsys.readouterr().out
    assert "held-out loss" in said and "image ~ text" in said
    assert json.loads(Path("runs/things/report.json").read_text())["n"] == 4


@pytest.mark.usefixtures("short_classifier")
def test_compare(here: Path, capsys) -> None:
    few = ["--families", "flow", "--minutes", "0.002", "--n", "5", "--likelihood-rows", "2"]
    assert main(["compare", "things", "number | label", *few]) == 0
    said = capsys.readouterr()
    assert "P(number | label)" in said.out and "bits/dim" in said.out and "\nflow " in said.out
    assert "report: runs/compare-things/report.html" in said.out and "flow: training" in said.err
    for name in ("report.html", "report.png", "report.json", "flow/model.json"):
        assert is_output(Path("runs/compare-things", name))
    assert main(["compare", "things", "number | label", *few]) == 0
    assert "training" not in capsys.readouterr().err


def test_compare_of_a_label_with_sources_is_of_classifiers(here: Path, capsys, monkeypatch) -> None:
    asked = []

    def compare_classifiers(formula, table, plan, folder, *, on_message) -> str:
        asked.append((str(formula), plan, folder))
        return "classifiers"

    monkeypatch.setattr(compare_command, "compare_classifiers", compare_classifiers)
    command = ["compare", "things", "label | image", "--minutes", "1", "--seed", "3", "--out", "c"]
    assert main([*command, "--families", "flow", "--n", "7", "--draws", "1"]) == 0
    plan = ClassifierPlan(minutes=1.0, seed=3, n=7, draws=1, methods=["flow"])
    assert asked == [("label | image", plan, Path("c"))]
    assert "classifiers\n\nreport: c/report.html" in capsys.readouterr().out
    assert main([*command, "--seeds", "2"]) == 1 and "leave --seeds" in capsys.readouterr().err
    assert main(["compare", "things", "image", "--draws", "1"]) == 1
    assert "--draws is for classifiers" in capsys.readouterr().err


@pytest.mark.usefixtures("short_classifier")
def test_sweep(here: Path, capsys) -> None:
    made("image | text", "r")
    assert main(["evaluate", "r", "--sweep", "guidance=1,3", "--n", "5", "--steps", "1"]) == 0
    said = capsys.readouterr().out
    assert "guidance" in said and "best by image: KID of edges: guidance " in said
    assert PIL.Image.open("r/sweep-guidance.png").width > 800
    points = json.loads(Path("r/sweep-guidance.json").read_text())["points"]
    assert [p["value"] for p in points] == [1.0, 3.0] and points[0]["distance"]["n"] == 5


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--sweep", "gudance"], "unknown sampling option 'gudance': did you mean 'guidance'?"),
        (["--sweep", "guidance=a"], "guidance must be a number from 0 to 100, not 'a'"),
        (["--sweep", "guidance", "--guidance", "2"], "--sweep guidance and --guidance contradict each other"),
        (["--sweep", "guidance", "--draws", "2"], "leave --draws out"),
    ],
)
def test_a_mistake_in_a_sweep(here: Path, capsys, words: list[str], expected: str) -> None:
    made("image | text", "r")
    check_error(["evaluate", "r", *words], 1, expected, capsys)


def test_train_goes_on(here: Path, capsys) -> None:
    assert main(["train", "things", "image | label", *TINY, "--seed", "3", "--out", "r"]) == 0
    assert main(["train", "--resume", "--out", "r"]) == 0
    assert "is finished" in capsys.readouterr().out
    more = ["--resume", "--out", "r", "--width", "64", "--steps", "5"]
    assert main(["train", "things", "image|label", *more]) == 0
    lines = Path("r/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5]
    state = checkpoint.load_state(Path("r"))
    assert state["step"] == 5 and state["plan"]["steps"] == 5 and state["plan"]["seed"] == 3


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--width", "32"], "started with --width 64, not 32; leave --width out"),
        (["--seed", "1"], "started with --seed 0, not 1"),
        (["--size", "8"], "started without --size"),
        (["--steps", "2"], "started with --steps 3, not 2"),
        (["--minutes", "2"], "started without --minutes"),
        (["things", "image | text"], "started with the formula image | label"),
        (["digits"], "started with the data"),
        (["--by", "label"], "started without --by"),
        (["--skip-bad"], "started with --skip-bad no"),
    ],
)
def test_resume_refuses_another_run(here: Path, capsys, more: list[str], expected: str) -> None:
    made("image | label", "r")
    state = checkpoint.load_state(Path("r"))
    state["plan"] = {"minutes": None, "steps": 3, "seed": 0}
    Path("r/model.json").write_text(json.dumps(state))
    assert main(["train", "--resume", "--out", "r", *more]) == 1
    assert expected in capsys.readouterr().err


def test_ctrl_c_saves_and_says_how_to_go_on(here: Path, capsys, monkeypatch) -> None:
    def interrupt(self, step) -> None:
        if step.step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress.Display, "update", interrupt)
        assert main(["train", "things", "image | label", *TINY, "--out", "my run"]) == 130
    assert (
        "saved at step 2; to continue:\n  likewise train --resume --out 'my run'" in capsys.readouterr().out
    )
    assert main(["train", "--resume", "--out", "my run"]) == 0
    assert "3 steps" in capsys.readouterr().out


@pytest.mark.usefixtures("short_classifier")
def test_demo(here: Path, capsys, monkeypatch) -> None:
    rows = [{"image": row["image"], "label": row["label"]} for row in toy.rows(40)]
    monkeypatch.setitem(DATASETS, "digits", lambda: from_rows(rows))
    Path("runs/digits").mkdir(parents=True)
    Path("runs/emoji.png").write_text("of the demo before")
    assert main(["demo", "--minutes", "0.002"]) == 0
    said = capsys.readouterr().out
    assert "runs/digits-2/samples.png" in said and "\n  sampled digits  " in said
    assert said.count("\n  likewise ") == 5 and "these are few steps" in said
    assert PIL.Image.open("runs/emoji-2.png").width > 100 and "runs/emoji-2.png" in said
    assert Path("runs/emoji.png").read_text() == "of the demo before"
    assert PIL.Image.open("runs/digits-2/samples.png").width > 100


# ---- samples


def test_a_run_that_began_with_another_goes_on_with_what_it_was_told(here: Path, capsys) -> None:
    assert main(["train", "things", "image | text", "--out", "a", *TINY]) == 0
    more = ["--batch", "4", "--steps", "2", "--kind", "text=text"]
    assert main(["train", "things", "--from", "a", "--out", "b", *more]) == 0
    assert main(["train", "--resume", "--out", "b", *more]) == 0
    assert main(["train", "--resume", "--out", "b", "--kind", "text=label"]) == 1
    assert "b was started with --kind of text text, not label" in capsys.readouterr().err


def test_a_grid_says_where_it_comes_from(here: Path) -> None:
    made("image | text", "r")
    assert main(["sample", "r", "red bar", "blue ❤", "-n", "3", "--seed", "7", "--steps", "2"]) == 0
    text = PIL.Image.open("samples.png").text
    assert [text[f"likewise:{k}"] for k in ("model", "formula", "seed")] == ["r", "image | text", "7"]
    assert json.loads(text["likewise:sources"]) == [{"text": "red bar"}, {"text": "blue ❤"}]
    assert json.loads(text["likewise:options"])["steps"] == 2 and text["likewise:version"]


def test_the_same_command_draws_the_same_bytes(here: Path) -> None:
    made("image | text", "r")
    for out in ("a.png", "b.png"):
        main(["sample", "r", "red bar", "-n", "2", "--out", out])
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()
    main(["sample", "r", "red bar", "-n", "2", "--seed", "1", "--out", "b.png", "--overwrite"])
    assert Path("a.png").read_bytes() != Path("b.png").read_bytes()


def test_a_draw_does_not_depend_on_the_others(here: Path) -> None:
    made("image | text", "r")
    assert main(["sample", "r", "red bar", "-n", "2", "--out", "few/"]) == 0
    assert main(["sample", "r", "blue ring", "red bar", "-n", "3", "--out", "many/"]) == 0
    names = ["red-bar-seed0-0.png", "red-bar-seed0-1.png"]
    assert sorted(p.name for p in Path("few").iterdir()) == [*names, "samples.jsonl"]
    for name in names:
        few, many = pixels(f"few/{name}"), pixels(f"many/{name}")
        assert few.std() > 1 and abs(few - many).max() <= 1
    assert abs(pixels(f"many/{names[0]}") - pixels(f"many/{names[1]}")).max() > 1


def test_files_come_with_a_list(here: Path) -> None:
    made("image, label | text", "r")
    assert main(["sample", "r", "red bar", "Red Bar!", "-n", "1", "--steps", "2", "--out", "o/"]) == 0
    lines = [json.loads(line) for line in Path("o/samples.jsonl").read_text().splitlines()]
    first, second = (line["likewise"] for line in lines)
    assert [about["file"] for about in (first, second)] == ["red-bar-seed0-0.png", "red-bar.2-seed0-0.png"]
    assert second["sources"] == {"text": "red bar!"} and lines[0]["label"] in range(4)
    assert first["options"]["steps"] == 2 and first["seed"] == first["index"] == 0
    assert PIL.Image.open("o/red-bar-seed0-0.png").text["likewise:index"] == "0"


def test_unseen_words_are_named(here: Path, capsys) -> None:
    made("image | text", "r")
    assert main(["sample", "r", "red unicorn", "-n", "1", "--steps", "1"]) == 0
    assert "no training text contains 'unicorn'" in capsys.readouterr().err


def test_a_prompt_is_read_as_the_texts_are_written(here: Path, capsys) -> None:
    made("image | text, label", "r")
    assert (
        main(["sample", "r", "A Red bar, 2 LABEL", "blue, ring", "-n", "1", "--steps", "1", "--out", "o/"])
        == 0
    )
    lines = [json.loads(line) for line in Path("o/samples.jsonl").read_text().splitlines()]
    sources = [line["likewise"]["sources"] for line in lines]
    assert sources == [{"text": "red bar", "label": "2"}, {"text": "blue, ring"}]
    assert capsys.readouterr().err == (
        "note: 'A Red bar' is read as 'red bar', in the style of the training texts\n"
    )
    assert main(["sample", "r", "red bar, 2 label", "--given", "label=3"]) == 1
    assert (
        "label is given twice, in 'red bar, 2 label' and by itself; give it once" in capsys.readouterr().err
    )


def test_endings_of_a_prompt_are_label_sources() -> None:
    columns = {"style": Label(("flat", "Line art")), "size": Label(("s", "l")), "text": Text.fit(["a ring"])}
    known = ["text", "style", "size"]
    assert prompts.split_labels("ring, line art style, S size", columns, known) == (
        "ring",
        {"size": "s", "style": "Line art"},
    )
    for text in ("flat style", "ring, style", "ring, flat", "ring, flat Style here", "ring flat style"):
        assert prompts.split_labels(text, columns, known) == (text, {})
    assert prompts.split_labels("ring, flat style", columns, ["text", "size"]) == ("ring, flat style", {})
    assert prompts.split_labels("ring, flat style", columns, []) == ("ring, flat style", {})
    with pytest.raises(ValueError, match="gives style twice"):
        prompts.split_labels("ring, flat style, flat style", columns, known)


@pytest.mark.parametrize(
    ("texts", "written", "read"),
    [
        (["red ring"], "The Red ring", "red ring"),
        (["a red ring"], "A red ring", "a red ring"),
        (["Red ring"], "the Red ring", "Red ring"),
        (["red ring"], "a", "a"),
        (["red ring"], "another ring", "another ring"),
    ],
)
def test_a_text_is_put_as_those_that_were_learned(texts: list[str], written: str, read: str) -> None:
    assert prompts.normalize_prompt(written, Text.fit(texts)) == read


def test_sources_are_given_by_name(here: Path) -> None:
    made("number | image, label", "r")
    given = ["--given", "label=2", "--given", "image=things/3.png"]
    assert main(["sample", "r", *given, "-n", "2", "--out", "o.jsonl"]) == 0
    lines = [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()]
    assert len(lines) == 2 and lines[0]["likewise"]["sources"] == {"label": "2", "image": "things/3.png"}
    assert isinstance(lines[0]["number"], float) and lines[0]["number"] != lines[1]["number"]


def test_values_are_printed(here: Path, capsys) -> None:
    made("label | text", "r")
    assert main(["sample", "r", "red bar", "-n", "2"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["likewise"]["index"] for line in lines] == [0, 1] and lines[0]["label"] in range(4)
    assert main(["sample", "r", "red bar", "-n", "1", "--out", "o/"]) == 0
    assert Path("o/red-bar-seed0-0.txt").read_text() in "0123"


def test_a_model_without_sources(here: Path) -> None:
    made("image", "r")
    assert main(["sample", "r", "-n", "2", "--steps", "1", "--out", "o/"]) == 0
    assert Path("o/sample-seed0-1.png").exists()


# ---- mistakes


@pytest.mark.parametrize(
    ("command", "status", "expected"),
    [
        ("tarin", 2, "unknown command 'tarin': did you mean 'train'?"),
        ("train things image|text --wdith 3", 2, "unknown option '--wdith': did you mean '--width'?"),
        ("sample r red --gudance 3", 2, "unknown option '--gudance': did you mean '--guidance'?"),
        ("data things things", 2, "unexpected argument 'things'"),
        (
            "train things image|text --batch many",
            2,
            "--batch must be a whole number from 1 to 65,536, not 'many'",
        ),
        ("train things image|text --stem konv", 2, "--stem must be one of conv, patch, not 'konv'"),
        ("train", 1, "name the data and write a formula"),
        ("train image|text", 1, "name the data before the formula"),
        ("train things", 1, "write a formula after the data"),
        ("train --resume", 1, "likewise train --resume --out RUN"),
        ("train things imgae|text", 1, "unknown column 'imgae': did you mean 'image'?"),
        ("train things sound|text", 1, "unknown column 'sound'. There are: image, text, label, number"),
        ("train things image|text|label", 1, "two bars"),
        ("train things image|text --family flwo", 1, "unknown family 'flwo': did you mean 'flow'?"),
        (
            "train things image|text --steps 0",
            2,
            "--steps must be a whole number from 1 to 1,000,000,000, not 0",
        ),
        ("train things image|text --steps 1 --minutes 1", 1, "either minutes or steps"),
        ("train nothing image|text", 1, "'nothing'"),
        ("train things image|text --by colour", 1, "'colour'. There are: text, label"),
        ("train things image|text --kind label=nubmer", 1, "'nubmer': did you mean 'number'?"),
        ("train things image|text --kind label", 1, "write --kind name=value"),
        ("train things label --vocabulary 3 --steps 1", 2, "--vocabulary must be a whole number from 257"),
        ("train --resume --out r", 1, "r holds no model.json: it is not a run folder"),
        (
            "sample r red",
            1,
            "there is no run r; likewise train makes one, and these come with the package: emoji",
        ),
        ("evaluate r", 1, "there is no run r"),
        ("compare things", 1, "write a formula: likewise compare"),
        ("compare things image|text --families flwo", 1, "unknown family 'flwo': did you mean 'flow'?"),
        ("compare things image|text --minutes 0", 2, "--minutes must be a number above 0"),
        ("compare things imgae|text", 1, "unknown column 'imgae': did you mean 'image'?"),
    ],
)
def test_a_mistake_is_one_sentence(here: Path, capsys, command: str, status: int, expected: str) -> None:
    check_error(command.split(), status, expected, capsys)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--given", "txt=a"], "unknown column 'txt': did you mean 'text'?"),
        (["--given", "text"], "write --given name=value"),
        (["--given", "text=red", "--given", "text=blue"], "names 'text' twice"),
        (["red", "--given", "text=red"], "the text of 'image | text' is given already; leave 'red' out"),
        (["red", "--out", "o.jpg"], "ends in .png"),
        (["red", "--out", "o.jsonl"], "all targets of 'image | text' are pictures"),
    ],
)
def test_a_mistake_in_sampling(here: Path, capsys, words: list[str], expected: str) -> None:
    made("image | text", "r")
    check_error(["sample", "r", *words], 1, expected, capsys)


@pytest.mark.parametrize(
    ("formula", "words", "expected"),
    [
        (
            "image | label",
            ["7"],
            "no text that '7' could be; leave it out, or give values by name: --given label=...",
        ),
        ("image", ["7"], "'image' has no text that '7' could be; leave it out"),
        ("label | image", ["--out", "o.png"], "has no target that is a picture"),
        ("image | label", ["--given", "label=9"], "label: unknown class '9'"),
        ("label | image", ["--given", "image=no.png"], "no.png"),
    ],
)
def test_a_mistake_in_sources(here: Path, capsys, formula: str, words: list[str], expected: str) -> None:
    made(formula, "r")
    check_error(["sample", "r", *words], 1, expected, capsys)


def check_error(argv: list[str], status: int, expected: str, capsys) -> None:
    try:
        assert main(argv) == status
    except SystemExit as end:
        assert end.code == status
    said = capsys.readouterr()
    assert said.err.startswith("likewise") and expected in said.err and "Traceback" not in said.err
    assert not said.out


def test_a_column_without_data(here: Path, capsys) -> None:
    Path("t.csv").write_text("a,b\n" + "".join(f"{i / 7},\n" for i in range(20)))
    assert main(["train", "t.csv", "b | a", "--steps", "1"]) == 1
    assert "b" in capsys.readouterr().err


def test_a_second_run_in_the_same_folder(here: Path, capsys) -> None:
    made("image | label", "runs/things")
    assert main(["train", "things", "image | label", *TINY]) == 1
    assert "runs/things holds a model already; give another --out" in capsys.readouterr().err


def test_a_damaged_run(here: Path, capsys) -> None:
    run = made("image | text", "r")
    weights = (run / "weights.safetensors").read_bytes()
    (run / "weights.safetensors").write_bytes(weights[: len(weights) // 2])
    assert main(["sample", "r", "red bar"]) == 1
    assert "damaged or cut short" in capsys.readouterr().err
    state = checkpoint.load_state(run)
    (run / "model.json").write_text(json.dumps({**state, "format": 99, "likewise": "9.9"}))
    assert main(["sample", "r", "red bar"]) == 1
    assert "was written in format 99" in capsys.readouterr().err
    (run / "model.json").write_text("{")
    assert main(["sample", "r", "red bar"]) == 1
    assert "model.json is damaged" in capsys.readouterr().err


def test_other_data(here: Path, capsys) -> None:
    assert main(["train", "things", "image | text", *TINY, "--out", "r"]) == 0
    text = Path("things/metadata.csv").read_text()
    Path("things/metadata.csv").write_text(text.replace("red bar", "red cat"))
    assert main(["train", "--resume", "--out", "r", "--steps", "9"]) == 1
    assert "trained on other data (fingerprint" in capsys.readouterr().err
    assert main(["evaluate", "r"]) == 1
    assert "is not what r was trained on (fingerprint" in capsys.readouterr().err


def test_a_full_disk_leaves_the_old_checkpoint(here: Path, capsys, monkeypatch) -> None:
    assert main(["train", "things", "image | text", *TINY, "--out", "r"]) == 0

    def full(*_) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        assert main(["train", "--resume", "--out", "r", "--steps", "5"]) == 1
    assert "No space left on device" in (said := capsys.readouterr().err) and "free some space" in said
    assert checkpoint.load_state(Path("r"))["step"] == 3
    assert main(["train", "--resume", "--out", "r", "--steps", "5"]) == 0


def test_too_large_for_the_memory(here: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2_000_000)
    assert main(["train", "things", "image | text", *TINY]) == 1
    said = capsys.readouterr().err
    assert "a step of 4 rows needs at least" in said and "--size" in said and not Path("runs").exists()


def test_debugging_shows_where(here: Path, monkeypatch) -> None:
    monkeypatch.setenv("LIKEWISE_DEBUG", "1")
    with pytest.raises(ValueError, match="two bars"):
        main(["train", "things", "a|b|c"])


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["sample"], 2, "likewise sample: missing RUN; `likewise sample --help` shows what to write"),
        (["chain"], 2, "likewise chain: missing --out; `likewise chain --help`"),
        (["evaluate"], 2, "missing RUN; "),
        (["sample", "run/model.json"], 1, "run/model.json is a file; name the folder of a run, such as run"),
        (
            ["train", "label | image", "things"],
            1,
            "name the data before the formula: likewise train things 'label | image'",
        ),
        (["data", ""], 1, "the name of the data is empty"),
        (["data", "-"], 1, "standard input is not read; write the data to a file"),
    ],
)
def test_command_lines_that_lack_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, words: list[str], status: int, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/model.json").write_text("{}")
    try:
        found = main(words)
    except SystemExit as end:
        found = end.code
    assert found == status and expected in capsys.readouterr().err


@pytest.mark.parametrize("words", [["evaluate", "r"], ["train", "--resume", "--out", "r"]])
def test_data_that_were_moved_are_named_by_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(20)))
    assert (
        main(["train", "t.csv", "a | b", "--steps", "1", "--width", "16", "--depth", "1", "--out", "r"]) == 0
    )
    (tmp_path / "t.csv").rename(tmp_path / "u.csv")
    assert main(words) == 1
    assert (
        f"r was trained on {tmp_path / 't.csv'}, which is not there any more; put it back"
        in capsys.readouterr().err
    )
    (tmp_path / "t.csv").symlink_to("u.csv")
    assert main(["train", "--resume", "--out", "r"]) == 0
