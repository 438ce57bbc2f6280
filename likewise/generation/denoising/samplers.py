"""Samplers: steps along a path over a Denoise, which is (x_t, t) -> x_0 (the interface of k-diffusion).

The rectified path x_t = (1 - t) x_0 + t e goes from t = 1, noise, to t = 0, data. A sampler is one step of it,
(denoise, at, t, s, noise, eta) -> the point at time s, and all that it remembers is in the point: so rows can be
taken out between two steps. `noise()` gives fresh noise of x's shape, and `eta` is its share in the stochastic
sampler, a number or one for each row, (B, 1).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from likewise.core.options import validated
from likewise.core.ranges import SamplingSteps, Shift
from likewise.generation.denoising.paths import predicted_noise, velocity

Denoise = Callable[[Tensor, float | Tensor], Tensor]
Noise = Callable[[], Tensor]
Eta = float | Tensor
Sampler = Callable[[Any, "Point", float, float, Noise, Eta], "Point"]

NOISE, DATA = 20.0, 0.005  # t / (1 - t) as good as pure noise, and where the last of FEW steps begins
FEW = 8


@validated
def time_grid(steps: SamplingSteps, shift: Shift = 1.0) -> list[float]:
    """1 = t_0 > t_1 > ... > t_steps = 0, uniform where shift is 1; above 1 more steps are spent on noise.

    t' = shift t / (1 + (shift - 1) t) (Esser et al., 2024, eq. 23).

    >>> time_grid(2), time_grid(2, shift=3.0)
    ([1.0, 0.5, 0.0], [1.0, 0.75, 0.0])
    """
    return [shift * t / (1 + (shift - 1) * t) for t in (1 - i / steps for i in range(steps + 1))]


@validated
def log_snr_grid(steps: SamplingSteps, shift: Shift = 1.0) -> list[float]:
    """The same, even in log SNR: t / (1 - t), which shift multiplies, falls by one factor a step.

    For images: far from data a network predicts a blurred mean, and the last steps make it sharp. With more
    than FEW steps the ends come nearer to noise and data, so that the limit of many steps is exact.

    >>> [round(t, 3) for t in log_snr_grid(4)], log_snr_grid(1)
    ([1.0, 0.558, 0.074, 0.005, 0.0], [1.0, 0.0])
    """
    more = max(1.0, steps / FEW)
    high, low = shift * NOISE * more, shift * DATA / more
    ratios = (high * (low / high) ** (i / (steps - 1)) for i in range(1, steps))
    return [1.0, *(ratio / (1 + ratio) for ratio in ratios), 0.0]


@dataclass(frozen=True)
class Point:
    """Where a sampler is.

    x       x_t, (B, N)
    x0      x^_0 at the step before, (B, N)
    memory  what a multistep sampler remembers of that step: its length, and a direction (B, N)
    """

    x: Tensor
    x0: Tensor
    memory: tuple[float, Tensor] | None = None

    def take(self, rows: Tensor) -> Point:
        """Some of the rows."""
        memory = self.memory and (self.memory[0], self.memory[1][rows])
        return Point(self.x[rows], self.x0[rows], memory)


def euler(denoise: Denoise, at: Point, t: float, s: float, noise: Noise, eta: Eta) -> Point:
    """First order: one evaluation a step."""
    x0 = denoise(at.x, t)
    return Point(at.x + (s - t) * velocity(at.x, x0, t) if s > 0 else x0, x0)


def heun(denoise: Denoise, at: Point, t: float, s: float, noise: Noise, eta: Eta) -> Point:
    """Second order, two evaluations a step but the last (Karras et al., 2022, algorithm 1)."""
    x0 = denoise(at.x, t)
    if s == 0:
        return Point(x0, x0)
    v = velocity(at.x, x0, t)
    y = at.x + (s - t) * v
    return Point(at.x + (s - t) / 2 * (v + velocity(y, denoise(y, s), s)), x0)


def ab2(denoise: Denoise, at: Point, t: float, s: float, noise: Noise, eta: Eta) -> Point:
    """Adams-Bashforth: second order from one evaluation a step, by the velocity of the step before."""
    x0, before = denoise(at.x, t), at.memory
    if s == 0:
        return Point(x0, x0)
    h, v = s - t, velocity(at.x, x0, t)
    x = at.x + h * (v if before is None else v + h / (2 * before[0]) * (v - before[1]))
    return Point(x, x0, (h, v))


def dpmpp_2m(denoise: Denoise, at: Point, t: float, s: float, noise: Noise, eta: Eta) -> Point:
    """DPM-Solver++(2M) (Lu et al., 2022, algorithm 2) with alpha = 1 - t, sigma = t, in log-SNR steps."""
    x0, before = denoise(at.x, t), at.memory
    if s == 0:
        return Point(x0, x0)
    if t >= 1:  # the log-SNR of pure noise is minus infinity: the first step is Euler's
        return Point(at.x + (s - t) * velocity(at.x, x0, t), x0)
    h = math.log((1 - s) / s) - math.log((1 - t) / t)
    d = x0 if before is None else x0 + h / (2 * before[0]) * (x0 - before[1])
    return Point(s / t * at.x - (1 - s) * math.expm1(-h) * d, x0, (h, x0))


def stochastic(denoise: Denoise, at: Point, t: float, s: float, noise: Noise, eta: Eta) -> Point:
    """DDIM at eta = 0, ancestral as DDPM at eta = 1 (Song et al., 2021, eq. 12 and 16)."""
    x0 = denoise(at.x, t)
    if s == 0:
        return Point(x0, x0)
    fresh = eta**2 * (1 - ((1 - t) * s / ((1 - s) * t)) ** 2)  # of the noise's variance
    kept, added = _root(1 - fresh, x0), _root(fresh, x0)
    return Point((1 - s) * x0 + s * (kept * predicted_noise(at.x, x0, t) + added * noise()), x0)


def _root(value: Eta, like: Tensor) -> float | Tensor:
    return value.sqrt().to(like) if isinstance(value, Tensor) else math.sqrt(value)


SAMPLERS: dict[str, Sampler] = {f.__name__: f for f in (euler, heun, ab2, dpmpp_2m, stochastic)}


def follow(
    sampler: Sampler, denoise: Denoise, x: Tensor, times: list[float], noise: Noise, eta: Eta = 1.0
) -> Tensor:
    """x_0, (B, N), by all steps of a sampler from x at times[0]."""
    at = Point(x, x)
    for t, s in itertools.pairwise(times):
        at = sampler(denoise, at, t, s, noise, eta)
    return at.x
