"""Contrastive embeddings: columns of one row close to each other on a sphere, those of other rows far apart.

    u_a = f_a(x_a) / |f_a(x_a)|, an encoder for each column a; s = exp(log_scale) <u_a, u_b>             (1)
    InfoNCE   -1/2 ln softmax_j(s_ij)[i] - 1/2 ln softmax_j(s_ji)[i]                                     (2)
    SigLIP    -ln sigmoid(s_ii + b) - 1/2 sum_{j != i} (ln sigmoid(-s_ij - b) + ln sigmoid(-s_ji - b))   (3)

(2) is van den Oord et al. (2018) in both directions, as in CLIP (Radford et al., 2021); (3) is Zhai et al.
(2023), where every pair of rows is classified on its own. The loss is the sum over all pairs of columns. A row
j with the value of row i in one of the two columns is no negative, and left out of the sums.

The optimum of (2) has <u_a, u_b> = ln p(a, b) / (p(a) p(b)) up to scale and a constant: there are no samples
and no density, but matching values are found.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.errors import did_you_mean
from likewise.core.ranges import Depth, Dimensions, MaxGrid, Width
from likewise.core.rng import Rng
from likewise.core.spec import Spec
from likewise.families.base import Family
from likewise.nets.column_weights import by_column
from likewise.nets.conditioning import ContextEncoder, column_conditions
from likewise.nets.layers import Linear, norm
from likewise.nets.transformer import Encoder, Trunk

MAX_SCALE = 100.0  # of exp(log_scale): beyond it single pairs dominate the loss
INIT = {"infonce": (1 / 0.07, 0.0), "siglip": (10.0, -10.0)}  # scale and b, as in the papers


class Contrastive(Family):
    """Unit vectors of two or more columns, aligned. It has `embed`, and neither `sample` nor `log_prob`."""

    rowwise_loss: ClassVar[bool] = False

    def __init__(
        self,
        targets: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        width: Width = 128,
        depth: Depth = 2,
        stem: Literal["conv", "patch"] = "conv",
        max_grid: MaxGrid = 8,
        embed_dim: Dimensions = 64,
        objective: Literal["infonce", "siglip"] = "infonce",
    ) -> None:
        """An encoder for each column. Raises ValueError for fewer than two targets, and for sources.

        width   hidden width; depth: blocks of each encoder
        stem    for images: convolutions or linear patches; max_grid: tokens along a side of an image, at most
        embed_dim  numbers of an embedding
        objective  infonce: the match among the rows of a batch; siglip: each pair of rows, match or not
        """
        super().__init__(targets, sources)
        if sources:
            raise ValueError(
                "the family contrastive aligns targets and takes no sources; write "
                f"{', '.join([*targets, *sources])!r} in place of "
                f"'{', '.join(targets)} | {', '.join(sources)}'"
            )
        if len(targets) < 2:
            raise ValueError(
                "the family contrastive aligns two columns or more; write them with a comma, as "
                f"in '{next(iter(targets))}, text'"
            )
        self.embed_dim = embed_dim
        self.objective, self.pairs = objective, list(itertools.combinations(targets, 2))
        self.towers = nn.ModuleList(
            Tower(name, spec, width=width, depth=depth, stem=stem, max_grid=max_grid, embed_dim=embed_dim)
            for name, spec in targets.items()
        )
        scale, bias = INIT[objective]
        self.log_scale = nn.Parameter(torch.full((len(self.pairs),), math.log(scale)))
        self.bias = nn.Parameter(torch.full((len(self.pairs),), bias), requires_grad=objective == "siglip")
        pairs = by_column(map(frozenset, self.pairs))
        self.column_axes = {"towers": by_column(targets), "log_scale": pairs, "bias": pairs}

    def embed(self, name: str, x: Tensor) -> Tensor:
        """Encoded values of a column, (B, T, C) or (B, T) -> unit vectors (B, floats) float32, by (1).

        Raises ValueError for a column that is no target.
        """
        if name not in self.targets:
            raise ValueError(did_you_mean("target", name, self.targets))
        return F.normalize(self.towers[list(self.targets).index(name)](x).float(), dim=1)

    def code_spec(self, name: str) -> Spec:
        """The Spec of an embedding: one vector."""
        return Spec((1,), width=self.embed_dim)

    @torch.no_grad()
    def to_codes(self, name: str, x: Tensor) -> Tensor:
        return self.embed(name, x)[:, None]

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """(2) or (3), summed over the pairs of columns: (B,)."""
        u = {name: self.embed(name, x[name]) for name in self.targets}
        same = {name: equal(x[name]) for name in self.targets}
        scales = self.log_scale.float().clamp(max=math.log(MAX_SCALE)).exp()
        total, accuracies = torch.zeros(len(rng), device=rng.device), []
        for (a, b), scale, bias in zip(self.pairs, scales, self.bias.float(), strict=True):
            logits, negatives = scale * u[a] @ u[b].T + bias, ~(same[a] | same[b])
            loss = info_nce(logits, negatives) if self.objective == "infonce" else siglip(logits, negatives)
            total = total + loss
            beaten = ((logits.detach() >= logits.detach().diagonal()[:, None]) & negatives).any(1)
            accuracies.append(1 - beaten.float().mean())
        self.loss_terms = {"accuracy": torch.stack(accuracies).mean(), "scale": scales.detach().mean()}
        return total


class Tower(nn.Module):
    """One column -> (B, embed_dim): the mean over its tokens after transformer blocks.

    Ids are encoded like a source: their mean is a single token that attends to them, so that padding has no
    influence.
    """

    def __init__(
        self, name: str, spec: Spec, *, width: int, depth: int, stem: str, max_grid: int, embed_dim: int
    ) -> None:
        super().__init__()
        self.name, self.categorical = name, spec.categorical
        if spec.categorical:
            self.context_encoder = ContextEncoder({name: spec}, width)
            self.context_encoder.missing.requires_grad_(False)  # the column is never absent
            self.trunk = Trunk([(1,)], width, depth)
            self.condition = nn.Parameter(torch.randn(1, width))
        else:
            self.encoder = Encoder({name: spec}, width=width, depth=depth, stem=stem, max_grid=max_grid)
        self.head = Linear(width, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        if not self.categorical:
            return self.head(norm(self.encoder({self.name: x})).mean(1))
        present = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        context = self.context_encoder(Context({self.name: x}, present))
        e = column_conditions(self.condition, context, len(x))
        return self.head(norm(self.trunk([context.pooled[:, None]], e, context)[0][:, 0]))


def info_nce(logits: Tensor, negatives: Tensor) -> Tensor:
    """(2) of logits (B, B), the matches on the diagonal; negatives (B, B) bool, symmetric: (B,).

    >>> info_nce(torch.zeros(4, 4), ~torch.eye(4, dtype=torch.bool)).exp()         # one of four
    tensor([4., 4., 4., 4.])
    """
    own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(~(negatives | own), -torch.inf)
    matches = logits.diagonal()  # first, as the order of operations is that of gradients too
    return (logits.logsumexp(1) + logits.logsumexp(0)) / 2 - matches


def siglip(logits: Tensor, negatives: Tensor) -> Tensor:
    """(3) of logits (B, B) with b, the matches on the diagonal; negatives (B, B) bool: (B,)."""
    negative = F.softplus(logits) * negatives
    return F.softplus(-logits.diagonal()) + (negative.sum(1) + negative.sum(0)) / 2


def equal(x: Tensor) -> Tensor:
    """Which rows of an encoded column, (B, T, ...), have equal values: (B, B) bool."""
    ids = x.flatten(1).unique(dim=0, return_inverse=True)[1]
    return ids[:, None] == ids
