"""Rng: everything random comes from (seed, row). Layer 0.

A row of a batch draws from a generator of its own, so that its numbers do not depend on which other rows are
in the batch, on how many processes share it, or on the device. No global generator is read or set anywhere.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

Arc = Callable[[Tensor, Tensor, Tensor], Tensor]  # (a, b, share) -> between a and b


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
        self.other: tuple[Rng, Tensor] | None = None

    @classmethod
    def slerp(cls, a: Rng, b: Rng, share: Tensor) -> Rng:
        """From a's numbers, where a row's `share`, (B,) in [0, 1], is 0, to b's, where it is 1.

            e = sin((1 - w) pi / 2) e_a + sin(w pi / 2) e_b                                               (1)

        This is N(0, I) for every w. It is spherical interpolation (Shoemake, 1985) at a right angle, which is
        the angle between two long vectors of noise. A uniform number moves so by its normal quantile.
        """
        mixed = a.take(torch.arange(len(a)))
        mixed.other = b, share.double()
        return mixed

    def __len__(self) -> int:
        return len(self.generators)

    def take(self, rows: Tensor) -> Rng:
        """The generators of some of the rows, by their places; they are shared, not copied."""
        part = Rng([], device=self.device)
        part.generators = [self.generators[i] for i in rows.tolist()]
        if self.other is not None:
            other, share = self.other
            part.other = other.take(rows), share[rows.cpu()]
        return part

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, (B, *shape) float32."""
        return self._rows(torch.randn, _arc, *shape).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (B, *shape) float32."""
        return self._rows(torch.rand, _uniform_arc, *shape).to(self.device)

    def _rows(self, draw: Callable[..., Tensor], arc: Arc, *shape: int) -> Tensor:
        out = torch.empty(len(self), *shape)
        for row, generator in zip(out, self.generators, strict=True):
            draw(shape, generator=generator, out=row)
        if self.other is None:
            return out
        other, share = self.other
        there, w = other._rows(draw, arc, *shape), share.view(-1, *[1] * len(shape))
        mixed = arc(out.double(), there.double(), w).float()
        return torch.where(w == 0, out, torch.where(w == 1, there, mixed))


def _arc(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """(1) of Rng.between."""
    return ((1 - w) * math.pi / 2).sin() * a + (w * math.pi / 2).sin() * b


def _uniform_arc(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """The same of uniform numbers, which stay below 1."""
    a, b = (torch.special.ndtri(u.clamp(1e-9, 1 - 1e-9)) for u in (a, b))
    return torch.special.ndtr(_arc(a, b, w)).clamp(max=1 - 2**-24)
