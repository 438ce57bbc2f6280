"""Memory: whether a training step fits. Asked before a run begins, because a system that has run out just ends the process."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from likewise.layout import Context
from likewise.model import Model
from likewise.rng import Rng

STATES = 6      # copies of the weights, 4 bytes a number: raw, working, average, gradient and two of the optimiser


class MemoryShort(ValueError):
    """A run that would not fit into memory."""


def check(model: Model, rows: int, wide: bool = True) -> None:
    """Raise MemoryShort if a step of `rows` rows surely needs more than there is; `wide` says float32, not bfloat16.

    What autograd keeps is measured on one row: a lower bound, so no run that fits is refused.
    """
    need = rows * kept(model) / (1 if wide else 2) + 4 * STATES * sum(p.numel() for p in model.parameters())
    free = available(model.device)
    if free is not None and need > free:
        raise MemoryShort(f"a step of {rows} rows needs at least {need / 1e9:.1f} GB and {free / 1e9:.1f} GB is free; "
                          "take smaller pictures or texts (--size, --length), a smaller --batch, or a smaller model "
                          "(--width, --depth)")


def kept(model: Model) -> int:
    """The bytes that autograd keeps of the loss of one row."""
    family, sizes = model.family, {}
    weights = {p.untyped_storage().data_ptr() for p in family.parameters()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = {}
    for name in model.formula.columns:
        spec = model.columns[name].spec
        batch[name] = (torch.zeros(1, spec.tokens, dtype=torch.int64) if spec.categorical
                       else torch.zeros(1, spec.tokens, spec.width)).to(model.device)
    c = Context.full({n: batch[n] for n in model.sources}, 1).to(model.device)
    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            x = {n: batch[n] for n in model.targets}
            family.loss(x, c, family.phases[0], Rng([0], "memory", device=model.device))
    except RuntimeError as error:       # what PyTorch raises on a CPU, and, as a subclass, on a GPU
        if "memory" not in str(error):
            raise
        raise MemoryShort("not even one row fits into memory; take smaller pictures or texts (--size, --length)") from None
    return sum(sizes.values())


def available(device: torch.device) -> int | None:
    """Free bytes on the device, within what this process's container may use; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if sys.platform != "linux":
        return None
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(lines["MemAvailable"].split()[0]) * 1024
    group = Path("/sys/fs/cgroup")
    try:
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):       # no such group, or "max"
        pass
    return free
