"""PatchStem: linear patches along every axis, for any grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from likewise.core.spec import IMAGE, Spec
from likewise.nets.column_weights import Axis, Part
from likewise.nets.layers import Linear, float32_parameters, linear, norm, zero_init
from likewise.nets.stems.base import MAX_GRID, MAX_TOKENS, Stem


class PatchStem(Stem):
    """Linear patch embedding and its inverse (Dosovitskiy et al., 2021).

    Patches are as small as the limits on tokens allow, one token of a short column.
    """

    def __init__(
        self, spec: Spec, c_in: int | None, c_out: int | None, width: int, *, max_grid: int = MAX_GRID
    ) -> None:
        super().__init__()
        grid = spec.grid
        limit = max_grid if spec.axes == IMAGE else MAX_TOKENS ** (1 / len(grid))
        self.fine = grid
        self.patch = tuple(math.ceil(n / limit) for n in grid)
        self.grid = tuple(math.ceil(n / p) for n, p in zip(grid, self.patch, strict=True))
        volume = math.prod(self.patch)
        if c_in is not None:
            self.proj_in = Linear(c_in * volume, width)
        if c_out is not None:
            self.proj_out = zero_init(Linear(width, c_out * volume))

    def weight_axes(self, inputs: Sequence[Part], outputs: Sequence[Part]) -> dict[str, Axis]:
        out = Axis(0, self._in_patch(outputs))
        return {
            "proj_in.weight": Axis(1, self._in_patch(inputs)),
            "proj_out.weight": out,
            "proj_out.bias": out,
        }

    def _in_patch(self, channels: Sequence[Part]) -> tuple[Part, ...]:
        """The channels of every token of a patch."""
        tokens = range(math.prod(self.patch))
        return tuple(replace(c, label=(self.patch, token, c.label)) for token in tokens for c in channels)

    def encode(self, x: Tensor, e: Tensor) -> tuple[Tensor, list[Tensor]]:
        axes = len(self.fine)
        x = x.unflatten(1, self.fine)
        pads = [(0, g * p - n) for g, p, n in zip(self.grid, self.patch, self.fine, strict=True)]
        if any(after for _, after in pads):
            x = F.pad(x, (0, 0, *(side for pad in reversed(pads) for side in pad)))
        for a, (g, p) in enumerate(zip(self.grid, self.patch, strict=True)):
            x = x.unflatten(1 + 2 * a, (g, p))  # (B, g, p, g, p, ..., C)
        order = [0, *(1 + 2 * a for a in range(axes)), *(2 + 2 * a for a in range(axes)), 1 + 2 * axes]
        return self.proj_in(x.permute(order).flatten(1 + axes).flatten(1, axes)), []

    def decode(self, tokens: Tensor, skips: list[Tensor], e: Tensor) -> Tensor:
        axes = len(self.fine)
        x = linear(norm(tokens.float()), *float32_parameters(self.proj_out))
        x = x.unflatten(1, self.grid).unflatten(-1, (*self.patch, -1))
        order = [0, *(i for a in range(axes) for i in (1 + a, 1 + axes + a)), 1 + 2 * axes]
        x = x.permute(order)
        for a in range(axes):
            x = x.flatten(1 + a, 2 + a)
        return x[(slice(None), *(slice(n) for n in self.fine))].flatten(1, axes)
