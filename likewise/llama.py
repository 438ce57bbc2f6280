"""Llama's trunk (Touvron et al., 2023), so that a model of text can be exchanged with transformers.

Legend: B batch, T tokens, D width, H heads, E = D / H.

    h = x + O attention(Q n(x), K n(x), V n(x)),   n(x) = x / sqrt(mean x^2 + eps) * weight              (1)
    x' = h + down(silu(gate n'(h)) * up n'(h))                                                          (2)

Queries and keys are turned by their places (Su et al., 2021), scores are over sqrt(E). Slot 0 reads the
embedding of id 0: what ends one text stands before the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from likewise.causal import Slots
from likewise.nets import HEAD, Cache, Reading, attend, turned, zero
from likewise.spec import Spec

BASE, EPS = 1e4, 1e-5       # of wavelengths and of norms, unless options say otherwise
STD = 0.1       # of embeddings at first: nothing normalises the stream that blocks add to
OWN = {"heads": None, "hidden": None, "base": BASE, "eps": EPS}     # options of this trunk alone


class Attention(nn.Module):
    """Multi-head attention as in (1): queries and keys are turned and not normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.o = zero(nn.Linear(width, width, bias=False))

    def forward(self, x: Tensor, table: Tensor, bias: Tensor | None, cache: Cache | None = None) -> Tensor:
        """The same as nets.Attention: x (B, T, D), table (2, T, E), bias (B or 1, 1, T or 1, T)."""
        q, k, v = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
                   for layer in (self.q, self.k, self.v))  # (B, H, T, E)
        half, size = q.shape[-1] // 2, q.shape[-1]
        q, k = (a * table[0] + a.roll(half, -1) * table[1] for a in (q, k))
        return self.o(attend(q, k, v, bias, 1 / math.sqrt(size), cache))


class Block(nn.Module):
    """(1), then (2). Its branches start at zero through their output projections."""

    def __init__(self, width: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.before, self.between = nn.RMSNorm(width, eps=eps), nn.RMSNorm(width, eps=eps)
        self.attention = Attention(width, heads)
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = zero(nn.Linear(hidden, width, bias=False))

    def modulated(self, x: Tensor, m: None, table: Tensor, bias: Tensor | None,
                  cache: Cache | None = None) -> Tensor:
        """The same as nets.Block where nothing modulates: (B, T, D) -> (B, T, D)."""
        x = x + self.attention(self.before(x), table, bias, cache)
        h = self.between(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(Slots):
    """Embedding, blocks, and a last norm with weights, over the ids of one text."""

    def __init__(self, spec: Spec, width: int, depth: int, *, heads: int | None, hidden: int | None,
                 base: float, eps: float) -> None:
        """heads: default one for every 64 floats; hidden: floats
        inside of the mlp, default 8/3 of the width, in sixteens.

        Raises ValueError for a width that heads cannot share in even parts.
        """
        heads = heads or max(1, width // HEAD)
        if width % (2 * heads):
            raise ValueError(f"width={width} is no multiple of twice heads={heads}: the place of a token "
                             "turns pairs of floats of each head")
        super().__init__([spec], width, width // heads)
        self.base = base
        self.embedding = nn.Embedding(spec.classes, width)
        nn.init.normal_(self.embedding.weight, std=STD)
        hidden = hidden or 16 * math.ceil(width / 6)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, eps) for _ in range(depth))
        self.last = nn.RMSNorm(width, eps=eps)

    @property
    def start(self) -> Tensor:
        """The embedding of id 0, (D,)."""
        return self.embedding.weight[0]

    def _turned(self, spots: Tensor) -> Tensor:
        return turned(spots[:, None].float(), self.head, self.base)

    def _placed(self, tokens: Tensor, spots: Tensor | slice) -> Tensor:
        return tokens

    def told(self, reading: Reading, rows: int) -> Sequence[Tensor | None]:
        return [None] * len(self.blocks)

    def said(self, h: Tensor) -> Tensor:
        return self.last(h)


def refused(targets: Mapping[str, Spec], sources: Mapping[str, Spec], compat: str,
            options: Mapping[str, Any]) -> str | None:
    """Why a model cannot have this trunk, or options of it without it; None if all is well."""
    if compat == "none":
        own = [name for name, default in OWN.items() if options[name] != default]
        return f"{own[0]}={options[own[0]]} is an option of compat=llama; leave it out" if own else None
    if sources or [s.padded and s.categorical for s in targets.values()] != [True]:
        return (f"compat={compat} is for one target that is a text or a document, and no sources, not for "
                f"{', '.join(targets)}{' | ' if sources else ''}{', '.join(sources)}")
    if options["infill"]:
        return f"compat={compat} reads nothing but what stands before a place; leave infill out"
    if options["grams"]:
        return f"compat={compat} looks up nothing beside the ids; leave grams out"
    if options["fim"]:
        return f"compat={compat} has no marks beside the ids; leave fim out"
    return None
