"""Denoiser: the network of flow and diffusion, x^_0 of all targets from x_t, t, sources and what is known.

Every column has a time of its own, and what is known of it is clean and marked by a mask. Time, path and
loss are the families' matter; what is drawn, and a bound of the density, follow from x^_0 alone.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context, Layout
from likewise.core.known import KnownParts, fill_unknown
from likewise.core.rng import Rng
from likewise.core.spec import Spec
from likewise.generation.controls import Init, InterpolateTo, negative_context
from likewise.generation.denoising import paths
from likewise.generation.denoising.guidance import clamp_known, classifier_free_guidance
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

FEW = 64  # numbers a column up to which "auto" predicts v
T_0 = 3e-4  # the time of data along the path: the first that is not quite 0
Predict = Literal["auto", "x", "v", "noise"]


class Denoiser(nn.Module):
    """x^_0 = a(t) x_t + b(t) F(x_t, t): F is a network, (a, b) what it predicts (paths.PREDICTIONS).

    A categorical token is a vector, one of K fixed codes; of it F says K logits, trained by cross-entropy,
    and x^_0 is the mean code.

    With `source_noise` sources that are pictures come as (1 - s) v + s e, and s beside them: s is uniform up
    to it in training, so that a cascade forgives what its first model draws (Ho et al., 2022). With `jumps`
    the network is told of a Jump too, and what it says is x^ of jumps.py.
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
        jumps: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= source_noise < 1:
            raise ValueError(f"source_noise is in [0, 1), not {source_noise:g}")
        self.source_noise = source_noise
        self.noisy = {n: s for n, s in sources.items() if s.sampled}
        if source_noise and not self.noisy:
            raise ValueError("source_noise is for sources that are pictures, and there is none; leave it out")
        if source_noise:
            sources = {**sources, **{n: s.with_floats(s.width + 1) for n, s in self.noisy.items()}}
        self.targets, self.column_codes = dict(targets), ContinuousCodes(targets)
        self.names = list(targets)
        self.layout = Layout(self.column_codes.specs)
        auto = {n: "v" if s.tokens * s.width <= FEW else "x" for n, s in self.column_codes.specs.items()}
        self.predicts = {n: auto[n] if predict == "auto" else predict for n in targets}
        if jumps and self.column_codes.categorical:
            raise ValueError(
                "few_step is for targets that are numbers, and "
                f"{self.column_codes.categorical[0]!r} is categorical; leave it out"
            )
        self.jumps = jumps
        self.net = DenoisingTransformer(
            self.column_codes.specs,
            self.column_codes.outputs,
            sources,
            width=width,
            depth=depth,
            stem=stem,
            told=2 * jumps,
        )

    def pack(self, x: Batch) -> Tensor:
        """Encoded columns -> (B, N) floats."""
        return self.layout.pack(self.column_codes.encode(x))

    def spread(self, masks: Batch) -> Tensor:
        """Which tokens, column -> (B, T) bool -> which numbers, (B, N) bool."""
        return self.layout.pack(
            {n: masks[n][..., None].expand(-1, -1, s.width) for n, s in self.layout.specs.items()}
        )

    # ---- prediction

    def predict(
        self,
        x_t: Tensor,
        t: Tensor,
        known: Tensor,
        context: EncodedContext,
        jump: StepCondition | None = None,
    ) -> Batch:
        """What the network says of every column: x^_0, or logits; x_t (B, N), t (B, K), known (B, N) bool.

        A column that is wholly known is clean: its time is 0. Of a jump it says x^.
        """
        if self.jumps and jump is None:
            jump = StepCondition.none(len(x_t), x_t.device)
        masks = {n: m[..., :1].to(x_t.dtype) for n, m in self.layout.unpack(known).items()}
        clean = torch.stack([m.flatten(1).all(1) for m in masks.values()], dim=1)
        t = t.masked_fill(clean, 0.0)
        x = self.layout.unpack(x_t)
        out = self.net(x, t, masks, context, jump and jump.stacked())
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
        jump: StepCondition | None = None,
        progress: float = 1.0,
    ) -> Tensor:
        """weight(column, t) |x^_0 - x_0|^2, or cross-entropy, at times t (B, K): (B,).

        The mean over what is unknown (not in `known`, (B, N) bool) of each column, summed over columns. Rows
        that `jump` learn x^ in the place of x_0; `progress` is that of training.
        """
        x0 = self.pack(x)
        x_t = torch.where(known, x0, paths.add_noise(x0, rng.normal(self.layout.size), self.layout.spread(t)))
        if self.source_noise:
            c = self._noised(rng, self.source_noise * rng.uniform(1, 1))(c)
        if jump is not None:
            x0 = self._aims(x0, x_t, t, c, known, jump, progress)
        out = self.predict(x_t, t, known, self.net.encode_sources(c), jump)
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
    def _aims(
        self,
        x0: Tensor,
        x_t: Tensor,
        t: Tensor,
        c: Context,
        known: Tensor,
        jump: StepCondition,
        progress: float,
    ) -> Tensor:
        """What to learn, (B, N): x_0, and of rows that jump x^."""
        rows = (jump.span > 0).squeeze(1).nonzero().squeeze(1)
        if not len(rows):
            return x0
        c, known, jump = c.take(rows), known[rows], StepCondition(jump.span[rows], jump.guidance[rows])
        asked, without = self.denoise(c, known), self.denoise(c.unconditional(), known)
        found = meanflow_target(x_t[rows], t[rows, :1], jump, asked, without, known, progress)
        return x0.index_copy(0, rows, found)

    def denoise(self, c: Context, known: Tensor) -> ConditionedDenoise:
        """(x_t, t) -> x^_0, both (B, N), with the sources read once; t is a number or (B, 1).

        It is a Denoise, and with a jump as well says x^.
        """
        context = self.net.encode_sources(c)

        def denoise(x_t: Tensor, t: float | Tensor, jump: StepCondition | None = None) -> Tensor:
            times = torch.as_tensor(t, dtype=torch.float32, device=x_t.device)
            times = times.expand(len(x_t), len(self.names))
            return self.layout.pack(self.column_codes.mean(self.predict(x_t, times, known, context, jump)))

        return denoise

    # ---- drawing

    def draw(
        self,
        c: Context,
        rng: Rng,
        value: Tensor,
        known: Tensor,
        times: list[float],
        *,
        sampler: str,
        guidance: float,
        interval: tuple[float, float],
        zero_star: bool,
        eta: float,
        negative: Context | None = None,
        interpolate_to: InterpolateTo | None = None,
        init: Init | None = None,
        source_noise: float = 0.0,
    ) -> Batch:
        """One draw a row with `value` (B, N) wherever `known` (B, N) holds, along `times`, from noise to 0.

        The knobs are those of Flow. With an `init` that is data noised to t = strength, and times shrink to
        begin there, as many as before: cut off instead, they might begin with a step of next to no length.
        """

        def noise() -> Tensor:
            return rng.normal(self.layout.size)

        if source_noise and not 0 < source_noise <= self.source_noise:
            raise ValueError(
                f"source_noise was at most {self.source_noise:g} in training, not {source_noise:g}"
            )
        if self.source_noise:
            noised = self._noised(rng, torch.tensor(source_noise, device=rng.device))
            c, negative = noised(c), negative and noised(negative)
            interpolate_to = interpolate_to and InterpolateTo(
                noised(interpolate_to.sources), interpolate_to.share
            )
        if init is not None and init.strength < times[0]:
            x = paths.add_noise(self.pack(init.values), noise(), init.strength)
            times = [t * init.strength / times[0] for t in times]
        else:
            x = noise() * paths.noise_scale(torch.tensor(times[0])).item()
        if sampler == "jump":
            x = sample_few_steps(
                self._jumps(c, known, guidance, negative, interpolate_to), x, times, guidance, value, known
            )
        else:
            guided = self._guided(c, known, guidance, interval, zero_star, negative, interpolate_to)
            x = SAMPLERS[sampler](clamp_known(guided, value, known), x, times, noise, eta)
        return self.column_codes.decode(self.layout.unpack(x))

    def can_jump(self, guidance: float, negative: Context | None) -> bool:
        """Whether jumps were learned, and such guidance in them."""
        return self.jumps and negative is None and 1 <= guidance <= MAX_GUIDANCE

    def _jumps(
        self,
        c: Context,
        known: Tensor,
        guidance: float,
        negative: Context | None,
        interpolate_to: InterpolateTo | None,
    ) -> ConditionedDenoise:
        """What `walk` asks. Raises ValueError for what was not learned."""
        if not self.jumps:
            raise ValueError(
                "the sampler jump is for models that learned to jump: train with --few-step, or "
                "take another sampler"
            )
        if not self.can_jump(guidance, negative):
            what = f"guidance {guidance:g}" if negative is None else "a negative"
            raise ValueError(
                f"jumps were learned with guidance from 1 to {MAX_GUIDANCE:g} and without a negative; "
                f"for {what} take another sampler, such as dpmpp_2m"
            )
        first = self.denoise(c, known)
        if interpolate_to is None:
            return first
        last = self.denoise(interpolate_to.sources, known)
        return lambda x_t, t, jump: torch.lerp(first(x_t, t, jump), last(x_t, t, jump), interpolate_to.share)

    def clamped(self, known: KnownParts | None, rows: int) -> tuple[Tensor, Tensor]:
        """Known values and their masks as (B, N)."""
        values, masks = fill_unknown(self.targets, known, rows, self.net.trunk.column.device)
        return self.pack(values), self.spread(masks)

    def _noised(self, rng: Rng, level: Tensor) -> Callable[[Context], Context]:
        """What puts noise of a level, (B, 1, 1) or (), on picture sources: the same on all it is given."""
        noise = {n: rng.normal(s.tokens, s.width) for n, s in self.noisy.items()}

        def put(c: Context) -> Context:
            values = dict(c.values)
            for n, e in noise.items():
                v = paths.add_noise(c.values[n], e, level)
                values[n] = torch.cat([v, level.expand_as(v[..., :1])], dim=-1)
            return Context(values, c.present)

        return put

    def _guided(
        self,
        c: Context,
        mask: Tensor,
        scale: float,
        interval: tuple[float, float],
        zero_star: bool,
        negative: Context | None,
        interpolate_to: InterpolateTo | None,
    ) -> Denoise:
        """The denoiser, guided by `scale` while t is in the interval.

        Between two sources it says (1 - w) D(x_t, c_1) + w D(x_t, c_2), whose field is that of the density
        p(x_t | c_1)^(1 - w) p(x_t | c_2)^w up to a factor: what both find likely.
        """
        ways = [c] if interpolate_to is None else [c, interpolate_to.sources]

        def asked(said: Sequence[Tensor]) -> Tensor:
            return said[0] if interpolate_to is None else torch.lerp(*said, interpolate_to.share)

        plain, other = self._each(ways, mask), negative_context(ways, negative, scale)
        if other is None:
            return lambda x_t, t: asked(plain(x_t, t))
        every = self._each([*ways, other], mask)

        def denoise(x_t: Tensor, t: float) -> Tensor:
            if not interval[0] <= t <= interval[1]:
                return asked(plain(x_t, t))
            *said, without = every(x_t, t)
            return classifier_free_guidance(x_t, asked(said), without, scale, zero_star)

        return denoise

    def _each(self, ways: Sequence[Context], mask: Tensor) -> Callable[[Tensor, float], Sequence[Tensor]]:
        """What the denoiser says for each of several sources, in one pass."""
        n = len(ways)
        denoise = self.denoise(functools.reduce(operator.add, ways), mask.repeat(n, 1))
        return lambda x_t, t: denoise(x_t.repeat(n, 1), t).chunk(n)

    # ---- scoring

    def numbers(self) -> int:
        """N, where a density can be had. Raises ValueError for categorical targets, which have none here."""
        if self.column_codes.categorical:
            raise ValueError(
                "a flow or diffusion has a density over numbers only; "
                f"the target {self.column_codes.categorical[0]!r} is categorical: "
                "make it a source, or use the family autoregressive"
            )
        return self.layout.size

    def _plain(self, c: Context, x0: Tensor, rng: Rng) -> Denoise:
        """The denoiser with nothing known and clean sources."""
        c = self._noised(rng, torch.zeros((), device=x0.device))(c) if self.source_noise else c
        return self.denoise(c, torch.zeros_like(x0, dtype=torch.bool))

    def floor(self) -> float:
        """The noise level where a bound should end: below it, what x_t says of x_0 is all that is known.

        It is far up where the network says x_0 itself, for it does not learn to repeat x_t to the last digit.
        Measured by benchmarks/bound.py; of pictures the other is about a grey level, of 255, wide.
        """
        if "x" in self.predicts.values():
            return 0.07
        return 0.005 if self.layout.size <= FEW else 0.002

    def bound(
        self, x: Batch, c: Context, rng: Rng, draws: int, floor: float, steps: int | None = None
    ) -> Tensor:
        """A lower bound of log p(x_0 | c), (B,): see paths, with `steps` KL terms, or None for the integral.

        Levels lie evenly in log SNR from `floor` to 0.999. A draw looks at one of them; draws are stratified,
        so that as many draws as steps look at each level once.
        """
        x0, size = self.pack(x), self.numbers()
        denoise = self._plain(c, x0, rng)
        low, high = paths.log_snr(torch.tensor([0.999, floor], dtype=torch.float64)).tolist()
        offset, total = rng.uniform(1), torch.zeros(len(x0), device=x0.device)
        for i in range(draws):
            u = (i + offset) / draws  # (B, 1), of the way from noise to data
            if steps is None:
                snr = low + (high - low) * u
                weight = (high - low) * snr.exp()
            else:  # from the noisier end of a step, x_t, to the other, x_s
                step = (u * steps).floor().clamp(max=steps - 1)
                snr = low + (high - low) * step / steps
                weight = steps * snr.exp() * math.expm1((high - low) / steps)  # T (SNR(s) - SNR(t))
            t = paths.time_of(snr)
            error = (x0 - denoise(paths.add_noise(x0, rng.normal(size), t), t)).square().sum(1)
            total += 0.5 * weight.squeeze(1) * error
        return -(total / draws) - paths.decoder_term(size, floor) - paths.prior_term(x0, 0.999)

    def ode(self, x: Batch, c: Context, rng: Rng, steps: int, probes: int, exact: bool) -> Tensor:
        """log p(x_0 | c) along the flow's path, (B,): log N(x_1; 0, I) + int div v dt (Chen et al., 2018).

        By Heun's rule over log t, where the field t v = x - x^_0 is smooth, from t = T_0. The divergence is a
        trace, or Hutchinson's estimate of it from `probes` draws (Grathwohl et al., 2019).
        """
        x_t, size = self.pack(x), self.numbers()
        denoise = self._plain(c, x_t, rng)
        if exact:
            directions = torch.eye(size, device=x_t.device)[:, None].expand(-1, len(x_t), -1)
        else:
            directions = torch.stack([rng.uniform(size).round() * 2 - 1 for _ in range(probes)])  # Rademacher

        def field(y: Tensor, t: float) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                y = y.detach().requires_grad_()
                v = y - denoise(y, t)
                pulls = (torch.autograd.grad(v, y, d, retain_graph=True)[0] for d in directions)
                trace = sum((pull * d).sum(1) for pull, d in zip(pulls, directions, strict=True))
            return v.detach(), trace.detach() / (1 if exact else len(directions))

        h = -math.log(T_0) / steps
        nats = torch.zeros(len(x_t), device=x_t.device)
        for i in range(steps):
            t, s = T_0 ** (1 - i / steps), T_0 ** (1 - (i + 1) / steps)
            v, trace = field(x_t, t)
            w, trace2 = field(x_t + h * v, s)
            x_t, nats = x_t + h / 2 * (v + w), nats + h / 2 * (trace + trace2)
        return nats - 0.5 * (x_t.square() + math.log(2 * math.pi)).sum(1)
