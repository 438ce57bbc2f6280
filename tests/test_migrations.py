"""Run folders of earlier formats load and resume; those of later ones are refused."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import likewise
from likewise.data.table import Table
from likewise.models import checkpoint
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


def test_every_file_with_a_format_is_migrated(
    world: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[State] = []

    def record(state: State, weights: Weights) -> tuple[State, Weights]:
        states.append(state)
        return state, weights

    monkeypatch.setitem(MIGRATIONS, 1, record)
    steps_of(Model("label", world.columns, "flow", width=16, depth=1), world, tmp_path, steps=1)
    rewrite_resume(tmp_path, lambda state: state.update(format=1))
    checkpoint.load_resume(tmp_path)
    checkpoint.load_state(RUNS / "latent")
    checkpoint.load_pipeline_state(RUNS / "chain")
    assert [state.get("family") for state in states] == ["flow", "flow", None]
    assert [state.get("step") for state in states] == [1, 3, None]


# family, formula, its options, then option -> its name in format 1, and a regular expression for names of
# weights -> what stood there in format 1
CASES: list[tuple[str, str, dict[str, Any], dict[str, str], dict[str, str]]] = [
    (
        "autoencoder",
        "image",
        {"width": 16, "depth": 1, "bottleneck": "rvq", "codebook_size": 16, "num_codebooks": 2},
        {
            "max_grid": "coarse",
            "code_dim": "floats",
            "codebook_size": "codebook",
            "num_codebooks": "books",
            "freeze_codes_at": "settle",
        },
        {
            "bottleneck.codebooks$": "bottleneck.code",
            "bottleneck.projection$": "bottleneck.turn",
            "raw_log_var$": "spread",
        },
    ),
    (
        "autoregressive",
        "text",
        {"width": 16, "depth": 1, "hashed_ngrams": 8, "fim": 0.5},
        {
            "max_grid": "coarse",
            "codebook_size": "codebook",
            "freeze_codes_at": "settle",
            "min_std": "floor",
            "hashed_ngrams": "grams",
            "mlp_width": "hidden",
            "rope_theta": "base",
            "norm_eps": "eps",
            "tie_embeddings": "tied",
        },
        {
            "^hashed_ngrams": "grams",
            "^embeddings": "embeds",
            "sentinels$": "marks",
            "^context_encoder": "reader",
        },
    ),
    (
        "autoregressive",
        "image | label",
        {"width": 16, "depth": 1},
        {"max_grid": "coarse"},
        {"^codecs": "coders", "raw_log_var$": "spread", "^context_encoder": "reader"},
    ),
    (
        "contrastive",
        "image, text",
        {"width": 16, "depth": 1, "embed_dim": 8},
        {"max_grid": "coarse", "embed_dim": "floats"},
        {"context_encoder": "reader"},
    ),
    (
        "gan",
        "number, label",
        {"width": 16, "depth": 1, "latent_dim": 4},
        {"latent_dim": "latent", "penalty_fraction": "penalised"},
        {},
    ),
    (
        "mixture",
        "image, label",
        {"components": 3},
        {"min_std": "floor", "shrinkage": "shrink", "pseudocount": "count"},
        {
            "class_logits": "tables",
            "loadings": "factor",
            "log_min_std": "log_floor",
            "log_scale": "log_unit",
        },
    ),
    (
        "vae",
        "image | label",
        {"width": 16, "depth": 1, "latent_dim": 4, "prior": "mixture"},
        {"max_grid": "coarse", "latent_dim": "latent"},
        {
            "partial_posterior_head": "part",
            "^posterior_head": "whole",
            "component_params": "both",
            "^context_encoder": "reader",
            "latent_proj": "up",
            "raw_log_var": "spread",
        },
    ),
    (
        "vae",
        "image | label",
        {"width": 16, "depth": 1, "latent_dim": 4, "prior": "vamp", "components": 3},
        {"max_grid": "coarse", "latent_dim": "latent"},
        {
            "pseudo_inputs": "pseudo",
            "partial_posterior_head": "part",
            "^posterior_head": "whole",
            "^context_encoder": "reader",
            "latent_proj": "up",
            "raw_log_var": "spread",
        },
    ),
]


OLD_PLAN = {  # field of the plan -> its name in format 1
    "muon_lr": "muon",
    "cooldown": "decay",
    "ema_sigma": "ema",
    "source_dropout": "drop",
    "save_seconds": "save",
}


@pytest.mark.parametrize(("family", "formula", "options", "old_options", "old_names"), CASES)
def test_a_run_of_format_1_loads_and_resumes(
    tmp_path: Path,
    family: str,
    formula: str,
    options: dict[str, Any],
    old_options: dict[str, str],
    old_names: dict[str, str],
) -> None:
    world = toy.table(number="linear")
    whole = steps_of(Model(formula, world.columns, family, **options), world, tmp_path / "whole")
    folder, model = tmp_path / "old", Model(formula, world.columns, family, **options)
    stepper = train(model, world, PLAN, folder)
    losses = [next(stepper).loss for _ in range(2)]
    stepper.close()
    to_format_1(folder, old_options, old_names)
    loaded = Model.load(folder)
    assert loaded.options == model.options and loaded.fingerprint == model.fingerprint
    assert checkpoint.load_state(folder)["plan"] == dataclasses.asdict(PLAN)
    resumed = train(loaded, world, PLAN, folder, resume=True)
    assert losses + [step.loss for step in resumed] == whole
    assert json.loads((folder / "model.json").read_text())["format"] == FORMAT


def test_new_weights_beside_an_old_model_file_are_read(tmp_path: Path) -> None:
    """As when a process is killed between the two, which are written one after the other."""
    model = likewise.load(RUNS / "vae")
    model.save(tmp_path)
    (tmp_path / "model.json").write_bytes((RUNS / "vae" / "model.json").read_bytes())
    assert likewise.load(tmp_path).fingerprint == model.fingerprint


PLAN = Plan(steps=4, batch=8, precision="float32")


def steps_of(model: Model, table: Table, folder: Path, steps: int = 4) -> list[float]:
    """The losses of a run of so many steps."""
    return [step.loss for step in train(model, table, dataclasses.replace(PLAN, steps=steps), folder)]


def to_format_1(folder: Path, options: dict[str, str], names: dict[str, str]) -> None:
    """Rewrite a run as format 1 had it: options, plan and weights by their old names, no format in resume."""

    def old(name: str) -> str:
        prefix, name = re.fullmatch(r"((?:raw|ema)\.)?(.*)", name).groups(default="")
        for pattern, former in names.items():
            name, count = re.subn(pattern, former, name)
            unused.discard(pattern) if count else None
        return prefix + name

    def old_state(state: dict[str, Any]) -> None:
        state["format"] = 1
        old_plan(state)
        for column in state["columns"].values():
            column["kind"] = column["kind"].replace("linear", "number")
        state["options"] = {options.get(n, n): v for n, v in state["options"].items()}
        assert set(options.values()) <= set(state["options"])

    def old_plan(state: dict[str, Any]) -> None:
        state["plan"] = {OLD_PLAN.get(n, n): v for n, v in state["plan"].items()}
        assert set(OLD_PLAN.values()) <= set(state["plan"])

    def old_resume(state: dict[str, Any]) -> None:
        del state["format"], state["family"]
        old_plan(state)

    unused = set(names)
    rewrite(folder / "model.json", old_state)
    weights = load_file(folder / "weights.safetensors")
    save_file({old(n): v for n, v in weights.items()}, folder / "weights.safetensors")
    assert not unused
    rewrite_resume(folder, old_resume, old)


def rewrite_resume(
    folder: Path, change: Callable[[dict[str, Any]], Any], rename: Callable[[str], str] = lambda name: name
) -> None:
    """Change the JSON state of resume.safetensors, and the names of weights; those of optimisers stay."""
    with safe_open(folder / checkpoint.RESUME, "pt") as file:
        state = json.loads(file.metadata()["state"])
    change(state)
    tensors = {
        rename(n) if n.startswith(("raw.", "ema.")) else n: v
        for n, v in load_file(folder / checkpoint.RESUME).items()
    }
    save_file(tensors, folder / checkpoint.RESUME, {"state": json.dumps(state)})
