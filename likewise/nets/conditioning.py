"""TODO nets.conditioning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.spec import Spec
from likewise.nets.stems.base import COARSE, Stem, norm
from likewise.nets.stems.conv import ConvStem
from likewise.nets.stems.registry import make_stem


@dataclass(frozen=True)
class EncodedContext:
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


class ContextEncoder(nn.Module):
    """Sources -> tokens that stand in context beside the target's, and one pooled vector for modulation.

    A picture is read by strided convolutions, down to a grid of at most `coarse` x `coarse` tokens.
    """

    def __init__(self, sources: Mapping[str, Spec], width: int, *, coarse: int = COARSE) -> None:
        super().__init__()
        self.sources = dict(sources)
        self.width = width
        self.embed = nn.ModuleList(_source_embedding(spec, width, coarse) for spec in self.sources.values())
        self.pool = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in self.sources)
        some = bool(self.sources)  # DistributedDataParallel waits for the gradient of whatever requires one
        self.column = nn.Parameter(0.02 * torch.randn(len(self.sources), width), requires_grad=some)
        self.missing = nn.Parameter(torch.zeros(len(self.sources), width), requires_grad=some)
        pictures = any(isinstance(stem, ConvStem) for stem in self.embed)
        self.condition = nn.Parameter(torch.randn(len(self.sources), width), requires_grad=pictures)

    def forward(self, c: Context) -> EncodedContext:
        if not self.sources:
            empty = self.column.new_zeros(len(c.present), 0, self.width)
            return EncodedContext(empty, empty[..., 0], empty.new_zeros(len(c.present), self.width))
        parts = []
        for i, (name, spec) in enumerate(self.sources.items()):
            parts.append(self._source(i, spec, c.values[name], c.present[:, i, None]))
        tokens, used, pooled = zip(*parts, strict=True)
        used = torch.cat(used, dim=1)
        bias = torch.zeros_like(used, dtype=self.column.dtype).masked_fill(~used, -1e4)
        return EncodedContext(torch.cat(tokens, dim=1), bias, sum(pooled))

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
        tokens = norm(tokens + sinusoidal_positions(length, self.width).to(tokens))
        mean = (tokens * used[..., None]).sum(1) / used.sum(1, keepdim=True).clamp(min=1)
        given = used.any(1, keepdim=True)
        pooled = torch.where(given, self.pool[i](mean.to(tokens)), self.missing[i])
        return tokens + self.column[i], used, pooled


def column_conditions(own: Tensor, reading: EncodedContext | None, rows: int) -> Tensor:
    """One condition for each of K columns, where no time is: own (K, D) and what is read -> (B, K, D)."""
    return F.gelu(own.expand(rows, -1, -1) if reading is None else own + reading.pooled[:, None])


def sinusoidal_positions(tokens: int, floats: int) -> Tensor:
    """Sinusoidal places of a sequence (Vaswani et al., 2017), (T, floats), small beside unit embeddings."""
    places = torch.arange(tokens)[:, None] * 1e4 ** (-torch.arange(floats // 2) / (floats // 2))
    return 0.02 * F.pad(torch.cat([places.sin(), places.cos()], dim=-1), (0, floats % 2))


def _source_embedding(spec: Spec, width: int, coarse: int) -> nn.Embedding | nn.Linear | Stem:
    if spec.categorical:
        table = nn.Embedding(spec.classes, width)
        nn.init.normal_(table.weight, std=0.02)
        return table
    if spec.padded:
        return nn.Linear(spec.width, width)
    return make_stem("conv", spec, spec.width, None, width, coarse=coarse)
