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


def supports_bf16(device: torch.device) -> bool:
    """Whether products of matrices in bf16 are fast: elsewhere they take far longer than in float32."""
    return torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()


def preferred_dtype(tokens: int, device: torch.device) -> torch.dtype:
    """The fastest type for a network: bf16 if the device supports it and a row has enough `tokens`."""
    return torch.bfloat16 if supports_bf16(device) and tokens >= MIN_BF16_TOKENS else torch.float32
