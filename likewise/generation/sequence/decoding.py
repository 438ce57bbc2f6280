"""Ancestral sampling: token by token, each given those before it (Bishop, 2006, 8.1.2).

    ids: l = l_without + w (l_with - l_without) - a [n_x > 0] - b n_x                                     (1)

Legend: B rows, T tokens of a column, K ids, D width, l log p of an id x by the model, w guidance, n_x how often
x occurred, a presence, b frequency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.core.batch import Batch, row_values
from likewise.core.categorical import sample_categorical
from likewise.core.known import where_known
from likewise.core.options import RowValues, validate_fields
from likewise.core.ranges import GuidanceScale, LogitPenalty, PositiveShare, Share, Temperature
from likewise.core.rng import Rng
from likewise.generation.controls import OnStep, Step
from likewise.generation.sequence.constraints import TokenConstraint
from likewise.generation.sequence.fim import SENTINELS, from_psm, psm_prompt
from likewise.generation.sequence.likelihood import SequenceLikelihood, valid_mask
from likewise.generation.sequence.token_healing import HealingMask
from likewise.nets.causal import IncrementalState
from likewise.nets.conditioning import EncodedContext
from likewise.nets.heads import CategoricalHead, MixtureHead


@dataclass(frozen=True)
class SamplingParams:
    """How a token is sampled from its hidden state h, (B, D), or (2 B, D) with l_without second.

    The fields are sampling options of Autoregressive. Raises ValueError for one out of its range.
    """

    temperature: Temperature = 1.0
    top_p: PositiveShare = 1.0
    min_p: Share = 0.0
    guidance: GuidanceScale | None = None
    presence: LogitPenalty = 0.0
    frequency: LogitPenalty = 0.0

    def __post_init__(self) -> None:
        validate_fields(self)

    def sample_floats(self, head: MixtureHead, h: Tensor, u: Tensor, noise: Tensor) -> Tensor:
        """A token of floats for each row, (B, C), by u (B,) uniform and noise (B, C) normal."""
        return head.sample(h[: len(u)], u, noise, row_values(self.temperature, u.device))

    def sample_ids(
        self,
        head: CategoricalHead,
        h: Tensor,
        u: Tensor,
        continues: Tensor | None = None,
        counts: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """An id for each row, (B,), by u (B,) uniform and (1).

        continues  rows of a text that may not end here, (B,) bool
        counts     how often each id occurred, (B, K)
        allowed    which ids are allowed, (B, K) bool
        """
        logits, device = head(h), h.device
        if len(h) > len(u) and self.guidance is not None:
            with_sources, without = logits.log_softmax(-1).chunk(2)
            logits = without + _float32(self.guidance, device) * (with_sources - without)
        if counts is not None and (self.presence or self.frequency):
            presence, frequency = _float32(self.presence, device), _float32(self.frequency, device)
            logits = logits - presence * (counts > 0) - frequency * counts
        if continues is not None:
            logits[:, 0] = logits[:, 0].masked_fill(continues, -torch.inf)
        if allowed is not None:  # before top_p and min_p, so that an allowed id remains
            logits = logits.masked_fill(~allowed, -torch.inf)
        options = (row_values(v, device) for v in (self.temperature, self.top_p, self.min_p))
        return sample_categorical(logits, u, *options)


def _float32(value: float | RowValues, device: torch.device) -> float | Tensor:
    values = row_values(value, device)
    return values.float() if isinstance(values, Tensor) else values


@dataclass(frozen=True)
class TextControls:
    """Controls of families that write texts.

    prompt      target -> the beginning of the text, ids (B, P), padded with 0
    suffix      target -> what comes after the text, ids (B, S): then the middle is sampled
    healing     ids taken back from the prompts; their replacements do not count as `tokens`
    on_step     is called after each token
    constraint  target -> what its texts must obey
    """

    prompt: Batch | None = None
    suffix: Batch | None = None
    healing: HealingMask | None = None
    on_step: OnStep | None = None
    constraint: Mapping[str, TokenConstraint] | None = None


class SequenceSampler:
    """Sample the columns of a sequence one after the other; `out` has those that are complete.

    likelihood  the factors that tokens are sampled from
    context     encoded sources of B rows, or of 2 B, with those that guidance moves away from second
    start       what the first position reads if the middle of a text is sampled, (D,)
    """

    def __init__(
        self, likelihood: SequenceLikelihood, context: EncodedContext, rng: Rng, start: Tensor | None = None
    ) -> None:
        self.likelihood, self.context, self.rng = likelihood, context, rng
        self.specs, self.heads, self.embed = likelihood.specs, likelihood.heads, likelihood.embed
        self.fills_middle, self.copies = start is not None, len(context.tokens) // len(rng)
        self.state = IncrementalState(likelihood.causal, context, SENTINELS if self.fills_middle else 0)
        if start is not None:
            self.state.append(start.expand(len(context.tokens), -1))
        self.out: Batch = {}
        self.step, self.ended = 0, torch.zeros(len(rng), dtype=torch.bool, device=context.tokens.device)

    def report(self, on_step: OnStep | None, steps: int, part: Batch) -> Tensor | None:
        """Report a token of all rows; `part` has the column that is being sampled, if it can be looked at."""
        self.step += 1
        if on_step is None:
            return None
        ended = on_step(Step(self.step, steps, lambda: self.out | part))
        return None if ended is None else ended.to(self.ended.device)

    def sample_column(
        self, name: str, value: Tensor, forced: Tensor, params: SamplingParams, controls: TextControls
    ) -> None:
        """Sample the next column, all of its T tokens; where `forced`, (B, T), they are those of `value`.

        Where all rows have ended, the other tokens are blank.
        """
        k, first, spec = len(self.out), self._first(), self.specs[name]
        u = self.rng.uniform(spec.tokens)
        noise = None if spec.categorical else self.rng.normal(spec.tokens, spec.width)
        out, steps = torch.zeros_like(value), sum(spec.tokens for spec in self.specs.values())
        for i in range(spec.tokens):
            if self.ended.all():
                break
            h = self.state.step(first + i)
            token = (
                params.sample_ids(self._id_head(k), h, u[:, i])
                if noise is None
                else params.sample_floats(self._float_head(k), h, u[:, i], noise[:, i])
            )
            out[:, i] = where_known(token, value[:, i], forced[:, i])
            self._push(k, out[:, i : i + 1])
            if (ended := self.report(controls.on_step, steps, {})) is not None:
                self.ended = self.ended | ended
        self.out[name] = out

    def sample_text(
        self,
        name: str,
        value: Tensor,
        forced: Tensor,
        params: SamplingParams,
        controls: TextControls,
        tokens: int | RowValues | None = None,
    ) -> None:
        """Sample the next column, ids of a text up to its end, (B, n), at most `tokens` after the prompt.

        A prompt is processed at once. Rows with longer prompts than the shortest are sampled with it and forced
        to follow their own; a prompt overrides known parts. A document that fills its window continues in one
        that begins with the last half of it, as in log_prob. A middle has no more room than a window leaves.
        """
        k, first, spec, state = len(self.out), self._first(), self.specs[name], self.state
        rows, device = len(value), value.device
        healing = controls.healing
        prompt = self._prompt(name, value, controls)
        start = (prompt != 0).sum(1)
        last = start + _most_tokens(tokens, spec.tokens, device)  # of a row's ids
        if healing:
            last = last + healing.counts.to(device)
        room = state.window - 1 if self.fills_middle else int(last.max()) if spec.windowed else spec.tokens
        prompt, value, forced = (F.pad(v, (0, room - v.shape[1])) for v in (prompt, value, forced))  # or cut
        value, forced = where_known(value, prompt, prompt != 0), forced | (prompt != 0)
        u = self.rng.uniform(room)
        # A text cannot end before a known part of it.
        continues = (forced & (value != 0)).flip(1).cumsum(1).flip(1) > 0
        ended = self.ended.clone()
        out, counts = torch.zeros_like(value), torch.zeros(rows, spec.classes, device=device)
        constraint = (controls.constraint or {}).get(name)
        constrained = None if constraint is None else constraint.start(rows)
        prefill = max(0, int(start.min()) - 1)  # the last id of the shortest prompt is the next input
        if prefill:
            out[:, :prefill] = value[:, :prefill]
            state.prefill(self.embed(k, value[:, :prefill]).repeat(self.copies, 1, 1))
        at = 0  # where the window begins
        for i in range(prefill, room):
            if ended.all():
                out = out[:, : max(i, 1)]
                break
            if i - at == state.window:
                at = i - spec.tokens // 2
                state.restart_window(self.embed(k, out[:, at:i]).repeat(self.copies, 1, 1))
            h = state.step(first + i - at, (~ended).repeat(self.copies))
            allowed = None
            if constrained:
                allowed = constrained.allowed_ids().to(device)
            elif healing:
                allowed = healing.allowed_ids(out[:, :i], start)
            token = params.sample_ids(self._id_head(k), h, u[:, i], continues[:, i], counts, allowed)
            token = where_known(token, value[:, i], forced[:, i])
            if constrained:
                constrained.push(token)
            token = token.masked_fill(ended | (i >= last), 0)
            free = ~forced[:, i, None]
            counts.scatter_add_(1, token[:, None] * free, free.to(counts))  # sentinels are always forced
            out[:, i] = token
            ended = ended | (token == 0)
            if (
                stopped := self.report(controls.on_step, room - prefill, {name: out[:, : i + 1]})
            ) is not None:
                ended, self.ended = ended | stopped, self.ended | stopped
                if constrained:
                    constrained.end(stopped)
            self._push(k, out[:, max(at, i - 2) : i + 1])
        else:
            out = where_known(out, value, forced)
        if self.fills_middle:
            out = from_psm(out, spec.classes)
        self.out[name], closed = constrained.close(out) if constrained else (out, False)
        if closed and len(self.out) < len(self.specs):
            self._restart()

    def _prompt(self, name: str, value: Tensor, controls: TextControls) -> Tensor:
        """The ids that a text begins with, (B, P), with a suffix before the middle, (1) of fim.py."""
        prompt = (controls.prompt or {}).get(name)
        suffix = (controls.suffix or {}).get(name)
        if prompt is None:
            return value.new_zeros(len(value), 0)
        if suffix is not None:
            prompt = psm_prompt(prompt, suffix, self.specs[name].classes)
        return prompt.to(value.device)

    def _id_head(self, k: int) -> CategoricalHead:
        head = self.heads[k]
        assert isinstance(head, CategoricalHead)
        return head

    def _float_head(self, k: int) -> MixtureHead:
        head = self.heads[k]
        assert isinstance(head, MixtureHead)
        return head

    def _first(self) -> int:
        """The position of the next column's first token."""
        return sum(self.specs[name].tokens for name in self.out)

    def _push(self, k: int, tokens: Tensor) -> None:
        """Append the last of these tokens of column k, (B, n, ...), as the next input."""
        self.state.append(self.embed(k, tokens)[:, -1].repeat(self.copies, 1))

    def _restart(self) -> None:
        """Process the columns in `out` again, after one of them was changed."""
        self.state, first = IncrementalState(self.likelihood.causal, self.context), 0
        for k, (name, x) in enumerate(self.out.items()):
            spec = self.specs[name]
            used = valid_mask(x, spec)
            for i in range(int(used.any(0).sum())):
                self.state.step(first + i, used[:, i].repeat(self.copies) if spec.padded else None)
                self._push(k, x[:, i : i + 1])
            first += spec.tokens


def _most_tokens(tokens: int | RowValues | None, default: int, device: torch.device) -> int | Tensor:
    """At most how many tokens of a text are sampled, of each row (B,) where rows differ."""
    if not isinstance(tokens, RowValues):
        return default if tokens is None else tokens
    return torch.tensor([default if n is None else n for n in tokens.values], device=device)
