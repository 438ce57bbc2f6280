"""Quantise: what a code may be. A bottleneck takes vectors to codes and back.

    continuous  v = LayerNorm(z), and a decoder is trained on v + 0.2 e, e ~ N(0, I)                     (1)
    fsq         each number on its own at one of L levels (Mentzer et al., 2023), straight through       (2)
    vq, rvq     the nearest of K learned vectors (van den Oord et al., 2017), then the nearest of K others to
                what is left, and so on (Zeghidour et al., 2021):
                loss |sg(r) - e|^2 + 0.25 |r - sg(e)|^2, r what is left, e the code, sg without gradient (3)

Legend: B batch, n places, d floats a code, Q books, K classes. All arithmetic is in float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from likewise.core.rng import Rng
from likewise.nets.stems.base import norm

NOISE = 0.2  # of (1): neighbouring codes must mean similar things, so a prior's small errors do no harm
COMMIT = 0.25
# sizes of codebooks -> levels of (2), after table 1 of its source
LEVELS = {
    16: (4, 4),
    64: (8, 8),
    240: (8, 6, 5),
    512: (8, 8, 8),
    1000: (8, 5, 5, 5),
    4375: (7, 5, 5, 5, 5),
    15360: (8, 8, 8, 6, 5),
    64000: (8, 8, 8, 5, 5, 5),
}


class Bottleneck(nn.Module):
    """What the bottlenecks share; `forward` is for training a decoder, the rest is without noise.

    floats   d, of a code's vector; books: ids a place, 0 where codes are vectors
    classes  K
    """

    code_dim: int
    num_codebooks: int = 0
    codebook_size: int | None = None

    def normalize(self, z: Tensor) -> Tensor:
        """What an encoder says, (B, n, d) -> vectors of about unit size, where codes may be."""
        return norm(z.float())

    def forward(self, z: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """Vectors for a decoder, (B, n, d), through which gradients pass, and what codes cost, (B,)."""
        v = self.normalize(z)
        return v + NOISE * rng.normal(*v.shape[1:]), v.new_zeros(len(v))  # (1)

    def quantize(self, v: Tensor) -> Tensor:
        """Vectors -> the nearest vectors of codes, (B, n, d)."""
        return v


class FSQ(Bottleneck):
    """(2): every number at one of L levels that are evenly spaced and of unit variance."""

    num_codebooks = 1

    def __init__(self, codebook_size: int) -> None:
        super().__init__()
        levels = LEVELS[max((s for s in LEVELS if s <= codebook_size), default=min(LEVELS))]
        self.code_dim, self.codebook_size = len(levels), math.prod(levels)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        strides = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("strides", torch.tensor(strides), persistent=False)

    def _gap(self) -> Tensor:
        """Between levels: L of them, one unit apart, have the variance (L^2 - 1) / 12."""
        return (12 / (self.levels.double().square() - 1)).sqrt().float()

    def normalize(self, z: Tensor) -> Tensor:
        """Each level takes an equal share of (-1, 1)."""
        return 0.5 * self.levels * torch.tanh(z.float()) * self._gap()

    def forward(self, z: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        v = self.normalize(z)
        return v + (self.quantize(v) - v).detach(), v.new_zeros(len(v))

    def quantize(self, v: Tensor) -> Tensor:
        return self.vectors(self.ids(v))

    def ids(self, v: Tensor) -> Tensor:
        """(B, n, d) -> the nearest codes, (B, n) int64."""
        level = (v.float() / self._gap() + (self.levels - 1) / 2).round().clamp(min=0)
        return (torch.minimum(level, self.levels - 1.0).long() * self.strides).sum(-1)

    def vectors(self, ids: Tensor) -> Tensor:
        """(B, n) -> (B, n, d)."""
        level = ids[..., None] // self.strides % self.levels
        return (level - (self.levels - 1) / 2) * self._gap()


class ResidualVQ(Bottleneck):
    """(3). A code is a row of C W, both learned: W moves all codes at once, so that none is left behind
    (Zhu et al., 2024, "SimVQ").

    Of several books, a row in training uses the first 1, 2, ... or all of them.
    """

    def __init__(self, code_dim: int, codebook_size: int, num_codebooks: int) -> None:
        super().__init__()
        self.code_dim, self.codebook_size, self.num_codebooks = code_dim, codebook_size, num_codebooks
        self.codebooks = nn.Parameter(torch.randn(num_codebooks, codebook_size, code_dim))
        self.projection = nn.Parameter(
            torch.eye(code_dim) * 0.5 ** torch.arange(num_codebooks)[:, None, None]
        )

    def _codes(self) -> Tensor:
        return self.codebooks.float() @ self.projection.float()  # (Q, K, d)

    def _search(self, v: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Book by book the nearest code to what is left, ids (B, n), and the codes, (B, n, d)."""
        left, ids, found = v.detach().float(), [], []
        for codes in self._codes():
            with torch.no_grad():
                ids.append((left @ codes.T - 0.5 * codes.square().sum(1)).argmax(-1))
            found.append(codes[ids[-1]])
            left = left - found[-1].detach()
        return ids, found

    def forward(self, z: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        v, used = self.normalize(z), None
        _, found = self._search(v)
        if self.num_codebooks > 1:  # half of the rows use all books
            u = rng.uniform(2)
            used = torch.where(u[:, 0] < 0.5, self.num_codebooks, 1 + (u[:, 1] * self.num_codebooks).floor())
        left, sum_, cost = v, torch.zeros_like(v), v.new_zeros(len(v))
        for q, e in enumerate(found):
            on = torch.ones_like(cost) if used is None else (q < used).float()
            error = (left.detach() - e).square() + COMMIT * (left - e.detach()).square()
            cost = cost + on * error.flatten(1).mean(1)
            sum_ = sum_ + on[:, None, None] * e.detach()
            left = left - e.detach()
        return v + (sum_ - v).detach(), cost

    def quantize(self, v: Tensor) -> Tensor:
        return sum(self._search(v)[1])

    def ids(self, v: Tensor) -> Tensor:
        """(B, n, d) -> (B, n Q) int64, all books of a place side by side."""
        return torch.stack(self._search(v)[0], dim=-1).flatten(1)

    def vectors(self, ids: Tensor) -> Tensor:
        """(B, n Q) -> (B, n, d)."""
        by_book = ids.unflatten(1, (-1, self.num_codebooks)).unbind(-1)
        return sum(codes[i] for codes, i in zip(self._codes(), by_book, strict=True))


def make_bottleneck(kind: str, code_dim: int, codebook_size: int, num_codebooks: int) -> Bottleneck:
    """The bottleneck `kind`; `floats` a code, `size` classes, `books` of rvq, where each asks for them."""
    if kind == "continuous":
        made = Bottleneck()
        made.code_dim = code_dim
        return made
    return (
        FSQ(codebook_size)
        if kind == "fsq"
        else ResidualVQ(code_dim, codebook_size, num_codebooks if kind == "rvq" else 1)
    )
