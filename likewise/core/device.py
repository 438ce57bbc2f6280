"""TODO core.device."""

from __future__ import annotations

import os

import torch

TINY = 64  # rows of fewer tokens stay in float32


def default_device() -> torch.device:
    """The accelerator of this process, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def preferred_dtype(tokens: int, on: torch.device) -> torch.dtype:
    """The fastest type for a network: bf16 where the device has it and a row has many `tokens`."""
    has = torch.cuda.is_bf16_supported() if on.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if has and tokens >= TINY else torch.float32
