"""Ancestral sampling: a sequence is drawn token by token, each given those before it (Bishop, 2006, 8.1.2).

    ids: l = l_without + w (l_with - l_without) - a [n_x > 0] - b n_x                                     (1)

Legend: B rows, T tokens of a column, K ids that one may be, D width, l log p of an id x by the model, w
guidance, n_x how often x was drawn, a presence, b frequency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.core.batch import Batch
from likewise.core.categorical import sample_categorical
from likewise.core.known import where_known
from likewise.core.rng import Rng
from likewise.generation.sequence.constraints import TokenConstraint
from likewise.generation.sequence.fim import SENTINELS, from_psm, psm_prompt
from likewise.generation.sequence.likelihood import SequenceLikelihood, valid_mask
from likewise.generation.sequence.token_healing import HealingMask
from likewise.nets.causal import IncrementalState
from likewise.nets.conditioning import EncodedContext
from likewise.nets.heads import CategoricalHead, MixtureHead

StopFn = Callable[[str, Tensor], Tensor]  # a column's name and its ids so far, (B, n) -> who ends, (B,)


@dataclass(frozen=True)
class SamplingParams:
    """How a token is drawn from what its slot says, h: (B, D), or (2 B, D), where l_without comes second.

    Its numbers are knobs of Autoregressive.sample.
    """

    temperature: float
    top_p: float
    min_p: float
    guidance: float
    presence: float
    frequency: float

    def floats(self, head: MixtureHead, h: Tensor, u: Tensor, noise: Tensor) -> Tensor:
        """A token of floats a row, (B, C), by u (B,) uniform and noise (B, C) normal."""
        return head.sample(h[: len(u)], u, noise, self.temperature)

    def ids(
        self,
        head: CategoricalHead,
        h: Tensor,
        u: Tensor,
        goes_on: Tensor | None = None,
        counts: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """An id a row, (B,), by u (B,) uniform and (1).

        Of a text also whether it goes on, (B,) bool, how often each id was drawn, (B, K), and which are
        allowed, (B, K) bool.
        """
        logits = head(h)
        if len(h) > len(u):
            with_sources, without = logits.log_softmax(-1).chunk(2)
            logits = without + self.guidance * (with_sources - without)
        if counts is not None and (self.presence or self.frequency):
            logits = logits - self.presence * (counts > 0) - self.frequency * counts
        if goes_on is not None:
            logits[:, 0] = logits[:, 0].masked_fill(goes_on, -torch.inf)
        if allowed is not None:  # before what is unlikely is left out, so that something stays
            logits = logits.masked_fill(~allowed, -torch.inf)
        return sample_categorical(logits, u, self.temperature, self.top_p, self.min_p)


class SequenceSampler:
    """A sequence whose columns are drawn one after the other; `out` has those that are.

    product  whose factors tokens are drawn from
    reading  of the sources of B rows, or of 2 B, where those that guidance goes away from come second
    start    what slot 0 reads if what is drawn is the middle of a text, (D,)
    """

    def __init__(
        self, product: SequenceLikelihood, context: EncodedContext, rng: Rng, start: Tensor | None = None
    ) -> None:
        self.product, self.reading, self.rng = product, context, rng
        self.specs, self.heads, self.embed = product.specs, product.heads, product.embed
        self.between, self.copies = start is not None, len(context.tokens) // len(rng)
        self.state = IncrementalState(product.causal, context, SENTINELS if self.between else 0)
        if start is not None:
            self.state.append(start.expand(len(context.tokens), -1))
        self.out: Batch = {}

    def column(self, name: str, value: Tensor, forced: Tensor, choice: SamplingParams) -> None:
        """Draw the next column, all of its T tokens; where `forced`, (B, T), they are those of `value`."""
        k, first, spec = len(self.out), self._first(), self.specs[name]
        u = self.rng.uniform(spec.tokens)
        noise = None if spec.categorical else self.rng.normal(spec.tokens, spec.width)
        out = torch.zeros_like(value)
        for i in range(spec.tokens):
            h = self.state.step(first + i)
            token = (
                choice.ids(self.heads[k], h, u[:, i])
                if noise is None
                else choice.floats(self.heads[k], h, u[:, i], noise[:, i])
            )
            out[:, i] = where_known(token, value[:, i], forced[:, i])
            self._push(k, out[:, i : i + 1])
        self.out[name] = out

    def text(
        self,
        name: str,
        value: Tensor,
        forced: Tensor,
        choice: SamplingParams,
        *,
        prompt: Tensor | None = None,
        suffix: Tensor | None = None,
        healing: HealingMask | None = None,
        stop_fn: StopFn | None = None,
        tokens: int | None = None,
        bound: TokenConstraint | None = None,
    ) -> None:
        """Draw the next column, ids of a text up to their end, (B, n); the rest as Autoregressive.sample.

        A prompt is fed at once. Rows whose prompts are longer than the shortest one are drawn with it and
        made to follow theirs; where a part is known as well, the prompt holds. A running text that fills its
        window goes on in one that begins with the last half of it: what is drawn is told from what log_prob
        tells it from. A middle has no more room than a window leaves.
        """
        k, first, spec, state = len(self.out), self._first(), self.specs[name], self.state
        rows, device = len(value), value.device
        if prompt is None:
            prompt = value.new_zeros(rows, 0)
        elif suffix is not None:
            prompt = psm_prompt(prompt, suffix, spec.classes)
        prompt = prompt.to(device)
        begun = (prompt != 0).sum(1)
        last = begun + (spec.tokens if tokens is None else tokens)  # of a row's ids
        if healing:
            last = last + healing.counts.to(device)
        room = state.window - 1 if self.between else int(last.max()) if spec.windowed else spec.tokens
        prompt, value, forced = (F.pad(v, (0, room - v.shape[1])) for v in (prompt, value, forced))  # or cut
        value, forced = where_known(value, prompt, prompt != 0), forced | (prompt != 0)
        u = self.rng.uniform(room)
        # A text cannot end where a known part of it stands later.
        goes_on = (forced & (value != 0)).flip(1).cumsum(1).flip(1) > 0
        ended = torch.zeros(rows, dtype=torch.bool, device=device)
        out, counts = torch.zeros_like(value), torch.zeros(rows, spec.classes, device=device)
        obeying = None if bound is None else bound.start(rows)
        fed = max(0, int(begun.min()) - 1)  # the last id of the shortest is left for a slot to read
        if fed:
            out[:, :fed] = value[:, :fed]
            state.prefill(self.embed(k, value[:, :fed]).repeat(self.copies, 1, 1))
        at = 0  # where the window begins
        for i in range(fed, room):
            if ended.all():
                out = out[:, : max(i, 1)]
                break
            if i - at == state.window:
                at = i - spec.tokens // 2
                state.restart_window(self.embed(k, out[:, at:i]).repeat(self.copies, 1, 1))
            h = state.step(first + i - at, (~ended).repeat(self.copies))
            allowed = (
                obeying.allowed().to(device) if obeying else healing and healing.allowed(out[:, :i], begun)
            )
            token = choice.ids(self.heads[k], h, u[:, i], goes_on[:, i], counts, allowed)
            token = where_known(token, value[:, i], forced[:, i])
            if obeying:
                obeying.push(token)
            token = token.masked_fill(ended | (i >= last), 0)
            drawn = ~forced[:, i, None]  # a mark is not
            counts.scatter_add_(1, token[:, None] * drawn, drawn.to(counts))
            out[:, i] = token
            ended = ended | (token == 0)
            if stop_fn is not None:
                ended = ended | (stop_fn(name, out[:, : i + 1]) & (i + 1 >= begun))
            self._push(k, out[:, max(at, i - 2) : i + 1])
        else:
            out = where_known(out, value, forced)
        if self.between:
            out = from_psm(out, spec.classes)
        self.out[name], closed = obeying.close(out) if obeying else (out, False)
        if closed and len(self.out) < len(self.specs):
            self._anew()

    def _first(self) -> int:
        """The place of the next column's first token."""
        return sum(self.specs[name].tokens for name in self.out)

    def _push(self, k: int, tokens: Tensor) -> None:
        """Let the next slot read the last of these tokens of column k, (B, n, ...)."""
        self.state.append(self.embed(k, tokens)[:, -1].repeat(self.copies, 1))

    def _anew(self) -> None:
        """Begin the sequence again with the columns in `out`, as they are other than they were drawn."""
        self.state, first = IncrementalState(self.product.causal, self.reading), 0
        for k, (name, x) in enumerate(self.out.items()):
            spec = self.specs[name]
            used = valid_mask(x, spec)
            for i in range(int(used.any(0).sum())):
                self.state.step(first + i, used[:, i].repeat(self.copies) if spec.padded else None)
                self._push(k, x[:, i : i + 1])
            first += spec.tokens
