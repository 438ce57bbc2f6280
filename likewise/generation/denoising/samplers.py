"""Samplers: functions over a Denoise, which is (x_t, t) -> x_0 (the interface of k-diffusion).

A sampler is (denoise, x, times, noise, eta) -> x. It follows the rectified path x_t = (1 - t) x_0 + t e from
t = 1, noise, along a list of times to t = 0, data. `noise()` gives fresh noise of x's shape, and `eta` is its
share in the stochastic sampler.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from torch import Tensor

from likewise.core.options import validated
from likewise.core.ranges import SamplingSteps, Shift
from likewise.generation.denoising.paths import predicted_noise, velocity

Denoise = Callable[[Tensor, float | Tensor], Tensor]
Noise = Callable[[], Tensor]
Sampler = Callable[[Denoise, Tensor, list[float], Noise, float], Tensor]

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


def euler(denoise: Denoise, x: Tensor, times: list[float], noise: Noise, eta: float) -> Tensor:
    """First order: one evaluation a step."""
    for t, s in itertools.pairwise(times):
        x0 = denoise(x, t)
        x = x + (s - t) * velocity(x, x0, t) if s > 0 else x0
    return x


def heun(denoise: Denoise, x: Tensor, times: list[float], noise: Noise, eta: float) -> Tensor:
    """Second order, two evaluations a step but the last (Karras et al., 2022, algorithm 1)."""
    for t, s in itertools.pairwise(times):
        x0 = denoise(x, t)
        if s == 0:
            return x0
        v = velocity(x, x0, t)
        y = x + (s - t) * v
        x = x + (s - t) / 2 * (v + velocity(y, denoise(y, s), s))
    return x


def ab2(denoise: Denoise, x: Tensor, times: list[float], noise: Noise, eta: float) -> Tensor:
    """Adams-Bashforth: second order from one evaluation a step, by the velocity of the step before."""
    before: tuple[float, Tensor] | None = None
    for t, s in itertools.pairwise(times):
        x0 = denoise(x, t)
        if s == 0:
            return x0
        h, v = s - t, velocity(x, x0, t)
        x = x + h * (v if before is None else v + h / (2 * before[0]) * (v - before[1]))
        before = h, v
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, times: list[float], noise: Noise, eta: float) -> Tensor:
    """DPM-Solver++(2M) (Lu et al., 2022, algorithm 2) with alpha = 1 - t, sigma = t, in log-SNR steps."""
    before: tuple[float, Tensor] | None = None
    for t, s in itertools.pairwise(times):
        x0 = denoise(x, t)
        if s == 0:
            return x0
        if t >= 1:  # the log-SNR of pure noise is minus infinity: the first step is Euler's
            x = x + (s - t) * velocity(x, x0, t)
            before = None
            continue
        h = math.log((1 - s) / s) - math.log((1 - t) / t)
        d = x0 if before is None else x0 + h / (2 * before[0]) * (x0 - before[1])
        x = s / t * x - (1 - s) * math.expm1(-h) * d
        before = h, x0
    return x


def stochastic(denoise: Denoise, x: Tensor, times: list[float], noise: Noise, eta: float) -> Tensor:
    """DDIM at eta = 0, ancestral as DDPM at eta = 1 (Song et al., 2021, eq. 12 and 16)."""
    for t, s in itertools.pairwise(times):
        x0 = denoise(x, t)
        if s == 0:
            return x0
        fresh = eta**2 * (1 - ((1 - t) * s / ((1 - s) * t)) ** 2)  # of the noise's variance
        x = (1 - s) * x0 + s * (math.sqrt(1 - fresh) * predicted_noise(x, x0, t) + math.sqrt(fresh) * noise())
    return x


SAMPLERS: dict[str, Sampler] = {f.__name__: f for f in (euler, heun, ab2, dpmpp_2m, stochastic)}
