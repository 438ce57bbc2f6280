"""Bottlenecks: from vectors to codes and back, where codes are vectors or ids of codebooks.

    continuous  v = LayerNorm(z), and the decoder is trained on v + 0.2 e, e ~ N(0, I)                   (1)
    fsq         each number rounded to one of L levels (Mentzer et al., 2023), straight-through gradient  (2)
    vq, rvq     the nearest of K learned vectors (van den Oord et al., 2017), then the nearest of K others to
                the residual, and so on (Zeghidour et al., 2021):
                loss |sg(r) - e|^2 + 0.25 |r - sg(e)|^2, r the residual, e the code, sg stops gradients  (3)

Legend: B batch, n positions, d numbers of a code, Q codebooks, K codes of each. All arithmetic is in float32.
"""

from __future__ import annotations

import math
from functools import reduce

import torch
from torch import Tensor, nn

from likewise.core.rng import Rng
from likewise.nets.layers import norm

NOISE = 0.2  # of (1): nearby codes must decode to similar values, so that small errors of a prior do no harm
COMMITMENT = 0.25  # weight of the second term of (3)
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
    """Continuous codes (1), and the interface of all bottlenecks; `forward` is for training, the rest has no noise.

    code_dim       d
    num_codebooks  Q: ids a position, 0 where codes are vectors
    codebook_size  K, 0 where codes are vectors
    """

    code_dim: int
    num_codebooks: int = 0
    codebook_size: int = 0

    def __init__(self, code_dim: int) -> None:
        super().__init__()
        self.code_dim = code_dim

    def normalize(self, z: Tensor) -> Tensor:
        """Outputs of an encoder, (B, n, d) -> vectors of about unit variance in the range of codes."""
        return norm(z.float())

    def forward(self, z: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        """Vectors for a decoder, (B, n, d), with gradients, and the loss of the codes, (B,)."""
        v = self.normalize(z)
        return v + NOISE * rng.normal(*v.shape[1:]), v.new_zeros(len(v))  # (1)

    def quantize(self, v: Tensor) -> Tensor:
        """Vectors -> the nearest vectors of codes, (B, n, d)."""
        return self.vectors(self.codes(v))

    def codes(self, v: Tensor) -> Tensor:
        """Vectors (B, n, d) -> the nearest codes: themselves, or ids (B, n Q) int64."""
        return v

    def vectors(self, codes: Tensor) -> Tensor:
        """Codes -> their vectors, (B, n, d)."""
        return codes


class FSQ(Bottleneck):
    """(2): every number at one of L levels, evenly spaced and of unit variance."""

    num_codebooks = 1
    levels: Tensor  # (d,)
    strides: Tensor  # (d,), of the levels in an id

    def __init__(self, codebook_size: int) -> None:
        levels = LEVELS[max((s for s in LEVELS if s <= codebook_size), default=min(LEVELS))]
        super().__init__(len(levels))
        self.codebook_size = math.prod(levels)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        strides = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("strides", torch.tensor(strides), persistent=False)

    def _gap(self) -> Tensor:
        """The distance of levels, (d,): L levels one unit apart have the variance (L^2 - 1) / 12."""
        return (12 / (self.levels.double().square() - 1)).sqrt().float()

    def normalize(self, z: Tensor) -> Tensor:
        """Each level takes an equal share of (-1, 1)."""
        return 0.5 * self.levels * torch.tanh(z.float()) * self._gap()

    def forward(self, z: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        v = self.normalize(z)
        return v + (self.quantize(v) - v).detach(), v.new_zeros(len(v))

    def codes(self, v: Tensor) -> Tensor:
        level = (v.float() / self._gap() + (self.levels - 1) / 2).round().clamp(min=0)
        return (torch.minimum(level, self.levels - 1.0).long() * self.strides).sum(-1)

    def vectors(self, codes: Tensor) -> Tensor:
        level = codes[..., None] // self.strides % self.levels
        return (level - (self.levels - 1) / 2) * self._gap()


class ResidualVQ(Bottleneck):
    """(3). A code is a row of C W, both learned: W moves all codes at once, so that no code stays unused
    (Zhu et al., 2024, "SimVQ").

    With several codebooks, a row in training uses the first 1, 2, ... or all of them.
    """

    def __init__(self, code_dim: int, codebook_size: int, num_codebooks: int) -> None:
        super().__init__(code_dim)
        self.codebook_size, self.num_codebooks = codebook_size, num_codebooks
        self.codebooks = nn.Parameter(torch.randn(num_codebooks, codebook_size, code_dim))
        self.projection = nn.Parameter(
            torch.eye(code_dim) * 0.5 ** torch.arange(num_codebooks)[:, None, None]
        )

    def _code_vectors(self) -> Tensor:
        """C W of all codebooks, (Q, K, d)."""
        return self.codebooks.float() @ self.projection.float()

    def _search(self, v: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Of each codebook the code nearest to the residual: ids (B, n), and their vectors, (B, n, d)."""
        residual = v.detach().float()
        ids: list[Tensor] = []
        vectors: list[Tensor] = []
        for codes in self._code_vectors():
            with torch.no_grad():
                ids.append((residual @ codes.T - 0.5 * codes.square().sum(1)).argmax(-1))
            vectors.append(codes[ids[-1]])
            residual = residual - vectors[-1].detach()
        return ids, vectors

    def forward(self, z: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
        v, used = self.normalize(z), None
        _, vectors = self._search(v)
        if self.num_codebooks > 1:  # half of the rows use all codebooks
            u = rng.uniform(2)
            used = torch.where(u[:, 0] < 0.5, self.num_codebooks, 1 + (u[:, 1] * self.num_codebooks).floor())
        residual, total, cost = v, torch.zeros_like(v), v.new_zeros(len(v))
        for q, e in enumerate(vectors):
            on = torch.ones_like(cost) if used is None else (q < used).float()
            error = (residual.detach() - e).square() + COMMITMENT * (residual - e.detach()).square()
            cost = cost + on * error.flatten(1).mean(1)
            total = total + on[:, None, None] * e.detach()
            residual = residual - e.detach()
        return v + (total - v).detach(), cost

    def quantize(self, v: Tensor) -> Tensor:
        return reduce(torch.add, self._search(v)[1])

    def codes(self, v: Tensor) -> Tensor:
        """The ids of all codebooks of a position are side by side."""
        return torch.stack(self._search(v)[0], dim=-1).flatten(1)

    def vectors(self, codes: Tensor) -> Tensor:
        ids = codes.unflatten(1, (-1, self.num_codebooks)).unbind(-1)
        return reduce(torch.add, [c[i] for c, i in zip(self._code_vectors(), ids, strict=True)])


def make_bottleneck(kind: str, code_dim: int, codebook_size: int, num_codebooks: int) -> Bottleneck:
    """The bottleneck "continuous", "fsq", "vq" or "rvq"; each uses those of the sizes that it has."""
    if kind == "continuous":
        return Bottleneck(code_dim)
    if kind == "fsq":
        return FSQ(codebook_size)
    return ResidualVQ(code_dim, codebook_size, num_codebooks if kind == "rvq" else 1)
