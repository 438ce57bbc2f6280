"""Memory: whether a training step fits. Asked before a run: a system that has none left ends it."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from likewise.core.batch import Context
from likewise.core.rng import Rng
from likewise.models.model import Model

STATES = 6  # copies of the weights: raw, working, average, gradient, and two of the optimiser
SMALLER = "take smaller pictures or texts (--size, --length)"


class NotEnoughMemory(ValueError):
    """A run that would not fit into memory."""


def check(model: Model, rows: int, wide: bool = True) -> None:
    """Raise MemoryShort if a step of `rows` rows surely needs more than there is; `wide` is float32.

    What autograd keeps is measured on one row: a lower bound, so no run that fits is refused.
    """
    need = rows * free_if_kept(model) / (1 if wide else 2) + 4 * STATES * sum(
        p.numel() for p in model.parameters()
    )
    free = available(model.device)
    if free is not None and need > free:
        raise NotEnoughMemory(
            f"a step of {rows} rows needs at least {need / 1e9:.1f} GB and {free / 1e9:.1f} GB "
            f"is free; {SMALLER}, fewer rows (--batch), or a smaller model (--width, --depth)"
        )


def free_if_kept(model: Model) -> int:
    """The bytes that autograd keeps of the loss of one row."""
    family, sizes = model.family, {}
    weights = {p.untyped_storage().data_ptr() for p in family.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    row = {name: _blank(model, name) for name in model.formula.columns}
    x = {n: row[n] for n in model.targets}
    c = Context.full({n: row[n] for n in model.sources}, 1).to(model.device)
    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            family.loss(x, c, family.phases[0], Rng([0], "memory", device=model.device))
    except RuntimeError as error:  # what PyTorch raises on a CPU and, as a subclass, on a GPU
        if "memory" not in str(error):
            raise
        raise NotEnoughMemory(f"not even one row fits into memory; {SMALLER}") from None
    return sum(sizes.values())


def _blank(model: Model, name: str) -> Tensor:
    """A row of a column, of the right shape, as long as it may be, and no content."""
    spec = model.columns[name].spec
    shape = (1, spec.tokens) if spec.categorical else (1, spec.tokens, spec.width)
    made = torch.ones if spec.padded else torch.zeros  # id 0 would end it
    return made(shape, dtype=torch.int64 if spec.categorical else torch.float32, device=model.device)


def available(device: torch.device) -> int | None:
    """Free bytes on the device, of those that its container may use; None if the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if sys.platform != "linux":
        return None
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
    except (OSError, ValueError):  # no such group, or "max"
        return free
    return min(free, limit - used)
