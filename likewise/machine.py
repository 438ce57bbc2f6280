"""Machine: the device and its arithmetic, the processes of a run, Ctrl-C, and the C library's memory.

What depends on the computer and not on what is trained: one function each, plain arguments, no state. What
one of them changes, it changes for the whole process, and only when it is called.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

TINY = 64  # rows of fewer tokens stay in float32


def device() -> torch.device:
    """The accelerator of this process, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def fast(tokens: int, on: torch.device) -> torch.dtype:
    """The fastest type for a network: bf16 where the device has it and a row has many `tokens`."""
    has = torch.cuda.is_bf16_supported() if on.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if has and tokens >= TINY else torch.float32


def join() -> tuple[int, int]:
    """(rank, world): joins the group of processes that torchrun has prepared, if it has."""
    if "RANK" not in os.environ:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), dist.get_world_size()


def leave() -> None:
    """Leave that group with its other processes, before Python ends; nothing must hold it any more."""
    if dist.is_initialized():
        gc.collect()  # a module that was spread over the processes refers to itself
        dist.barrier()
        dist.destroy_process_group()


def total(value: float, on: torch.device) -> float:
    """The sum of a number over all processes, which meet here; `on` is the device of this one."""
    tensor = torch.tensor(value, dtype=torch.float64, device=on)
    dist.all_reduce(tensor)
    return float(tensor)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off until the block is done, so that what it does has happened or has not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if caught:
        raise KeyboardInterrupt


def keep_memory() -> None:
    """Have the C library keep freed memory for the next step, not give it back to the system page by page.

    On Linux with glibc this makes convolutions on a CPU about twice as fast (docs/design.md, "Speed");
    elsewhere it does nothing.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from the heap
            mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: and stay there
