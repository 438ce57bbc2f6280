"""Denoiser: the network of flow and diffusion, x^_0 of all targets from x_t, t, the sources and known parts.

Every column has a time of its own; known parts are clean and marked by a mask. Families decide the times, the
path and the weights of the loss; sampling and densities (density.py) follow from x^_0 alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context, Layout
from likewise.core.known import KnownParts, fill_unknown, has_gaps, present_masks
from likewise.core.option_names import option_text
from likewise.core.rng import Rng
from likewise.core.spec import Spec
from likewise.generation.denoising import paths
from likewise.generation.denoising.meanflow import (
    MAX_GUIDANCE,
    ConditionedDenoise,
    StepCondition,
    meanflow_target,
)
from likewise.nets.conditioning import EncodedContext
from likewise.nets.continuous import ContinuousCodes
from likewise.nets.transformer import DenoisingTransformer

FEW = 64  # numbers a column up to which "auto" predicts v, and a row up to which CFG-Zero* is not applied
MISSING = -1.0  # in the mask channel of a missing value, where 1 is known and 0 is to be predicted
Predict = Literal["auto", "x", "v", "noise"]


class Denoiser(nn.Module):
    """x^_0 = a(t) x_t + b(t) F(x_t, t): F is a network, (a, b) what it predicts (paths.PREDICTIONS).

    A categorical token is a vector, one of K fixed codes; F predicts K logits of it, trained by
    cross-entropy, and x^_0 is the mean code.

    With `source_noise`, sources that are sampled (images) come as (1 - s) v + s e, with s as a channel; s is
    uniform up to it in training, so that a cascade forgives errors of its first model (Ho et al., 2022). With
    `few_step` the network is also conditioned on a StepCondition and predicts the x^ of meanflow.py.
    """

    def __init__(
        self,
        targets: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        width: int,
        depth: int,
        stem: str,
        predict: Predict,
        source_noise: float = 0.0,
        few_step: bool = False,
        pack_columns: bool = False,
    ) -> None:
        super().__init__()
        self.source_noise = source_noise
        self.noisy_sources = {n: s for n, s in sources.items() if s.sampled}
        if source_noise and not self.noisy_sources:
            raise ValueError("source_noise is for sources that are pictures, and there is none; leave it out")
        if source_noise:
            noisy = {n: s.with_floats(s.width + 1) for n, s in self.noisy_sources.items()}
            sources = {**sources, **noisy}
        self.targets, self.column_codes = dict(targets), ContinuousCodes(targets)
        self.names = list(targets)
        self.layout = Layout(self.column_codes.specs)
        auto = {n: "v" if s.tokens * s.width <= FEW else "x" for n, s in self.column_codes.specs.items()}
        self.predicts = {n: auto[n] if predict == "auto" else predict for n in targets}
        if few_step and self.column_codes.categorical:
            raise ValueError(
                "few_step is for targets that are numbers, and "
                f"{self.column_codes.categorical[0]!r} is categorical; leave it out"
            )
        self.few_step = few_step
        self.net = DenoisingTransformer(
            self.column_codes.specs,
            self.column_codes.outputs,
            sources,
            width=width,
            depth=depth,
            stem=stem,
            extra_conditions=2 * few_step,
            pack_columns=pack_columns,
        )

    def pack(self, x: Batch) -> Tensor:
        """Encoded columns -> (B, N) floats."""
        return self.layout.pack(self.column_codes.encode(x))

    def spread(self, masks: Batch) -> Tensor:
        """Masks of tokens, column -> (B, T) bool -> masks of numbers, (B, N) bool."""
        return self.layout.pack(
            {n: masks[n][..., None].expand(-1, -1, s.width) for n, s in self.layout.specs.items()}
        )

    def pack_known(self, known: KnownParts | None, rows: int) -> tuple[Tensor, Tensor]:
        """Known values and their masks as (B, N)."""
        values, masks = fill_unknown(self.targets, known, rows, self.net.trunk.column.device)
        return self.pack(values), self.spread(masks)

    # ---- prediction

    def predict(
        self,
        x_t: Tensor,
        t: Tensor,
        known: Tensor,
        context: EncodedContext,
        step: StepCondition | None = None,
    ) -> Batch:
        """Predict x^_0, or logits, of every column; x_t (B, N), t (B, K), known (B, N) bool, or with MISSING.

        A column that is fully known or missing is clean: its time is 0. With a `step` the prediction is x^.
        """
        if self.few_step and step is None:
            step = StepCondition.none(len(x_t), x_t.device)
        masks = {n: m[..., :1].to(x_t.dtype) for n, m in self.layout.unpack(known).items()}
        clean = torch.stack([m.flatten(1).all(1) for m in masks.values()], dim=1)
        t = t.masked_fill(clean, 0.0)
        x = self.layout.unpack(x_t)
        out = self.net(x, t, masks, context, step and step.stacked())
        for k, name in enumerate(self.names):
            if name not in self.column_codes.categorical and self.predicts[name] != "x":
                a, b = paths.PREDICTIONS[self.predicts[name]](t[:, k, None, None])
                out[name] = a * x[name] + b * out[name]
        return out

    def loss(
        self,
        x: Batch,
        c: Context,
        t: Tensor,
        known: Tensor,
        rng: Rng,
        weight: Callable[[str, Tensor], Tensor],
        step: StepCondition | None = None,
        progress: float = 1.0,
    ) -> Tensor:
        """weight(column, t) |x^_0 - x_0|^2, or cross-entropy, at times t (B, K): (B,).

        The mean over the unknown numbers of each column (not in `known`, (B, N) bool), summed over columns.
        Rows with a `step` learn x^ in place of x_0; `progress` is that of training.

        A missing value of x (EncodedRows) is no part of the loss, and the network gets neither a value nor noise in its
        place, but MISSING: so the others are predicted given nothing of it.
        """
        x0, t = self.pack(x), self.net.shared_times(t)
        x_t = torch.where(known, x0, paths.add_noise(x0, rng.normal(self.layout.size), self.layout.spread(t)))
        marks, unknown = known, ~known
        if has_gaps(x):
            present = self.spread(present_masks(self.targets, x, len(x0), x0.device))
            x_t, unknown = x_t * present, unknown & present
            marks = known.to(x_t.dtype) + MISSING * ~present
            step = step and step.only(present.all(1, keepdim=True))
        if self.source_noise:
            c = self.noise_sources(rng, self.source_noise * rng.uniform(1, 1))(c)
        if step is not None:
            x0 = self._few_step_targets(x0, x_t, t, c, known, step, progress)
        out = self.predict(x_t, t, marks, self.net.encode_sources(c), step)
        total = torch.zeros(len(x0), device=x0.device)
        x0_of, unknown_of = self.layout.unpack(x0), self.layout.unpack(unknown)
        for k, name in enumerate(self.names):
            if name in self.column_codes.categorical:
                logits, ids = out[name].flatten(0, 1), x[name].flatten()
                error = F.cross_entropy(logits, ids, reduction="none").view_as(x[name])
                unknown = unknown_of[name][..., 0]
            else:
                error = (out[name] - x0_of[name]).square() * weight(name, t[:, k, None, None])
                unknown = unknown_of[name]
            total = total + (error * unknown).flatten(1).sum(1) / unknown.flatten(1).sum(1).clamp(min=1)
        return total

    @torch.no_grad()
    def _few_step_targets(
        self,
        x0: Tensor,
        x_t: Tensor,
        t: Tensor,
        c: Context,
        known: Tensor,
        step: StepCondition,
        progress: float,
    ) -> Tensor:
        """What the network learns, (B, N): x_0, and x^ in rows whose step has a length."""
        rows = (step.span > 0).squeeze(1).nonzero().squeeze(1)
        if not len(rows):
            return x0
        c, known, step = c.take(rows), known[rows], StepCondition(step.span[rows], step.guidance[rows])
        conditional, unconditional = self.denoise(c, known), self.denoise(c.unconditional(), known)
        target = meanflow_target(x_t[rows], t[rows, :1], step, conditional, unconditional, known, progress)
        return x0.index_copy(0, rows, target)

    def denoise(self, c: Context, known: Tensor) -> ConditionedDenoise:
        """(x_t, t) -> x^_0, both (B, N), with the sources encoded once; t is a number or (B, 1).

        It is a Denoise, and predicts x^ if it also gets a StepCondition.
        """
        context = self.net.encode_sources(c)

        def denoise(x_t: Tensor, t: float | Tensor, step: StepCondition | None = None) -> Tensor:
            return self.mean(x_t, t, known, context, step)

        return denoise

    def mean(
        self,
        x_t: Tensor,
        t: float | Tensor,
        known: Tensor,
        context: EncodedContext,
        step: StepCondition | None = None,
    ) -> Tensor:
        """x^_0 of all columns, (B, N), of an id its mean code; t is a number or (B, 1)."""
        times = torch.as_tensor(t, dtype=torch.float32, device=x_t.device)
        times = times.expand(len(x_t), len(self.names))
        return self.layout.pack(self.column_codes.mean(self.predict(x_t, times, known, context, step)))

    def check(self, sampler: str, guidance: float, negative: bool, source_noise: float) -> None:
        """Raise ValueError for options of sampling that were not learned; `guidance` is that of all columns."""
        if source_noise and not 0 < source_noise <= self.source_noise:
            raise ValueError(
                f"source_noise was at most {self.source_noise:g} in training, not {source_noise:g}"
            )
        if sampler != "jump":
            return
        if not self.few_step:
            raise ValueError(
                f"the sampler jump is for models that learned to jump: train with {option_text('few_step', True)}, or "
                "take another sampler"
            )
        if not self.supports_few_steps(guidance, negative):
            what = "a negative" if negative else f"guidance {guidance:g}"
            raise ValueError(
                f"jumps were learned with guidance from 1 to {MAX_GUIDANCE:g} and without a negative; "
                f"for {what} take another sampler, such as dpmpp_2m"
            )

    def supports_few_steps(self, guidance: float, negative: bool) -> bool:
        """Whether few-step sampling was learned, with this guidance."""
        return self.few_step and not negative and 1 <= guidance <= MAX_GUIDANCE

    def noise_sources(self, rng: Rng, level: Tensor) -> Callable[[Context], Context]:
        """A function that adds noise of a level, (B, 1, 1) or (), to sampled sources: the same at each call."""
        noise = {n: rng.normal(s.tokens, s.width) for n, s in self.noisy_sources.items()}

        def add(c: Context) -> Context:
            values = dict(c.values)
            for n, e in noise.items():
                v = paths.add_noise(c.values[n], e, level)
                values[n] = torch.cat([v, level.expand_as(v[..., :1])], dim=-1)
            return Context(values, c.present)

        return add
