"""Adversaries: the two networks of a GAN, and what happens to pictures before the critic sees them.

Legend: B batch, T tokens of a column, C floats a token, D width, K columns, (h, w) places of a picture.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.nets.attention import zero_init
from likewise.nets.conditioning import ContextEncoder, column_conditions
from likewise.nets.stems.base import norm, norm_channels
from likewise.nets.stems.patch import PatchStem
from likewise.nets.transformer import Trunk

COARSE = 4  # places a side, at most, where the convolutions of a picture begin and end
LEAST = 16  # channels, at least, of a picture on its way
SLOPE = 0.2  # of the leaky rectifier
SHIFT = 1 / 8  # by how much of its side a picture is moved, at most
CUT = 1 / 2  # side of the square that is cut out of a picture, as a share of the picture's
BRIGHT = 1 / 2  # width of the range of brightness that is added


class Generator(nn.Module):
    """G(z, c): a trunk over the coarse places of all columns, with the sources in context.

    z enters twice: as what stands at each place at first, and with the sources as the condition of all of
    them. No output begins at zero, so that different z look different from the first step.

    specs  column -> Spec of its floats, for the grid; outputs: column -> numbers a token that come out
    """

    def __init__(
        self,
        specs: Mapping[str, Spec],
        outputs: Mapping[str, int],
        sources: Mapping[str, Spec],
        *,
        latent: int,
        width: int,
        depth: int,
    ) -> None:
        super().__init__()
        self.names = list(specs)
        self.reader = ContextEncoder(sources, width)
        self.heads = nn.ModuleList(_head(s, outputs[n], width) for n, s in specs.items())
        self.trunk = Trunk([head.grid for head in self.heads], width, depth)
        self.place = nn.Linear(latent, sum(self.trunk.sizes) * width)
        self.style = nn.Linear(latent, width)
        self.condition = nn.Parameter(torch.randn(len(specs), width))

    def forward(self, z: Tensor, c: Context) -> Batch:
        """z (B, latent) -> column -> (B, T, outputs[column]) float32."""
        reading = self.reader(c)
        z = z.to(reading.pooled.dtype)
        reading = replace(reading, pooled=reading.pooled + self.style(z))
        e = column_conditions(self.condition, reading, len(z))  # (B, K, D)
        h = self.place(z).unflatten(1, (sum(self.trunk.sizes), -1)).split(self.trunk.sizes, dim=1)
        parts = self.trunk(h, e, reading)
        return {
            name: head.decode(part, [], None).float()
            for name, head, part in zip(self.names, self.heads, parts, strict=True)
        }


class Critic(nn.Module):
    """D(x, c) = <phi(x), w + e(c)> / sqrt(D): x is real where it is high (Miyato & Koyama, 2018).

    phi sees all columns together. It has no normalisation, which would undo a penalty on its gradient, and
    its residual branches start at zero (Zhang et al., 2019, "Fixup"). e reads the sources by attention.
    """

    def __init__(
        self, specs: Mapping[str, Spec], sources: Mapping[str, Spec], *, width: int, depth: int
    ) -> None:
        super().__init__()
        self.names = list(specs)
        self.views = nn.ModuleList(_view(spec, width) for spec in specs.values())
        self.layers = nn.ModuleList(_Residual(width) for _ in range(depth))
        self.head = nn.Parameter(torch.randn(width))  # w
        self.reader = ContextEncoder(sources, width) if sources else None
        if sources:
            self.trunk = Trunk([(1,)], width, depth)
            self.condition = nn.Parameter(torch.randn(1, width))
            self.project = nn.Linear(width, width)

    def read(self, c: Context) -> Tensor:
        """w + e(c), (B, D)."""
        if self.reader is None:
            return self.head.expand(len(c.present), -1)
        reading = self.reader(c)
        e = column_conditions(self.condition, reading, len(c.present))
        (token,) = self.trunk([reading.pooled[:, None]], e, reading)
        return self.head + self.project(norm(token[:, 0]))

    def forward(self, x: Batch, asked: Tensor) -> Tensor:
        """D(x, c), (B,) float32, of columns (B, T, C) and what `read` says of c, (B, D)."""
        views = [view(x[name].to(self.head.dtype)) for name, view in zip(self.names, self.views, strict=True)]
        h = sum(views) / math.sqrt(len(views))
        for layer in self.layers:
            h = layer(h)
        phi = F.leaky_relu(h, SLOPE).float()
        return (phi * asked.float()).sum(1) / math.sqrt(phi.shape[1])


class _Residual(nn.Module):
    """h + down(act(up(act(h)))), (B, D) -> (B, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = _he(nn.Linear(width, width)), zero_init(nn.Linear(width, width))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.down(F.leaky_relu(self.up(F.leaky_relu(h, SLOPE)), SLOPE))


class _Down(nn.Module):
    """A picture down to at most COARSE x COARSE places by strided convolutions, then one vector."""

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        grid, levels = spec.grid, _levels(spec)
        self.grid = grid
        channels = [spec.width, *(max(LEAST, width >> i) for i in reversed(range(levels)))]
        self.downs = nn.ModuleList(_he(nn.Conv2d(a, b, 4, 2, 1)) for a, b in itertools.pairwise(channels))
        self.out = _he(nn.Linear(channels[-1] * math.prod(n >> levels for n in grid), width))
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, D)."""
        x = x.unflatten(1, self.grid).permute(0, 3, 1, 2)
        for down in self.downs:
            x = F.leaky_relu(down(x), SLOPE)
        return self.out(x.permute(0, 2, 3, 1).flatten(1))


class _Flat(nn.Module):
    """All numbers of a column as one vector, (B, T, C) -> (B, D)."""

    def __init__(self, numbers: int, width: int) -> None:
        super().__init__()
        self.out = _he(nn.Linear(numbers, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x.flatten(1))


class _Up(nn.Module):
    """The way out of a picture: transposed convolutions from at most COARSE x COARSE places, to (-1, 1)."""

    def __init__(self, spec: Spec, c_out: int, width: int) -> None:
        super().__init__()
        grid, levels = spec.grid, _levels(spec)
        self.fine = grid
        self.grid = tuple(math.ceil(n / 2**levels) for n in grid)
        channels = [width, *(max(LEAST, width >> i) for i in range(1, levels)), c_out]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(channels))
        for up in self.ups:  # 2 x 2 places of what comes in are heard at a place of what comes out
            nn.init.normal_(up.weight, std=(4 * up.in_channels) ** -0.5)
            nn.init.zeros_(up.bias)
        self.to(memory_format=torch.channels_last)

    def decode(self, tokens: Tensor, skips: list[Tensor], e: Tensor | None) -> Tensor:
        """(B, n, D) -> (B, T, C_out)."""
        x = self.ups[0](norm(tokens).unflatten(1, self.grid).permute(0, 3, 1, 2))
        for up in self.ups[1:]:
            x = up(norm_channels(F.leaky_relu(x, SLOPE)))
        # A background of exactly -1 is then where the slope ends, not a place that noise must hit.
        return x.tanh().permute(0, 2, 3, 1)[:, : self.fine[0], : self.fine[1]].flatten(1, 2)


def _levels(spec: Spec) -> int:
    """How often a grid is halved: not at all unless it is that of an image that is larger than COARSE."""
    grid = spec.grid
    if spec.axes != IMAGE or max(grid) <= COARSE:
        return 0
    return min(math.ceil(math.log2(max(grid) / COARSE)), int(math.log2(min(grid))))


def _view(spec: Spec, width: int) -> nn.Module:
    if _levels(spec):
        return _Down(spec, width)
    return _Flat(spec.tokens * spec.width, width)


def _head(spec: Spec, c_out: int, width: int) -> _Up | PatchStem:
    if _levels(spec):
        return _Up(spec, c_out, width)
    head = PatchStem(spec, None, c_out, width)
    nn.init.normal_(head.outside.weight, std=width**-0.5)
    return head


def _he(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """The layer with weights that keep the variance through a leaky rectifier (He et al., 2015)."""
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.uniform_(layer.bias, -0.5, 0.5)
    return layer


# ---- what happens to pictures before the critic sees them


def augment(specs: Mapping[str, Spec], batches: list[Batch], share: float, rng: Rng) -> list[Batch]:
    """The batches with their pictures moved, brightened and cut into (Zhao et al., 2020, "DiffAugment").

    Each of the three happens to `share` of the rows, and to row i of every batch in the same way.
    """
    if not share:
        return batches
    changed = [dict(batch) for batch in batches]
    for name, spec in specs.items():
        if spec.axes == IMAGE:
            u = rng.uniform(8)
            for batch in changed:
                batch[name] = _augment(batch[name].unflatten(1, spec.grid), u, share).flatten(1, 2)
    return changed


def _augment(x: Tensor, u: Tensor, share: float) -> Tensor:
    """(B, h, w, C), u (B, 8) uniform numbers -> the same shape, differentiable."""
    b, h, w, _ = x.shape
    moved, brightened, cut = (u[:, 5:] < share).T
    y, z = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    down = ((2 * u[:, 0] - 1) * (SHIFT * h + 0.5) * moved).round().long()
    right = ((2 * u[:, 1] - 1) * (SHIFT * w + 0.5) * moved).round().long()
    rows, columns = (y + down[:, None]).clamp(0, h - 1), (z + right[:, None]).clamp(0, w - 1)  # edges repeat
    x = x[torch.arange(b, device=x.device)[:, None, None], rows[:, :, None], columns[:, None]]
    x = x + (BRIGHT * (u[:, 2] - 0.5) * brightened)[:, None, None, None].to(x.dtype)
    top, left = ((n * u[:, i, None] - 0.5) for i, n in ((3, h), (4, w)))
    hole = ((y - top).abs() < CUT * h / 2)[:, :, None] & ((z - left).abs() < CUT * w / 2)[:, None]
    return x.masked_fill((hole & cut[:, None, None])[..., None], 0.0)
