"""Run folders of earlier formats load and resume; those of later ones are refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toy
import torch
from safetensors.torch import load_file, save_file

import likewise
from likewise.data.table import Table
from likewise.models import checkpoint, migrations
from likewise.models.checkpoint import RunError
from likewise.models.migrations import FORMAT, MIGRATIONS, State, Weights, migrate
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

RUNS = Path(__file__).parent / "runs_v1"


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    state = json.loads(path.read_text())
    change(state)
    path.write_text(json.dumps(state))


def test_there_is_a_migration_from_every_earlier_format() -> None:
    assert list(MIGRATIONS) == list(range(1, FORMAT))


def test_a_run_is_written_in_the_present_format(tmp_path: Path) -> None:
    likewise.load(RUNS / "flow").save(tmp_path)
    assert json.loads((tmp_path / "model.json").read_text())["format"] == FORMAT


@pytest.mark.parametrize("name", ["flow", "chain", "latent"])
def test_loading_leaves_the_folder_as_it_is(name: str) -> None:
    files = {path: path.read_bytes() for path in (RUNS / name).rglob("*") if path.is_file()}
    likewise.load(RUNS / name)
    assert {path: path.read_bytes() for path in (RUNS / name).rglob("*") if path.is_file()} == files


@pytest.mark.parametrize("file", ["model.json", "chain.json"])
@pytest.mark.parametrize(("version", "message"), [(99, "format 99, and this version"), ("x", "no format")])
def test_an_unknown_format_is_refused(tmp_path: Path, file: str, version: Any, message: str) -> None:
    likewise.load(RUNS / ("chain" if file == "chain.json" else "flow")).save(tmp_path)
    rewrite(tmp_path / file, lambda state: state.update(format=version, likewise="9.9"))
    with pytest.raises(RunError, match=message) as error:
        likewise.load(tmp_path)
    assert version == "x" or "install likewise 9.9 or train again" in str(error.value)


def test_migrations_are_applied_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def next_one(state: State, weights: Weights) -> tuple[State, Weights]:
        return {**state, "seen": state["format"]}, {f"{n}+": v for n, v in weights.items()}

    for version in (FORMAT, FORMAT + 1):
        monkeypatch.setitem(MIGRATIONS, version, next_one)
    state, weights = migrate({"format": FORMAT}, {"a": torch.zeros(1)})
    assert state == {"format": FORMAT + 2, "seen": FORMAT + 1} and list(weights) == ["a++"]


def test_migrations_reach_pipelines_views_and_resume_files(
    world: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file that has a format is brought to the present one: here a made-up format 0 was before 1."""
    states: list[State] = []

    def record(state: State, weights: Weights) -> tuple[State, Weights]:
        states.append(state)
        return state, weights

    monkeypatch.setitem(MIGRATIONS, 1, record)
    monkeypatch.setattr(migrations, "upgrade_1_to_2", record)
    model = Model("label", world.columns, "flow", width=16, depth=1)
    for _ in train(model, world, Plan(steps=1, batch=8), tmp_path / "run"):
        pass
    rewrite_resume(tmp_path / "run", lambda state: state.update(format=1))
    checkpoint.load_resume(tmp_path / "run")
    assert [state["step"] for state in states] == [1]
    checkpoint.load_state(RUNS / "latent")
    checkpoint.load_chain(RUNS / "chain")
    assert [state.get("family") for state in states[1:]] == ["flow", None]


def rewrite_resume(folder: Path, change: Callable[[dict[str, Any]], Any], rename: Any = None) -> None:
    """Change the JSON state of resume.safetensors, and the names of its weights."""
    tensors, state = checkpoint.load_resume(folder)
    change(state)
    tensors = {rename(n) if rename else n: v for n, v in tensors.items()}
    save_file(tensors, folder / checkpoint.RESUME, {"state": json.dumps(state)})
