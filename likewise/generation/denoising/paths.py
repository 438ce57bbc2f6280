"""Paths: how data turns into noise, and the conversions between what a network may predict.

Time runs from t = 0, data, to t = 1, noise: x_t = alpha(t) x_0 + sigma(t) e with e ~ N(0, I).
Along the rectified path (alpha, sigma) = (1 - t, t) the velocity of a point is dx_t/dt = v = e - x_0.
Every sampler works on this path. The variance-preserving one, alpha^2 + sigma^2 = 1, has the same points
up to scale: x_t / sqrt((1 - t)^2 + t^2) lies on it at the time of equal signal-to-noise ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Below it 1 / t is cut off in the loss of x_0, so that the error of a velocity counts at most 20 times that
# of x_0 (Li & He, 2025, "JiT"). Samplers need no cut: they end at x^_0 itself.
T_MIN = 0.05


def add_noise(x0: Tensor, noise: Tensor, t: Tensor | float) -> Tensor:
    """x_t on the rectified path. `t` broadcasts against the others."""
    return x0 + t * (noise - x0)


def velocity(x_t: Tensor, x0: Tensor, t: Tensor | float) -> Tensor:
    """v = (x_t - x_0) / t, for t above 0."""
    return (x_t - x0) / t


def predicted_noise(x_t: Tensor, x0: Tensor, t: float) -> Tensor:
    """e = (x_t - (1 - t) x_0) / t, the noise that a prediction of x_0 implies."""
    return (x_t - (1 - t) * x0) / t


def noise_scale(t: Tensor) -> Tensor:
    """The deviation of x_t where data are N(0, I): sqrt((1 - t)^2 + t^2)."""
    return ((1 - t) ** 2 + t**2).sqrt()


def log_snr(t: Tensor) -> Tensor:
    """log (alpha / sigma)^2, from infinity at t = 0 down to minus infinity at t = 1."""
    return 2 * torch.log((1 - t) / t)


def time_of(snr: Tensor) -> Tensor:
    """The inverse of `log_snr`."""
    return torch.sigmoid(-snr / 2)


# What a network F may predict, as (a, b) with x^_0 = a(t) x_t + b(t) F.
#   x      x_0 itself
#   v      v of the variance-preserving path (Salimans & Ho, 2022), up to sign: x_0 ~ N(a x_t, b^2) is what is
#          known of N(0, I) data before all learning, so an F of unit size is exact near t = 0
#          (Karras et al., 2022, table 1)
#   noise  e (Ho et al., 2020); at t = 1 it holds no information on x_0
Prediction = Callable[[Tensor], tuple[Tensor, Tensor]]
PREDICTIONS: dict[str, Prediction] = {
    "x": lambda t: (torch.zeros_like(t), torch.ones_like(t)),
    "v": lambda t: ((1 - t) / noise_scale(t) ** 2, t / noise_scale(t)),
    "noise": lambda t: (1 / (1 - t).clamp(min=1e-3), -t / (1 - t).clamp(min=1e-3)),
}


# Schedules: log SNR of u, which is uniform in training and evenly spaced in sampling; u = 0 is data.
#   cosine  alpha = cos(pi u / 2) on the variance-preserving path (Nichol & Dhariwal, 2021)
#   linear  beta grows linearly (Ho et al., 2020): alpha^2 = exp(-(0.1 u + 19.9 u^2 / 2)) (Song et al., 2021)
#   even    log SNR itself is linear, as VDM learns it
SCHEDULES: dict[str, Callable[[Tensor], Tensor]] = {
    "cosine": lambda u: -2 * torch.log(torch.tan(math.pi / 2 * u)),
    "linear": lambda u: -torch.log(torch.expm1(0.1 * u + 9.95 * u**2)),
    "even": lambda u: 13 - 23 * u,
}


def scheduled(schedule: str, u: Tensor) -> Tensor:
    """The time t of u in [0, 1], never quite data or noise: log SNR from 16 to -10 at most."""
    return time_of(SCHEDULES[schedule](u.clamp(1e-6, 1 - 1e-6)).clamp(-10, 16))  # the logarithms need the cut


# The bound (Kingma et al., 2021, "VDM", eq. 3 to 15): a VAE of T layers of latents x_t as large as x_0 whose
# encoder is fixed. Over noise levels t_0 < t_1 < ... < t_T, and pairs s < t of neighbours among them,
#   -log p(x_0) <= decoder(t_0) + sum KL(q(x_s | x_t, x_0), p(x_s | x_t)) + prior(t_T)
# where p(x_s | x_t) is q with x^_0 for x_0, so that a KL is 1/2 (SNR(s) - SNR(t)) |x_0 - x^_0(x_t)|^2. With
# ever more levels the sum becomes 1/2 int SNR |x_0 - x^_0|^2 d log SNR.


def decoder_term(numbers: int, t: float) -> float:
    """-E log p(x_0 | x_t) where p is N(x_t / (1 - t), (t / (1 - t))^2): t is the first noise level."""
    return 0.5 * numbers * math.log(2 * math.pi * math.e * (t / (1 - t)) ** 2)


def prior_term(x0: Tensor, t: float) -> Tensor:
    """KL(q(x_t | x_0), p(x_t)), (B,), where p is N(0, I) at the scale of t, the last noise level."""
    scale = (1 - t) ** 2 + t**2
    return 0.5 * ((1 - t) ** 2 / scale * x0.square() + t**2 / scale - 1 - math.log(t**2 / scale)).sum(1)
