"""Whether a training step fits into memory, checked before a run: the system may kill a process without any."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from likewise.core.batch import EncodedRows
from likewise.core.option_names import option_text
from likewise.core.rng import Rng
from likewise.models.model import Model
from likewise.training.loss import split_batch
from likewise.training.plan import Plan

COPIES = 6  # of the weights: raw, working, average, gradient, and two of the optimizer


class NotEnoughMemory(ValueError):
    """A training step that would not fit into memory."""


def check_memory(model: Model, plan: Plan, processes: int = 1) -> None:
    """Raise NotEnoughMemory if a step of the plan surely needs more memory than this process can have.

    The bytes that autograd saves are measured on one row. They are a lower bound, so that no run that fits is
    refused.
    """
    rows = plan.rows_per_step(model.family) // processes
    activations = rows * saved_bytes(model) / (1 if plan.precision == "float32" else 2)
    weights = 4 * COPIES * sum(p.numel() for p in model.parameters())
    free = available_bytes(model.device)
    if free is not None and activations + weights > free:
        raise NotEnoughMemory(
            f"a step of {rows} rows needs at least {(activations + weights) / 1e9:.1f} GB and "
            f"{free / 1e9:.1f} GB is free; {advice()}, fewer rows ({option_text('batch')}), or a smaller model "
            f"({option_text('width')}, {option_text('depth')})"
        )


def advice() -> str:
    """What takes less memory."""
    return f"take smaller pictures or texts ({option_text('size')}, {option_text('length')})"


def saved_bytes(model: Model) -> int:
    """The bytes that autograd saves for the backward pass of one row, in float32, without the weights."""
    family = model.family
    sizes: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in family.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    blank = {name: _blank_row(model, name) for name in model.learned.columns}
    x, c = split_batch(model, EncodedRows(blank, {}))
    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            family.loss(x, c, family.phases[0], Rng([0], "memory", device=model.device))
    except RuntimeError as error:  # raised on a CPU, and as a subclass on a GPU
        if "memory" not in str(error):
            raise
        raise NotEnoughMemory(f"not even one row fits into memory; {advice()}") from None
    return sum(sizes.values())


def _blank_row(model: Model, name: str) -> Tensor:
    """One row of a column with no content and the largest length, (1, T) or (1, T, C)."""
    spec = model.columns[name].spec
    shape = (1, spec.tokens) if spec.categorical else (1, spec.tokens, spec.width)
    fill = torch.ones if spec.padded else torch.zeros  # id 0 would end a text
    return fill(shape, dtype=torch.int64 if spec.categorical else torch.float32, device=model.device)


def available_bytes(device: torch.device) -> int | None:
    """Free bytes on the device, within the limit of the container; None where the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if sys.platform != "linux":
        return None
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (
            int((group / f"memory.{name}").read_text(encoding="utf-8")) for name in ("max", "current")
        )
    except (OSError, ValueError):  # no such group, or "max"
        return free
    return min(free, limit - used)
