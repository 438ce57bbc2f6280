"""The one backbone: a pre-norm transformer over tokens, sources in context, adaptive layer norm for time.

Legend: B batch, T tokens, C floats a token, D width, S source tokens, K target columns, H heads, E = D / H.

What is measured, not argued (docs/design.md, "Speed"): attention as two plain matrix products is several
times faster on a CPU than the fused kernel's backward pass, and faster over a cache; layer norm has a fused
CPU kernel where RMS norm has none; so both are used as they are here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.layout import Batch, Context
from likewise.spec import Spec
from likewise.stems import COARSE, Picture, Stem, make_stem, norm

HEAD = 64  # E, floats a head


def rotations(grid: tuple[int, ...], size: int) -> Tensor:
    """Rotary positions of a grid (Su et al., 2021): (2, T, E), cosines and signed sines.

    Several axes share the E floats.
    """
    places = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in grid))
    return turned(places.view(-1, len(grid)), size, 100.0)


def turned(places: Tensor, size: int, base: float) -> Tensor:
    """The same of places (T, axes) on any grid; wavelengths are from 2 pi to 2 pi `base`."""
    axes, pairs = places.shape[1], size // 2
    share = [pairs // axes + (a < pairs % axes) for a in range(axes)]
    parts = [
        places[:, a, None] * base ** (-torch.arange(n, device=places.device) / n) for a, n in enumerate(share)
    ]
    angles = torch.cat(parts, dim=1)
    cosines, sines = angles.cos(), angles.sin()
    return torch.stack([cosines.repeat(1, 2), torch.cat([-sines, sines], dim=1)])


class Cache:
    """Keys and values that an attention has seen, (B, H, n, E) each, of at most `room` tokens.

    A processor's are float32, in which it multiplies a vector and a matrix faster than in bf16.
    """

    def __init__(self, room: int) -> None:
        self.room, self.n = room, 0
        self.kv: Tensor | None = None

    def add(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append those of further tokens; returns all of them."""
        if self.kv is None:
            self.kv = torch.empty(
                2,
                *k.shape[:2],
                self.room,
                k.shape[-1],
                device=k.device,
                dtype=k.dtype if k.is_cuda else torch.float32,
            )
        end = self.n + k.shape[2]
        self.kv[0, :, :, self.n : end], self.kv[1, :, :, self.n : end] = k, v
        self.n = end
        return self.kv[0, :, :, :end], self.kv[1, :, :, :end]


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, cache: Cache | None) -> Tensor:
    """softmax(scale q k^T + bias) v, (B, H, T, E) each -> (B, T, H E).

    With a cache the T tokens see those it holds as well, and it keeps them.
    """
    if cache is not None:
        k, v = cache.add(k, v)
    if q.is_cuda:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
    else:
        scores = (q * scale).to(k.dtype) @ k.transpose(-1, -2)  # (B, H, T, T)
        y = ((scores if bias is None else scores + bias).softmax(-1) @ v).to(q.dtype)
    return y.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head attention with normalised queries and keys (Henry et al., 2020) and rotary positions.

    A subclass may leave them as they are, with scores over sqrt(E).
    """

    normalised: ClassVar[bool] = True

    def __init__(self, width: int, heads: int | None = None, biased: bool = False) -> None:
        """heads: default one for every 64 floats."""
        super().__init__()
        self.heads = heads or max(1, width // HEAD)
        self.qkv = nn.Linear(width, 3 * width, bias=biased)
        self.out = zero(nn.Linear(width, width, bias=biased))

    def forward(self, x: Tensor, table: Tensor, bias: Tensor | None, cache: Cache | None = None) -> Tensor:
        """x (B, T, D), table (2, T, E), bias (B or 1, 1, T or 1, T), added to the scores -> (B, T, D).

        With a cache the T tokens see those it holds as well, and it keeps them.
        """
        batch, tokens, width = x.shape
        size = width // self.heads
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)  # (3, B, H, T, E)
        qk = norm(qkv[:2]) if self.normalised else qkv[:2]
        (q, k), v = qk * table[0] + qk.roll(size // 2, -1) * table[1], qkv[2]
        return self.out(attend(q, k, v, bias, (1.2 if self.normalised else 1.0) / math.sqrt(size), cache))


class Block(nn.Module):
    """x + gate attention(mod(x)), then x + gate mlp(mod(x)), by adaptive layer norm.

    This is DiT's block (Peebles & Xie, 2023), except that the residual branches start at zero through their
    output projections, and the gates at one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = zero(nn.Linear(width, 6 * width))
        self.attention = Attention(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = zero(nn.Linear(4 * width, width, bias=False))

    def forward(
        self,
        x: Tensor,
        e: Tensor,
        stream: Tensor | None,
        table: Tensor,
        bias: Tensor | None,
        cache: Cache | None = None,
    ) -> Tensor:
        """One block: (B, T, D) -> (B, T, D).

        e (B, K, D) is one condition a stream; stream (T,) says which is whose, None where K is 1.
        """
        m = self.modulation(e)
        return self.modulated(x, m if stream is None else m[:, stream], table, bias, cache)

    def modulated(
        self, x: Tensor, m: Tensor, table: Tensor, bias: Tensor | None, cache: Cache | None = None
    ) -> Tensor:
        """The same with what the condition was found to say, (B, T or 1, 6 D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = m.chunk(6, dim=-1)
        h = torch.addcmul(shift1, norm(x), scale1 + 1)
        x = torch.addcmul(x, self.attention(h, table, bias, cache), gate1 + 1)
        h = torch.addcmul(shift2, norm(x), scale2 + 1)
        return torch.addcmul(x, self.down(F.gelu(self.up(h))), gate2 + 1)


@dataclass(frozen=True)
class Reading:
    """Sources as a network sees them; none of it depends on t.

    tokens  (B, S, D)
    bias    (B, S), added to the scores of attention: 0, or as good as minus infinity
    pooled  (B, D)
    beside  target that is a picture -> the sources that are pictures too, on its grid, (B, T, C); of Net only
    """

    tokens: Tensor
    bias: Tensor
    pooled: Tensor
    beside: Batch = field(default_factory=dict)


class Reader(nn.Module):
    """Sources -> tokens that stand in context beside the target's, and one pooled vector for modulation.

    A picture is read by strided convolutions, down to a grid of at most `coarse` x `coarse` tokens.
    """

    def __init__(self, sources: Mapping[str, Spec], width: int, *, coarse: int = COARSE) -> None:
        super().__init__()
        self.sources = dict(sources)
        self.width = width
        self.embed = nn.ModuleList(_embedder(spec, width, coarse) for spec in self.sources.values())
        self.pool = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in self.sources)
        some = bool(self.sources)  # DistributedDataParallel waits for the gradient of whatever requires one
        self.column = nn.Parameter(0.02 * torch.randn(len(self.sources), width), requires_grad=some)
        self.missing = nn.Parameter(torch.zeros(len(self.sources), width), requires_grad=some)
        pictures = any(isinstance(stem, Picture) for stem in self.embed)
        self.condition = nn.Parameter(torch.randn(len(self.sources), width), requires_grad=pictures)

    def forward(self, c: Context) -> Reading:
        if not self.sources:
            empty = self.column.new_zeros(len(c.present), 0, self.width)
            return Reading(empty, empty[..., 0], empty.new_zeros(len(c.present), self.width))
        parts = []
        for i, (name, spec) in enumerate(self.sources.items()):
            parts.append(self._source(i, spec, c.values[name], c.present[:, i, None]))
        tokens, used, pooled = zip(*parts, strict=True)
        used = torch.cat(used, dim=1)
        bias = torch.zeros_like(used, dtype=self.column.dtype).masked_fill(~used, -1e4)
        return Reading(torch.cat(tokens, dim=1), bias, sum(pooled))

    def _source(self, i: int, spec: Spec, value: Tensor, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """value (B, T, ...), present (B, 1) -> tokens (B, S, D), which are used (B, S), pooled (B, D).

        A batch is as long as its longest text, and a column that no row gives takes one token.
        """
        places = spec.categorical or spec.padded  # a token for each place
        if places:
            ids = value if spec.categorical else value[..., -1]
            used = (ids != 0) if spec.padded else torch.ones_like(ids, dtype=torch.bool)
            tokens = value if spec.categorical else value.to(self.column.dtype)
        else:
            value = value if bool(present.any()) else value[:1]  # nobody will look at it
            e = F.gelu(self.condition[i]).expand(len(value), -1)
            tokens, _ = self.embed[i].encode(value.to(e.dtype), e)
            tokens = tokens.expand(len(present), -1, -1)
            used = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        used = used & present
        length = max(1, int(used.any(0).sum()))
        tokens, used = tokens[:, :length], used[:, :length]
        tokens = self.embed[i](tokens) if places else tokens
        tokens = norm(tokens + wave(length, self.width).to(tokens))
        mean = (tokens * used[..., None]).sum(1) / used.sum(1, keepdim=True).clamp(min=1)
        given = used.any(1, keepdim=True)
        pooled = torch.where(given, self.pool[i](mean.to(tokens)), self.missing[i])
        return tokens + self.column[i], used, pooled


class Trunk(nn.Module):
    """Blocks over the tokens of some grids, a condition each, with sources in context."""

    def __init__(self, grids: Sequence[tuple[int, ...]], width: int, depth: int) -> None:
        super().__init__()
        self.sizes = [math.prod(grid) for grid in grids]
        self.column = nn.Parameter(0.02 * torch.randn(len(grids), width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        size = width // max(1, width // HEAD)
        table = torch.cat([rotations(grid, size) for grid in grids], dim=1)
        self.register_buffer("table", table, persistent=False)
        stream = torch.arange(len(grids)).repeat_interleave(torch.tensor(self.sizes))
        self.register_buffer("stream", stream, persistent=False)

    def forward(self, parts: Sequence[Tensor], e: Tensor, reading: Reading | None = None) -> Sequence[Tensor]:
        """Tokens of each grid, (B, n, D), -> as many; e (B, K, D) is the condition of each grid."""
        h = torch.cat([part + own for part, own in zip(parts, self.column, strict=True)], dim=1)
        bias, table = None, self.table.to(h.dtype)
        sources = reading.tokens.shape[1] if reading else 0
        if sources:  # source tokens are not rotated: their places are in their embedding
            h = torch.cat([h, reading.tokens], dim=1)
            bias = F.pad(reading.bias, (sum(self.sizes), 0))[:, None, None]  # (B, 1, 1, T + S)
            place = table[0, :1]
            still = torch.stack([torch.ones_like(place), torch.zeros_like(place)])
            table = torch.cat([table, still.expand(-1, sources, -1)], dim=1)
        stream = F.pad(self.stream, (0, sources)) if len(self.sizes) > 1 else None
        for block in self.blocks:
            h = block(h, e, stream, table, bias)
        return h[:, : sum(self.sizes)].split(self.sizes, dim=1)


class Net(nn.Module):
    """Target columns at their times, sources in context -> one prediction a target token.

    Where target and source are pictures, the source is resized to the target's grid and comes in beside it
    (Saharia et al., 2022, "SR3"), so that what lies at a place need not be looked for.

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
        self.beside = {n: s for n, s in sources.items() if len(s.grid) == 2 and not s.categorical}
        more = sum(s.width + 1 for s in self.beside.values())
        self.grids = {n: s.grid for n, s in inputs.items() if len(s.grid) == 2 and more}
        self.stems = nn.ModuleList(
            make_stem(stem, s.grid, s.width + 1 + (more if n in self.grids else 0), outputs[n], width)
            for n, s in inputs.items()
        )
        self.names = list(inputs)
        self.reader = Reader(sources, width)
        self.time = nn.Sequential(nn.Linear(256, width), nn.GELU(), nn.Linear(width, width))
        self.told = nn.ModuleList(
            nn.Sequential(nn.Linear(256, width), nn.GELU(), zero(nn.Linear(width, width)))
            for _ in range(told)
        )
        self.trunk = Trunk([stem.grid for stem in self.stems], width, depth)

    def read(self, c: Context) -> Reading:
        """Read the sources once; the result serves every t."""
        beside = {name: self._resized(c, grid) for name, grid in self.grids.items()}
        return replace(self.reader(c), beside=beside)

    def _resized(self, c: Context, grid: tuple[int, ...]) -> Tensor:
        """Picture sources on another grid, each with a channel that says whether it is given: (B, T, C)."""
        parts = []
        for k, name in enumerate(c.values):
            if name in self.beside:
                given = c.present[:, k, None, None].to(c.values[name])
                x = torch.cat([c.values[name], torch.ones_like(c.values[name][..., :1])], dim=-1) * given
                x = x.unflatten(1, self.beside[name].grid).permute(0, 3, 1, 2).float()
                x = F.interpolate(x, size=grid, mode="bilinear", antialias=True)
                parts.append(x.permute(0, 2, 3, 1).flatten(1, 2))
        return torch.cat(parts, dim=-1)

    def forward(
        self, x: Batch, t: Tensor, known: Batch, reading: Reading, told: Tensor | None = None
    ) -> Batch:
        """One prediction a token: column -> (B, T, outputs[column]).

        x column -> (B, T, C); t (B, K); known column -> (B, T, 1) in {0, 1}; told (B, as many as it is told).
        """
        dtype = self.trunk.column.dtype
        e = self.time(waves(t).to(dtype)) + reading.pooled[:, None]  # (B, K, D)
        for i, part in enumerate(self.told):
            e = e + part(waves(told[:, i]).to(dtype))[:, None]
        e = F.gelu(e)
        inside = [
            torch.cat([x[n], known[n], *([reading.beside[n]] if n in self.grids else [])], dim=-1)
            for n in self.names
        ]
        parts, skips = zip(
            *(
                stem.encode(part.to(dtype), e[:, i])
                for i, (part, stem) in enumerate(zip(inside, self.stems, strict=True))
            ),
            strict=True,
        )
        columns = enumerate(zip(self.names, self.stems, self.trunk(parts, e, reading), skips, strict=True))
        return {name: stem.decode(part, skip, e[:, i]).float() for i, (name, stem, part, skip) in columns}


class Encoder(nn.Module):
    """Columns of floats -> tokens on their coarse grids, (B, n, D), with or without sources in context."""

    def __init__(
        self, inputs: Mapping[str, Spec], *, width: int, depth: int, stem: str, coarse: int = COARSE
    ) -> None:
        super().__init__()
        self.names = list(inputs)
        self.stems = nn.ModuleList(
            make_stem(stem, s.grid, s.width, None, width, coarse=coarse) for s in inputs.values()
        )
        self.trunk = Trunk([stem.grid for stem in self.stems], width, depth)
        self.tokens = sum(self.trunk.sizes)  # n
        self.condition = nn.Parameter(torch.randn(len(self.names), width))

    def forward(self, x: Batch, reading: Reading | None = None) -> Tensor:
        """Column -> (B, T, C) floats, to (B, n, D)."""
        rows = len(x[self.names[0]])
        e = conditions(self.condition, reading, rows)
        parts = [
            stem.encode(x[name].to(e.dtype), e[:, i])[0]
            for i, (name, stem) in enumerate(zip(self.names, self.stems, strict=True))
        ]
        return torch.cat(list(self.trunk(parts, e, reading)), dim=1)


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
            make_stem(stem, s.grid, None, outputs[n], width, skips=False, coarse=coarse)
            for n, s in inputs.items()
        )
        self.trunk = Trunk([stem.grid for stem in self.stems], width, depth)
        self.tokens = sum(self.trunk.sizes)  # n
        self.condition = nn.Parameter(torch.randn(len(self.names), width))

    def forward(self, h: Tensor, reading: Reading | None = None) -> Batch:
        """(B, n, D) -> column -> (B, T, outputs[column]) float32."""
        e = conditions(self.condition, reading, len(h))
        parts = self.trunk(h.split(self.trunk.sizes, dim=1), e, reading)
        return {
            name: stem.decode(part, [], e[:, i]).float()
            for i, (name, stem, part) in enumerate(zip(self.names, self.stems, parts, strict=True))
        }


def conditions(own: Tensor, reading: Reading | None, rows: int) -> Tensor:
    """One condition for each of K columns, where no time is: own (K, D) and what is read -> (B, K, D)."""
    return F.gelu(own.expand(rows, -1, -1) if reading is None else own + reading.pooled[:, None])


def waves(t: Tensor, floats: int = 256) -> Tensor:
    """Sines and cosines of t in [0, 1] at wavelengths from 2 pi to 2 pi / 1000: (...) -> (..., floats)."""
    angles = t[..., None] * 1000.0 ** torch.linspace(0, 1, floats // 2, device=t.device)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def wave(tokens: int, floats: int) -> Tensor:
    """Sinusoidal places of a sequence (Vaswani et al., 2017), (T, floats), small beside unit embeddings."""
    places = torch.arange(tokens)[:, None] * 1e4 ** (-torch.arange(floats // 2) / (floats // 2))
    return 0.02 * F.pad(torch.cat([places.sin(), places.cos()], dim=-1), (0, floats % 2))


def zero(layer: nn.Linear) -> nn.Linear:
    """The same layer, starting at zero."""
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


def _embedder(spec: Spec, width: int, coarse: int) -> nn.Embedding | nn.Linear | Stem:
    if spec.categorical:
        table = nn.Embedding(spec.classes, width)
        nn.init.normal_(table.weight, std=0.02)
        return table
    if spec.padded:
        return nn.Linear(spec.width, width)
    return make_stem("conv", spec.grid, spec.width, None, width, coarse=coarse)
