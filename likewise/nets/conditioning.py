"""Sources as a network sees them: tokens in context, and a pooled vector for modulation.

Legend: B batch, T tokens of a column, C floats a token, S source tokens, D width, K target columns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.spec import Spec
from likewise.nets.attention import ALIGNED, MASKED_SCORE
from likewise.nets.column_weights import Axis, Columns, OptionalBuffers, Part, by_column, classes_axis
from likewise.nets.layers import Linear, ModuleList, linear, norm
from likewise.nets.stems.base import MAX_GRID, Stem, value_channels
from likewise.nets.stems.columns import group_columns, group_labels
from likewise.nets.stems.conv import ConvStem
from likewise.nets.stems.registry import make_stem

EMBEDDING_STD = 0.02  # of the weights of embeddings at the start


@dataclass(frozen=True)
class EncodedContext:
    """Encoded sources; they do not depend on the time t.

    tokens   (B, S, D)
    bias     (B, S), added to attention scores: 0, or MASKED_SCORE where a token is unused
    pooled   (B, D)
    aligned  target -> sources resampled to its grid, (B, T, C); of DenoisingTransformer only
    """

    tokens: Tensor
    bias: Tensor
    pooled: Tensor
    aligned: Batch = field(default_factory=dict)

    def take(self, rows: Tensor | slice) -> EncodedContext:
        """Some of the rows."""
        aligned = {n: v[rows] for n, v in self.aligned.items()}
        return EncodedContext(self.tokens[rows], self.bias[rows], self.pooled[rows], aligned)


class ContextEncoder(OptionalBuffers):
    """Encode the sources: a token for each id of a text or label, tokens of a stem for other columns.

    An image is encoded by strided convolutions, down to at most `max_grid` x `max_grid` tokens. With `pack_columns`
    all sources of one token are one, a RowEmbedding. `left_out`, (D,), is what sources of an earlier network that
    this one lacks add to the pooled vector: as if never given.
    """

    left_out: Tensor
    optional = ("left_out",)

    def __init__(
        self,
        sources: Mapping[str, Spec],
        width: int,
        *,
        max_grid: int = MAX_GRID,
        pack_columns: bool = False,
    ) -> None:
        super().__init__()
        self.sources = dict(sources)
        self.width = width
        self.groups = group_columns(self.sources, pack_columns)
        self.embed = ModuleList(
            _source_embedding(self.sources[group[0]], width, max_grid)
            if len(group) == 1
            else RowEmbedding({n: self.sources[n] for n in group}, width)
            for group in self.groups
        )
        groups, labels = len(self.groups), group_labels(self.groups)
        self.pool = ModuleList(Linear(width, width, bias=False) for _ in self.groups)
        some = bool(self.sources)  # DistributedDataParallel waits for the gradient of every parameter
        self.column = nn.Parameter(0.02 * torch.randn(groups, width), requires_grad=some)
        self.missing = nn.Parameter(torch.zeros(groups, width), requires_grad=some)
        modulated = any(isinstance(stem, ConvStem) for stem in self.embed)
        self.condition = nn.Parameter(torch.randn(groups, width), requires_grad=modulated)
        self.register_buffer("left_out", torch.zeros(width), persistent=False)
        self.column_axes = (
            dict.fromkeys(("embed", "pool", "column", "missing", "condition"), by_column(labels))
            | self._embedding_axes()
        )

    def _embedding_axes(self) -> dict[str, Axis]:
        axes: dict[str, Axis] = {}
        for i, (embed, group) in enumerate(zip(self.embed, self.groups, strict=True)):
            spec = self.sources[group[0]]
            if isinstance(embed, RowEmbedding):
                continue  # it has its own
            if isinstance(embed, Stem):
                weights = embed.weight_axes([value_channels(spec, "inputs")], [])
                axes |= {f"embed.{i}.{name}": axis for name, axis in weights.items()}
            elif spec.categorical:
                axes[f"embed.{i}.weight"] = classes_axis(spec.classes)
        return axes

    def adopt(self, old: nn.Module, columns: Columns) -> None:
        assert isinstance(old, ContextEncoder)
        kept = {columns.get(name, name) for name in self.sources}
        pairs = zip(old.groups, old.missing, strict=True)
        dropped = [row for group, row in pairs if kept.isdisjoint(group)]
        left_out = reduce(torch.add, dropped, old.left_out)
        if bool(left_out.any()):
            self.set_optional("left_out", left_out.detach().clone())

    def forward(self, c: Context) -> EncodedContext:
        """Encode the sources of a batch."""
        if not self.sources:
            empty = self.column.new_zeros(len(c.present), 0, self.width)
            return EncodedContext(empty, empty[..., 0], self.left_out.expand(len(c.present), -1))
        place = {name: k for k, name in enumerate(self.sources)}
        parts = [self._encode(i, c, [place[n] for n in group]) for i, group in enumerate(self.groups)]
        tokens, valid = (torch.cat([part[k] for part in parts], dim=1) for k in (0, 1))
        bias = torch.zeros_like(valid, dtype=self.column.dtype).masked_fill(~valid, MASKED_SCORE)
        pooled = reduce(torch.add, [pooled for _, _, pooled in parts]) + self.left_out
        return EncodedContext(tokens, bias, pooled)

    def _encode(self, i: int, c: Context, places: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Group i, of the sources at `places` -> tokens (B, S, D), which are valid (B, S), pooled (B, D).

        S is the length of the longest text in the batch, or 1 for a column that is absent in every row; without
        gradients it is a multiple of ALIGNED of a column of several tokens, as in `attend`.
        """
        embed, name = self.embed[i], self.groups[i][0]
        if isinstance(embed, RowEmbedding):
            some = c.present[:, places]
            tokens, present = embed(c.values, some), some.any(1, keepdim=True)
            return self._place(i, tokens, present)
        spec, value, present = self.sources[name], c.values[name], c.present[:, places]
        if isinstance(embed, Stem):
            value = value if bool(present.any()) else value[:1]  # it will be ignored
            e = F.gelu(self.condition[i]).expand(len(value), -1)
            tokens, _ = embed.encode(value.to(e.dtype), e)
            tokens = tokens.expand(len(present), -1, -1)
            valid = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        else:
            ids = value if spec.categorical else value[..., -1]
            valid = (ids != 0) if spec.padded else torch.ones_like(ids, dtype=torch.bool)
            tokens = value if spec.categorical else value.to(self.column.dtype)
        valid = valid & present
        length = max(1, int(valid.any(0).sum()))
        if not torch.is_grad_enabled() and valid.shape[1] > 1:
            length = math.ceil(length / ALIGNED) * ALIGNED
        tokens, valid = _to_length(tokens, length), _to_length(valid, length)
        return self._place(i, tokens if isinstance(embed, Stem) else embed(tokens), valid)

    def _place(self, i: int, tokens: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embedded tokens of group i with their positions and their column, which are valid, and pooled."""
        tokens = norm(tokens + sinusoidal_positions(tokens.shape[1], self.width).to(tokens))
        mean = (tokens * valid[..., None]).sum(1) / valid.sum(1, keepdim=True).clamp(min=1)
        pooled = torch.where(valid.any(1, keepdim=True), self.pool[i](mean.to(tokens)), self.missing[i])
        return tokens + self.column[i], valid, pooled


def _to_length(x: Tensor, length: int) -> Tensor:
    """The first tokens of (B, T, ...), and zeros after the last one: (B, length, ...)."""
    extra = length - x.shape[1]
    return F.pad(x, (0, 0) * (x.ndim - 2) + (0, extra)) if extra > 0 else x[:, :length]


class RowEmbedding(nn.Module):
    """Several columns of one token -> one token, (B, 1, D): the sum of embeddings of those that are present.

    Its cost hardly grows with their number.
    """

    offsets: Tensor

    def __init__(self, specs: Mapping[str, Spec], width: int) -> None:
        super().__init__()
        self.names = list(specs)
        labels = {n: s for n, s in specs.items() if s.categorical}
        self.labels, self.floats = list(labels), [n for n in specs if n not in labels]
        floats = self.sizes = {n: specs[n].width for n in self.floats}
        classes = [s.classes for s in labels.values()]
        self.table = nn.Embedding(sum(classes), width) if classes else None
        self.proj = Linear(sum(floats.values()), width, bias=False) if floats else None
        self.present = nn.Parameter(EMBEDDING_STD * torch.randn(len(specs), width))
        for module in (self.table, self.proj):
            if module is not None:
                nn.init.normal_(module.weight, std=EMBEDDING_STD)
        self.register_buffer("offsets", torch.tensor([0, *classes]).cumsum(0)[:-1], persistent=False)
        self.column_axes = {
            "table.weight": Axis(0, tuple(Part(n, s.classes, "append") for n, s in labels.items())),
            "proj.weight": Axis(1, tuple(Part(n, size) for n, size in floats.items())),
            "present": by_column(self.names),
        }

    def forward(self, values: Batch, present: Tensor) -> Tensor:
        """values column -> (B, 1) or (B, 1, C), present (B, K) bool in the order of the columns."""
        share = present.to(self.present.dtype)
        h = linear(share, self.present.T)
        flags = dict(zip(self.names, share.unbind(1), strict=True))
        if self.proj is not None:
            h = h + self.proj(
                torch.cat([values[n].flatten(1).to(h) * flags[n][:, None] for n in self.floats], dim=1)
            )
        if self.table is not None:
            ids = torch.cat([values[n] for n in self.labels], dim=1) + self.offsets
            weight = torch.stack([flags[n] for n in self.labels], dim=1)
            h = h + (self.table(ids) * weight[..., None]).sum(1)
        return h[:, None]

    def column(self, name: str, value: Tensor, present: Tensor) -> Tensor:
        """What one column adds: (B, 1) or (B, 1, C), present (B,) bool -> (B, D)."""
        share = present.to(self.present.dtype)[:, None]
        h = self.present[self.names.index(name)] * share
        if name in self.labels and self.table is not None:
            return h + self.table(value[:, 0] + self.offsets[self.labels.index(name)]) * share
        assert self.proj is not None
        start = sum(self.sizes[n] for n in self.floats[: self.floats.index(name)])
        weight = self.proj.weight[:, start : start + self.sizes[name]]
        return h + linear(value.flatten(1).to(h) * share, weight)


def column_conditions(embedding: Tensor, context: EncodedContext | None, rows: int) -> Tensor:
    """Conditions of K columns without a time: their embedding (K, D) and the pooled sources -> (B, K, D)."""
    return F.gelu(embedding.expand(rows, -1, -1) if context is None else embedding + context.pooled[:, None])


def sinusoidal_positions(tokens: int, width: int) -> Tensor:
    """Sinusoidal positions (Vaswani et al., 2017), (T, D), small compared with unit embeddings."""
    angles = torch.arange(tokens)[:, None] * 1e4 ** (-torch.arange(width // 2) / (width // 2))
    return 0.02 * F.pad(torch.cat([angles.sin(), angles.cos()], dim=-1), (0, width % 2))


def _source_embedding(spec: Spec, width: int, max_grid: int) -> nn.Embedding | nn.Linear | Stem:
    if spec.categorical:
        table = nn.Embedding(spec.classes, width)
        nn.init.normal_(table.weight, std=EMBEDDING_STD)
        return table
    if spec.padded:
        return Linear(spec.width, width)
    return make_stem("conv", spec, spec.width, None, width, max_grid=max_grid)
