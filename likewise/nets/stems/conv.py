"""ConvStem: convolutions between the pixels of an image and the tokens of a transformer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.spec import Spec
from likewise.nets.column_weights import Axis, Part, by_column
from likewise.nets.layers import (
    Linear,
    ModuleList,
    conv2d,
    float32_parameters,
    norm,
    norm_channels,
    to_channels_last,
    zero_init,
)
from likewise.nets.stems.base import MAX_GRID, Stem


class ConvBlock(nn.Module):
    """x + conv(gelu(conv(mod(x)))), modulated by the condition (Perez et al., 2018, "FiLM")."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.modulation = Linear(width, 2 * channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for p in (*self.modulation.parameters(), *self.conv2.parameters()):
            nn.init.zeros_(p)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x (B, C, h, w), e (B, D) -> (B, C, h, w)."""
        shift, scale = self.modulation(e)[:, :, None, None].chunk(2, dim=1)
        return x + self.conv2(F.gelu(self.conv1(torch.addcmul(shift, norm_channels(x), scale + 1))))


class ConvStem(Stem):
    """The outer levels of a U-Net (Ronneberger et al., 2015).

    Strided convolutions go down to at most `max_grid` x `max_grid` tokens, transposed ones back up, with or
    without skips. The transposed kernel (4) is a multiple of its stride (2), which avoids checkerboard
    artefacts (Odena et al., 2016).
    """

    def __init__(
        self,
        spec: Spec,
        c_in: int | None,
        c_out: int | None,
        width: int,
        *,
        skips: bool = True,
        max_grid: int = MAX_GRID,
    ) -> None:
        super().__init__()
        grid = spec.grid
        levels = math.ceil(math.log2(max(grid) / max_grid))
        self.fine = grid
        self.padded = tuple(math.ceil(n / 2**levels) * 2**levels for n in grid)
        self.grid = tuple(n >> levels for n in self.padded)
        channels = [max(16, width >> (levels + 1 - i)) for i in range(levels)] + [width]
        fine, pairs = channels[:-1], list(itertools.pairwise(channels))
        if c_in is not None:
            self.conv_in = nn.Conv2d(c_in, channels[0], 3, padding=1)
            self.encoders = ModuleList(ConvBlock(c, width) for c in fine)
            self.downs = ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairs)
        if c_out is not None:
            self.ups = ModuleList(nn.ConvTranspose2d(b, a, 4, 2, 1) for a, b in pairs)
            self.joins: ModuleList[nn.Module] = ModuleList(
                nn.Conv2d(2 * c, c, 1) if skips else nn.Identity() for c in fine
            )
            self.decoders = ModuleList(ConvBlock(c, width) for c in fine)
            self.conv_out = zero_init(nn.Conv2d(channels[0], c_out, 3, padding=1))
        from_coarse = by_column(
            range(levels, 0, -1)
        )  # a finer image has further levels outside of the others
        self.column_axes = dict.fromkeys(("encoders", "downs", "ups", "joins", "decoders"), from_coarse)
        to_channels_last(self)

    def weight_axes(self, inputs: Sequence[Part], outputs: Sequence[Part]) -> dict[str, Axis]:
        out = Axis(0, tuple(outputs))
        return {"conv_in.weight": Axis(1, tuple(inputs)), "conv_out.weight": out, "conv_out.bias": out}

    def encode(self, x: Tensor, e: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = x.unflatten(1, self.fine).permute(0, 3, 1, 2)  # channels-last in memory
        if self.padded != self.fine:
            x = F.pad(x, (0, self.padded[1] - self.fine[1], 0, self.padded[0] - self.fine[0]))
        x, skips = self.conv_in(x), []
        for block, down in zip(self.encoders, self.downs, strict=True):
            x = block(x, e)
            skips.append(x)
            x = down(x)
        return x.permute(0, 2, 3, 1).flatten(1, 2), skips

    def decode(self, tokens: Tensor, skips: list[Tensor], e: Tensor) -> Tensor:
        x = norm(tokens).unflatten(1, self.grid).permute(0, 3, 1, 2)
        skips = list(skips)
        for up, join, block in zip(self.ups[::-1], self.joins[::-1], self.decoders[::-1], strict=True):
            x = up(x)
            x = block(join(torch.cat([x, skips.pop()], dim=1) if skips else x), e)
        x = conv2d(F.gelu(norm_channels(x.float())), *float32_parameters(self.conv_out), padding=1)
        return x.permute(0, 2, 3, 1)[:, : self.fine[0], : self.fine[1]].flatten(1, 2)
