"""Checkpoints of a run: what training needs to go on, and whether a saved run is the one to go on with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from likewise.core.option_names import option_text
from likewise.data.table import Table
from likewise.families.base import Family
from likewise.models import checkpoint
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.training.plan import Plan


@dataclass(frozen=True)
class TrainingState:
    """The weights that are trained, their average, and the optimizers of each phase."""

    raw: Family
    average: Family
    optimizers: Mapping[str, Sequence[Optimizer]]

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors by name: raw.NAME, ema.NAME, and PHASE.OPTIMIZER.PARAMETER.NAME, e.g. model.0.12.exp_avg."""
        tensors = {f"raw.{name}": v for name, v in self.raw.state_dict().items()}
        tensors |= {f"ema.{name}": v for name, v in self.average.state_dict().items()}
        for prefix, optimizer in self._optimizers().items():
            tensors |= {prefix + name: v for name, v in checkpoint.optimizer_state(optimizer).items()}
        return tensors

    def load_state_dict(self, tensors: Mapping[str, Tensor], folder: Path) -> None:
        """The inverse of `state_dict`. Raises RunError, which names the folder, for weights that do not fit."""
        checkpoint.load_weights_into(self.raw, checkpoint.strip_prefix("raw.", tensors), folder)
        checkpoint.load_weights_into(self.average, checkpoint.strip_prefix("ema.", tensors), folder)
        for prefix, optimizer in self._optimizers().items():
            checkpoint.load_optimizer_state(optimizer, checkpoint.strip_prefix(prefix, tensors))

    def _optimizers(self) -> dict[str, Optimizer]:
        return {
            f"{phase}.{i}.": optimizer
            for phase, optimizers in self.optimizers.items()
            for i, optimizer in enumerate(optimizers)
        }


def run_metadata(table: Table, plan: Plan) -> dict[str, Any]:
    """What a checkpoint records besides the model: the version, the plan, and how to open the data again."""
    from likewise._version import __version__

    source = table.reopen_args() if table.source else {"source": None}
    data = {**source, "fingerprint": table.fingerprint}
    return {"likewise": __version__, "plan": dataclasses.asdict(plan), "data": data}


def require_same_run(folder: Path, state: Mapping[str, Any], table: Table, plan: Plan) -> None:
    """Raise RunError unless the state of a checkpoint is of the same rows, seed and batch size."""
    before, now = state["data"]["fingerprint"], table.fingerprint
    if before != now:
        raise RunError(
            f"{folder} was trained on other data (fingerprint {before}, now {now}); "
            f"give the same data to {option_text('resume')}, or another {option_text('out')} to begin again"
        )
    for name in ("seed", "batch"):
        value = state["plan"][name]
        if value != getattr(plan, name):
            raise RunError(f"{folder} was started with --{name} {value}; resume it with the same")


def require_same_model(folder: Path, state: Mapping[str, Any], model: Model) -> None:
    """Raise RunError unless the state of a checkpoint is of a model with the same formula, columns and options."""
    for name, value in json.loads(json.dumps(model.to_json())).items():
        if state.get(name) != value:
            raise RunError(
                f"{folder} was started with another model (its {name} differ); resume it with the same, or give "
                "another folder"
            )
