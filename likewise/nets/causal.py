"""The causal transformer: token i is told from the tokens before it, with sources in context.

Legend: B batch, L tokens of the sequence, S source tokens, D width.

Source tokens see each other and nothing else (a prefix: Raffel et al., 2020, "prefix LM"); token i of the
sequence sees the sources and the tokens before it. So what sources and tokens are once read as never
changes, and drawing keeps their keys and values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.spec import Spec
from likewise.nets.attention import HEAD_DIM, Block, KVCache, rotary, rotary_grid
from likewise.nets.conditioning import EncodedContext, column_conditions
from likewise.nets.stems.base import norm

MASKED_SCORE = -1e4  # added to the score of what must not be seen
BASE = 1e4  # of the wavelengths of places in a running text


class CausalBackbone(nn.Module):
    """What every causal trunk is: slot i reads token i - 1 and says what token i may be.

    Legend of subclasses: `start` (D,) is what slot 0 reads, `blocks` have `modulated` of nets.Block, `head`
    is E; they say where tokens stand (`_placed`, `_turned`), what each block is told beside (`told`), and
    what comes after the last one (`said`).
    """

    start: Tensor
    blocks: nn.ModuleList
    shared: nn.Embedding | None = None  # of ids, if it is the weights of their head as well

    def __init__(self, specs: Sequence[Spec], width: int, head: int) -> None:
        super().__init__()
        self.sizes = [spec.tokens for spec in specs]
        self.width, self.head = width, head

    def forward(
        self, parts: Sequence[Tensor], used: Tensor, context: EncodedContext, start: Tensor | None = None
    ) -> Sequence[Tensor]:
        """Embedded tokens of each column -> what each slot says, both (B, n, D).

        n may be less than the column's tokens where no row uses more; used (B, L) bool, of the n of all
        columns, says which slots may be seen. Slot 0 may read another `start`, (B, 1, D).
        """
        lengths = [part.shape[1] for part in parts]
        first = [sum(self.sizes[:k]) for k in range(len(parts))]
        spots = torch.cat([torch.arange(a, a + n) for a, n in zip(first, lengths, strict=True)])
        spots = spots.to(used.device)
        start = self._start(len(used)) if start is None else start
        tokens = torch.cat([start, *parts], dim=1)[:, :-1]
        h = torch.cat([context.tokens, self._embed_at(tokens, spots)], dim=1)
        sources, total = context.tokens.shape[1], sum(lengths)
        table = self._rotations(spots, sources, h.dtype)
        bias = _causal_bias(sources, total, h)
        if sources or not used.all():
            unused = torch.zeros_like(used, dtype=h.dtype).masked_fill(~used, MASKED_SCORE)
            bias = bias + torch.cat([context.bias, unused], dim=1)[:, None, None]
        h = self.run_blocks(h, self.modulation(context, len(h)), table, bias, [None] * len(self.blocks))
        return self.final_norm(h[:, sources:]).split(lengths, dim=1)

    def run_blocks(
        self,
        h: Tensor,
        told: Sequence[Tensor | None],
        table: Tensor,
        bias: Tensor,
        caches: Sequence[KVCache | None],
    ) -> Tensor:
        """Tokens (B, n, D) through all blocks, each with its own of what is told and what is kept."""
        for block, m, cache in zip(self.blocks, told, caches, strict=True):
            h = block.forward_modulated(h, m, table, bias, cache)
        return h

    def _start(self, rows: int) -> Tensor:
        return self.start.expand(rows, 1, -1)

    def _rotations(self, spots: Tensor, sources: int, dtype: torch.dtype) -> Tensor:
        """Rotations (2, S + n, E): source tokens are not rotated, their places are in their embedding."""
        return torch.cat([self._no_rotation(sources, spots.device), self._rotation_at(spots)], dim=1).to(
            dtype
        )

    def _no_rotation(self, tokens: int, device: torch.device) -> Tensor:
        """Rotations (2, n, E) that turn nothing: cosines 1 and sines 0."""
        still = torch.zeros(2, tokens, self.head, device=device)
        still[0] = 1
        return still

    def _rotation_at(self, spots: Tensor) -> Tensor:
        """Rotations (2, n, E) of tokens at these places."""
        raise NotImplementedError

    def _embed_at(self, tokens: Tensor, spots: Tensor | slice) -> Tensor:
        """What enters the blocks of tokens (B, n, D) at these places (n,)."""
        raise NotImplementedError

    def modulation(self, context: EncodedContext, rows: int) -> Sequence[Tensor | None]:
        """What modulates each block, (B, 1, 6 D): the same at every place."""
        raise NotImplementedError

    def final_norm(self, h: Tensor) -> Tensor:
        """What slots say, of what comes out of the blocks, (..., D)."""
        raise NotImplementedError


class CausalTransformer(CausalBackbone):
    """Blocks over a sequence of columns, modulated by the sources.

    The slot has the place of the token it tells, and slot 0 reads a learned start. In a window of a running
    text, which begins anywhere, a place has no vector of its own: tokens know only how far apart they are.
    `more` are places after the last of the columns, whose grid has one axis then.
    """

    def __init__(self, specs: Sequence[Spec], width: int, depth: int, more: int = 0) -> None:
        super().__init__(specs, width, width // max(1, width // HEAD_DIM))
        self.windowed = specs[0].windowed
        self.start = nn.Parameter(torch.randn(width))
        self.place = None if self.windowed else nn.Parameter(0.3 * torch.randn(sum(self.sizes), width))
        placed = more and not self.windowed
        self.beyond = nn.Parameter(0.3 * torch.randn(more, width)) if placed else None
        self.condition = nn.Parameter(torch.randn(1, width))
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        grids = [spec.grid for spec in specs]
        if more:
            grids[-1] = (self.sizes[-1] + more,)
        table = torch.cat([rotary_grid(grid, self.head) for grid in grids], dim=1)
        self.register_buffer("table", table, persistent=False)

    def _rotation_at(self, spots: Tensor) -> Tensor:
        return rotary(spots[:, None].float(), self.head, BASE) if self.windowed else self.table[:, spots]

    def _embed_at(self, tokens: Tensor, spots: Tensor | slice) -> Tensor:
        if self.place is None:
            return norm(tokens)
        place = self.place if self.beyond is None else torch.cat([self.place, self.beyond])
        return norm(tokens) + place[spots]

    def modulation(self, context: EncodedContext, rows: int) -> Sequence[Tensor | None]:
        e = column_conditions(self.condition, context, rows)
        return [block.modulation(e) for block in self.blocks]

    def final_norm(self, h: Tensor) -> Tensor:
        return norm(h)


class IncrementalState:
    """A sequence that grows, by a token at a time or several, the same as Slots.forward would see it.

    A running text may grow on in another window, which `again` begins. With `more` the window has those
    places of the transformer too.
    """

    def __init__(self, causal: CausalBackbone, context: EncodedContext, more: int = 0) -> None:
        self.causal, rows, sources = causal, *context.tokens.shape[:2]
        self.window, self.sources = sum(causal.sizes) + more, sources
        room = sources + self.window
        self.caches = [KVCache(room) for _ in causal.blocks]
        self.modulation = causal.modulation(context, rows)
        self.bias = F.pad(context.bias, (0, room - sources))[:, None, None]  # (B, 1, 1, S + L)
        self.seen = sources
        self.last = causal._start(rows)
        spots = torch.arange(self.window, device=self.last.device)
        self.rotations = causal._rotations(spots, 0, self.last.dtype)  # (2, L, E)
        if sources:
            self._run_blocks(
                context.tokens,
                causal._rotations(spots[:0], sources, context.tokens.dtype),
                self.bias[..., :sources],
            )

    def _run_blocks(self, h: Tensor, table: Tensor, bias: Tensor) -> Tensor:
        return self.causal.run_blocks(h, self.modulation, table, bias, self.caches)

    def step(self, spot: int, used: Tensor | None = None) -> Tensor:
        """What the slot at place `spot` of all columns says, (B, D); used (B,) bool: whether it is seen."""
        h = self.causal._embed_at(self.last, slice(spot, spot + 1))
        if used is not None:
            self.bias[:, 0, 0, self.seen].masked_fill_(~used, MASKED_SCORE)
        self.seen += 1
        table, bias = self.rotations[:, spot, None], self.bias[..., : self.seen]
        return self.causal.final_norm(self._run_blocks(h, table, bias))[:, 0]

    def push(self, token: Tensor) -> None:
        """The embedded token, (B, D), that the next slot reads."""
        self.last = token[:, None]

    def feed(self, tokens: Tensor) -> None:
        """The first embedded tokens, (B, n, D), at once, n < window: what their slots say is not asked."""
        n = tokens.shape[1]
        spots = torch.arange(n, device=tokens.device)
        h = self.causal._embed_at(torch.cat([self.last, tokens[:, :-1]], dim=1), spots)
        table = self.causal._rotations(spots, 0, h.dtype)
        bias = self.bias[..., : self.sources + n] + _causal_bias(self.sources, n, h)[self.sources :]
        self._run_blocks(h, table, bias)
        self.seen += n
        self.push(tokens[:, -1])

    def restart_window(self, tokens: Tensor) -> None:
        """Forget all but the sources, and begin a window with these embedded tokens, (B, n, D)."""
        for cache in self.caches:
            cache.n = self.sources
        self.bias[..., self.sources :] = 0
        self.seen, self.last = self.sources, self.causal._start(len(tokens))
        self.feed(tokens)


def _causal_bias(sources: int, tokens: int, like: Tensor) -> Tensor:
    """What must not be seen, (S + L, S + L): by sources the sequence, by a slot those after it."""
    row, column = torch.arange(sources + tokens)[:, None], torch.arange(sources + tokens)
    hidden = (column > row) & (column >= sources)
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill(hidden, MASKED_SCORE).to(like.device)
