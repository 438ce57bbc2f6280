"""Training: a resumed run is the uninterrupted one, nothing is lost when things break, several processes do what one does."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from matrix import mainly
from safetensors.torch import load_file, save_file
from torch import nn

from likewise.data.table import Table
from likewise.models import checkpoint
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.training.loss import heldout_loss
from likewise.training.metrics import Step
from likewise.training.optim import Muon, ema_gamma, make_optimizers, update_average
from likewise.training.plan import Plan
from likewise.training.trainer import Trainer, train

SMALL = {"width": 32, "depth": 1}
PLAN: dict[str, Any] = {"steps": 6, "batch": 8, "precision": "float32", "warmup": 2}


@pytest.fixture(scope="module")
def table() -> Table:
    """Numbers and labels, some rows held out: the smallest run that goes through everything."""
    rows = [{n: row[n] for n in ("label", "number")} for row in toy.rows(40)]
    return Table.from_rows(rows, {"label": "label", "number": "number"}, holdout=0.2)


def tiny(table: Table, formula: str = "number | label", **options: Any) -> Model:
    return Model(formula, table.columns, **SMALL, **options)


def steps_of(
    table: Table, folder: Path | None = None, *, stop: int | None = None, resume: bool = False, **plan: Any
) -> list[Step]:
    """The steps of a run that is closed after step `stop`."""
    steps = []
    with closing(train(tiny(table), table, Plan(**{**PLAN, **plan}), folder, resume=resume)) as stepper:
        for step in stepper:
            steps.append(step)
            if step.step == stop:
                break
    return steps


def losses_of(steps: list[Step]) -> list[float]:
    return [step.loss for step in steps]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / checkpoint.WEIGHTS)


# ---- a resumed run is the uninterrupted one


def test_resumed_equals_uninterrupted(table: Table, tmp_path: Path) -> None:
    whole = steps_of(table, tmp_path / "whole")
    first = steps_of(table, tmp_path / "parts", stop=3)
    rest = steps_of(table, tmp_path / "parts", resume=True)
    assert [s.step for s in whole] == [1, 2, 3, 4, 5, 6] and [s.step for s in rest] == [4, 5, 6]
    assert losses_of(first + rest) == pytest.approx(losses_of(whole), abs=1e-6)
    assert len(set(losses_of(whole))) == 6
    a, b = (weights_of(tmp_path / name) for name in ("whole", "parts"))
    assert all(torch.allclose(a[n], b[n], atol=1e-6) for n in a)
    records = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    ]
    assert [r["step"] for r in records[1]] == [1, 2, 3, 4, 5, 6]
    assert [r["loss"] for r in records[0]] == pytest.approx([r["loss"] for r in records[1]], abs=1e-6)
    assert "heldout" in records[0][-1]


def test_resumed_twice_and_after_the_end(table: Table, tmp_path: Path) -> None:
    whole = steps_of(table)
    steps = [steps_of(table, tmp_path, stop=stop, resume=bool(i)) for i, stop in enumerate((2, 3, 6))]
    assert [step.loss for part in steps for step in part] == pytest.approx(losses_of(whole), abs=1e-6)
    before = (tmp_path / checkpoint.RESUME).read_bytes()
    assert steps_of(table, tmp_path, resume=True) == []
    assert (tmp_path / checkpoint.RESUME).read_bytes() == before


def test_the_seed_decides(table: Table) -> None:
    a, b = losses_of(steps_of(table)), losses_of(steps_of(table))
    assert a == b
    assert losses_of(steps_of(table, seed=1)) != a


@pytest.mark.parametrize("stop", [GeneratorExit, KeyboardInterrupt])
def test_stopping_early_saves(table: Table, tmp_path: Path, stop: type[BaseException]) -> None:
    stepper = train(tiny(table), table, Plan(**PLAN), tmp_path)
    next(stepper), next(stepper)
    assert not (tmp_path / checkpoint.RESUME).exists()
    if stop is GeneratorExit:
        stepper.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            stepper.throw(KeyboardInterrupt)
    assert checkpoint.load_resume(tmp_path)[1]["step"] == 2
    assert checkpoint.load_state(tmp_path)["step"] == 2
    assert len(Model.load(tmp_path).given(label="1").sample(2)) == 2


def test_the_run_folder_holds_the_average(table: Table, tmp_path: Path) -> None:
    """What is sampled is the average of the weights, which the caller's model holds as well."""
    model = tiny(table)
    for _ in train(model, table, Plan(**PLAN), tmp_path):
        pass
    saved = weights_of(tmp_path)
    assert all(torch.equal(v, saved[n]) for n, v in model.family.state_dict().items())
    raw = {
        k.removeprefix("raw."): v
        for k, v in checkpoint.load_resume(tmp_path)[0].items()
        if k.startswith("raw.")
    }
    assert any(not torch.equal(raw[n], saved[n]) for n in saved)
    state = checkpoint.load_state(tmp_path)
    assert (
        state["step"] == 6
        and state["data"]["fingerprint"] == table.fingerprint
        and state["plan"]["steps"] == 6
    )


def test_killed_and_resumed(tmp_path: Path) -> None:
    """kill -9 in the middle: what was saved goes on with the losses of the uninterrupted run."""
    whole = toy.run(str(tmp_path / "whole"), 12)
    child = subprocess.Popen(
        [sys.executable, toy.__file__, str(tmp_path / "killed"), json.dumps({"save_seconds": 1e-6})],
        text=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    seen = [child.stdout.readline() for _ in range(4)]
    child.kill()
    assert child.wait() == -9
    child.stdout.close()
    assert [float(line.split()[1]) for line in seen] == pytest.approx(whole[:4], abs=1e-6)
    rest = toy.run(str(tmp_path / "killed"), 12, resume=True)
    assert 0 < len(rest) <= 9, "more than the steps since the last checkpoint are lost"
    assert rest == pytest.approx(whole[-len(rest) :], abs=1e-6)
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == list(range(1, 13))


OPEN_AT_EXIT = """
import sys
import test_training, toy
from likewise.data.table import Table
rows = [{n: row[n] for n in ("label", "number")} for row in toy.rows(40)]
table = Table.from_rows(rows, {"label": "label", "number": "number"}, holdout=0.2)
plan = test_training.Plan(**test_training.PLAN)
steps = test_training.train(test_training.tiny(table), table, plan, sys.argv[1])
print(next(steps).step, next(steps).step)
"""


CYCLE = "cycle = [steps]; cycle.append(cycle); del steps"


@pytest.mark.parametrize("owner", mainly([CYCLE], ["", CYCLE, "toy.steps = steps"]))
def test_python_ends_quietly_while_a_generator_is_open(tmp_path: Path, owner: str) -> None:
    """A suspended run is saved at the end of Python, without a word."""
    result = subprocess.run(
        [sys.executable, "-c", OPEN_AT_EXIT + owner, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "1 2\n", "")
    assert checkpoint.load_resume(tmp_path)[1]["step"] == 2 and checkpoint.load_state(tmp_path)["step"] == 2


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    """With sources and without: a parameter that has no part in the loss would make the processes wait."""
    runs = {"given": "image, number | label", "alone": "number"}
    one = {name: toy.run(str(tmp_path / name), 12, formula=formula) for name, formula in runs.items()}
    asked = [word for n, f in runs.items() for word in (str(tmp_path / f"{n}2"), json.dumps({"formula": f}))]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, toy.__file__, *asked],
        check=False,
        capture_output=True,
        text=True,
        env=one_thread,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name in runs:
        lines = (tmp_path / f"{name}2" / "metrics.jsonl").read_text().splitlines()
        two = [json.loads(line)["loss"] for line in lines]
        assert two[:4] == pytest.approx(one[name][:4], rel=1e-4, abs=1e-4)
        assert two == pytest.approx(one[name], rel=5e-3, abs=5e-3)  # rounding grows from step to step
        a, b = weights_of(tmp_path / name), weights_of(tmp_path / f"{name}2")
        whole, apart = (torch.cat([v.flatten() for v in x]) for x in (a.values(), [a[n] - b[n] for n in a]))
        assert (
            apart.norm() < 0.05 * whole.norm()
        )  # AdamW makes much of rounding where a gradient is almost zero


# ---- errors say what is wrong, and leave what was there


def test_resume_needs_the_same_run(table: Table, tmp_path: Path) -> None:
    steps_of(table, tmp_path / "run", stop=2)
    other = Table.from_rows(
        [{"label": str(i % 4), "number": float(i)} for i in range(40)], table.kinds, holdout=0.2
    )
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: steps_of(other, tmp_path / "run", resume=True), "was trained on other data"),
        (lambda: steps_of(table, tmp_path / "run", resume=True, batch=4), "--batch 8"),
        (lambda: steps_of(table, tmp_path / "run", resume=True, seed=4), "--seed 0"),
        (lambda: steps_of(table, tmp_path / "run"), "holds a model already"),
        (lambda: steps_of(table, tmp_path / "none", resume=True), "nothing to resume"),
        (lambda: steps_of(table, None, resume=True), "needs the folder"),
        (
            lambda: list(
                train(
                    Model("number | label", table.columns, width=64, depth=1),
                    table,
                    Plan(**PLAN),
                    tmp_path / "run",
                    resume=True,
                )
            ),
            "do not fit",
        ),
    ]
    for call, says in wrong:
        with pytest.raises(RunError, match=says):
            call()
    assert len(steps_of(table, tmp_path / "run", resume=True)) == 4


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rewrite(path: Path, change: Callable[[dict], Any]) -> None:
    state = json.loads(path.read_text())
    change(state)
    path.write_text(json.dumps(state))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "weights cut short": (lambda f: cut(f / checkpoint.WEIGHTS), "cut short"),
    "weights empty": (lambda f: (f / checkpoint.WEIGHTS).write_bytes(b""), "cut short"),
    "weights gone": (lambda f: (f / checkpoint.WEIGHTS).unlink(), "missing"),
    "model gone": (lambda f: (f / checkpoint.MODEL).unlink(), "not a run folder"),
    "model cut short": (lambda f: cut(f / checkpoint.MODEL), "damaged"),
    "no version": (lambda f: rewrite(f / checkpoint.MODEL, lambda s: s.pop("format")), "damaged"),
    "other version": (
        lambda f: rewrite(f / checkpoint.MODEL, lambda s: s.update(format=99)),
        "format 99, and this version of likewise reads formats up to",
    ),
    "other width": (
        lambda f: rewrite(f / checkpoint.MODEL, lambda s: s["options"].update(width=64)),
        "do not fit",
    ),
    "a tensor less": (
        lambda f: save_file(dict(list(weights_of(f).items())[1:]), f / checkpoint.WEIGHTS),
        "do not fit",
    ),
}


@pytest.fixture(scope="module")
def run_files(table: Table, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("run")
    steps_of(table, folder)
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def run_folder(run_files: dict[str, bytes], tmp_path: Path) -> Path:
    for name, data in run_files.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_an_error_that_says_so(run_folder: Path, damage: str) -> None:
    assert Model.load(run_folder)
    change, says = DAMAGE[damage]
    change(run_folder)
    with pytest.raises(RunError, match=says):
        Model.load(run_folder)


def test_a_damaged_checkpoint_is_an_error_that_says_so(run_folder: Path, table: Table) -> None:
    cut(run_folder / checkpoint.RESUME)
    with pytest.raises(RunError, match="cut short"):
        steps_of(table, run_folder, resume=True)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: the system refuses to write, as it does where the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def refuse(*args: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("how", ["write", "rename", "between"])
def test_a_full_disk_leaves_the_old_checkpoint(
    table: Table, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = losses_of(steps_of(table))
    steps_of(table, tmp_path, stop=2)
    sample = Model.load(tmp_path).given(label="2").sample(2)
    files = {p: p.read_bytes() for p in tmp_path.iterdir() if p.name != "metrics.jsonl"}
    stepper = train(tiny(table), table, Plan(**PLAN), tmp_path, resume=True)
    next(stepper)
    if how == "write":
        with (
            largest_file(10_000),
            pytest.raises(RunError, match="cannot write .*free some space and continue"),
        ):
            stepper.close()
    else:
        with (
            monkeypatch.context() as patch,
            pytest.raises(RunError, match="No space left on device.*free some space"),
        ):
            patch.setattr(
                *(os, "replace") if how == "rename" else (checkpoint, "save_weights"),
                full if how == "between" else refuse,
            )
            stepper.close()
    left = {p: p.read_bytes() for p in tmp_path.iterdir() if p.name != "metrics.jsonl"}
    assert left.keys() == files.keys(), "files are left lying about"
    changed = {p.name for p in files if files[p] != left[p]}
    assert changed == ({checkpoint.RESUME} if how == "between" else set())
    assert Model.load(tmp_path).given(label="2").sample(2) == sample
    rest = losses_of(steps_of(table, tmp_path, resume=True))
    assert len(rest) == (3 if how == "between" else 4) and rest == pytest.approx(
        whole[-len(rest) :], abs=1e-6
    )


def full(*args: Any) -> None:
    raise RunError("cannot write: No space left on device. free some space and continue")


def test_a_loss_that_is_not_finite_stops_the_run(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_of(table, tmp_path, stop=2)
    before = (tmp_path / checkpoint.RESUME).read_bytes()
    model = tiny(table)
    right = type(model.family).loss
    monkeypatch.setattr(type(model.family), "loss", lambda self, *args: right(self, *args) * float("inf"))
    with pytest.raises(FloatingPointError, match="at step 2: lower --lr"):
        list(train(model, table, Plan(**PLAN), tmp_path, resume=True))
    assert (tmp_path / checkpoint.RESUME).read_bytes() == before, "weights that are not finite are saved"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"steps": 1, "minutes": 1},
        {"steps": 0},
        {"minutes": -1},
        {"steps": 1, "batch": 0},
        {"steps": 1, "lr": 0},
        {"steps": 1, "source_dropout": 1},
        {"steps": 1, "cooldown": -0.1},
        {"steps": 1, "ema_sigma": 0.3},
        {"steps": 1, "ema_sigma": 0},
        {"steps": 1, "save_seconds": 0},
    ],
)
def test_a_plan_is_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Plan(**wrong)


def test_epochs_are_passes_through_the_training_rows(table: Table, tmp_path: Path) -> None:
    """32 rows in batches of 8 are 4 steps a pass; the run stores the steps, and goes on by them."""
    assert len(table.train) == 32
    steps = steps_of(table, tmp_path / "run", steps=None, epochs=1.5, stop=4)
    assert steps[-1].progress == pytest.approx(4 / 6)
    plan = checkpoint.load_state(tmp_path / "run")["plan"]
    assert (plan["steps"], plan["epochs"], plan["minutes"]) == (6, None, None)
    rest = steps_of(table, tmp_path / "run", steps=6, resume=True)
    assert [step.step for step in rest] == [5, 6]
    with pytest.raises(ValueError, match="either minutes or steps or epochs"):
        Plan(steps=3, epochs=1.0)


# ---- what a step does


def test_the_clock_ends_the_run(table: Table) -> None:
    steps = steps_of(table, steps=None, minutes=0.02)
    assert steps[-1].progress == 1 and steps[-1].eta == 0 and steps[-1].elapsed >= 1.2
    assert all(a.progress < b.progress for a, b in pairwise(steps))
    assert len(steps) == 1 or steps[-2].elapsed < 1.2


def test_training_learns_and_says_what_is_held_out() -> None:
    """A number whose mean the label tells: the loss falls, on held-out rows as well, and is reported with the last step."""
    rows = [{n: row[n] for n in ("label", "number")} for row in toy.rows(400)]
    table = Table.from_rows(rows, {"label": "label", "number": "number"}, holdout=0.4)
    model = Model("number | label", table.columns, "flow", width=32, depth=1)
    before = heldout_loss(model, table)
    steps = list(train(model, table, Plan(**{**PLAN, "steps": 60, "batch": 32})))
    assert np.mean(losses_of(steps[-20:])) < 0.7 * np.mean(losses_of(steps[:5]))
    assert [s.heldout for s in steps[:-1]] == [None] * 59
    assert steps[-1].heldout == heldout_loss(model, table) < 0.8 * before


def test_held_out_loss_is_always_the_same(table: Table) -> None:
    model = tiny(table)
    assert heldout_loss(model, table) == heldout_loss(model, table)
    assert heldout_loss(model, table, batch=3) == pytest.approx(heldout_loss(model, table), rel=1e-5)
    with pytest.raises(ValueError, match="holds out 0 of 4 rows"):
        heldout_loss(
            model,
            Table.from_rows(
                [{"label": "a", "number": 0.5}, {"label": "b", "number": 1.5}] * 2, table.kinds, holdout=0.0
            ),
        )


def test_the_sources_are_dropped_as_often_as_planned(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = tiny(table), []
    right = type(model.family).loss

    def loss(self: Any, x: Any, c: Any, phase: str, rng: Any) -> torch.Tensor:
        given.append(c.present)
        return right(self, x, c, phase, rng)

    monkeypatch.setattr(type(model.family), "loss", loss)
    list(train(model, table, Plan(**{**PLAN, "batch": 256, "source_dropout": 0.25})))
    assert 0.7 < float(torch.cat(given).float().mean()) < 0.8
    assert not torch.equal(given[0], given[1])


def test_bfloat16_computes_about_the_same(world: Table) -> None:
    def first(precision: str) -> list[float]:
        plan = Plan(steps=4, batch=16, precision=precision, warmup=2)
        return [
            step.loss for step in train(Model("image, label | text", world.columns, **SMALL), world, plan)
        ]

    assert first("bfloat16") == pytest.approx(first("float32"), rel=0.03)


def test_the_average_has_the_width_that_is_asked_for() -> None:
    """The weights that the power-function average gives to the steps of a run: their deviation is `ema_sigma` of its length."""
    for width, steps in ((0.08, 800), (0.15, 400)):
        average, raw = nn.Module(), nn.Module()
        average.p, raw.p = nn.Parameter(torch.ones(steps)), nn.Parameter(torch.zeros(steps))
        for step in range(steps):
            raw.p.data = torch.eye(steps)[step]
            update_average(average, raw, step, ema_gamma(width))
        weights, at = average.p.detach().double(), torch.arange(steps, dtype=torch.float64) / steps
        mean = float((weights * at).sum())
        assert float(weights.sum()) == pytest.approx(1, abs=1e-4)
        assert float((weights * (at - mean) ** 2).sum()) ** 0.5 == pytest.approx(width, rel=0.03)


def test_every_parameter_has_one_optimizer(world: Table) -> None:
    family = Model("image, label | text", world.columns, **SMALL).family
    made = make_optimizers(family, "model", Plan(**PLAN))
    ids = [id(p) for o in made for group in o.param_groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in family.parameters())
    muon = {
        id(p)
        for o in made
        if isinstance(o, torch.optim.Muon)
        for group in o.param_groups
        for p in group["params"]
    }
    names = {n for n, p in family.named_parameters() if id(p) in muon}
    assert names == {
        f"denoiser.net.trunk.blocks.0.{n}.weight" for n in ("attention.qkv", "attention.out", "up", "down")
    }


def test_the_rate_rises_and_falls(table: Table) -> None:
    trainer = Trainer(tiny(table), table, Plan(**{**PLAN, "steps": 10, "warmup": 4, "cooldown": 0.5}), None)
    rates = []
    for _ in trainer.run(resume=False):
        rates.append(
            [group["lr"] / group["base_lr"] for o in trainer.optimizers["model"] for group in o.param_groups]
        )
    assert rates == [
        pytest.approx([r] * len(rates[0])) for r in (0.25, 0.5, 0.75, 1, 1, 1, 0.8, 0.6, 0.4, 0.2)
    ]


@pytest.mark.parametrize("fast", [True, False])
def test_muon_is_that_of_pytorch_whatever_the_processor(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where bf16 is slow it iterates in float32, with the same steps but for rounding."""
    monkeypatch.setattr("likewise.training.optim.supports_bf16", lambda device: fast)
    updated = []
    for cls in (torch.optim.Muon, Muon):
        draw = torch.Generator().manual_seed(0)
        parameters = [
            torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in ((48, 16), (16, 40))
        ]
        start = [p.detach().clone() for p in parameters]
        optimizer = cls(parameters, lr=0.02, weight_decay=0.1, adjust_lr_fn="original")
        for _ in range(3):
            for p in parameters:
                p.grad = torch.randn(p.shape, generator=draw)
            optimizer.step()
        updated.append([p.detach() - q for p, q in zip(parameters, start, strict=True)])
        assert list(optimizer.state_dict()["state"][0]) == ["momentum_buffer"]
    for ours, theirs in zip(*updated, strict=True):
        assert float((ours - theirs).norm()) <= (0 if fast else 0.02) * float(theirs.norm())
