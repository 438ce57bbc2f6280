"""Run folders: JSON and safetensors; no pickle is ever read.

    model.json           format, formula, family, options, columns, names and fingerprints of frozen encoders, and
                         what the writer adds (data, plan, step)
    weights.safetensors  the (averaged) weights
    resume.safetensors   what training needs to continue: raw weights, averages, optimiser, step
    views/NAME           the models that columns are seen through, as run folders
    tables.json          of a parent and a child table; parents and children are the run folders of their models
    chain.json           of a pipeline, in place of the others; links/NAME are the run folders of its links

model.json is there from the beginning of a training, the weights from its first checkpoint. Each file is written
beside the old one, flushed to disk and then renamed over it. Each is complete in itself, so that a process that is
killed between two renames leaves a valid folder. If the disk is full the old file stays.

The JSON of each has a format; files of earlier formats are converted as they are read (migrations.py), and
stay as they are on disk.
"""

from __future__ import annotations

import json
import shlex
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from likewise.core.files import atomic_write, check_writable
from likewise.core.formula import Formula
from likewise.core.option_names import option_text
from likewise.core.provenance import RUN_FILES, is_output, is_run_folder
from likewise.data.encoders import reload_encoder
from likewise.modalities import modality_from_json
from likewise.modalities.base import Modality
from likewise.modalities.latent import Coder
from likewise.models.migrations import FORMAT, migrate

REQUIRED_KEYS = {
    "model.json": ("formula", "family", "options", "columns"),
    "chain.json": ("formula", "links"),
    "tables.json": ("key", "layout", "keys", "order"),
}
PIPELINE, LINKS, VIEWS = "chain.json", "links", "views"
TABLES = "tables.json"  # of a parent and a child table
MODEL, WEIGHTS, RESUME = "model.json", "weights.safetensors", "resume.safetensors"
FORECAST = "forecast.json"  # of a run that forecasts, in place of model.json
PRETRAINED = Path(__file__).parent.parent / "pretrained"  # run folders that come with the package


class RunError(ValueError):
    """A run folder that cannot be read or written; the message says what to do."""


def damaged(path: Path, reason: object) -> RunError:
    """The error for a file that no model can be made of."""
    return RunError(f"{path} is damaged ({reason}); train again or restore it from a copy")


def resolve_run(run: str | Path) -> Path:
    """The folder of a run, or of the pretrained model of that name where there is no such run.

    Raises RunError if there is neither.
    """
    folder, pretrained = Path(run), sorted(path.parent.name for path in PRETRAINED.glob(f"*/{MODEL}"))
    if str(run) in pretrained and not is_run(folder):
        return PRETRAINED / run
    if folder.exists():
        return folder
    raise RunError(
        f"there is no run {run}; likewise train makes one, and these come with the package: "
        f"{', '.join(pretrained)}"
    )


def save_weights(folder: Path, state: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Write model.json and weights.safetensors. Raises RunError if they cannot be written; old files stay."""
    _require_own(folder / WEIGHTS)
    _require_own(folder / MODEL)
    weights = {k: v.contiguous() for k, v in weights.items()}
    _write(folder / WEIGHTS, lambda path: save_file(weights, path))
    save_state(folder, state)


def save_state(folder: Path, state: Mapping[str, Any], name: str = MODEL) -> None:
    """Write model.json, or chain.json. Raises RunError if it cannot be written."""
    _require_own(folder / name)
    text = json.dumps({"format": FORMAT, **state}, indent=1, ensure_ascii=False) + "\n"
    _write(folder / name, text.encode())


def _require_own(path: Path) -> None:
    """Raise RunError if there is a file of this name that is no part of a run."""
    if path.exists() and not is_run_folder(path.parent):
        raise RunError(f"{path} is no part of a run and would be replaced; give another folder")


def load_pipeline_state(folder: Path) -> dict[str, Any]:
    """chain.json of a folder. Raises RunError if it is missing, damaged, or newer."""
    return load_state(folder, PIPELINE)


def family_names(folder: Path) -> list[str]:
    """The family of a model, or those of the links of a pipeline. Raises RunError."""
    if not is_pipeline(folder):
        return [load_state(folder)["family"]]
    return [load_state(folder / LINKS / name)["family"] for name in load_pipeline_state(folder)["links"]]


def is_pipeline(folder: Path) -> bool:
    """Whether the folder is that of a pipeline."""
    return (folder / PIPELINE).exists()


def is_run(folder: Path) -> bool:
    """Whether the folder is that of a model or of a pipeline."""
    try:
        return is_pipeline(folder) or (folder / MODEL).exists()
    except OSError:  # of a name that no folder can have
        return False


def has_checkpoint(folder: Path) -> bool:
    """Whether a model was saved in the folder; at the beginning of a training there is model.json alone."""
    return (folder / MODEL).exists() and ((folder / WEIGHTS).exists() or (folder / RESUME).exists())


def require_unused(folder: Path, data: str | Path | None = None) -> None:
    """Raise RunError unless a new model can be written to the folder without replacing anything.

    data  what the model is trained on; in the folder of a run nothing is data

    A run that ended before its first checkpoint may be replaced.
    """
    if data is not None and folder.is_dir() and folder.resolve() == Path(data).expanduser().resolve():
        raise RunError(f"{folder} is the folder of the data; give another {option_text('out')} for the run")
    if has_checkpoint(folder) or is_pipeline(folder) or (folder / TABLES).exists():
        raise RunError(
            f"{folder} holds a model already; give another {option_text('out')}, or go on with {option_text('resume')}"
        )
    for name in RUN_FILES:
        if (folder / name).exists() and not is_output(folder / name):
            raise RunError(
                f"{folder} has a file {name} that is no part of a run and would be replaced; give "
                f"another {option_text('out')}"
            )
    try:
        check_writable(folder / MODEL)
    except OSError as error:
        raise RunError(f"cannot write a run to {folder}: {error.strerror}") from None


def load_weights(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """model.json and the weights of a run folder. Raises RunError."""
    state = _read_state(folder, MODEL)
    if state.get("step") == 0 and not (folder / WEIGHTS).exists():
        raise RunError(
            f"{folder} has no weights yet: its training ended before the first checkpoint; begin it again: "
            f"likewise train --resume --out {shlex.quote(str(folder))}"
        )
    return migrate(state, _read(folder / WEIGHTS)[0])


def load_views(folder: Path, state: Mapping[str, Any], load: Callable[[Path], Coder]) -> dict[str, Coder]:
    """The encoders that the columns of a run are seen through: frozen ones, and models, which `load` reads.

    Raises RunError for one that is missing.
    """
    views: dict[str, Coder] = {}
    for name in filter(None, dict.fromkeys(view.through for view in Formula.parse(state["formula"]).views)):
        if name in state.get("frozen", {}):
            try:
                views[name] = reload_encoder(**state["frozen"][name])
            except ValueError as error:
                raise RunError(f"{folder} cannot be read: {error}") from None
        elif (folder / VIEWS / name).is_dir():
            views[name] = load(folder / VIEWS / name)
        else:
            raise RunError(
                f"{folder} lacks {VIEWS}/{name}, the model that it sees a column through; "
                "copy it there, or restore the folder"
            )
    return views


def stored_columns(state: Mapping[str, Any]) -> dict[str, Modality]:
    """The columns in model.json that are as they are stored in a table, without further views of them."""
    if "columns" not in state:
        return {}  # of a pipeline
    views = [view for view in Formula.parse(state["formula"]).views if view.name == view.column]
    return {view.name: modality_from_json(state["columns"][view.name]) for view in views}


def load_state(folder: Path, name: str = MODEL) -> dict[str, Any]:
    """model.json of a run folder, in the present format. Raises RunError if it is missing, damaged or newer."""
    return migrate(_read_state(folder, name))[0]


def _read_state(folder: Path, name: str) -> dict[str, Any]:
    """model.json or chain.json in the format in which it was written."""
    path = folder / name
    if not path.exists():
        if name == MODEL and is_pipeline(folder):
            links = ", ".join(str(folder / LINKS / link) for link in load_pipeline_state(folder)["links"])
            raise RunError(f"{folder} is a pipeline, and a single model is needed here; name a link: {links}")
        if name in (MODEL, PIPELINE) and (folder / TABLES).exists():
            raise RunError(
                f"{folder} holds a parent and a child table, and a single model is needed here; name that of one of them: "
                f"{folder / 'parents'}, {folder / 'children'}"
            )
        if (folder / FORECAST).exists():
            raise RunError(f"{folder} forecasts series: likewise forecast {shlex.quote(str(folder))}")
        if folder.is_file():
            raise RunError(f"{folder} is a file; name the folder of a run, such as {folder.parent}")
        raise RunError(f"{folder} holds no {name}: it is not a run folder")
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        version = state["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, error) from error
    _check_format(path, version, state.get("likewise"))
    if lacks := [key for key in REQUIRED_KEYS[name] if key not in state]:
        raise damaged(path, f"it lacks {lacks[0]!r}")
    return state


def _check_format(path: Path, version: Any, writer: str | None) -> None:
    """Raise RunError unless `version` is a format that can be read; `writer` is the version that wrote it."""
    if not isinstance(version, int) or version < 1:
        raise damaged(path, f"{version!r} is no format")
    if version > FORMAT:
        raise RunError(
            f"{path} was written in format {version}, and this version of likewise reads formats up to "
            f"{FORMAT}; install likewise {writer or 'of a later version'} or train again"
        )


def save_resume(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write resume.safetensors, with the JSON state in its header."""
    header = {"state": json.dumps({"format": FORMAT, **state})}
    tensors = {k: v.contiguous() for k, v in tensors.items()}
    _write(folder / RESUME, lambda path: save_file(tensors, path, header))


def load_resume(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state of resume.safetensors, in the present format. Raises RunError."""
    if not (folder / RESUME).exists():
        raise RunError(
            f"{folder} holds no {RESUME}: there is nothing to resume; leave {option_text('resume')} out to start"
        )
    tensors, header = _read(folder / RESUME)
    state = json.loads(header["state"])
    if "format" not in state:  # format 1 had neither
        state = {**state, "format": 1, "family": _read_state(folder, MODEL)["family"]}
    _check_format(folder / RESUME, state["format"], state.get("likewise"))
    weights = {name: v for name, v in tensors.items() if name.startswith(("raw.", "ema."))}
    others = {name: v for name, v in tensors.items() if name not in weights}  # of the optimisers
    state, weights = migrate(state, weights)
    return weights | others, state


def load_weights_into(module: nn.Module, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Copy weights into a module. Raises RunError unless names and shapes agree."""
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunError(
            f"the weights in {folder} do not fit its {MODEL}, or the options beside it: {reason}"
        ) from error


def strip_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, by their names without it."""
    return {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)}


def optimizer_state(optimiser: Optimizer) -> dict[str, Tensor]:
    """The state tensors of an optimiser, by INDEX.NAME."""
    states = optimiser.state_dict()["state"]
    return {f"{index}.{name}": v for index, state in states.items() for name, v in state.items()}


def load_optimizer_state(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_state`."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        states.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
    for (
        p,
        state,
    ) in optimiser.state.items():  # fused optimisers need moments with the strides of their weights
        like = {name: torch.empty_like(p, dtype=v.dtype) for name, v in state.items() if v.shape == p.shape}
        state.update({name: empty.copy_(state[name]) for name, empty in like.items()})


def _write(path: Path, content: bytes | Callable[[Path], object]) -> None:
    """`atomic_write` that raises RunError."""
    try:
        atomic_write(path, content)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"cannot write {path}: {getattr(error, 'strerror', error)}. The file that was there is unchanged; "
            f"free some space and continue with {option_text('resume')}"
        ) from error


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
        return load_file(path), header
    except (OSError, SafetensorError, struct.error) as error:
        raise RunError(
            f"{path} is missing, damaged or cut short ({error}); restore it from a copy, or train again"
        ) from error
