"""Token embeddings beside `nn.Embedding`: hashed n-grams of ids, and Fourier features of numbers.

Legend: B batch, n tokens, C floats a token, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.nets.layers import Linear, ModuleList, zero_init

HASH_FACTORS = ((36313, 27191), (36313, 27191, 51647))  # odd, of the ids of an n-gram, last to first


class HashedNGrams(nn.Module):
    """The sum of embeddings of the last two and of the last three ids, by hash (Shazeer et al., 2016, "NNLM").

    Positions before the first id count as id 0. All embeddings start at zero.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.tables = ModuleList(zero_init(nn.Embedding(size, width)) for _ in HASH_FACTORS)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, n) -> (B, n, D)."""
        parts = []
        for table, factors in zip(self.tables, HASH_FACTORS, strict=True):
            key = torch.zeros_like(ids)
            for lag, factor in enumerate(factors):
                key = key ^ (F.pad(ids, (lag, 0))[:, : ids.shape[1]] * factor)
            parts.append(table(key % table.num_embeddings))
        return parts[0] + parts[1]


class FourierNumberEmbedding(nn.Module):
    """A linear embedding of C floats and of the sines and cosines of 1, 2, 4 and 8 times them."""

    def __init__(self, floats: int, width: int) -> None:
        super().__init__()
        self.linear = Linear(9 * floats, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., D)."""
        angles = torch.cat([k * x.float() for k in (1, 2, 4, 8)], dim=-1)
        features = torch.cat([x.float(), angles.sin(), angles.cos()], dim=-1)
        return self.linear(features.to(self.linear.weight.dtype))
