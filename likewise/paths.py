"""Paths: how data turns into noise, and the conversions between what a network may predict. Layer 0.

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


def noised(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t on the rectified path. `t` broadcasts against the others."""
    return x0 + t * (noise - x0)


def velocity(x_t: Tensor, x0: Tensor, t: Tensor | float) -> Tensor:
    """v = (x_t - x_0) / t, for t above 0."""
    return (x_t - x0) / t


def noise_of(x_t: Tensor, x0: Tensor, t: float) -> Tensor:
    """e = (x_t - (1 - t) x_0) / t, the noise that a prediction of x_0 implies."""
    return (x_t - (1 - t) * x0) / t


def size(t: Tensor) -> Tensor:
    """The deviation of x_t where data are N(0, I): sqrt((1 - t)^2 + t^2)."""
    return ((1 - t) ** 2 + t**2).sqrt()


def log_snr(t: Tensor) -> Tensor:
    """log (alpha / sigma)^2, from infinity at t = 0 down to minus infinity at t = 1."""
    return 2 * torch.log((1 - t) / t)


def time_of(snr: Tensor) -> Tensor:
    """The inverse of `log_snr`."""
    return torch.sigmoid(-snr / 2)


# What a network F may say, as (a, b) with x^_0 = a(t) x_t + b(t) F.
#   x      x_0 itself
#   v      v of the variance-preserving path (Salimans & Ho, 2022), up to sign: x_0 ~ N(a x_t, b^2) is what is
#          known of N(0, I) data before all learning, so an F of unit size is exact near t = 0
#          (Karras et al., 2022, table 1)
#   noise  e (Ho et al., 2020); at t = 1 it says nothing of x_0
Prediction = Callable[[Tensor], tuple[Tensor, Tensor]]
PREDICTIONS: dict[str, Prediction] = {
    "x": lambda t: (torch.zeros_like(t), torch.ones_like(t)),
    "v": lambda t: ((1 - t) / size(t) ** 2, t / size(t)),
    "noise": lambda t: (1 / (1 - t).clamp(min=1e-3), -t / (1 - t).clamp(min=1e-3)),
}


def bound_terms(x0: Tensor, denoised: Tensor, t: Tensor, density: Tensor) -> Tensor:
    """The part of -log p(x_0) that the noise levels around t contribute, an unbiased draw of it, (B,).

    -log p(x_0) <= 1/2 int SNR(t) E |x_0 - x^_0(x_t, t)|^2 d log SNR + decoder(t_0) + 0          (KL at t = 1)

    for t from t_0 to 1 (Kingma et al., 2021, "VDM", eq. 11 to 15); t is drawn with `density` in log SNR.
    """
    snr = ((1 - t) / t).square()
    return 0.5 * snr.squeeze(-1) * (x0 - denoised).square().sum(1) / density.squeeze(-1)


def decoder_term(numbers: int, t: float) -> float:
    """-E log p(x_0 | x_t) where p is N(x_t / (1 - t), (t / (1 - t))^2): t is the first noise level."""
    return 0.5 * numbers * math.log(2 * math.pi * math.e * (t / (1 - t)) ** 2)
