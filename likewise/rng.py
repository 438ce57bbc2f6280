"""Rng: everything random comes from (seed, row). Layer 0.

A row of a batch draws from a generator of its own, so that its numbers do not depend on which other rows are
in the batch, on how many processes share it, or on the device. No global generator is read or set anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor


def seed_of(*key: int | str) -> int:
    """A 63-bit seed from a key, the same in every process.

    >>> seed_of("noise", 0, 7) == seed_of("noise", 0, 7) != seed_of("noise", 0, 8)
    True
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Rng:
    """One generator a row: row i of a draw depends on (key, rows[i]), the draws before it and nothing else.

    >>> a, b = Rng(range(4), "noise", 0).normal(3), Rng([2], "noise", 0).normal(3)
    >>> bool((a[2] == b[0]).all()), a.shape
    (True, torch.Size([4, 3]))
    """

    def __init__(self, rows: Iterable[int], *key: int | str, device: torch.device | str = "cpu") -> None:
        self.generators = [torch.Generator().manual_seed(seed_of(*key, row)) for row in rows]
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self.generators)

    def take(self, rows: Tensor) -> Rng:
        """The generators of some of the rows, by their places; they are shared, not copied."""
        part = Rng([], device=self.device)
        part.generators = [self.generators[i] for i in rows.tolist()]
        return part

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, (B, *shape) float32."""
        return self._rows(torch.randn, *shape)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (B, *shape) float32."""
        return self._rows(torch.rand, *shape)

    def _rows(self, draw, *shape: int) -> Tensor:
        out = torch.empty(len(self), *shape)
        for row, generator in zip(out, self.generators, strict=True):
            draw(shape, generator=generator, out=row)
        return out.to(self.device)
