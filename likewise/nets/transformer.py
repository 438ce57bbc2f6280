"""The one backbone: a pre-norm transformer over tokens, sources in context, adaptive layer norm for time.

Legend: B batch, T tokens, C floats a token, D width, S source tokens, K target columns, H heads, E = D / H.

What is measured, not argued (docs/design.md, "Speed"): attention as two plain matrix products is several
times faster on a CPU than the fused kernel's backward pass, and faster over a cache; layer norm has a fused
CPU kernel where RMS norm has none; so both are used as they are here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.spec import Spec
from likewise.nets.attention import HEAD_DIM, Block, rotary_grid, zero_init
from likewise.nets.conditioning import ContextEncoder, EncodedContext, column_conditions
from likewise.nets.stems.base import COARSE
from likewise.nets.stems.registry import make_stem


class Trunk(nn.Module):
    """Blocks over the tokens of some grids, a condition each, with sources in context."""

    def __init__(self, grids: Sequence[tuple[int, ...]], width: int, depth: int) -> None:
        super().__init__()
        self.sizes = [math.prod(grid) for grid in grids]
        self.column = nn.Parameter(0.02 * torch.randn(len(grids), width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        size = width // max(1, width // HEAD_DIM)
        table = torch.cat([rotary_grid(grid, size) for grid in grids], dim=1)
        self.register_buffer("table", table, persistent=False)
        stream = torch.arange(len(grids)).repeat_interleave(torch.tensor(self.sizes))
        self.register_buffer("stream", stream, persistent=False)

    def forward(
        self, parts: Sequence[Tensor], e: Tensor, context: EncodedContext | None = None
    ) -> Sequence[Tensor]:
        """Tokens of each grid, (B, n, D), -> as many; e (B, K, D) is the condition of each grid."""
        h = torch.cat([part + own for part, own in zip(parts, self.column, strict=True)], dim=1)
        bias, table = None, self.table.to(h.dtype)
        sources = context.tokens.shape[1] if context else 0
        if sources:  # source tokens are not rotated: their places are in their embedding
            h = torch.cat([h, context.tokens], dim=1)
            bias = F.pad(context.bias, (sum(self.sizes), 0))[:, None, None]  # (B, 1, 1, T + S)
            place = table[0, :1]
            still = torch.stack([torch.ones_like(place), torch.zeros_like(place)])
            table = torch.cat([table, still.expand(-1, sources, -1)], dim=1)
        stream = F.pad(self.stream, (0, sources)) if len(self.sizes) > 1 else None
        for block in self.blocks:
            h = block(h, e, stream, table, bias)
        return h[:, : sum(self.sizes)].split(self.sizes, dim=1)


class DenoisingTransformer(nn.Module):
    """Target columns at their times, sources in context -> one prediction a target token.

    A source that is sampled along the same axes as a target (an image for an image) is resampled to the target's
    grid and concatenated to it (Saharia et al., 2022, "SR3"), so that attention need not align the two.

    inputs   column -> Spec of what comes in (floats; a mask channel is added to each)
    outputs  column -> floats a token that come out
    told     how many numbers in [0, 1] it is told beside the times
    """

    def __init__(
        self,
        inputs: Mapping[str, Spec],
        outputs: Mapping[str, int],
        sources: Mapping[str, Spec],
        *,
        width: int,
        depth: int,
        stem: str,
        told: int = 0,
    ) -> None:
        super().__init__()
        self.inputs = dict(inputs)
        self.aligned = {n: _aligned(s, sources) for n, s in inputs.items()}
        concatenated = {n: sum(s.width + 1 for s in same.values()) for n, same in self.aligned.items()}
        self.stems = nn.ModuleList(
            make_stem(stem, s, s.width + 1 + concatenated[n], outputs[n], width) for n, s in inputs.items()
        )
        self.names = list(inputs)
        self.reader = ContextEncoder(sources, width)
        self.time = nn.Sequential(nn.Linear(256, width), nn.GELU(), nn.Linear(width, width))
        self.told = nn.ModuleList(
            nn.Sequential(nn.Linear(256, width), nn.GELU(), zero_init(nn.Linear(width, width)))
            for _ in range(told)
        )
        self.trunk = Trunk([stem.grid for stem in self.stems], width, depth)

    def encode_sources(self, c: Context) -> EncodedContext:
        """Read the sources once; the result serves every t."""
        beside = {n: self._concatenated(c, n, same) for n, same in self.aligned.items() if same}
        return replace(self.reader(c), beside=beside)

    def _concatenated(self, c: Context, target: str, sources: Mapping[str, Spec]) -> Tensor:
        """Sources on the grid of a target, each with a channel that says whether it is given: (B, T, C)."""
        parts = []
        for k, name in enumerate(c.values):
            if name in sources:
                given = c.present[:, k, None, None].to(c.values[name])
                x = torch.cat([c.values[name], torch.ones_like(c.values[name][..., :1])], dim=-1) * given
                parts.append(resample(x.float(), sources[name].grid, self.inputs[target].grid))
        return torch.cat(parts, dim=-1)

    def forward(
        self, x: Batch, t: Tensor, known: Batch, context: EncodedContext, told: Tensor | None = None
    ) -> Batch:
        """One prediction a token: column -> (B, T, outputs[column]).

        x column -> (B, T, C); t (B, K); known column -> (B, T, 1) in {0, 1}; told (B, as many as it is told).
        """
        dtype = self.trunk.column.dtype
        e = self.time(fourier_features(t).to(dtype)) + context.pooled[:, None]  # (B, K, D)
        for i, part in enumerate(self.told):
            e = e + part(fourier_features(told[:, i]).to(dtype))[:, None]
        e = F.gelu(e)
        inside = [
            torch.cat([x[n], known[n], *([context.beside[n]] if self.aligned[n] else [])], dim=-1)
            for n in self.names
        ]
        parts, skips = zip(
            *(
                stem.encode(part.to(dtype), e[:, i])
                for i, (part, stem) in enumerate(zip(inside, self.stems, strict=True))
            ),
            strict=True,
        )
        columns = enumerate(zip(self.names, self.stems, self.trunk(parts, e, context), skips, strict=True))
        return {name: stem.decode(part, skip, e[:, i]).float() for i, (name, stem, part, skip) in columns}


class Encoder(nn.Module):
    """Columns of floats -> tokens on their coarse grids, (B, n, D), with or without sources in context."""

    def __init__(
        self, inputs: Mapping[str, Spec], *, width: int, depth: int, stem: str, coarse: int = COARSE
    ) -> None:
        super().__init__()
        self.names = list(inputs)
        self.stems = nn.ModuleList(
            make_stem(stem, s, s.width, None, width, coarse=coarse) for s in inputs.values()
        )
        self.trunk = Trunk([stem.grid for stem in self.stems], width, depth)
        self.tokens = sum(self.trunk.sizes)  # n
        self.condition = nn.Parameter(torch.randn(len(self.names), width))

    def forward(self, x: Batch, context: EncodedContext | None = None) -> Tensor:
        """Column -> (B, T, C) floats, to (B, n, D)."""
        rows = len(x[self.names[0]])
        e = column_conditions(self.condition, context, rows)
        parts = [
            stem.encode(x[name].to(e.dtype), e[:, i])[0]
            for i, (name, stem) in enumerate(zip(self.names, self.stems, strict=True))
        ]
        return torch.cat(list(self.trunk(parts, e, context)), dim=1)


class Decoder(nn.Module):
    """Tokens on the coarse grids of columns -> one prediction a token of each column: Encoder's way back.

    inputs   column -> Spec, for its grid; outputs: column -> floats a token that come out
    """

    def __init__(
        self,
        inputs: Mapping[str, Spec],
        outputs: Mapping[str, int],
        *,
        width: int,
        depth: int,
        stem: str,
        coarse: int = COARSE,
    ) -> None:
        super().__init__()
        self.names = list(inputs)
        self.stems = nn.ModuleList(
            make_stem(stem, s, None, outputs[n], width, skips=False, coarse=coarse) for n, s in inputs.items()
        )
        self.trunk = Trunk([stem.grid for stem in self.stems], width, depth)
        self.tokens = sum(self.trunk.sizes)  # n
        self.condition = nn.Parameter(torch.randn(len(self.names), width))

    def forward(self, h: Tensor, context: EncodedContext | None = None) -> Batch:
        """(B, n, D) -> column -> (B, T, outputs[column]) float32."""
        e = column_conditions(self.condition, context, len(h))
        parts = self.trunk(h.split(self.trunk.sizes, dim=1), e, context)
        return {
            name: stem.decode(part, [], e[:, i]).float()
            for i, (name, stem, part) in enumerate(zip(self.names, self.stems, parts, strict=True))
        }


def fourier_features(t: Tensor, floats: int = 256) -> Tensor:
    """Sines and cosines of t in [0, 1] at wavelengths from 2 pi to 2 pi / 1000: (...) -> (..., floats)."""
    angles = t[..., None] * 1000.0 ** torch.linspace(0, 1, floats // 2, device=t.device)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _aligned(target: Spec, sources: Mapping[str, Spec]) -> dict[str, Spec]:
    """The sources that are sampled along the same axes as a target."""
    return {n: s for n, s in sources.items() if target.sampled and s.sampled and s.axes == target.axes}


def resample(x: Tensor, grid: tuple[int, ...], onto: tuple[int, ...]) -> Tensor:
    """Floats on a grid of one to three axes -> another grid, linearly: (B, T, C) -> (B, T', C)."""
    axes = len(grid)
    mode = ("linear", "bilinear", "trilinear")[axes - 1]
    channels_first = x.unflatten(1, grid).movedim(-1, 1)
    y = F.interpolate(
        channels_first, size=onto, mode=mode, antialias=axes == 2
    )  # PyTorch has it for two axes
    return y.movedim(1, -1).flatten(1, axes)
