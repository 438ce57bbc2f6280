"""TODO nets.embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.nets.attention import zero_init

HASH_FACTORS = ((36313, 27191), (36313, 27191, 51647))  # of the ids of a key, last to first: odd


class HashedNGrams(nn.Module):
    """Vectors of the last two and of the last three ids, by hash (as in Shazeer et al., 2016, "NNLM").

    What stands before the first id counts as 0. At first all are zero.
    """

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(zero_init(nn.Embedding(size, width)) for _ in HASH_FACTORS)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, n) -> (B, n, D)."""
        total = None
        for table, factors in zip(self.tables, HASH_FACTORS, strict=True):
            key = torch.zeros_like(ids)
            for back, factor in enumerate(factors):
                key = key ^ (F.pad(ids, (back, 0))[:, : ids.shape[1]] * factor)
            e = table(key % table.num_embeddings)
            total = e if total is None else total + e
        return total


class FourierNumberEmbedding(nn.Module):
    """Tokens of C floats, embedded as they are and by sines and cosines of 1, 2, 4 and 8 times them."""

    def __init__(self, floats: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(9 * floats, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., D)."""
        angles = torch.cat([k * x.float() for k in (1, 2, 4, 8)], dim=-1)
        waves = torch.cat([x.float(), angles.sin(), angles.cos()], dim=-1)
        return self.enter(waves.to(self.enter.weight.dtype))
