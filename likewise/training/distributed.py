"""The processes that torchrun starts: joining, leaving, and numbers on which all of them agree."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Processes:
    """This process, number `rank`, of `world` processes; `device` is its own."""

    rank: int
    world: int
    device: torch.device

    def mean(self, value: float | torch.Tensor) -> float:
        """The mean of a number over all processes."""
        return self._sum(float(value)) / self.world

    def from_first(self, value: float) -> float:
        """The number that process 0 has, so that all processes take the same decisions."""
        return self._sum(value if self.rank == 0 else 0.0)

    def _sum(self, value: float) -> float:
        """The sum of a number over all processes. Blocks until all of them have called it."""
        if self.world == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return float(tensor)


def join_processes(device: torch.device) -> Processes:
    """Join the process group that torchrun has prepared; without torchrun there is one process."""
    if "RANK" not in os.environ:
        return Processes(0, 1, device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Processes(dist.get_rank(), dist.get_world_size(), device)


def shutdown() -> None:
    """Leave the process group, together with all other processes, when nothing uses it any more."""
    if dist.is_initialized():
        gc.collect()  # a DistributedDataParallel module is part of a reference cycle
        dist.barrier()
        dist.destroy_process_group()
