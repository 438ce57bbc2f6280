"""Sampling with a Denoiser: rows with guidance, known parts and sources of their own, which may end at any step."""

from __future__ import annotations

import copy
import functools
import itertools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from likewise.core.batch import Batch, Context
from likewise.core.residual import shrink_residual
from likewise.core.rng import Rng
from likewise.generation.controls import (
    IDLE_NEGATIVE,
    DenoisingControls,
    InterpolateTo,
    OnStep,
    Step,
    guided_rows,
)
from likewise.generation.denoising import paths
from likewise.generation.denoising.denoiser import FEW, Denoiser
from likewise.generation.denoising.guidance import ColumnGuidance, Guidance, classifier_free_guidance
from likewise.generation.denoising.meanflow import StepCondition
from likewise.generation.denoising.samplers import SAMPLERS, Eta, Point, Sampler
from likewise.generation.idle import Request


@dataclass(frozen=True)
class SolverOptions:
    """How a path is followed.

    sampler       name in SAMPLERS, or jump
    times         from noise to 0
    eta           share of fresh noise of `stochastic`, a number or (B, 1)
    source_noise  noise that is added to sources that are images
    """

    sampler: str
    times: list[float]
    eta: Eta = 1.0
    source_noise: float = 0.0


class RowDenoiser:
    """x^_0 of a batch of rows at x_t, (B, N): guided, with values in place of what is known.

    Between two sources it is (1 - w) D(x_t, c_1) + w D(x_t, c_2), whose field is that of the density
    p(x_t | c_1)^(1 - w) p(x_t | c_2)^w up to a factor: of what is likely under both.

    All of its state is of rows, so `take` leaves some out. Sources are encoded once, and what a row needs (its
    own sources, those it is interpolated to, those it is guided away from) is computed in one pass of all rows.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        c: Context,
        value: Tensor,
        known: Tensor,
        cfg: ColumnGuidance,
        controls: DenoisingControls,
    ) -> None:
        """`value` (B, N) holds wherever `known` (B, N) does."""
        self.denoiser, self.value, self.known, self.cfg = denoiser, value, known, cfg
        self.residual: Tensor | None = None  # of `restore`
        interpolate_to, negative = controls.interpolate_to, controls.negative
        contexts = [c] if interpolate_to is None else [c, interpolate_to.sources]
        self.ends, self.share = len(contexts), None if interpolate_to is None else interpolate_to.share
        self.guided = self._guided_rows(contexts, negative)
        if len(self.guided):
            contexts.append((c.unconditional() if negative is None else negative).take(self.guided))
        self.context = denoiser.net.encode_sources(functools.reduce(operator.add, contexts))
        self.scale = denoiser.layout.spread(cfg.scales)
        self.zero_star = cfg.zero_star and denoiser.layout.size > FEW

    def _guided_rows(self, contexts: list[Context], negative: Context | None) -> Tensor:
        return guided_rows(contexts, negative, self.cfg.scales)

    def take(self, rows: Tensor) -> Self:
        """Some of the rows, by their indices (n,)."""
        part, size = copy.copy(self), len(self.known)
        place = torch.full((size,), -1, device=rows.device)
        place[self.guided] = torch.arange(len(self.guided), device=rows.device)
        places = place[rows]
        ends = [rows + k * size for k in range(self.ends)]
        part.context = self.context.take(torch.cat([*ends, places[places >= 0] + self.ends * size]))
        part.guided = (places >= 0).nonzero()[:, 0]
        part.value, part.known, part.scale = self.value[rows], self.known[rows], self.scale[rows]
        part.share = None if self.share is None else self.share[rows]
        part.residual = None if self.residual is None else self.residual[rows]
        return part

    def restore(self, x0: Tensor, noise: float) -> None:
        """Denoise by D(x_t, t) + W (x_0 - D(x_0, 0)) from now on, with W a column by `shrink_residual`.

        Near data a network that predicts x_0 has errors larger than the noise, which every step adds again. With
        their part at x_0 subtracted, x_0 is a fixed point, so it comes back as the noise goes to 0. x_0 is (B, N),
        `noise` the deviation of the noise on it.
        """
        layout = self.denoiser.layout
        residual = layout.unpack(x0 - self._predict(x0, 0.0, 0.0))
        self.residual = layout.pack({n: shrink_residual(r, noise) for n, r in residual.items()})

    def __call__(self, x_t: Tensor, t: float | Tensor) -> Tensor:
        assert isinstance(t, float)
        return torch.where(self.known, self.value, self._restored(self.clamp(x_t), t, t))

    def clamp(self, x: Tensor) -> Tensor:
        """x with the values that are known."""
        return torch.where(self.known, self.value, x)

    def _restored(self, x_t: Tensor, t: float, s: float) -> Tensor:
        x0 = self._predict(x_t, t, s)
        return x0 if self.residual is None else x0 + self.residual

    def _predict(self, x_t: Tensor, t: float, s: float) -> Tensor:
        """x^_0, guided while t is in the interval of the guidance."""
        if not len(self.guided) or not self.cfg.guidance_from <= t <= self.cfg.guidance_to:
            return self._mix(self._evaluate(x_t, t))
        *ends, without = self._evaluate(x_t, t, self.guided)
        x0, rows = self._mix(ends), self.guided
        if len(rows) == len(x0):
            return classifier_free_guidance(x_t, x0, without, self.scale, self.zero_star)
        guided = classifier_free_guidance(x_t[rows], x0[rows], without, self.scale[rows], self.zero_star)
        return x0.index_copy(0, rows, guided)

    def _evaluate(
        self, x_t: Tensor, t: float, extra: Tensor | None = None, step: StepCondition | None = None
    ) -> tuple[Tensor, ...]:
        """x^_0 at both ends, or the one, and of `extra` rows without sources, in one pass."""
        size = len(x_t)
        rows = torch.arange(size, device=x_t.device).repeat(self.ends)
        sizes = [size] * self.ends
        if extra is not None:
            rows, sizes = torch.cat([rows, extra]), [*sizes, len(extra)]
        context = (
            self.context if len(rows) == len(self.context.pooled) else self.context.take(slice(len(rows)))
        )
        if len(rows) > size:
            x_t, known = x_t[rows], self.known[rows]
        else:
            known = self.known
        return self.denoiser.mean(x_t, t, known, context, step).split(sizes)

    def _mix(self, ends: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
        return ends[0] if self.share is None else torch.lerp(ends[0], ends[1], self.share)


class RowJumper(RowDenoiser):
    """x^ of a step from t to s, (2) of meanflow.py; guidance is a condition of the network."""

    def _guided_rows(self, contexts: list[Context], negative: Context | None) -> Tensor:
        self.condition = self.cfg.common
        return torch.zeros(0, dtype=torch.int64, device=self.known.device)

    def take(self, rows: Tensor) -> Self:
        part = super().take(rows)
        part.condition = self.condition[rows]
        return part

    def _predict(self, x_t: Tensor, t: float, s: float) -> Tensor:
        span = torch.full_like(self.condition, t) - s
        return self._mix(self._evaluate(x_t, t, step=StepCondition(span, self.condition).repeat(self.ends)))

    def jump(self, x: Tensor, t: float, s: float) -> tuple[Tensor, Tensor]:
        """x_t with what is known, and x^ of the step to s."""
        x = self.clamp(x)
        return x, self._restored(x, t, s)


def jump(denoise: RowJumper, at: Point, t: float, s: float, noise: Callable[[], Tensor], eta: Eta) -> Point:
    """A sampler of steps by mean velocities."""
    x, x0 = denoise.jump(at.x, t, s)
    x = x + (s - t) * paths.velocity(x, x0, t)
    return Point(denoise.clamp(x) if s == 0 else x, x0)


def sample(
    denoiser: Denoiser,
    c: Context,
    rng: Rng,
    known_parts: tuple[Tensor, Tensor],
    options: SolverOptions,
    cfg: ColumnGuidance,
    controls: DenoisingControls,
) -> Batch:
    """One sample a row, with values (B, N) wherever a mask (B, N) holds, the two of `known_parts`.

    With an `init`, x starts as data noised to t = strength, and times are scaled to start there, as many as before:
    cut off instead, the first step could be of almost no length. What the network cannot represent of the data is
    kept, as in `RowDenoiser.restore`.
    """
    times, (value, known) = options.times, known_parts
    c, controls = _with_source_noise(denoiser, c, controls, rng, options.source_noise)
    cls = RowJumper if options.sampler == "jump" else RowDenoiser
    denoise, noise = cls(denoiser, c, value, known, cfg, controls), RowNoise(rng, denoiser.layout.size)
    init = controls.init
    if init is not None and init.strength < times[0]:
        start = torch.where(known, value, denoiser.pack(init.values))
        denoise.restore(start, init.noise)
        x = paths.add_noise(start, noise(), init.strength)
        times = [t * init.strength / times[0] for t in times]
    else:
        x = noise() * paths.noise_scale(torch.tensor(times[0])).item()
    sampler: Sampler = jump if options.sampler == "jump" else SAMPLERS[options.sampler]

    def decode(x: Tensor) -> Batch:
        return denoiser.column_codes.decode(denoiser.layout.unpack(x))

    return decode(Path(sampler, denoise, noise, options.eta).follow(x, times, controls.on_step, decode))


def check(denoiser: Denoiser, request: Request, sampler: str) -> None:
    """Raise ValueError for what such a denoiser, or guidance, does not support."""
    options = request.options
    guidance = options["guidance"]  # of each column, where their defaults differ
    common = 1.0 if isinstance(guidance, Mapping) else guidance
    Guidance(common, options["guidance_from"], options["guidance_to"])
    denoiser.check(sampler, common, request.negative, options.get("source_noise", 0.0))
    if request.negative and request.unguided:
        raise ValueError(IDLE_NEGATIVE)


def _with_source_noise(
    denoiser: Denoiser, c: Context, controls: DenoisingControls, rng: Rng, level: float
) -> tuple[Context, DenoisingControls]:
    """The sources with noise on images, of a model that was trained with it."""
    if not denoiser.source_noise:
        return c, controls
    negative, interpolate_to = controls.negative, controls.interpolate_to
    add = denoiser.noise_sources(rng, torch.tensor(level, device=rng.device))
    return add(c), DenoisingControls(
        negative and add(negative),
        interpolate_to and InterpolateTo(add(interpolate_to.sources), interpolate_to.share),
        controls.init,
        controls.on_step,
    )


@dataclass(frozen=True)
class RowNoise:
    """Fresh noise of each row, (B, size)."""

    rng: Rng
    size: int

    def __call__(self) -> Tensor:
        return self.rng.normal(self.size)

    def take(self, rows: Tensor) -> RowNoise:
        """Of some of the rows."""
        return RowNoise(self.rng.take(rows), self.size)


@dataclass(frozen=True)
class Path:
    """A sampler over a batch of rows."""

    sampler: Sampler
    denoise: RowDenoiser
    noise: RowNoise
    eta: Eta

    def take(self, rows: Tensor) -> Path:
        """Of some of the rows."""
        eta = self.eta[rows] if isinstance(self.eta, Tensor) else self.eta
        return Path(self.sampler, self.denoise.take(rows), self.noise.take(rows), eta)

    def follow(
        self, x: Tensor, times: list[float], on_step: OnStep | None, decode: Callable[[Tensor], Batch]
    ) -> Tensor:
        """x_0 by all steps from x at times[0], (B, N); rows that `on_step` ends keep their last x^_0."""
        path, at, out, rows = self, Point(x, x), x, torch.arange(len(x), device=x.device)
        for i, (t, s) in enumerate(itertools.pairwise(times), 1):
            at = path.sampler(path.denoise, at, t, s, path.noise, path.eta)
            if on_step is None:
                continue

            def estimate(out: Tensor = out, rows: Tensor = rows, x0: Tensor = at.x0) -> Batch:
                return decode(out.index_copy(0, rows, x0))

            ended = on_step(Step(i, len(times) - 1, estimate))
            if ended is None or not bool((gone := ended.to(rows.device)[rows]).any()):
                continue
            out = out.index_copy(0, rows[gone], at.x0[gone])
            stay = (~gone).nonzero()[:, 0]
            if not len(stay):
                return out
            rows, at, path = rows[stay], at.take(stay), path.take(stay)
        return at.x if len(rows) == len(out) else out.index_copy(0, rows, at.x)
