"""Multi-head attention, rotary positions, the key-value cache, and the transformer block.

Legend: B batch, T tokens, D width, H heads, E = D / H, K target columns.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.nets.layers import Linear, norm, zero_init

HEAD_DIM = 64  # E, floats per head by default
ALIGNED = (
    8  # keys that are computed together: without gradients FEW queries have a multiple of it, 2 at least
)
FEW = 16
MASKED_SCORE = -1e4  # added to the scores of tokens that must not be attended to


def default_heads(width: int, multiple: int = 2) -> int:
    """H: one head for every 64 floats, or the most below that whose sizes are whole multiples, pairs by default.

    >>> default_heads(192), default_heads(200), default_heads(32)
    (3, 2, 1)
    """
    return next((h for h in range(width // HEAD_DIM, 1, -1) if width % (multiple * h) == 0), 1)


def rotary_grid(grid: tuple[int, ...], size: int) -> Tensor:
    """Rotary position table of a grid (Su et al., 2021): (2, T, E), cosines and signed sines.

    Several axes share the E floats.
    """
    positions = torch.cartesian_prod(*(torch.arange(n, dtype=torch.float32) for n in grid))
    return rotary(positions.view(-1, len(grid)), size, 100.0)


def rotary(positions: Tensor, size: int, base: float) -> Tensor:
    """The same for any positions (T, axes), with wavelengths from 2 pi to 2 pi `base`."""
    axes, pairs = positions.shape[1], size // 2
    pairs_per_axis = [pairs // axes + (a < pairs % axes) for a in range(axes)]
    parts = [
        positions[:, a, None] * base ** (-torch.arange(n, device=positions.device) / n)
        for a, n in enumerate(pairs_per_axis)
    ]
    angles = torch.cat(parts, dim=1)
    cosines, sines = angles.cos(), angles.sin()
    return torch.stack([cosines.repeat(1, 2), torch.cat([-sines, sines], dim=1)])


def identity_rotation(tokens: int, size: int, device: torch.device) -> Tensor:
    """The rotary table (2, T, E) of tokens that are not rotated: cosines 1 and sines 0."""
    table = torch.zeros(2, tokens, size, device=device)
    table[0] = 1
    return table


class KVCache:
    """Keys and values of the tokens so far, (B, H, n, E) each, for at most `capacity` tokens.

    On a CPU they are float32, in which products of a vector and a matrix are faster than in bf16.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity, self.length = _round_up(capacity), 0
        self.kv: Tensor | None = None

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append those of further tokens; returns all so far, and some after them, as many as `attend` wants."""
        if self.kv is None:
            dtype = k.dtype if k.is_cuda else torch.float32
            shape = (2, *k.shape[:2], self.capacity, k.shape[-1])
            self.kv = torch.zeros(shape, device=k.device, dtype=dtype)
        end = self.length + k.shape[2]
        self.kv[0, :, :, self.length : end], self.kv[1, :, :, self.length : end] = k, v
        self.length = end
        end = end if k.is_cuda else _round_up(end)
        return self.kv[0, :, :, :end], self.kv[1, :, :, :end]


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, cache: KVCache | None
) -> Tensor:
    """softmax(scale q k^T + bias) v, (B, H, T, E) each -> (B, T, H E).

    With a cache the T tokens are appended to it and attend to all that it holds. On a CPU, without gradients, masked
    keys are added to those of FEW queries, to a multiple of ALIGNED, and a single query is computed twice: then a
    row has the same bits whatever the lengths of the others are.
    """
    tokens = q.shape[2]
    exact = not (q.is_cuda or torch.is_grad_enabled())
    if cache is not None:
        k, v = cache.append(k, v)
        extra = k.shape[2] - cache.length
    elif extra := _round_up(k.shape[2]) - k.shape[2] if exact and tokens < FEW else 0:
        k, v = F.pad(k, (0, 0, 0, extra)), F.pad(v, (0, 0, 0, extra))
    if extra:
        bias = q.new_zeros(1, 1, 1, k.shape[2] - extra) if bias is None else bias
        bias = F.pad(bias, (0, extra), value=MASKED_SCORE)
    if exact and tokens == 1:
        q = q.repeat(1, 1, 2, 1)
    if q.is_cuda:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
    else:
        scores = (q * scale).to(k.dtype) @ k.transpose(-1, -2)  # (B, H, T, T)
        y = ((scores if bias is None else scores + bias).softmax(-1) @ v).to(q.dtype)
    return y[:, :, :tokens].transpose(1, 2).flatten(2)


def _round_up(keys: int) -> int:
    """The multiple of ALIGNED, 2 of it at least, that has room for so many keys."""
    return max(2, math.ceil(keys / ALIGNED)) * ALIGNED


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions.

    With `qk_norm` queries and keys are normalised (Henry et al., 2020), else scores are over sqrt(E).
    """

    def __init__(
        self, width: int, heads: int | None = None, biased: bool = False, qk_norm: bool = True
    ) -> None:
        super().__init__()
        self.heads, self.qk_norm = heads or default_heads(width), qk_norm
        self.qkv = Linear(width, 3 * width, bias=biased)
        self.out = zero_init(Linear(width, width, bias=biased))

    def forward(
        self, x: Tensor, rotation: Tensor, bias: Tensor | None, cache: KVCache | None = None
    ) -> Tensor:
        """x (B, T, D), rotation (2, T, E), bias (B or 1, 1, T or 1, T), added to the scores -> (B, T, D).

        With a cache the T tokens are appended to it and attend to all that it holds.
        """
        batch, tokens, width = x.shape
        size = width // self.heads
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)  # (3, B, H, T, E)
        qk = norm(qkv[:2]) if self.qk_norm else qkv[:2]
        (q, k), v = qk * rotation[0] + qk.roll(size // 2, -1) * rotation[1], qkv[2]
        return self.out(attend(q, k, v, bias, (1.2 if self.qk_norm else 1.0) / math.sqrt(size), cache))


class Block(nn.Module):
    """x + gate attention(mod(x)), then x + gate mlp(mod(x)), by adaptive layer norm.

    This is DiT's block (Peebles & Xie, 2023), except that the residual branches start at zero through their
    output projections, and the gates at one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = zero_init(Linear(width, 6 * width))
        self.attention = Attention(width)
        self.up = Linear(width, 4 * width, bias=False)
        self.down = zero_init(Linear(4 * width, width, bias=False))

    def forward(
        self, x: Tensor, e: Tensor, columns: Tensor | None, rotation: Tensor, bias: Tensor | None
    ) -> Tensor:
        """One block, (B, T, D) -> (B, T, D), conditioned on e (B, K, D).

        columns (T,) has the index of each token's column among the K, None where K is 1.
        """
        m = self.modulation(e)
        return self.forward_modulated(x, rotation, bias, m=m if columns is None else m[:, columns])

    def forward_modulated(
        self, x: Tensor, rotation: Tensor, bias: Tensor | None, cache: KVCache | None = None, *, m: Tensor
    ) -> Tensor:
        """The same with the output m of the modulation layer, (B, T or 1, 6 D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = m.chunk(6, dim=-1)
        h = torch.addcmul(shift1, norm(x), scale1 + 1)
        x = torch.addcmul(x, self.attention(h, rotation, bias, cache), gate1 + 1)
        h = torch.addcmul(shift2, norm(x), scale2 + 1)
        return torch.addcmul(x, self.down(F.gelu(self.up(h))), gate2 + 1)
