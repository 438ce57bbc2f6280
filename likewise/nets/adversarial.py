"""The two networks of a GAN, generator and critic, and the augmentation of images before the critic.

Legend: B batch, T tokens of a column, C floats a token, D width, K columns, (h, w) size of an image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.nets.column_weights import Axis, Part, by_column
from likewise.nets.conditioning import ContextEncoder, column_conditions
from likewise.nets.layers import Linear, ModuleList, norm, norm_channels, to_channels_last, zero_init
from likewise.nets.stems.base import Stem, value_channels
from likewise.nets.stems.columns import ColumnChannels, ColumnStems
from likewise.nets.stems.patch import PatchStem
from likewise.nets.transformer import Trunk

MAX_GRID = 4  # tokens along a side, at most, where the convolutions of an image begin and end
MIN_CHANNELS = 16  # of convolutions
SLOPE = 0.2  # of the leaky ReLU
MAX_SHIFT = 1 / 8  # of an image, as a share of its side
CUTOUT = 1 / 2  # side of the square that is cut out of an image, as a share of the image's
BRIGHTNESS = 1 / 2  # width of the range of brightness that is added

L = TypeVar("L", nn.Linear, nn.Conv2d)


class Generator(nn.Module):
    """G(z, c): a trunk over the coarse tokens of all columns, with the sources in context.

    z enters twice: projected to the first tokens, and added to the pooled sources as a condition. No output layer
    starts at zero, so that samples depend on z from the first step.

    specs    column -> Spec of its floats, for the grid
    outputs  column -> floats a token that come out
    """

    def __init__(
        self,
        specs: Mapping[str, Spec],
        outputs: Mapping[str, int],
        sources: Mapping[str, Spec],
        *,
        latent_dim: int,
        width: int,
        depth: int,
        pack_columns: bool = False,
    ) -> None:
        super().__init__()
        self.context_encoder = ContextEncoder(sources, width, pack_columns=pack_columns)
        self.heads = ColumnStems(
            specs, None, outputs, lambda s, _, c_out: _head(s, c_out or 0, width), pack=pack_columns
        )
        self.trunk = Trunk(self.heads.grids, width, depth)
        self.latent_tokens = Linear(latent_dim, sum(self.trunk.sizes) * width)
        self.latent_condition = Linear(latent_dim, width)
        self.condition = nn.Parameter(torch.randn(len(self.heads), width))
        labels = self.heads.labels
        tokens = tuple(Part(n, k * width) for n, k in zip(labels, self.trunk.sizes, strict=True))
        channels: ColumnChannels = {
            n: ([], [Part(0, outputs[n], "outputs" if s.sampled else "append")]) for n, s in specs.items()
        }
        self.column_axes = {
            **dict.fromkeys(("heads", "trunk.column", "condition"), by_column(labels)),
            **dict.fromkeys(("latent_tokens.weight", "latent_tokens.bias"), Axis(0, tokens)),
            **self.heads.axes("heads", channels),
        }

    def forward(self, z: Tensor, c: Context) -> Batch:
        """z (B, latent_dim) -> column -> (B, T, outputs[column]) float32."""
        context = self.context_encoder(c)
        z = z.to(context.pooled.dtype)
        context = replace(context, pooled=context.pooled + self.latent_condition(z))
        e = column_conditions(self.condition, context, len(z))  # (B, K, D)
        h = self.latent_tokens(z).unflatten(1, (sum(self.trunk.sizes), -1)).split(self.trunk.sizes, dim=1)
        parts = self.trunk(h, e, context)
        return self.heads.decode(parts, [[] for _ in parts], e)


class Critic(nn.Module):
    """The projection discriminator D(x, c) = <phi(x), w + e(c)> / sqrt(D) (Miyato & Koyama, 2018).

    It is high for real x. phi depends on all columns jointly; it has no normalisation, which would undo a penalty on
    its gradient, and its residual branches start at zero (Zhang et al., 2019, "Fixup"). e attends to the sources.
    """

    def __init__(
        self,
        specs: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        width: int,
        depth: int,
        pack_columns: bool = False,
    ) -> None:
        super().__init__()
        self.names = list(specs)
        self.encoders = ModuleList(_column_encoder(spec, width) for spec in specs.values())
        self.column_axes = {"encoders": by_column(specs)}
        self.layers = ModuleList(_Residual(width) for _ in range(depth))
        self.head = nn.Parameter(torch.randn(width))  # w
        self.context_encoder = ContextEncoder(sources, width, pack_columns=pack_columns) if sources else None
        if sources:
            self.trunk = Trunk([(1,)], width, depth)
            self.condition = nn.Parameter(torch.randn(1, width))
            self.project = Linear(width, width)

    def projection(self, c: Context) -> Tensor:
        """w + e(c), (B, D)."""
        if self.context_encoder is None:
            return self.head.expand(len(c.present), -1)
        context = self.context_encoder(c)
        e = column_conditions(self.condition, context, len(c.present))
        (token,) = self.trunk([context.pooled[:, None]], e, context)
        return self.head + self.project(norm(token[:, 0]))

    def forward(self, x: Batch, projection: Tensor) -> Tensor:
        """D(x, c), (B,) float32, of columns (B, T, C) and the projection of c, (B, D)."""
        columns = [
            encoder(x[name].to(self.head.dtype))
            for name, encoder in zip(self.names, self.encoders, strict=True)
        ]
        h = reduce(torch.add, columns) / math.sqrt(len(columns))
        for layer in self.layers:
            h = layer(h)
        phi = F.leaky_relu(h, SLOPE).float()
        return (phi * projection.float()).sum(1) / math.sqrt(phi.shape[1])


class _Residual(nn.Module):
    """h + down(act(up(act(h)))), (B, D) -> (B, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = _he(Linear(width, width)), zero_init(Linear(width, width))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.down(F.leaky_relu(self.up(F.leaky_relu(h, SLOPE)), SLOPE))


class _ImageEncoder(nn.Module):
    """Strided convolutions of an image down to at most MAX_GRID x MAX_GRID, then a linear layer."""

    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        grid, levels = spec.grid, _levels(spec)
        self.grid = grid
        channels = [spec.width, *(max(MIN_CHANNELS, width >> i) for i in reversed(range(levels)))]
        self.downs = ModuleList(_he(nn.Conv2d(a, b, 4, 2, 1)) for a, b in itertools.pairwise(channels))
        self.out = _he(Linear(channels[-1] * math.prod(n >> levels for n in grid), width))
        self.column_axes = {
            "downs": by_column(range(levels, 0, -1)),
            "downs.0.weight": Axis(1, (value_channels(spec, "inputs"),)),
        }
        to_channels_last(self)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, D)."""
        x = x.unflatten(1, self.grid).permute(0, 3, 1, 2)
        for down in self.downs:
            x = F.leaky_relu(down(x), SLOPE)
        return self.out(x.permute(0, 2, 3, 1).flatten(1))


class _FlatEncoder(nn.Module):
    """A linear layer over all numbers of a column, (B, T, C) -> (B, D)."""

    def __init__(self, numbers: int, width: int) -> None:
        super().__init__()
        self.out = _he(Linear(numbers, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x.flatten(1))


class _ImageDecoder(Stem):
    """Transposed convolutions from at most MAX_GRID x MAX_GRID tokens to an image in (-1, 1)."""

    def __init__(self, spec: Spec, c_out: int, width: int) -> None:
        super().__init__()
        grid, levels = spec.grid, _levels(spec)
        self.fine = grid
        self.grid = tuple(math.ceil(n / 2**levels) for n in grid)
        channels = [width, *(max(MIN_CHANNELS, width >> i) for i in range(1, levels)), c_out]
        self.ups = ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(channels))
        for up in self.ups:  # each output pixel is a sum over 2 x 2 input pixels
            nn.init.normal_(up.weight, std=(4 * up.in_channels) ** -0.5)
            assert up.bias is not None
            nn.init.zeros_(up.bias)
        to_channels_last(self)

    def weight_axes(self, inputs: Sequence[Part], outputs: Sequence[Part]) -> dict[str, Axis]:
        last, out = f"ups.{len(self.ups) - 1}", tuple(outputs)
        return {f"{last}.weight": Axis(1, out), f"{last}.bias": Axis(0, out)}

    def decode(self, tokens: Tensor, skips: list[Tensor], e: Tensor) -> Tensor:
        x = self.ups[0](norm(tokens).unflatten(1, self.grid).permute(0, 3, 1, 2))
        for up in self.ups[1:]:
            x = up(norm_channels(F.leaky_relu(x, SLOPE)))
        # tanh saturates, so that it can produce a background of exactly -1.
        return x.tanh().permute(0, 2, 3, 1)[:, : self.fine[0], : self.fine[1]].flatten(1, 2)


def _levels(spec: Spec) -> int:
    """How often the grid is halved: 0 except for images larger than MAX_GRID."""
    grid = spec.grid
    if spec.axes != IMAGE or max(grid) <= MAX_GRID:
        return 0
    return min(math.ceil(math.log2(max(grid) / MAX_GRID)), int(math.log2(min(grid))))


def _column_encoder(spec: Spec, width: int) -> nn.Module:
    if _levels(spec):
        return _ImageEncoder(spec, width)
    return _FlatEncoder(spec.tokens * spec.width, width)


def _head(spec: Spec, c_out: int, width: int) -> Stem:
    if _levels(spec):
        return _ImageDecoder(spec, c_out, width)
    head = PatchStem(spec, None, c_out, width)
    nn.init.normal_(head.proj_out.weight, std=width**-0.5)
    return head


def _he(layer: L) -> L:
    """The layer with weights that keep the variance through a leaky ReLU (He et al., 2015)."""
    assert layer.bias is not None
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.uniform_(layer.bias, -0.5, 0.5)
    return layer


# ---- augmentation of images before the critic


def augment(specs: Mapping[str, Spec], batches: list[Batch], share: float, rng: Rng) -> list[Batch]:
    """Shift, brighten and cut into the images of batches (Zhao et al., 2020, "DiffAugment").

    Each of the three applies to a `share` of the rows, to row i of every batch in the same way.
    """
    if not share:
        return batches
    augmented = [dict(batch) for batch in batches]
    for name, spec in specs.items():
        if spec.axes == IMAGE:
            u = rng.uniform(8)
            for batch in augmented:
                batch[name] = _augment(batch[name].unflatten(1, spec.grid), u, share).flatten(1, 2)
    return augmented


def _augment(x: Tensor, u: Tensor, share: float) -> Tensor:
    """(B, h, w, C), u (B, 8) uniform numbers -> the same shape, differentiable."""
    b, h, w, _ = x.shape
    shift, brighten, cut = (u[:, 5:] < share).T
    y, z = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    down = ((2 * u[:, 0] - 1) * (MAX_SHIFT * h + 0.5) * shift).round().long()
    right = ((2 * u[:, 1] - 1) * (MAX_SHIFT * w + 0.5) * shift).round().long()
    rows, columns = (y + down[:, None]).clamp(0, h - 1), (z + right[:, None]).clamp(0, w - 1)  # edges repeat
    x = x[torch.arange(b, device=x.device)[:, None, None], rows[:, :, None], columns[:, None]]
    x = x + (BRIGHTNESS * (u[:, 2] - 0.5) * brighten)[:, None, None, None].to(x.dtype)
    top, left = ((n * u[:, i, None] - 0.5) for i, n in ((3, h), (4, w)))
    hole = ((y - top).abs() < CUTOUT * h / 2)[:, :, None] & ((z - left).abs() < CUTOUT * w / 2)[:, None]
    return x.masked_fill((hole & cut[:, None, None])[..., None], 0.0)
