"""PatchStem: linear patches along every axis, for any grid."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.spec import IMAGE, Spec
from likewise.nets.stems.base import COARSE, MAX_TOKENS, float32_parameters, norm


class PatchStem(nn.Module):
    """Linear patch embedding and its inverse (Dosovitskiy et al., 2021).

    A patch is one token where the column is short.
    """

    def __init__(
        self, spec: Spec, c_in: int | None, c_out: int | None, width: int, *, coarse: int = COARSE
    ) -> None:
        super().__init__()
        grid = spec.grid
        limit = coarse if spec.axes == IMAGE else MAX_TOKENS ** (1 / len(grid))
        self.fine = grid
        self.patch = tuple(math.ceil(n / limit) for n in grid)
        self.grid = tuple(math.ceil(n / p) for n, p in zip(grid, self.patch, strict=True))
        volume = math.prod(self.patch)
        self.c_out = c_out
        if c_in is not None:
            self.inside = nn.Linear(c_in * volume, width)
        if c_out is not None:
            self.outside = nn.Linear(width, c_out * volume)
            nn.init.zeros_(self.outside.weight), nn.init.zeros_(self.outside.bias)

    def encode(self, x: Tensor, e: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        axes = len(self.fine)
        x = x.unflatten(1, self.fine)
        pads = [(0, g * p - n) for g, p, n in zip(self.grid, self.patch, self.fine, strict=True)]
        if any(after for _, after in pads):
            x = F.pad(x, (0, 0, *(side for pad in reversed(pads) for side in pad)))
        for a, (g, p) in enumerate(zip(self.grid, self.patch, strict=True)):
            x = x.unflatten(1 + 2 * a, (g, p))  # (B, g, p, g, p, ..., C)
        order = [0, *(1 + 2 * a for a in range(axes)), *(2 + 2 * a for a in range(axes)), 1 + 2 * axes]
        return self.inside(x.permute(order).flatten(1 + axes).flatten(1, axes)), []

    def decode(self, tokens: Tensor, skips: list[Tensor], e: Tensor | None) -> Tensor:
        axes = len(self.fine)
        x = F.linear(norm(tokens.float()), *float32_parameters(self.outside))
        x = x.unflatten(1, self.grid).unflatten(-1, (*self.patch, self.c_out))
        order = [0, *(i for a in range(axes) for i in (1 + a, 1 + axes + a)), 1 + 2 * axes]
        x = x.permute(order)
        for a in range(axes):
            x = x.flatten(1 + a, 2 + a)
        return x[(slice(None), *(slice(n) for n in self.fine))].flatten(1, axes)
