"""Rng: random numbers that depend on (seed, row) only.

Each row of a batch has its own generator, so its numbers depend neither on the other rows of the batch nor on
the number of processes or the device. No global generator is read or set anywhere.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

Interpolation = Callable[[Tensor, Tensor, Tensor], Tensor]  # (a, b, weight of b) -> between a and b


def seed_of(*key: int | str) -> int:
    """A 63-bit seed from a key, the same in every process.

    >>> seed_of("noise", 0, 7) == seed_of("noise", 0, 7) != seed_of("noise", 0, 8)
    True
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Rng:
    """One generator per row: row i depends on (key, rows[i]) and the number of calls before, on nothing else.

    >>> a, b = Rng(range(4), "noise", 0).normal(3), Rng([2], "noise", 0).normal(3)
    >>> bool((a[2] == b[0]).all()), a.shape
    (True, torch.Size([4, 3]))
    """

    def __init__(self, rows: Iterable[int], *key: int | str, device: torch.device | str = "cpu") -> None:
        self.generators = [torch.Generator().manual_seed(seed_of(*key, row)) for row in rows]
        self.device = torch.device(device)
        self.blend: tuple[Rng, Tensor] | None = None  # of `slerp`: the other end and its weight, (B,)

    @classmethod
    def of_keys(cls, keys: Iterable[Sequence[int | str]], device: torch.device | str = "cpu") -> Rng:
        """Rows with a whole key each: ("noise", 0, 2) is row 2 of `Rng(rows, "noise", 0)`."""
        rng = cls([], device=device)
        rng.generators = [torch.Generator().manual_seed(seed_of(*key)) for key in keys]
        return rng

    @classmethod
    def slerp(cls, a: Rng, b: Rng, weight: Tensor) -> Rng:
        """Interpolate between the numbers of a and of b, by a `weight` w of b per row, (B,) in [0, 1].

            e = sin((1 - w) pi / 2) e_a + sin(w pi / 2) e_b                                               (1)

        Noise is N(0, I) for every w: this is spherical interpolation (Shoemake, 1985) at a right angle, the
        angle between two long vectors of noise. Uniform numbers are interpolated by their normal quantiles.
        """
        mixed = a.take(torch.arange(len(a)))
        mixed.blend = b, weight.double()
        return mixed

    def __len__(self) -> int:
        return len(self.generators)

    def take(self, rows: Tensor) -> Rng:
        """The generators at these indices, shared and not copied."""
        part = Rng([], device=self.device)
        part.generators = [self.generators[i] for i in rows.tolist()]
        if self.blend is not None:
            other, weight = self.blend
            part.blend = other.take(rows), weight[rows.cpu()]
        return part

    def copy(self) -> Rng:
        """The same numbers once more: generators of their own, in the present states."""
        again = Rng([], device=self.device)
        again.generators = [torch.Generator().set_state(g.get_state()) for g in self.generators]
        if self.blend is not None:
            again.blend = self.blend[0].copy(), self.blend[1]
        return again

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, (B, *shape) float32."""
        return self._fill(torch.randn, _slerp, *shape).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), (B, *shape) float32."""
        return self._fill(torch.rand, _uniform_slerp, *shape).to(self.device)

    def bytes(self, *shape: int) -> Tensor:
        """Uniform numbers from 0 to 255, (B, *shape) uint8, at an eighth of the cost of others."""
        count = math.prod(shape)
        out = torch.empty(len(self), -(-count // 8), dtype=torch.int64)
        for row, generator in zip(out, self.generators, strict=True):
            row.random_(-(2**63), None, generator=generator)
        return out.view(torch.uint8)[:, :count].view(len(self), *shape).to(self.device)

    def _fill(self, sample: Callable[..., Tensor], interpolate: Interpolation, *shape: int) -> Tensor:
        out = torch.empty(len(self), *shape)
        for row, generator in zip(out, self.generators, strict=True):
            sample(shape, generator=generator, out=row)
        if self.blend is None:
            return out
        other, weight = self.blend
        end, w = other._fill(sample, interpolate, *shape), weight.view(-1, *[1] * len(shape))
        mixed = interpolate(out.double(), end.double(), w).float()
        return torch.where(w == 0, out, torch.where(w == 1, end, mixed))


def _slerp(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """(1) of Rng.slerp."""
    return ((1 - w) * math.pi / 2).sin() * a + (w * math.pi / 2).sin() * b


def _uniform_slerp(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """The same for uniform numbers, which stay below 1."""
    a, b = (torch.special.ndtri(u.clamp(1e-9, 1 - 1e-9)) for u in (a, b))
    return torch.special.ndtr(_slerp(a, b, w)).clamp(max=1 - 2**-24)
