"""The causal transformer: each token is predicted from the tokens before it, with sources in context.

Legend: B batch, L tokens of the sequence, S source tokens, D width, E floats a head.

Source tokens attend to each other only (a prefix: Raffel et al., 2020, "prefix LM"); token i of the sequence
attends to the sources and to the tokens up to i. So keys and values never change once they are computed, and
decoding caches them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.spec import Spec
from likewise.nets.attention import (
    MASKED_SCORE,
    Block,
    KVCache,
    default_heads,
    identity_rotation,
    rotary,
    rotary_grid,
)
from likewise.nets.conditioning import EncodedContext, column_conditions
from likewise.nets.layers import ModuleList, norm

ROPE_BASE = 1e4  # of the wavelengths of relative positions

# tokens (B, T, D), rotation (2, T, E), bias, cache -> (B, T, D)
BlockFn = Callable[[Tensor, Tensor, Tensor | None, KVCache | None], Tensor]


class CausalBackbone(nn.Module):
    """What every causal transformer shares: output i reads input i - 1 and predicts token i.

    Input 0 is the start embedding. Subclasses define it, how positions enter (`add_positions`, `rotation`),
    the blocks as a context conditions them (`conditioned_blocks`), and the last norm (`final_norm`).
    """

    def __init__(self, specs: Sequence[Spec], width: int, head_dim: int) -> None:
        super().__init__()
        self.sizes = [spec.tokens for spec in specs]
        self.width, self.head_dim = width, head_dim

    def forward(
        self, parts: Sequence[Tensor], valid: Tensor, context: EncodedContext, start: Tensor | None = None
    ) -> Sequence[Tensor]:
        """Embedded tokens of each column (B, n, D) -> an output for each of them, (B, n, D).

        n may be less than the column's tokens where no row uses more; valid (B, L) bool, of the n of all
        columns, is False where an output must not be attended to. `start`, (B, 1, D), replaces the start
        embedding.
        """
        lengths = [part.shape[1] for part in parts]
        offsets = [sum(self.sizes[:k]) for k in range(len(parts))]
        positions = torch.cat([torch.arange(a, a + n) for a, n in zip(offsets, lengths, strict=True)])
        positions = positions.to(valid.device)
        start = self.start_tokens(len(valid)) if start is None else start
        tokens = torch.cat([start, *parts], dim=1)[:, :-1]
        h = torch.cat([context.tokens, self.add_positions(tokens, positions)], dim=1)
        sources, total = context.tokens.shape[1], sum(lengths)
        unrotated = identity_rotation(sources, self.head_dim, positions.device)
        rotation = torch.cat([unrotated, self.rotation(positions)], dim=1).to(h.dtype)
        bias = _causal_bias(sources, total, h)
        if sources or not valid.all():
            padding = torch.zeros_like(valid, dtype=h.dtype).masked_fill(~valid, MASKED_SCORE)
            bias = bias + torch.cat([context.bias, padding], dim=1)[:, None, None]
        for block in self.conditioned_blocks(context):
            h = block(h, rotation, bias, None)
        return self.final_norm(h[:, sources:]).split(lengths, dim=1)

    def start_tokens(self, rows: int) -> Tensor:
        """The start embedding of each row, (B, 1, D)."""
        return self.start_embedding.expand(rows, 1, -1)

    @property
    def start_embedding(self) -> Tensor:
        """Input 0, (D,)."""
        raise NotImplementedError

    @property
    def tied_embedding(self) -> nn.Embedding | None:
        """The embedding of ids whose weights the head uses as well, if any."""
        return None

    def rotation(self, positions: Tensor) -> Tensor:
        """Rotary table (2, n, E) of tokens at these positions (n,). Source tokens are not rotated."""
        raise NotImplementedError

    def add_positions(self, tokens: Tensor, positions: Tensor | slice) -> Tensor:
        """The input of the first block for tokens (B, n, D) at these positions (n,)."""
        raise NotImplementedError

    def conditioned_blocks(self, context: EncodedContext) -> list[BlockFn]:
        """The blocks, modulated by the sources; the same at every position."""
        raise NotImplementedError

    def final_norm(self, h: Tensor) -> Tensor:
        """The last norm, over the output of the last block: (..., D) -> (..., D)."""
        raise NotImplementedError


class CausalTransformer(CausalBackbone):
    """Blocks over a sequence of columns, modulated by the sources.

    An output has the position of the token that it predicts, and input 0 is a learned start. In windows of
    a longer text positions are relative: there is no embedding of positions, only rotations.
    `extra_positions` follow those of the last column, whose grid must have one axis then.
    """

    table: Tensor

    def __init__(self, specs: Sequence[Spec], width: int, depth: int, extra_positions: int = 0) -> None:
        super().__init__(specs, width, width // default_heads(width))
        self.windowed = specs[0].windowed
        self.start = nn.Parameter(torch.randn(width))
        self.position_embedding = None if self.windowed else _position_embedding(sum(self.sizes), width)
        extra = 0 if self.windowed else extra_positions
        self.extra_position_embedding = _position_embedding(extra, width) if extra else None
        self.condition = nn.Parameter(torch.randn(1, width))
        self.blocks = ModuleList(Block(width) for _ in range(depth))
        grids = [spec.grid for spec in specs]
        if extra_positions:
            grids[-1] = (self.sizes[-1] + extra_positions,)
        table = torch.cat([rotary_grid(grid, self.head_dim) for grid in grids], dim=1)
        self.register_buffer("table", table, persistent=False)

    @property
    def start_embedding(self) -> Tensor:
        return self.start

    def rotation(self, positions: Tensor) -> Tensor:
        if self.windowed:
            return rotary(positions[:, None].float(), self.head_dim, ROPE_BASE)
        return self.table[:, positions]

    def add_positions(self, tokens: Tensor, positions: Tensor | slice) -> Tensor:
        if self.position_embedding is None:
            return norm(tokens)
        embedding: Tensor = self.position_embedding
        if self.extra_position_embedding is not None:
            embedding = torch.cat([embedding, self.extra_position_embedding])
        return norm(tokens) + embedding[positions]

    def conditioned_blocks(self, context: EncodedContext) -> list[BlockFn]:
        e = column_conditions(self.condition, context, len(context.pooled))
        return [partial(block.forward_modulated, m=block.modulation(e)) for block in self.blocks]

    def final_norm(self, h: Tensor) -> Tensor:
        return norm(h)


class IncrementalState:
    """KV-cached decoding: the outputs of `CausalBackbone.forward`, one position at a time.

    A text longer than the window continues after `restart_window`. With `extra_positions` the window has
    those of the transformer too.
    """

    def __init__(self, causal: CausalBackbone, context: EncodedContext, extra_positions: int = 0) -> None:
        self.causal, rows, sources = causal, *context.tokens.shape[:2]
        self.window, self.sources = sum(causal.sizes) + extra_positions, sources
        capacity = sources + self.window
        self.blocks = causal.conditioned_blocks(context)
        self.caches = [KVCache(capacity) for _ in self.blocks]
        self.bias = F.pad(context.bias, (0, self.window))[:, None, None]  # (B, 1, 1, S + L)
        self.length = sources  # tokens in the caches
        self.next_input = causal.start_tokens(rows)  # (B, 1, D)
        positions = torch.arange(self.window, device=self.next_input.device)
        self.rotation = causal.rotation(positions).to(self.next_input.dtype)  # (2, L, E)
        if sources:
            unrotated = identity_rotation(sources, causal.head_dim, self.next_input.device)
            self._run_blocks(context.tokens, unrotated.to(context.tokens.dtype), self.bias[..., :sources])

    def _run_blocks(self, h: Tensor, rotation: Tensor, bias: Tensor) -> Tensor:
        for block, cache in zip(self.blocks, self.caches, strict=True):
            h = block(h, rotation, bias, cache)
        return h

    def step(self, position: int, valid: Tensor | None = None) -> Tensor:
        """The output at the next position, (B, D), by the input appended last.

        valid (B,) bool is False in rows where later positions must not attend to this one.
        """
        h = self.causal.add_positions(self.next_input, slice(position, position + 1))
        if valid is not None:
            self.bias[:, 0, 0, self.length].masked_fill_(~valid, MASKED_SCORE)
        self.length += 1
        rotation, bias = self.rotation[:, position, None], self.bias[..., : self.length]
        return self.causal.final_norm(self._run_blocks(h, rotation, bias))[:, 0]

    def append(self, token: Tensor) -> None:
        """Set the input of the next step: an embedded token, (B, D)."""
        self.next_input = token[:, None]

    def prefill(self, tokens: Tensor) -> None:
        """Fill the caches with the first embedded tokens, (B, n, D), n < window, in one pass."""
        n = tokens.shape[1]
        positions = torch.arange(n, device=tokens.device)
        h = self.causal.add_positions(torch.cat([self.next_input, tokens[:, :-1]], dim=1), positions)
        rotation = self.causal.rotation(positions).to(h.dtype)
        bias = self.bias[..., : self.sources + n] + _causal_bias(self.sources, n, h)[self.sources :]
        self._run_blocks(h, rotation, bias)
        self.length += n
        self.append(tokens[:, -1])

    def restart_window(self, tokens: Tensor) -> None:
        """Empty the caches but for the sources, and prefill a new window with these tokens, (B, n, D)."""
        for cache in self.caches:
            cache.length = self.sources
        self.bias[..., self.sources :] = 0
        self.length, self.next_input = self.sources, self.causal.start_tokens(len(tokens))
        self.prefill(tokens)


def _position_embedding(positions: int, width: int) -> nn.Parameter:
    return nn.Parameter(0.3 * torch.randn(positions, width))


def _causal_bias(sources: int, tokens: int, like: Tensor) -> Tensor:
    """The causal mask as a bias, (S + L, S + L): no one attends to later tokens, except among sources."""
    row, column = torch.arange(sources + tokens)[:, None], torch.arange(sources + tokens)
    hidden = (column > row) & (column >= sources)
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill(hidden, MASKED_SCORE).to(like.device)
