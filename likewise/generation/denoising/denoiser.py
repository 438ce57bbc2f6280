"""Denoiser: the network of flow and diffusion, x^_0 of all targets from x_t, t, the sources and known parts.

Every column has a time of its own; known parts are clean and marked by a mask. Families decide the times, the
path and the weights of the loss; sampling and densities (density.py) follow from x^_0 alone.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context, Layout
from likewise.core.known import KnownParts, fill_unknown
from likewise.core.residual import shrink_residual
from likewise.core.rng import Rng
from likewise.core.spec import Spec
from likewise.generation.controls import DenoisingControls, InterpolateTo, negative_context
from likewise.generation.denoising import paths
from likewise.generation.denoising.guidance import ColumnGuidance, clamp_known, classifier_free_guidance
from likewise.generation.denoising.meanflow import (
    MAX_GUIDANCE,
    ConditionedDenoise,
    StepCondition,
    meanflow_target,
    sample_few_steps,
)
from likewise.generation.denoising.samplers import SAMPLERS, Denoise
from likewise.nets.conditioning import EncodedContext
from likewise.nets.continuous import ContinuousCodes
from likewise.nets.transformer import DenoisingTransformer

FEW = 64  # numbers a column up to which "auto" predicts v, and a row up to which CFG-Zero* is not applied
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
        """Predict x^_0, or logits, of every column; x_t (B, N), t (B, K), known (B, N) bool.

        A column that is fully known is clean: its time is 0. With a `step` the prediction is x^.
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
        """
        x0, t = self.pack(x), self.net.shared_times(t)
        x_t = torch.where(known, x0, paths.add_noise(x0, rng.normal(self.layout.size), self.layout.spread(t)))
        if self.source_noise:
            c = self.noise_sources(rng, self.source_noise * rng.uniform(1, 1))(c)
        if step is not None:
            x0 = self._few_step_targets(x0, x_t, t, c, known, step, progress)
        out = self.predict(x_t, t, known, self.net.encode_sources(c), step)
        total = torch.zeros(len(x0), device=x0.device)
        x0_of, unknown_of = self.layout.unpack(x0), self.layout.unpack(~known)
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
            times = torch.as_tensor(t, dtype=torch.float32, device=x_t.device)
            times = times.expand(len(x_t), len(self.names))
            return self.layout.pack(self.column_codes.mean(self.predict(x_t, times, known, context, step)))

        return denoise

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

    # ---- sampling

    def sample(
        self,
        c: Context,
        rng: Rng,
        value: Tensor,
        known: Tensor,
        times: list[float],
        *,
        sampler: str,
        cfg: ColumnGuidance,
        eta: float,
        controls: DenoisingControls,
        source_noise: float = 0.0,
    ) -> Batch:
        """One sample a row, with `value` (B, N) wherever `known` (B, N) holds, along `times` from noise to 0.

        Options are those of Flow. With an `init`, x starts as data noised to t = strength, and times are scaled
        to start there, as many as before: cut off instead, the first step could be of almost no length. What the
        network cannot represent of the data is kept, as in `_restoring`.
        """

        def noise() -> Tensor:
            return rng.normal(self.layout.size)

        if source_noise and not 0 < source_noise <= self.source_noise:
            raise ValueError(
                f"source_noise was at most {self.source_noise:g} in training, not {source_noise:g}"
            )
        negative, interpolate_to, init = controls.negative, controls.interpolate_to, controls.init
        if self.source_noise:
            add = self.noise_sources(rng, torch.tensor(source_noise, device=rng.device))
            c, negative = add(c), negative and add(negative)
            interpolate_to = interpolate_to and InterpolateTo(
                add(interpolate_to.sources), interpolate_to.share
            )
        start: tuple[Tensor, float] | None = None  # x_0, and the noise on it
        if init is not None and init.strength < times[0]:
            start = torch.where(known, value, self.pack(init.values)), init.noise
            x = paths.add_noise(start[0], noise(), init.strength)
            times = [t * init.strength / times[0] for t in times]
        else:
            x = noise() * paths.noise_scale(torch.tensor(times[0])).item()
        if sampler == "jump":
            few_step = self._few_step_denoise(c, known, cfg.common, negative, interpolate_to)
            no_step = StepCondition(torch.zeros_like(x[:, :1]), torch.full_like(x[:, :1], cfg.common))
            few_step = self._restoring(few_step, start, no_step)
            x = sample_few_steps(few_step, x, times, cfg.common, value, known)
        else:
            guided = self._restoring(self._guided(c, known, cfg, negative, interpolate_to), start)
            x = SAMPLERS[sampler](clamp_known(guided, value, known), x, times, noise, eta)
        return self.column_codes.decode(self.layout.unpack(x))

    def _restoring(
        self, denoise: Callable[..., Tensor], start: tuple[Tensor, float] | None, *condition: StepCondition
    ) -> Callable[..., Tensor]:
        """The denoiser of variations, D(x_t, t) + W (x_0 - D(x_0, 0)), with W a column by `shrink_residual`.

        Near data a network that predicts x_0 has errors larger than the noise, which every step adds again. With
        their part at x_0 subtracted, x_0 is a fixed point, so it comes back as the noise goes to 0. `start` is
        x_0 (B, N) and the deviation of the noise on it, or None: then the denoiser is unchanged.
        """
        if start is None:
            return denoise
        x0, noise = start
        at_data = torch.zeros_like(x0[:, :1]) if condition else 0.0
        residual = self.layout.unpack(x0 - denoise(x0, at_data, *condition))
        kept = self.layout.pack({n: shrink_residual(r, noise) for n, r in residual.items()})
        return lambda *args: denoise(*args) + kept

    def supports_few_steps(self, guidance: float, negative: Context | None) -> bool:
        """Whether few-step sampling was learned, with this guidance."""
        return self.few_step and negative is None and 1 <= guidance <= MAX_GUIDANCE

    def _few_step_denoise(
        self,
        c: Context,
        known: Tensor,
        guidance: float,
        negative: Context | None,
        interpolate_to: InterpolateTo | None,
    ) -> ConditionedDenoise:
        """The denoiser for `sample_few_steps`. Raises ValueError for what was not learned."""
        if not self.few_step:
            raise ValueError(
                "the sampler jump is for models that learned to jump: train with --few-step, or "
                "take another sampler"
            )
        if not self.supports_few_steps(guidance, negative):
            what = f"guidance {guidance:g}" if negative is None else "a negative"
            raise ValueError(
                f"jumps were learned with guidance from 1 to {MAX_GUIDANCE:g} and without a negative; "
                f"for {what} take another sampler, such as dpmpp_2m"
            )
        first = self.denoise(c, known)
        if interpolate_to is None:
            return first
        last, share = self.denoise(interpolate_to.sources, known), interpolate_to.share
        return lambda x_t, t, step: torch.lerp(first(x_t, t, step), last(x_t, t, step), share)

    def _guided(
        self,
        c: Context,
        known: Tensor,
        cfg: ColumnGuidance,
        negative: Context | None,
        interpolate_to: InterpolateTo | None,
    ) -> Denoise:
        """The denoiser, guided while t is in the interval of `cfg`.

        Between two sources it is (1 - w) D(x_t, c_1) + w D(x_t, c_2), whose field is that of the density
        p(x_t | c_1)^(1 - w) p(x_t | c_2)^w up to a factor: of what is likely under both.
        """
        contexts = [c] if interpolate_to is None else [c, interpolate_to.sources]

        def mix(x0s: Sequence[Tensor]) -> Tensor:
            return x0s[0] if interpolate_to is None else torch.lerp(x0s[0], x0s[1], interpolate_to.share)

        plain, other = self._batched(contexts, known), negative_context(contexts, negative, cfg.strongest)
        if other is None:
            return lambda x_t, t: mix(plain(x_t, t))
        both = self._batched([*contexts, other], known)
        scale = self.layout.spread(torch.tensor([[cfg.scales[n] for n in self.names]], device=known.device))
        zero_star = cfg.zero_star and self.layout.size > FEW

        def denoise(x_t: Tensor, t: float | Tensor) -> Tensor:
            if not cfg.guidance_from <= t <= cfg.guidance_to:
                return mix(plain(x_t, t))
            *x0s, without = both(x_t, t)
            return classifier_free_guidance(x_t, mix(x0s), without, scale, zero_star)

        return denoise

    def _batched(
        self, contexts: Sequence[Context], known: Tensor
    ) -> Callable[[Tensor, float | Tensor], Sequence[Tensor]]:
        """x^_0 given each of several contexts, in one pass."""
        n = len(contexts)
        denoise = self.denoise(functools.reduce(operator.add, contexts), known.repeat(n, 1))
        return lambda x_t, t: denoise(x_t.repeat(n, 1), t).chunk(n)
