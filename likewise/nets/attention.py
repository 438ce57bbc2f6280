"""TODO nets.attention."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.nets.stems.base import norm

HEAD_DIM = 64  # E, floats a head


def rotary_grid(grid: tuple[int, ...], size: int) -> Tensor:
    """Rotary positions of a grid (Su et al., 2021): (2, T, E), cosines and signed sines.

    Several axes share the E floats.
    """
    places = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in grid))
    return rotary(places.view(-1, len(grid)), size, 100.0)


def rotary(places: Tensor, size: int, base: float) -> Tensor:
    """The same of places (T, axes) on any grid; wavelengths are from 2 pi to 2 pi `base`."""
    axes, pairs = places.shape[1], size // 2
    share = [pairs // axes + (a < pairs % axes) for a in range(axes)]
    parts = [
        places[:, a, None] * base ** (-torch.arange(n, device=places.device) / n) for a, n in enumerate(share)
    ]
    angles = torch.cat(parts, dim=1)
    cosines, sines = angles.cos(), angles.sin()
    return torch.stack([cosines.repeat(1, 2), torch.cat([-sines, sines], dim=1)])


class KVCache:
    """Keys and values that an attention has seen, (B, H, n, E) each, of at most `room` tokens.

    A processor's are float32, in which it multiplies a vector and a matrix faster than in bf16.
    """

    def __init__(self, room: int) -> None:
        self.room, self.n = room, 0
        self.kv: Tensor | None = None

    def add(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append those of further tokens; returns all of them."""
        if self.kv is None:
            self.kv = torch.empty(
                2,
                *k.shape[:2],
                self.room,
                k.shape[-1],
                device=k.device,
                dtype=k.dtype if k.is_cuda else torch.float32,
            )
        end = self.n + k.shape[2]
        self.kv[0, :, :, self.n : end], self.kv[1, :, :, self.n : end] = k, v
        self.n = end
        return self.kv[0, :, :, :end], self.kv[1, :, :, :end]


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, cache: KVCache | None
) -> Tensor:
    """softmax(scale q k^T + bias) v, (B, H, T, E) each -> (B, T, H E).

    With a cache the T tokens see those it holds as well, and it keeps them.
    """
    if cache is not None:
        k, v = cache.add(k, v)
    if q.is_cuda:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
    else:
        scores = (q * scale).to(k.dtype) @ k.transpose(-1, -2)  # (B, H, T, T)
        y = ((scores if bias is None else scores + bias).softmax(-1) @ v).to(q.dtype)
    return y.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head attention with normalised queries and keys (Henry et al., 2020) and rotary positions.

    A subclass may leave them as they are, with scores over sqrt(E).
    """

    qk_norm: ClassVar[bool] = True

    def __init__(self, width: int, heads: int | None = None, biased: bool = False) -> None:
        """heads: default one for every 64 floats."""
        super().__init__()
        self.heads = heads or max(1, width // HEAD_DIM)
        self.qkv = nn.Linear(width, 3 * width, bias=biased)
        self.out = zero_init(nn.Linear(width, width, bias=biased))

    def forward(self, x: Tensor, table: Tensor, bias: Tensor | None, cache: KVCache | None = None) -> Tensor:
        """x (B, T, D), table (2, T, E), bias (B or 1, 1, T or 1, T), added to the scores -> (B, T, D).

        With a cache the T tokens see those it holds as well, and it keeps them.
        """
        batch, tokens, width = x.shape
        size = width // self.heads
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)  # (3, B, H, T, E)
        qk = norm(qkv[:2]) if self.qk_norm else qkv[:2]
        (q, k), v = qk * table[0] + qk.roll(size // 2, -1) * table[1], qkv[2]
        return self.out(attend(q, k, v, bias, (1.2 if self.qk_norm else 1.0) / math.sqrt(size), cache))


class Block(nn.Module):
    """x + gate attention(mod(x)), then x + gate mlp(mod(x)), by adaptive layer norm.

    This is DiT's block (Peebles & Xie, 2023), except that the residual branches start at zero through their
    output projections, and the gates at one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = zero_init(nn.Linear(width, 6 * width))
        self.attention = Attention(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = zero_init(nn.Linear(4 * width, width, bias=False))

    def forward(
        self,
        x: Tensor,
        e: Tensor,
        stream: Tensor | None,
        table: Tensor,
        bias: Tensor | None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """One block: (B, T, D) -> (B, T, D).

        e (B, K, D) is one condition a stream; stream (T,) says which is whose, None where K is 1.
        """
        m = self.modulation(e)
        return self.forward_modulated(x, m if stream is None else m[:, stream], table, bias, cache)

    def forward_modulated(
        self, x: Tensor, m: Tensor, table: Tensor, bias: Tensor | None, cache: KVCache | None = None
    ) -> Tensor:
        """The same with what the condition was found to say, (B, T or 1, 6 D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = m.chunk(6, dim=-1)
        h = torch.addcmul(shift1, norm(x), scale1 + 1)
        x = torch.addcmul(x, self.attention(h, table, bias, cache), gate1 + 1)
        h = torch.addcmul(shift2, norm(x), scale2 + 1)
        return torch.addcmul(x, self.down(F.gelu(self.up(h))), gate2 + 1)


def zero_init(layer: nn.Linear) -> nn.Linear:
    """The same layer, starting at zero."""
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer
