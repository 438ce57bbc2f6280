"""TODO nets.stems.base."""

from __future__ import annotations

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn

COARSE = 8  # by default the trunk sees pictures on a grid of at most 8 x 8
MAX_TOKENS = 256  # the most trunk tokens that one column takes


class Stem(Protocol):
    """What every stem has.

    grid     of the n tokens
    encode   (B, T, C_in) -> tokens (B, n, D), and skips
    decode   tokens, skips -> (B, T, C_out)

    Both take the column's condition e, (B, D), or None where the stem does not look at it.
    """

    grid: tuple[int, ...]

    def encode(self, x: Tensor, e: Tensor | None) -> tuple[Tensor, list[Tensor]]: ...

    def decode(self, tokens: Tensor, skips: list[Tensor], e: Tensor | None) -> Tensor: ...


def float32_parameters(last: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Its weights in float32: bf16 has fewer digits than 256 levels ask for, and flat areas get a grain."""
    return last.weight.float(), last.bias.float()


def norm(x: Tensor) -> Tensor:
    """Layer norm over the last axis without weights of its own."""
    return F.layer_norm(x, x.shape[-1:])


def norm_channels(x: Tensor) -> Tensor:
    """Layer norm over the channels of (B, C, h, w) in channels-last memory."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
