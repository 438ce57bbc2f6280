"""Interruptions: signals, kills at any moment, and what a killed process leaves behind lose no work and break no run."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from matrix import mainly
from safetensors.torch import load_file

from likewise.cli import progress
from likewise.cli.main import main
from likewise.core import files
from likewise.core.errors import RequestWarning
from likewise.core.files import atomic_write, remove_leftovers
from likewise.core.interrupts import Terminated, defer_interrupts, signal_of, signals_as_exceptions
from likewise.core.locks import FolderLock
from likewise.data.datasets.download import cached_dataset
from likewise.data.table import Table
from likewise.models import checkpoint
from likewise.models.checkpoint import RunError
from likewise.models.io import load_unfinished
from likewise.models.model import Model
from likewise.training.metrics import Step
from likewise.training.plan import Plan
from likewise.training.trainer import Trainer, train

PLAN: dict[str, Any] = {"steps": 4, "batch": 8, "precision": "float32", "warmup": 2}
TINY = ["--width", "32", "--depth", "1", "--batch", "4", "--steps", "4"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Signals have their handlers, also where the tests run in the background of a shell, or by nohup, and are ignored."""
    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    handlers = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def table() -> Table:
    """Numbers and labels, some rows held out."""
    rows = [{n: row[n] for n in ("label", "number")} for row in toy.rows(40)]
    return Table.from_rows(rows, {"label": "label", "number": "number"}, holdout=0.2)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with the toy world in things/."""
    monkeypatch.chdir(tmp_path)
    toy.folder(tmp_path / "things", 24)
    return tmp_path


def tiny(table: Table, seed: int = 0, width: int = 32) -> Model:
    return Model("number | label", table.columns, width=width, depth=1, seed=seed)


def training(table: Table, folder: Path, resume: bool = False, **plan: Any) -> list[Step]:
    return list(train(tiny(table), table, Plan(**{**PLAN, **plan}), folder, resume=resume))


def losses(folder: Path) -> list[float]:
    """The exact losses in metrics.jsonl, one for each step."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))
    return [record["loss"] for record in records]


def same_run(a: Path, b: Path) -> None:
    """Both runs have the same losses and weights, to the last bit."""
    assert losses(a) == losses(b)
    for name in (checkpoint.WEIGHTS, checkpoint.RESUME):
        x, y = load_file(a / name), load_file(b / name)
        assert x.keys() == y.keys() and all(torch.equal(x[n], y[n]) for n in x)


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


# ---- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_is_the_exit_status(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def interrupt(self: progress.Display, step: Step) -> None:
        if step.step == 2:
            signal.raise_signal(number)

    with monkeypatch.context() as patch:
        patch.setattr(progress.Display, "update", interrupt)
        assert main(["train", "things", "label", *TINY, "--out", "r"]) == 128 + number
    assert "saved at step 2; to continue:\n  likewise train --resume --out r" in capsys.readouterr().out
    assert checkpoint.load_resume(Path("r"))[1]["step"] == 2
    assert main(["train", "--resume", "--out", "r"]) == 0
    assert "4 steps" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "the handlers are as before"


def test_a_closed_terminal_does_not_end_a_training_that_ignores_it(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with nohup: SIGHUP is ignored, and writing to the terminal fails."""

    class Closed:
        def __getattr__(self, name: str) -> Any:
            raise OSError(5, "Input/output error")

    def hang_up(step: Step) -> None:
        signal.raise_signal(signal.SIGHUP)

    update = progress.Display.update

    def update_closed(self: progress.Display, step: Step) -> None:
        hang_up(step)
        self.bar = Closed()  # type: ignore[assignment]
        update(self, step)

    monkeypatch.setattr(progress.Display, "update", update_closed)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["train", "things", "label", *TINY, "--out", "r"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)
    assert checkpoint.load_state(Path("r"))["step"] == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_waits_for_the_checkpoint(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    steps = train(tiny(table), table, Plan(**PLAN), tmp_path / "r")
    next(steps), next(steps)
    save = checkpoint.save_resume

    def interrupted(*args: Any) -> None:
        signal.raise_signal(number)
        save(*args)

    with signals_as_exceptions(), monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_resume", interrupted)
        with pytest.raises(KeyboardInterrupt):
            steps.throw(KeyboardInterrupt)
    assert (
        checkpoint.load_resume(tmp_path / "r")[1]["step"]
        == checkpoint.load_state(tmp_path / "r")["step"]
        == 2
    )
    assert not hidden(tmp_path / "r")
    assert [step.step for step in training(table, tmp_path / "r", resume=True)] == [3, 4]


def test_a_block_is_not_interrupted() -> None:
    done = []
    with signals_as_exceptions():
        for number in (signal.SIGTERM, signal.SIGINT):
            with pytest.raises(KeyboardInterrupt) as error, defer_interrupts():
                with defer_interrupts():
                    signal.raise_signal(number)
                    done.append(number)
                done.append(number)
            assert signal_of(error.value) == number
    assert len(done) == 4 and signal_of(Terminated(15)) == 15


@pytest.mark.full
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_is_ended_saves(here: Path, number: signal.Signals) -> None:
    command = ["train", "things", "image | label", *TINY[:-1], "100000", "--out", "r"]
    child = subprocess.Popen(
        [sys.executable, "-m", "likewise", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    wait_for(lambda: Path("r/metrics.jsonl").exists() and len(losses(here / "r")) > 2)
    assert not Path("r/weights.safetensors").exists(), "it is before the first checkpoint"
    child.send_signal(number)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 128 + number and "to continue:\n  likewise train --resume --out r" in out
    assert checkpoint.load_state(here / "r")["step"] == len(losses(here / "r"))


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# ---- before the first checkpoint


def killed_before(table: Table, folder: Path, model: Model | None = None, steps: int = 2) -> None:
    """A run that is killed after some steps, without a checkpoint."""
    with (
        pytest.MonkeyPatch.context() as patch,
        closing(train(model or tiny(table), table, Plan(**PLAN), folder)) as stepper,
    ):
        for _ in range(steps):
            next(stepper)
        patch.setattr(Trainer, "save", lambda self: None)
        stepper.close()


def test_a_run_that_was_killed_at_first_begins_again(table: Table, tmp_path: Path) -> None:
    training(table, tmp_path / "whole")
    killed_before(table, tmp_path / "killed")
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == ["metrics.jsonl", "model.json"]
    with pytest.raises(RunError, match="has no weights yet.*likewise train --resume --out"):
        Model.load(tmp_path / "killed")
    with pytest.warns(RequestWarning, match="begins again at step 0"):
        steps = training(table, tmp_path / "killed", resume=True)
    assert [step.step for step in steps] == [1, 2, 3, 4]
    same_run(tmp_path / "whole", tmp_path / "killed")


def test_it_is_resumed_as_the_run_that_it_was(table: Table, tmp_path: Path) -> None:
    killed_before(table, tmp_path)
    other = Table.from_rows(
        [{"label": str(i % 4), "number": float(i)} for i in range(40)], table.kinds, holdout=0.2
    )
    wrong = [
        (tiny(other), other, {}, "was trained on other data"),
        (tiny(table), table, {"batch": 4}, "--batch 8"),
        (tiny(table, width=48), table, {}, "another model"),
    ]
    for model, data, plan, message in wrong:
        with pytest.raises(RunError, match=message):
            next(train(model, data, Plan(**{**PLAN, **plan}), tmp_path, resume=True))


def test_it_may_be_begun_anew(table: Table, tmp_path: Path) -> None:
    killed_before(table, tmp_path)
    assert len(training(table, tmp_path, steps=2)) == 2
    with pytest.raises(RunError, match="holds a model already"):
        training(table, tmp_path)


def test_weights_from_elsewhere_are_saved_at_first(table: Table, tmp_path: Path) -> None:
    """Fine-tuning: the run could not begin with these weights again."""
    training(table, tmp_path / "first")
    for name in ("whole", "killed"):
        model = Model.load(tmp_path / "first")
        if name == "killed":
            killed_before(table, tmp_path / name, model)
        else:
            list(train(model, table, Plan(**PLAN), tmp_path / name))
    assert load_unfinished(tmp_path / "killed") is not None
    rest = list(
        train(load_unfinished(tmp_path / "killed"), table, Plan(**PLAN), tmp_path / "killed", resume=True)
    )
    assert [step.step for step in rest] == [1, 2, 3, 4]
    same_run(tmp_path / "whole", tmp_path / "killed")


def test_the_command_line_begins_again(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["train", "things", "label", *TINY, "--seed", "5", "--out", "whole"]) == 0

    def die(self: Trainer) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_init_from_data", die)
        assert main(["train", "things", "label", *TINY, "--seed", "5", "--out", "r"]) == 130
    assert (
        "stopped, before the first checkpoint; to continue:\n  likewise train --resume"
        in capsys.readouterr().out
    )
    assert main(["sample", "r"]) == main(["evaluate", "r"]) == 1
    assert capsys.readouterr().err.count("r has no weights yet: its training ended before the first") == 2
    assert main(["train", "--resume", "--out", "r"]) == 0
    assert (
        "note: r ended before its first checkpoint, so it begins again at step 0" in capsys.readouterr().err
    )
    same_run(here / "whole", here / "r")


# ---- kills


class Killed(BaseException):
    """Nothing in the package catches it."""


@contextmanager
def killed_at(call: int) -> Iterator[None]:
    """End the process, as it were, before the file operation number `call`: a rename, or a line of metrics."""
    count = itertools.count()

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            if next(count) >= call:
                raise Killed
            return function(*args, **options)

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", dying(os.replace))
        patch.setattr(
            "likewise.training.metrics.MetricsFile.append",
            dying(sys.modules["likewise.training.metrics"].MetricsFile.append),
        )
        yield


def test_a_kill_between_any_two_writes_loses_nothing_but_steps(table: Table, tmp_path: Path) -> None:
    plan = {"save_seconds": 1e-6, "steps": 2}
    training(table, tmp_path / "whole", **plan)
    for call in range(100):
        run = tmp_path / f"killed{call}"
        try:
            with killed_at(call):
                training(table, run, **plan)
        except Killed:
            begun = (run / checkpoint.MODEL).exists()
            with pytest.warns(RequestWarning) if begun and not checkpoint.has_checkpoint(run) else nothing():
                training(table, run, resume=begun, **plan)
            same_run(tmp_path / "whole", run)
        else:
            break
    assert call == 2 + 2 * 4, "model.json, metrics.jsonl; each step a line and three files"


@contextmanager
def nothing() -> Iterator[None]:
    yield


CHILD = """
import sys, torch, test_interruptions as t, toy
torch.set_num_threads(1)
rows = [{n: row[n] for n in ("label", "number")} for row in toy.rows(40)]
table = t.Table.from_rows(rows, {"label": "label", "number": "number"}, holdout=0.2)
print("ready", flush=True)
t.training(table, t.Path(sys.argv[1]), resume=sys.argv[2] == "True", steps=400, save_seconds=0.03)
"""


@pytest.mark.full
def test_ten_kills_at_any_moment(table: Table, tmp_path: Path) -> None:
    """kill -9 ten times: the run goes on to the weights of the uninterrupted one, to the last bit."""
    rng, run = random.Random(0), tmp_path / "killed"
    torch.set_num_threads(1)
    training(table, tmp_path / "whole", steps=400)
    kills = 0
    for _ in range(60):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(run), str((run / checkpoint.MODEL).exists())],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parent,
            env=ENVIRONMENT,
        )
        assert child.stdout is not None and child.stdout.readline() == b"ready\n"
        try:
            child.wait(rng.uniform(0, 0.6) if kills < 10 else None)
        except subprocess.TimeoutExpired:
            child.kill()
        _, errors = child.communicate()
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL, errors.decode()
        kills += 1
    assert kills == 10
    same_run(tmp_path / "whole", run)
    assert not hidden(run)


# ---- what a killed process leaves


DYING = """
import os, signal, sys
from pathlib import Path
from likewise.core.files import atomic_write

def write(path):
    path.write_bytes(b"half")
    (path.parent / ".tmpAbC123").write_bytes(b"of a library")
    os.kill(os.getpid(), signal.SIGKILL)

atomic_write(Path(sys.argv[1]), write)
"""


def killed_while_writing(path: Path) -> None:
    command = [sys.executable, "-c", DYING, str(path)]
    assert subprocess.run(command, check=False, cwd=Path(__file__).parent).returncode == -signal.SIGKILL


def test_what_a_killed_process_leaves_is_removed(table: Table, tmp_path: Path) -> None:
    training(table, tmp_path / "r", steps=2)
    before = {p.name: p.read_bytes() for p in (tmp_path / "r").iterdir()}
    killed_while_writing(tmp_path / "r" / checkpoint.WEIGHTS)
    [left] = {p.name for p in (tmp_path / "r").iterdir()} - before.keys()
    assert left.startswith(".likewise.") and (tmp_path / "r" / left / ".tmpAbC123").exists()
    assert all((tmp_path / "r" / name).read_bytes() == content for name, content in before.items())
    assert [s.step for s in training(table, tmp_path / "r", resume=True, steps=3)] == [3]
    assert {p.name for p in (tmp_path / "r").iterdir()} == before.keys()


def test_what_a_killed_process_leaves_is_no_data(here: Path) -> None:
    count = len(Table.open("things"))
    (here / "pictures").mkdir()
    for path in (here / "things").glob("*.png"):
        path.rename(here / "pictures" / path.name)
    folder = here / "pictures" / ".likewise.host.1.0.tmp"
    folder.mkdir()
    toy.rows(1)[0]["image"].save(folder / "a.png")
    assert len(Table.open("pictures")) == count


@pytest.mark.parametrize(
    ("host", "alive", "age", "stays"),
    mainly(
        [("here", True, 0, True), ("here", False, 0, False), ("there", False, 0, True)],
        [
            ("here", True, 0, True),
            ("here", False, 0, False),
            ("there", False, 0, True),
            ("here", True, 48, False),  # the number of a process that ended long ago is used again
            ("there", False, 48, False),
        ],
    ),
)
def test_files_of_living_processes_stay(
    tmp_path: Path, host: str, alive: bool, age: int, stays: bool
) -> None:
    if alive:
        number = os.getppid()
    else:
        with subprocess.Popen(["true"]) as ended:
            number = ended.pid
    folder = tmp_path / f".likewise.{files._HOST if host == 'here' else 'there'}.{number}.3.tmp"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"")
    os.utime(folder, (time.time() - age * 3600,) * 2)
    (tmp_path / ".likewise.txt").write_bytes(b"of the user")
    remove_leftovers(tmp_path)
    assert folder.exists() == stays and (tmp_path / ".likewise.txt").exists()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    atomic_write(path, b"old")

    def fail(file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(file))

    with pytest.raises(OSError, match="No space left on device: .*a.bin'") as error:
        atomic_write(path, fail)
    assert error.value.filename == str(path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_ordinary_modes(table: Table, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        training(table, tmp_path / "r", steps=1)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "r").iterdir()}
    assert modes == dict.fromkeys(
        ["model.json", "metrics.jsonl", checkpoint.WEIGHTS, checkpoint.RESUME], 0o666 & ~umask
    )


def test_a_data_set_in_the_cache_can_be_read_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    assert cached_dataset("toy", {}, [], lambda: {"x": [1, 2]})["x"][:] == [1, 2]
    [folder] = (tmp_path / "demos").iterdir()
    (tmp_path / "new").mkdir()
    assert folder.stat().st_mode == (tmp_path / "new").stat().st_mode


# ---- two at a time


@pytest.mark.parametrize("resume", [False, True])
def test_one_training_at_a_time_writes_to_a_folder(table: Table, tmp_path: Path, resume: bool) -> None:
    """A second one would mix its weights with those of the first; when the first has ended the folder is free."""
    folder = tmp_path / "run"
    if resume:
        training(table, folder, steps=2)
    with closing(train(tiny(table), table, Plan(**PLAN), folder, resume=resume)) as first:
        next(first)
        for again in (False, True):
            with pytest.raises(RunError, match="another training writes to"):
                training(table, folder, resume=again)
    assert [step.step for step in training(table, folder, resume=True)] == ([4] if resume else [2, 3, 4])


def test_nothing_is_made_for_a_run_that_is_not_there(table: Table, tmp_path: Path) -> None:
    with pytest.raises(RunError):
        training(table, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_two_commands_with_one_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of two commands at once with one --out, or one default name, the second is refused."""
    with FolderLock(here / "runs/things"):
        assert main(["train", "things", "label", *TINY]) == 1
    assert "another training writes to runs/things; wait for its end" in capsys.readouterr().err
    assert not list((here / "runs/things").iterdir())


# ---- terminals


def test_a_terminal_may_lack_characters_of_the_data(here: Path) -> None:
    """Where Python writes and reads ASCII by default, or the code page of a Windows, all commands work."""
    (here / "people.csv").write_text("größe,город\n" + "1.5,Осло\n2.5,Köln\n" * 10, encoding="utf-8")
    script = f"""if True:
        from likewise.cli.main import main
        assert main(["data", "people.csv"]) == 0
        assert main(["train", "people.csv", "gr\\u00f6\\u00dfe", "--out", "r", *{TINY}]) == 0
        assert main(["sample", "r", "-n", "1"]) == 0"""
    environment = {**ENVIRONMENT, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, env=environment, capture_output=True, cwd=here, check=False)
    assert result.returncode == 0, result.stderr.decode()
    assert rb"K\xf6ln" in result.stdout and json.loads(result.stdout.decode().splitlines()[-1])
