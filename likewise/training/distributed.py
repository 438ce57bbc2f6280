"""TODO training.distributed."""

from __future__ import annotations

import gc
import os

import torch
import torch.distributed as dist


def init_processes() -> tuple[int, int]:
    """(rank, world): joins the group of processes that torchrun has prepared, if it has."""
    if "RANK" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), dist.get_world_size()


def shutdown() -> None:
    """Leave that group with its other processes, before Python ends; nothing must hold it any more."""
    if dist.is_initialized():
        gc.collect()  # a module that was spread over the processes refers to itself
        dist.barrier()
        dist.destroy_process_group()


def all_reduce_sum(value: float, on: torch.device) -> float:
    """The sum of a number over all processes, which meet here; `on` is the device of this one."""
    tensor = torch.tensor(value, dtype=torch.float64, device=on)
    dist.all_reduce(tensor)
    return float(tensor)
