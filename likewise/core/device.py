"""Which device a process computes on, and which floating-point type is fastest there."""

from __future__ import annotations

import os

import torch

from likewise.core.options import parse_option
from likewise.core.ranges import NonNegativeInt

MIN_BF16_TOKENS = 64  # rows of fewer tokens stay in float32


def default_device() -> torch.device:
    """The GPU of this process (by LOCAL_RANK), else the CPU."""
    if torch.cuda.is_available():
        rank = parse_option("LOCAL_RANK", os.environ.get("LOCAL_RANK", "0"), NonNegativeInt)
        return torch.device("cuda", rank)
    return torch.device("cpu")


def preferred_dtype(tokens: int, device: torch.device) -> torch.dtype:
    """The fastest type for a network: bf16 if the device supports it and a row has enough `tokens`."""
    if device.type == "cuda":
        supported = torch.cuda.is_bf16_supported()
    else:
        supported = torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if supported and tokens >= MIN_BF16_TOKENS else torch.float32
