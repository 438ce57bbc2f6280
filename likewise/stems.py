"""Stems: between the finest grid of a column, where its values and masks live, and the trunk's coarse one.

Legend: B batch, T tokens of the column, C floats a token, n tokens of the trunk, D width,
        (h, w) places of a picture.
"""

from __future__ import annotations

import itertools
import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COARSE = 8  # by default the trunk sees pictures on a grid of at most 8 x 8
TOKENS = 256  # the most trunk tokens that one column takes


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


def make_stem(
    kind: str,
    grid: tuple[int, ...],
    c_in: int | None,
    c_out: int | None,
    width: int,
    *,
    skips: bool = True,
    coarse: int = COARSE,
) -> Stem:
    """The stem of a target column; without `c_in` it has the way out only, without `c_out` the way in.

    `conv` is a U-Net's shell where the grid is a picture; `patch` is linear everywhere. The trunk sees a
    picture on a grid of at most `coarse` x `coarse`.
    """
    if kind == "conv" and len(grid) == 2 and max(grid) > coarse:
        return Picture(grid, c_in, c_out, width, skips=skips, coarse=coarse)
    return Patches(grid, c_in, c_out, width, coarse=coarse)


class Patches(nn.Module):
    """Linear patch embedding and its inverse (Dosovitskiy et al., 2021).

    A patch is one token where the column is short.
    """

    def __init__(
        self, grid: tuple[int, ...], c_in: int | None, c_out: int | None, width: int, *, coarse: int = COARSE
    ) -> None:
        super().__init__()
        limit = coarse if len(grid) == 2 else TOKENS ** (1 / len(grid))
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
        x = F.linear(norm(tokens.float()), *exact(self.outside))
        x = x.unflatten(1, self.grid).unflatten(-1, (*self.patch, self.c_out))
        order = [0, *(i for a in range(axes) for i in (1 + a, 1 + axes + a)), 1 + 2 * axes]
        x = x.permute(order)
        for a in range(axes):
            x = x.flatten(1 + a, 2 + a)
        return x[(slice(None), *(slice(n) for n in self.fine))].flatten(1, axes)


class ConvBlock(nn.Module):
    """x + conv(gelu(conv(mod(x)))), modulated by the condition (Perez et al., 2018, "FiLM")."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(width, 2 * channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for p in (*self.modulation.parameters(), *self.conv2.parameters()):
            nn.init.zeros_(p)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x (B, C, h, w), e (B, D) -> (B, C, h, w)."""
        shift, scale = self.modulation(e)[:, :, None, None].chunk(2, dim=1)
        return x + self.conv2(F.gelu(self.conv1(torch.addcmul(shift, norm_channels(x), scale + 1))))


class Picture(nn.Module):
    """A U-Net's shell (Ronneberger et al., 2015).

    Strided convolutions go down to the coarse grid, transposed ones back up, with or without skips. The
    transposed kernel (4) is a multiple of its stride (2), so that it leaves no checkerboard (Odena et al.,
    2016).
    """

    def __init__(
        self,
        grid: tuple[int, int],
        c_in: int | None,
        c_out: int | None,
        width: int,
        *,
        skips: bool = True,
        coarse: int = COARSE,
    ) -> None:
        super().__init__()
        levels = math.ceil(math.log2(max(grid) / coarse))
        self.fine = grid
        self.padded = tuple(math.ceil(n / 2**levels) * 2**levels for n in grid)
        self.grid = tuple(n >> levels for n in self.padded)
        channels = [max(16, width >> (levels + 1 - i)) for i in range(levels)] + [width]
        fine, pairs = channels[:-1], list(itertools.pairwise(channels))
        if c_in is not None:
            self.enter = nn.Conv2d(c_in, channels[0], 3, padding=1)
            self.encoders = nn.ModuleList(ConvBlock(c, width) for c in fine)
            self.downs = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairs)
        if c_out is not None:
            self.ups = nn.ModuleList(nn.ConvTranspose2d(b, a, 4, 2, 1) for a, b in pairs)
            self.joins = nn.ModuleList(nn.Conv2d(2 * c, c, 1) if skips else nn.Identity() for c in fine)
            self.decoders = nn.ModuleList(ConvBlock(c, width) for c in fine)
            self.leave = nn.Conv2d(channels[0], c_out, 3, padding=1)
            nn.init.zeros_(self.leave.weight), nn.init.zeros_(self.leave.bias)
        self.to(memory_format=torch.channels_last)

    def encode(self, x: Tensor, e: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = x.unflatten(1, self.fine).permute(0, 3, 1, 2)  # channels last in memory as it is
        if self.padded != self.fine:
            x = F.pad(x, (0, self.padded[1] - self.fine[1], 0, self.padded[0] - self.fine[0]))
        x, skips = self.enter(x), []
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
        x = F.conv2d(F.gelu(norm_channels(x.float())), *exact(self.leave), padding=1).permute(0, 2, 3, 1)
        return x[:, : self.fine[0], : self.fine[1]].flatten(1, 2)


def exact(last: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Its weights in float32: bf16 has fewer digits than 256 levels ask for, and flat areas get a grain."""
    return last.weight.float(), last.bias.float()


def norm(x: Tensor) -> Tensor:
    """Layer norm over the last axis without weights of its own."""
    return F.layer_norm(x, x.shape[-1:])


def norm_channels(x: Tensor) -> Tensor:
    """Layer norm over the channels of (B, C, h, w) in channels-last memory."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
