"""Sources as a network sees them: tokens in context, and a pooled vector for modulation.

Legend: B batch, T tokens of a column, C floats a token, S source tokens, D width, K target columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.spec import Spec
from likewise.nets.attention import MASKED_SCORE
from likewise.nets.column_weights import Axis, Columns, OptionalBuffers, by_column, classes_axis
from likewise.nets.layers import ModuleList, norm
from likewise.nets.stems.base import MAX_GRID, Stem, value_channels
from likewise.nets.stems.conv import ConvStem
from likewise.nets.stems.registry import make_stem


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


class ContextEncoder(OptionalBuffers):
    """Encode the sources: a token for each id of a text or label, tokens of a stem for other columns.

    An image is encoded by strided convolutions, down to at most `max_grid` x `max_grid` tokens. `left_out`, (D,),
    is what sources of an earlier network that this one lacks add to the pooled vector: as if never given.
    """

    left_out: Tensor
    optional = ("left_out",)

    def __init__(self, sources: Mapping[str, Spec], width: int, *, max_grid: int = MAX_GRID) -> None:
        super().__init__()
        self.sources = dict(sources)
        self.width = width
        self.embed = ModuleList(_source_embedding(spec, width, max_grid) for spec in self.sources.values())
        self.pool = ModuleList(nn.Linear(width, width, bias=False) for _ in self.sources)
        some = bool(self.sources)  # DistributedDataParallel waits for the gradient of every parameter
        self.column = nn.Parameter(0.02 * torch.randn(len(self.sources), width), requires_grad=some)
        self.missing = nn.Parameter(torch.zeros(len(self.sources), width), requires_grad=some)
        modulated = any(isinstance(stem, ConvStem) for stem in self.embed)
        self.condition = nn.Parameter(torch.randn(len(self.sources), width), requires_grad=modulated)
        self.register_buffer("left_out", torch.zeros(width), persistent=False)
        self.column_axes = (
            dict.fromkeys(("embed", "pool", "column", "missing", "condition"), by_column(self.sources))
            | self._embedding_axes()
        )

    def _embedding_axes(self) -> dict[str, Axis]:
        axes: dict[str, Axis] = {}
        for i, (embed, spec) in enumerate(zip(self.embed, self.sources.values(), strict=True)):
            if isinstance(embed, Stem):
                weights = embed.weight_axes([value_channels(spec, "inputs")], [])
                axes |= {f"embed.{i}.{name}": axis for name, axis in weights.items()}
            elif spec.categorical:
                axes[f"embed.{i}.weight"] = classes_axis(spec.classes)
        return axes

    def adopt(self, old: nn.Module, columns: Columns) -> None:
        assert isinstance(old, ContextEncoder)
        kept = {columns.get(name, name) for name in self.sources}
        dropped = [row for name, row in zip(old.sources, old.missing, strict=True) if name not in kept]
        left_out = reduce(torch.add, dropped, old.left_out)
        if bool(left_out.any()):
            self.set_optional("left_out", left_out.detach().clone())

    def forward(self, c: Context) -> EncodedContext:
        """Encode the sources of a batch."""
        if not self.sources:
            empty = self.column.new_zeros(len(c.present), 0, self.width)
            return EncodedContext(empty, empty[..., 0], self.left_out.expand(len(c.present), -1))
        parts = [
            self._encode_source(i, spec, c.values[name], c.present[:, i, None])
            for i, (name, spec) in enumerate(self.sources.items())
        ]
        tokens, valid = (torch.cat([part[k] for part in parts], dim=1) for k in (0, 1))
        bias = torch.zeros_like(valid, dtype=self.column.dtype).masked_fill(~valid, MASKED_SCORE)
        pooled = reduce(torch.add, [pooled for _, _, pooled in parts]) + self.left_out
        return EncodedContext(tokens, bias, pooled)

    def _encode_source(
        self, i: int, spec: Spec, value: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """value (B, T, ...), present (B, 1) -> tokens (B, S, D), which are valid (B, S), pooled (B, D).

        S is the length of the longest text in the batch, or 1 for a column that is absent in every row.
        """
        embed = self.embed[i]
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
        tokens, valid = tokens[:, :length], valid[:, :length]
        tokens = tokens if isinstance(embed, Stem) else embed(tokens)
        tokens = norm(tokens + sinusoidal_positions(length, self.width).to(tokens))
        mean = (tokens * valid[..., None]).sum(1) / valid.sum(1, keepdim=True).clamp(min=1)
        pooled = torch.where(valid.any(1, keepdim=True), self.pool[i](mean.to(tokens)), self.missing[i])
        return tokens + self.column[i], valid, pooled


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
        nn.init.normal_(table.weight, std=0.02)
        return table
    if spec.padded:
        return nn.Linear(spec.width, width)
    return make_stem("conv", spec, spec.width, None, width, max_grid=max_grid)
