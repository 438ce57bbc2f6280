"""The transformer over columns: pre-norm blocks, sources in context, adaptive layer norm for the condition.

Legend: B batch, T tokens, C floats a token, D width, S source tokens, K target columns, H heads, E = D / H,
n tokens of a stem.

Measured (docs/design.md, "Speed"): on a CPU attention as two matrix products is several times faster than the
backward pass of the fused kernel, and faster with a cache; layer norm has a fused CPU kernel and RMS norm has none.
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
from likewise.nets.attention import Block, default_heads, identity_rotation, rotary_grid
from likewise.nets.column_weights import Adopting, Axis, Columns, Part, by_column
from likewise.nets.conditioning import ContextEncoder, EncodedContext, column_conditions
from likewise.nets.layers import Linear, ModuleList, zero_init
from likewise.nets.stems.base import MAX_GRID, value_channels
from likewise.nets.stems.columns import ColumnChannels, ColumnStems
from likewise.nets.stems.registry import make_stem

FEATURES = 256  # Fourier features of a time


class Trunk(nn.Module):
    """Blocks over the tokens of several grids, each with a condition of its own, and sources in context."""

    rotation: Tensor
    columns: Tensor

    def __init__(self, grids: Sequence[tuple[int, ...]], width: int, depth: int) -> None:
        super().__init__()
        self.sizes = [math.prod(grid) for grid in grids]
        self.column = nn.Parameter(0.02 * torch.randn(len(grids), width))
        self.blocks = ModuleList(Block(width) for _ in range(depth))
        head_dim = width // default_heads(width)
        rotation = torch.cat([rotary_grid(grid, head_dim) for grid in grids], dim=1)
        self.register_buffer("rotation", rotation, persistent=False)
        columns = torch.cat([torch.full((size,), i) for i, size in enumerate(self.sizes)])
        self.register_buffer("columns", columns, persistent=False)

    def forward(
        self, parts: Sequence[Tensor], e: Tensor, context: EncodedContext | None = None
    ) -> Sequence[Tensor]:
        """Tokens of each grid, (B, n, D), -> the same shapes; e (B, K, D) has the condition of each grid."""
        h = torch.cat([part + column for part, column in zip(parts, self.column, strict=True)], dim=1)
        bias, rotation, sources = None, self.rotation.to(h.dtype), 0
        if context is not None and (sources := context.tokens.shape[1]):
            h = torch.cat([h, context.tokens], dim=1)
            bias = F.pad(context.bias, (sum(self.sizes), 0))[:, None, None]  # (B, 1, 1, T + S)
            # Source tokens are not rotated: their positions are in their embeddings.
            unrotated = identity_rotation(sources, rotation.shape[-1], rotation.device)
            rotation = torch.cat([rotation, unrotated.to(h.dtype)], dim=1)
        columns = F.pad(self.columns, (0, sources)) if len(self.sizes) > 1 else None
        for block in self.blocks:
            h = block(h, e, columns, rotation, bias)
        return h[:, : sum(self.sizes)].split(self.sizes, dim=1)


class DenoisingTransformer(Adopting):
    """Noisy target columns at their times, and sources in context -> a prediction for every target token.

    A source that is sampled along the same axes as a target (an image for an image) is resampled to the target's
    grid and concatenated to it (Saharia et al., 2022, "SR3"), so that attention need not align the two.

    inputs            column -> Spec of the floats that come in; a mask channel is added to each
    outputs           column -> floats a token that come out
    extra_conditions  number of further conditions, each a number in [0, 1]
    pack_columns      whether targets of one token share one, as in `ColumnStems`, and their time; sources another
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
        extra_conditions: int = 0,
        pack_columns: bool = False,
    ) -> None:
        super().__init__()
        self.inputs = dict(inputs)
        self.aligned = {n: _aligned_sources(s, sources) for n, s in inputs.items()}
        concatenated = {n: sum(s.width + 1 for s in same.values()) for n, same in self.aligned.items()}
        c_in = {n: s.width + 1 + concatenated[n] for n, s in inputs.items()}
        self.stems = ColumnStems(
            inputs, c_in, outputs, lambda s, i, o: make_stem(stem, s, i, o, width), pack=pack_columns
        )
        place = {n: k for k, n in enumerate(inputs)}
        self.members = [[place[n] for n in group] for group in self.stems.groups]
        self.context_encoder = ContextEncoder(sources, width, pack_columns=pack_columns)
        self.time = nn.Sequential(Linear(FEATURES, width), nn.GELU(), Linear(width, width))
        self.extra_conditions = ModuleList(
            nn.Sequential(Linear(FEATURES, width), nn.GELU(), zero_init(Linear(width, width)))
            for _ in range(extra_conditions)
        )
        self.trunk = Trunk(self.stems.grids, width, depth)
        channels = {n: self._channels(n, outputs[n]) for n in inputs}
        self.column_axes = _target_axes(self.stems) | self.stems.axes("stems", channels)

    def _channels(self, name: str, outputs: int) -> tuple[list[Part], list[Part]]:
        """The channels of a target's stem, in and out: its floats, its mask, the sources beside it."""
        picture, floats = self.inputs[name].sampled, self.inputs[name].width
        sources = [Part(n, s.width + 1) for n, s in self.aligned[name].items()]
        value = Part(0, floats, "inputs" if picture else "append")
        return [value, Part(1), *sources], [Part(0, outputs, "outputs" if picture else "append")]

    def adopt(self, old: nn.Module, columns: Columns) -> None:
        """Further conditions that this network lacks are 0 in it."""
        assert isinstance(old, DenoisingTransformer)
        bias = self.get_parameter("time.2.bias")
        for embed in old.extra_conditions[len(self.extra_conditions) :]:
            bias.add_(embed(fourier_features(torch.zeros(1, device=bias.device)).to(bias))[0])

    def encode_sources(self, c: Context) -> EncodedContext:
        """Encode the sources once, for every t."""
        aligned = {n: self._resampled(c, n, same) for n, same in self.aligned.items() if same}
        return replace(self.context_encoder(c), aligned=aligned)

    def _resampled(self, c: Context, target: str, sources: Mapping[str, Spec]) -> Tensor:
        """Sources on the grid of a target, each with a channel of whether it is present: (B, T, C)."""
        parts = []
        for k, (name, value) in enumerate(c.values.items()):
            if name in sources:
                x = torch.cat([value, torch.ones_like(value[..., :1])], dim=-1)
                x = x * c.present[:, k, None, None].to(value)
                parts.append(resample(x.float(), sources[name].grid, self.inputs[target].grid))
        return torch.cat(parts, dim=-1)

    def forward(
        self, x: Batch, t: Tensor, known: Batch, context: EncodedContext, extra: Tensor | None = None
    ) -> Batch:
        """A prediction for every token: column -> (B, T, outputs[column]) float32.

        x column -> (B, T, C); t (B, K); known column -> (B, T, 1) in {0, 1}; extra (B, extra_conditions).
        """
        dtype = self.trunk.column.dtype
        t = torch.stack([t[:, group].amax(1) for group in self.members], dim=1)  # known columns have time 0
        e = self.time(fourier_features(t).to(dtype)) + context.pooled[:, None]  # (B, G, D)
        values = () if extra is None else extra.unbind(1)
        for embed, value in zip(self.extra_conditions, values, strict=True):
            e = e + embed(fourier_features(value).to(dtype))[:, None]
        e = F.gelu(e)
        channels = {
            n: torch.cat([x[n], known[n], *([context.aligned[n]] if self.aligned[n] else [])], dim=-1).to(
                dtype
            )
            for n in self.inputs
        }
        tokens, skips = self.stems.encode(channels, e)
        return self.stems.decode(self.trunk(tokens, e, context), skips, e)

    def shared_times(self, t: Tensor) -> Tensor:
        """Times (B, K) of the columns, with those of the first one for all that are packed."""
        if len(self.members) == t.shape[1]:
            return t
        first = {k: group[0] for group in self.members for k in group}
        return t[:, [first[k] for k in range(t.shape[1])]]


class Encoder(nn.Module):
    """Columns of floats -> tokens on their coarse grids, (B, n, D), with or without sources in context."""

    def __init__(
        self,
        inputs: Mapping[str, Spec],
        *,
        width: int,
        depth: int,
        stem: str,
        max_grid: int = MAX_GRID,
        pack_columns: bool = False,
    ) -> None:
        super().__init__()
        self.names = list(inputs)
        self.stems = ColumnStems(
            inputs,
            {n: s.width for n, s in inputs.items()},
            None,
            lambda s, c_in, c_out: make_stem(stem, s, c_in, c_out, width, max_grid=max_grid),
            pack=pack_columns,
        )
        self.trunk = Trunk(self.stems.grids, width, depth)
        self.tokens = sum(self.trunk.sizes)  # n of all columns
        self.condition = nn.Parameter(torch.randn(len(self.stems), width))
        channels: ColumnChannels = {n: ([value_channels(s, "inputs")], []) for n, s in inputs.items()}
        self.column_axes = _target_axes(self.stems) | self.stems.axes("stems", channels)

    def forward(self, x: Batch, context: EncodedContext | None = None) -> Tensor:
        """Column -> (B, T, C) floats, to (B, n, D)."""
        rows = len(x[self.names[0]])
        e = column_conditions(self.condition, context, rows)
        tokens, _ = self.stems.encode({n: x[n].to(e.dtype) for n in self.names}, e)
        return torch.cat(list(self.trunk(tokens, e, context)), dim=1)


class Decoder(nn.Module):
    """The inverse of Encoder: tokens on the coarse grids of columns -> a prediction for every token of each.

    inputs   column -> Spec, for its grid
    outputs  column -> floats a token that come out
    """

    def __init__(
        self,
        inputs: Mapping[str, Spec],
        outputs: Mapping[str, int],
        *,
        width: int,
        depth: int,
        stem: str,
        max_grid: int = MAX_GRID,
        pack_columns: bool = False,
    ) -> None:
        super().__init__()
        self.stems = ColumnStems(
            inputs,
            None,
            outputs,
            lambda s, c_in, c_out: make_stem(stem, s, c_in, c_out, width, skips=False, max_grid=max_grid),
            pack=pack_columns,
        )
        self.trunk = Trunk(self.stems.grids, width, depth)
        self.tokens = sum(self.trunk.sizes)  # n of all columns
        self.condition = nn.Parameter(torch.randn(len(self.stems), width))
        channels: ColumnChannels = {
            n: ([], [Part(0, outputs[n], "outputs" if s.sampled else "append")]) for n, s in inputs.items()
        }
        self.column_axes = _target_axes(self.stems) | self.stems.axes("stems", channels)

    def forward(self, h: Tensor, context: EncodedContext | None = None) -> Batch:
        """(B, n, D) -> column -> (B, T, outputs[column]) float32."""
        e = column_conditions(self.condition, context, len(h))
        parts = self.trunk(h.split(self.trunk.sizes, dim=1), e, context)
        return self.stems.decode(parts, [[] for _ in parts], e)


def fourier_features(t: Tensor, floats: int = FEATURES) -> Tensor:
    """Sines and cosines of t in [0, 1] at wavelengths from 2 pi to 2 pi / 1000: (...) -> (..., floats)."""
    angles = t[..., None] * 1000.0 ** torch.linspace(0, 1, floats // 2, device=t.device)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def resample(x: Tensor, grid: tuple[int, ...], new_grid: tuple[int, ...]) -> Tensor:
    """Resample floats on a grid of one to three axes linearly: (B, T, C) -> (B, T', C)."""
    axes = len(grid)
    mode = ("linear", "bilinear", "trilinear")[axes - 1]
    channels_first = x.unflatten(1, grid).movedim(-1, 1)
    antialias = axes == 2  # PyTorch has it for two axes only
    y = F.interpolate(channels_first, size=new_grid, mode=mode, antialias=antialias)
    return y.movedim(1, -1).flatten(1, axes)


def _target_axes(stems: ColumnStems) -> dict[str, Axis]:
    """The axes of what networks over several grids have for each of them."""
    return dict.fromkeys(("stems", "trunk.column", "condition"), by_column(stems.labels))


def _aligned_sources(target: Spec, sources: Mapping[str, Spec]) -> dict[str, Spec]:
    """The sources that are sampled along the same axes as a target."""
    return {n: s for n, s in sources.items() if target.sampled and s.sampled and s.axes == target.axes}
