"""What likewise writes is never data, replaces nothing, and says how it was made under one key."""

from __future__ import annotations

import csv
import functools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure
import PIL.Image
import PIL.PngImagePlugin
import pytest
import torch
import toy
from matrix import mainly

from likewise.cli.main import describe_error, main
from likewise.cli.output import column_stems
from likewise.core.provenance import is_output, is_run_folder, manifest_lines
from likewise.data.arrow import TableError
from likewise.data.table import Table
from likewise.evaluation.comparison.figures.canvas import png
from likewise.evaluation.comparison.save import save_report
from likewise.evaluation.evaluator import evaluate
from likewise.evaluation.report import Report
from likewise.interop.transformers_export import to_transformers
from likewise.models import checkpoint
from likewise.models.model import Model

TINY = ["--width", "32", "--depth", "1", "--batch", "4", "--steps", "2"]
FEW = ["-n", "2", "--steps", "1"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy world in classes/ (a folder for each label) and things.csv, with runs of pictures and of values."""
    world = tmp_path_factory.mktemp("world")
    with open(world / "things.csv", "w", newline="") as file, pytest.MonkeyPatch.context() as patch:
        table = csv.writer(file)
        table.writerow(["text", "label", "number"])
        for i, row in enumerate(toy.rows(32)):
            folder = world / "classes" / f"class{row['label']}"
            folder.mkdir(parents=True, exist_ok=True)
            row["image"].save(folder / f"{i}.png")
            table.writerow([row["text"], row["label"], row["number"]])
        file.flush()
        patch.chdir(world)
        made("classes", "image | label", "runs/r")
        made("things.csv", "label | text", "runs/values")
        model = Model("number", Table.open("things.csv").columns, "mixture", components=2)
        model.save("runs/density", step=1, plan={}, data={"source": None})
    return world


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the toy world only."""
    shutil.copytree(world / "classes", tmp_path / "classes")
    shutil.copy(world / "things.csv", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runs(world: Path, here: Path) -> Path:
    """The toy world, with runs of pictures (r), of values and of a density."""
    shutil.copytree(world / "runs", here, dirs_exist_ok=True)
    return here


@pytest.fixture
def quick_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """`likewise evaluate` writes a report without results."""
    report = Report("image | label", None, 4, 1, 0, {}, ())
    quick = functools.wraps(evaluate)(lambda model, table, **options: report)
    monkeypatch.setattr("likewise.cli.commands.evaluate.evaluate", quick)


def made(data: str, formula: str, out: str, **options: Any) -> Path:
    """A run folder whose model samples something, without training."""
    table = Table.open(data, **options)
    model = Model(formula, table.columns, "flow", width=32, depth=1)
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng))
    model.save(out, step=1, plan={}, data={**table.reopen_args(), "fingerprint": table.fingerprint})
    return Path(out)


def files(folder: Path | str = ".") -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def lines(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def unmarked(before: dict[str, bytes]) -> list[str]:
    """The files that are new and not known as outputs."""
    return [name for name in files() if name not in before and not is_output(name)]


# ---- every file that is written is known as an output


@pytest.mark.usefixtures("quick_evaluation")
def test_files_of_a_run_and_of_its_samples_are_outputs(here: Path) -> None:
    before = files()
    assert main(["train", "classes", "image | label", *TINY, "--out", "runs/r"]) == 0
    assert is_run_folder("runs/r") and {"samples.png", "curve.png"} <= {
        p.name for p in Path("runs/r").iterdir()
    }
    given = ["--given", "label=class1", *FEW]
    for out in ("a.png", "folder/"):
        assert main(["sample", "runs/r", *given, "--out", out]) == 0
    assert main(["interpolate", "runs/r", "--seeds", "0,1", "-n", "3", "--steps", "1", "--out", "a.gif"]) == 0
    assert main(["vary", "runs/r", "classes/class0/0.png", *given]) == 0
    assert main(["infill", "runs/r", "classes/class0/0.png", "--box", "0,0,5,5", *given]) == 0
    assert main(["data", "classes"]) == 0
    assert main(["evaluate", "runs/r", "--n", "4", "--steps", "1"]) == 0
    assert {"a.gif", "variations.png", "infilled.png", "preview.png", "runs/r/report.json"} <= files().keys()
    assert not unmarked(before)
    for name in ("samples.png", "curve.png", "report.json", "metrics.jsonl"):
        copy = here / f"copy-of-{name}" if name != "metrics.jsonl" else here / name  # also away from the run
        copy.write_bytes(Path("runs/r", name).read_bytes())
        assert is_output(copy), name
    assert not any(map(is_output, before))


def test_files_of_values_are_outputs(here: Path) -> None:
    made("things.csv", "label, number | text", "r")
    before = files()
    assert main(["sample", "r", "box", *FEW, "--out", "a.jsonl"]) == 0
    assert main(["sample", "r", "box", *FEW, "--out", "folder/"]) == 0
    assert len(list(Path("folder").glob("*.txt"))) == 4
    made("things.csv", "number", "density", kinds={"number": "number"})
    assert main(["sample", "density", "-n", "2", "--out", "b.jsonl"]) == 0
    assert not [name for name in unmarked(before) if not name.startswith("density")]


def test_scores_are_outputs(runs: Path) -> None:
    assert main(["score", "density", "things.csv", "--out", "scores.jsonl"]) == 0
    assert is_output("scores.jsonl") and lines("scores.jsonl")[3]["row"] == 3
    assert lines("scores.jsonl")[0]["likewise"]["model"] == "density"


def test_reports_and_exports_are_outputs(here: Path) -> None:
    save_report(here / "c", "<html><head></head></html>", png(matplotlib.figure.Figure()), {"n": 1})
    assert (
        is_output("c/report.png")
        and is_output("c/report.json")
        and json.loads(Path("c/report.json").read_text())["n"] == 1
    )
    table = Table.from_rows([{"text": "one two " * 20}] * 8, {"text": "document"})
    model = Model("text", table.columns, "autoregressive", width=32, depth=1, compat="llama")
    to_transformers(model, here / "exported", name="x")
    assert is_run_folder("exported") and is_output("exported/README.md")


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a.png": lambda p: PIL.Image.new("L", (9, 9)).save(p),
    "b.png": lambda p: PIL.Image.new("L", (9, 9)).save(p, pnginfo=text_chunk("Software", "likewise:1")),
    "a.gif": lambda p: PIL.Image.new("L", (9, 9)).save(p, comment=b"likewise"),
    "a.jpg": lambda p: PIL.Image.new("L", (9, 9)).save(p),
    "a.jsonl": lambda p: p.write_text('{"likewise": "yes", "model": "T", "seed": 3}\n'),
    "b.jsonl": lambda p: p.write_text('{"likewise": {"a": 1}}\n'),
    "a.json": lambda p: p.write_text('{"version": "0.1.0"}'),
    "a.html": lambda p: p.write_text("<html><body>likewise</body></html>"),
    "a.txt": lambda p: p.write_text("likewise: a text"),
    "a.csv": lambda p: p.write_text("likewise,model\n1,2\n"),
    "cut.png": lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00"),
    "empty": lambda p: p.write_bytes(b""),
}


def text_chunk(name: str, value: str) -> PIL.PngImagePlugin.PngInfo:
    info = PIL.PngImagePlugin.PngInfo()
    info.add_text(name, value)
    return info


@pytest.mark.parametrize("name", FOREIGN)
def test_files_of_others_are_no_outputs(tmp_path: Path, name: str) -> None:
    FOREIGN[name](tmp_path / name)
    assert not is_output(tmp_path / name)


def test_what_is_not_there_is_no_output(tmp_path: Path) -> None:
    assert (
        not is_output(tmp_path / "none.png")
        and not is_output(tmp_path)
        and not is_run_folder(tmp_path / "none")
    )


@pytest.mark.parametrize("text", ["{}", '{"format": 1}', "[1, 2]", "{", '{"layers": [], "columns": 3}'])
def test_a_model_of_others_is_no_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    (tmp_path / "samples.png").write_bytes(b"")
    assert not is_run_folder(tmp_path) and not is_output(tmp_path / "samples.png")


def test_a_damaged_run_is_a_run(here: Path) -> None:
    made("classes", "image", "r")
    Path("r/model.json").write_text('{"format": 3, "formu')
    assert is_run_folder("r")


# ---- outputs are never data


@pytest.mark.usefixtures("quick_evaluation")
def test_work_inside_of_the_folder_of_the_data(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, sample, look and evaluate there: the data stays what it was."""
    monkeypatch.chdir(here / "classes")
    before = Table.open(".")
    assert main(["train", ".", "image | label", *TINY]) == 0
    run = str(next(Path("runs").iterdir()))
    assert main(["data", "."]) == main(["data", "."]) == 0
    assert main(["sample", run, *FEW]) == main(["sample", run, *FEW, "--out", "class0/mine/"]) == 0
    assert main(["sample", run, *FEW, "--out", "class1/grid.png"]) == 0
    after = Table.open(".")
    assert after.fingerprint == before.fingerprint and after.kinds == {"image": "image", "label": "label"}
    assert main(["evaluate", run, "--n", "4", "--steps", "1"]) == 0
    assert main(["train", "--resume", "--out", run, "--steps", "3"]) == 0
    assert {"preview.png", "preview-2.png", "samples.png"} <= {path.name for path in Path().iterdir()}


def test_texts_that_were_sampled_are_no_data(here: Path) -> None:
    made("things.csv", "label | text", "r")
    Path("texts").mkdir()
    for i in range(8):
        Path("texts", f"{i}.txt").write_text(f"text {i}")
    assert main(["sample", "r", "box", *FEW, "--out", "texts/"]) == 0
    assert len(list(Path("texts").glob("*.txt"))) == 10 and len(Table.open("texts")) == 8


def test_a_run_is_no_data(here: Path) -> None:
    made("classes", "image", "r")
    with pytest.raises(TableError, match="r is a run of likewise"):
        Table.open("r")


# ---- nothing is replaced


WRITING: dict[str, tuple[list[str], str, str]] = {  # command -> words, option, a name that it can write
    "sample": (["sample", "r", *FEW], "--out", "mine.png"),
    "vary": (["vary", "r", "classes/class0/0.png", *FEW], "--out", "mine.png"),
    "infill": (["infill", "r", "classes/class0/0.png", "--box", "0,0,5,5", *FEW], "--out", "mine.png"),
    "interpolate": (["interpolate", "r", "--seeds", "0,1", "-n", "3", "--steps", "1"], "--out", "mine.gif"),
    "values": (["sample", "values", *FEW], "--out", "mine.jsonl"),
    "score": (["score", "density", "things.csv"], "--out", "mine.jsonl"),
    "evaluate": (["evaluate", "r", "--n", "4", "--steps", "1"], "--out", "mine.json"),
    "sweep": (["evaluate", "r", "--sweep", "steps=1", "--n", "4"], "--out", "mine.json"),
    "data": (["data", "classes"], "--preview", "mine.png"),
}


@pytest.mark.usefixtures("quick_evaluation")
@pytest.mark.parametrize("command", mainly([c for c in WRITING if c != "sweep"], WRITING))
def test_a_file_that_is_there_is_not_replaced(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    words, option, name = WRITING[command]
    mine = Path(name)
    mine.write_text("mine")
    before = files()
    with monkeypatch.context() as patch:  # before any work is done
        for method in ("sample", "interpolate", "log_prob"):
            patch.setattr(Model, method, None)
        patch.setattr(Table, "open", None)
        assert main([*words, option, name]) == 1
    assert (
        f"likewise: {name} is there already; give another {option}, or --overwrite" in capsys.readouterr().err
    )
    assert files() == before
    assert main([*words, option, name, "--overwrite"]) == 0
    assert is_output(mine) and mine.read_bytes() != b"mine"


def test_a_sweep_does_not_replace_its_picture_either(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.png").write_text("mine")
    assert main([*WRITING["sweep"][0], "--out", "mine.json"]) == 1
    assert "mine.png is there already" in capsys.readouterr().err and Path("mine.png").read_text() == "mine"


@pytest.mark.usefixtures("quick_evaluation")
@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("sample", ["samples.png"]),
        ("vary", ["variations.png"]),
        ("infill", ["infilled.png"]),
        ("interpolate", ["strip.png"]),
        ("evaluate", ["r/report.json"]),
        pytest.param("sweep", ["r/sweep-steps.json", "r/sweep-steps.png"], marks=pytest.mark.full),
        ("data", ["preview.png"]),
    ],
)
def test_a_default_name_that_is_in_use_gets_a_number(
    runs: Path, capsys: pytest.CaptureFixture[str], command: str, names: list[str]
) -> None:
    words = WRITING[command][0]
    Path(names[-1]).write_text("mine")
    for number in (2, 3):
        before = files()
        assert main(words) == 0
        new = {str(Path(name).with_stem(f"{Path(name).stem}-{number}")) for name in names}
        after = files()
        assert after.keys() - before.keys() == new and all(after[name] == before[name] for name in before)
        assert all(name in capsys.readouterr().out for name in sorted(new)[:1])
    assert Path(names[-1]).read_text() == "mine"


def test_a_folder_of_samples_keeps_the_earlier_ones(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--given", "label=class1", "--steps", "1", "--out", "o/"]
    assert main(["sample", "r", *given, "-n", "2", "--seed", "0"]) == 0
    first = files("o")
    assert main(["sample", "r", *given, "-n", "2", "--seed", "1"]) == 0
    second = files("o")
    assert len(second) == 5 and all(
        second[n] == content for n, content in first.items() if n.endswith(".png")
    )
    assert main(["sample", "r", *given, "-n", "3", "--seed", "1"]) == 1
    assert (
        "o/class1-seed1-0.png is there already, as are 1 others; give another --seed"
        in capsys.readouterr().err
    )
    assert files("o") == second
    assert main(["sample", "r", *given, "-n", "1", "--seed", "2"]) == 0
    listed = {about["file"]: about for about in (line["likewise"] for line in lines("o/samples.jsonl"))}
    assert sorted(listed) == sorted(p.name for p in Path("o").glob("*.png")) and len(listed) == 5
    for name, about in listed.items():
        chunks = PIL.Image.open(Path("o", name)).text  # type: ignore[attr-defined]
        assert chunks["likewise:seed"] == str(about["seed"]) and chunks["likewise:index"] == str(
            about["index"]
        )


def test_the_list_of_a_folder_agrees_with_its_files(runs: Path) -> None:
    words = ["sample", "values", *FEW, "--out", "o/"]
    assert main([*words, "--seed", "0"]) == 0
    old = lines("o/samples.jsonl")
    Path("o", old[0]["likewise"]["file"]).unlink()
    with open("o/samples.jsonl", "a") as file:
        file.write('{"likewise": {"version": "0.1.0", "file": "o/cut sh')
    assert main([*words, "--seed", "1"]) == 0
    assert [name for name, _ in manifest_lines(Path("o"))] == [
        "sample-seed0-1.txt", "sample-seed1-0.txt", "sample-seed1-1.txt"
    ]  # fmt: skip
    made("things.csv", "label | text", "other", kinds={"label": "label"})
    assert main(["sample", "other", *FEW, "--seed", "1", "--out", "o/", "--overwrite"]) == 0
    models = {line["likewise"]["file"]: line["likewise"]["model"] for line in lines("o/samples.jsonl")}
    assert models == {"sample-seed0-1.txt": "values"} | dict.fromkeys(
        ["sample-seed1-0.txt", "sample-seed1-1.txt"], "other"
    )
    values = {line["likewise"]["file"]: str(line["label"]) for line in lines("o/samples.jsonl")}
    assert values == {path.name: path.read_text() for path in Path("o").glob("*.txt")}


def test_a_list_of_others_is_not_replaced(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("o").mkdir()
    Path("o/samples.jsonl").write_text('{"text": "mine"}\n')
    assert main(["sample", "r", *FEW, "--out", "o/"]) == 1
    assert "o/samples.jsonl is no list of samples that can be extended" in capsys.readouterr().err
    assert [*files("o").values()] == [b'{"text": "mine"}\n']


def test_samples_that_were_written_before_an_error_are_listed(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    replace, count = os.replace, iter(range(100))

    def full(source: Any, target: Any) -> None:
        if next(count) == 1:
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert main(["sample", "r", *FEW, "--out", "o/"]) == 1
    assert "cannot read or write o/sample-seed0-1.png: no space left on device" in capsys.readouterr().err
    assert [line["likewise"]["file"] for line in lines("o/samples.jsonl")] == ["sample-seed0-0.png"]
    assert sorted(os.listdir("o")) == ["sample-seed0-0.png", "samples.jsonl"]


@pytest.mark.parametrize("name", ["samples.png", "metrics.jsonl", "model.json", "report.json"])
@pytest.mark.parametrize("command", ["train", "chain"])
def test_a_run_does_not_replace_files_of_others(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    Path("project").mkdir()
    Path("project", name).write_text("mine")
    words = {"train": ["train", "classes", "image | label", *TINY], "chain": ["chain", "r"]}[command]
    with monkeypatch.context() as patch:
        patch.setattr(Table, "open", None)
        patch.setattr(Model, "load", None)
        assert main([*words, "--out", "project"]) == 1
    assert f"project has a file {name} that is no part of a run" in capsys.readouterr().err
    assert files("project") == {f"project/{name}": b"mine"}


def test_a_run_beside_other_files_and_in_its_data(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("project").mkdir()
    Path("project/notes.txt").write_text("mine")
    assert main(["train", "classes", "image | label", *TINY, "--out", "project"]) == 0
    assert Path("project/notes.txt").read_text() == "mine" and not is_output("project/notes.txt")
    assert main(["train", "classes", "image | label", *TINY, "--out", "classes"]) == 1
    assert "classes is the folder of the data; give another --out" in capsys.readouterr().err


def test_a_model_is_not_replaced_by_another(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files("r")
    checkpoint.save_state(Path("chain"), {"formula": "image", "links": ["r"]}, checkpoint.PIPELINE)
    for out in ("r", "chain"):
        for words in (["train", "classes", "image", *TINY], ["chain", "r"]):
            assert main([*words, "--out", out]) == 1
            assert f"{out} holds a model already" in capsys.readouterr().err
    assert files("r") == before


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_model_is_not_saved_over_files_of_others(runs: Path, name: str) -> None:
    model = Model.load("r")
    Path("project").mkdir()
    Path("project", name).write_text("{}")
    with pytest.raises(checkpoint.RunError, match=f"project/{name} is no part of a run"):
        model.save("project")
    assert files("project") == {f"project/{name}": b"{}"}
    model.save("r", step=2, plan={}, data={"source": None})  # its own files are replaced
    assert checkpoint.load_state(Path("r"))["step"] == 2


def test_an_export_does_not_replace_a_readme(here: Path) -> None:
    table = Table.from_rows([{"text": "one two " * 20}] * 8, {"text": "document"})
    model = Model("text", table.columns, "autoregressive", width=32, depth=1, compat="llama")
    Path("o").mkdir()
    Path("o/README.md").write_text("mine")
    with pytest.raises(checkpoint.RunError, match="has a file README.md"):
        to_transformers(model, here / "o", name="x")
    assert files("o") == {"o/README.md": b"mine"}


def test_a_comparison_does_not_replace_a_report_of_others(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("c").mkdir()
    Path("c/report.html").write_text("mine")
    monkeypatch.setattr("likewise.evaluation.comparison.families.train", None)
    monkeypatch.setattr("likewise.evaluation.comparison.classifiers.ClassifierBenchmark", None)
    for formula in ("number | label", "label | number"):
        assert main(["compare", "things.csv", formula, "--minutes", "0.001", "--out", "c"]) == 1
        assert "c has a file report.html that no comparison wrote" in capsys.readouterr().err
    assert files("c") == {"c/report.html": b"mine"}


# ---- provenance has a key of its own


def test_columns_of_any_name_are_kept(here: Path) -> None:
    """model, seed, sources, index, options, file and column were keys of the provenance."""
    names = ["model", "seed", "sources", "index", "options", "file", "column", "version"]
    rows = [{n: f"{n}-{i % 3}" for n in names} for i in range(24)]
    with open("reserved.csv", "w", newline="") as file:
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(rows)
    made("reserved.csv", ", ".join(names), "r", kinds=dict.fromkeys(names, "label"))
    assert main(["sample", "r", "-n", "3", "--seed", "7", "--out", "o.jsonl"]) == 0
    for i, line in enumerate(lines("o.jsonl")):
        about = line.pop("likewise")
        assert line.keys() == set(names) and all(value.startswith(f"{n}-") for n, value in line.items())
        assert (about["model"], about["seed"], about["index"], about["sources"]) == ("r", 7, i, {})
    assert main(["sample", "r", "-n", "1", "--seed", "7", "--out", "o/"]) == 0
    for line in lines("o/samples.jsonl"):
        about = line["likewise"]
        assert Path("o", about["file"]).read_text() == line[about["column"]]


def test_a_column_with_the_name_of_the_key_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = Path("things.csv").read_text().replace("label", "likewise", 1)
    Path("t.csv").write_text(text)
    assert main(["train", "t.csv", "likewise | text", *TINY, "--out", "r"]) == 1
    assert "under the key 'likewise', and a target has that name; rename" in capsys.readouterr().err
    made("t.csv", "likewise | text", "r")
    refusals = {
        (): "under the key 'likewise'",
        ("--out", "o.jsonl"): "'likewise', which is the key of provenance",
        ("--out", "o/"): "under the key 'likewise'",
    }
    for out, message in refusals.items():
        assert main(["sample", "r", *FEW, *out]) == 1
        assert message in capsys.readouterr().err
    made("t.csv", "label | likewise" if "label" in text else "number | likewise", "s")
    assert main(["sample", "s", *FEW]) == 0, "as a source it is no problem"


def test_parts_of_names_of_files() -> None:
    assert column_stems(["a/b", "a:b"]) == {"a/b": "a-b", "a:b": "a-b.2"}


@pytest.mark.parametrize("prompt", ["字" * 100, "🦊" * 100, "𠀀" * 100, "a" * 300, "../../etc", "CON", "."])
def test_any_prompt_is_a_name_of_a_file(here: Path, prompt: str) -> None:
    from likewise.cli.output import _stems

    [stem] = _stems([{"sources": {"text": prompt}, "seed": 3, "index": 0}])
    (here / f"{stem}-image.png").write_bytes(b"")
    assert (
        stem.endswith("-seed3-0") and (here / f"{stem}-image.png").parent == here and len(stem.encode()) < 200
    )


# ---- where nothing can be written


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("things.csv/a.png", "things.csv is a file, and a folder is needed there"),
        ("things.csv/", "things.csv is a file, and a folder is needed there"),
        ("classes.png", "this is a folder; leave .png out of its name"),
        ("locked/a.png", "nothing can be written to"),
        ("locked/new/", "nothing can be written to"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_before_sampling(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, out: str, message: str
) -> None:
    Path("classes.png").mkdir()
    Path("locked").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "locked" not in str(path) and access(path, mode))
    monkeypatch.setattr(Model, "sample", None)
    assert main(["sample", "r", *FEW, "--out", out]) == 1
    said = capsys.readouterr().err
    assert message in said and said.startswith("likewise: ") and said.count("\n") == 1


@pytest.mark.parametrize("command", ["score", "evaluate", "data", "train", "compare"])
def test_other_commands_say_so_before_they_work(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    more = {"train": ["train", "classes", "image", *TINY], "compare": ["compare", "things.csv", "number"]}
    words, option, name = WRITING.get(command) or (more[command], "--out", "mine")
    monkeypatch.setattr(Model, "log_prob", None)
    monkeypatch.setattr("likewise.cli.commands.train.train_with_progress", None)
    monkeypatch.setattr("likewise.evaluation.comparison.families.train", None)
    if command != "compare":
        monkeypatch.setattr(Table, "open", None)
    assert main([*words, option, f"things.csv/{name}"]) == 1
    assert "things.csv is a file, and a folder is needed there" in capsys.readouterr().err


def test_missing_folders_are_made(runs: Path) -> None:
    assert main(["sample", "r", *FEW, "--out", "a/b/c.png"]) == 0 and Path("a/b/c.png").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_behind_the_output(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (["sample", "values", *FEW], ["--version"], ["--help"]):
        with monkeypatch.context() as patch, open("/dev/full", "w") as output:
            patch.setattr("sys.stdout", output)
            assert main(words) == 1
            output.flush()  # leads elsewhere by now, so that Python does not complain at its end
        assert (
            capsys.readouterr().err == "likewise: cannot read or write the output: no space left on device\n"
        )


def test_a_closed_pipe_is_no_error(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with monkeypatch.context() as patch, os.fdopen(writing, "w") as output:
        patch.setattr("sys.stdout", output)
        assert main(["sample", "values", *FEW]) == 0
    assert capsys.readouterr().err == ""


def test_errors_of_files_are_sentences() -> None:
    assert describe_error(OSError(28, "No space left on device", "a.png")) == (
        "cannot read or write a.png: no space left on device"
    )
    assert describe_error(OSError("plain")) == "plain" and describe_error(ValueError("x")) == "x"


def test_a_list_of_samples_that_is_named_is_read_and_without_values_is_none(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of pictures the values are files, which are no data."""
    Path("t.csv").write_text("x,y\n" + "\n".join(f"{i},{i % 7}" for i in range(40)))
    made("t.csv", "x, y", "r")
    assert main(["sample", "r", "-n", "8", "--out", "o.jsonl"]) == 0
    capsys.readouterr()
    assert main(["data", "o.jsonl"]) == 0
    said = capsys.readouterr().out
    assert (
        "8 rows" in said
        and "'likewise' is left out: it says how likewise made each row, and is no data" in said
    )
    assert list(Table.open("o.jsonl").kinds) == ["x", "y"]
    assert main(["sample", "emoji", "red heart", "-n", "2", "--steps", "2", "--out", "p/"]) == 0
    capsys.readouterr()
    for name in ("p", "p/samples.jsonl"):
        assert main(["data", name]) == 1
        assert (
            "written by likewise" in (error := capsys.readouterr().err)
            or "how likewise made each row" in error
        )
