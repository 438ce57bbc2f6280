"""Paths: how data turns into noise, and the conversions between what a network may predict. Layer 0.

Time runs from t = 0, data, to t = 1, noise: x_t = alpha(t) x_0 + sigma(t) e with e ~ N(0, I).
Along the rectified path (alpha, sigma) = (1 - t, t) the velocity of a point is dx_t/dt = v = e - x_0.
Every sampler works on this path; another one (variance preserving, say) maps onto it by a change of time
and scale.
"""

from __future__ import annotations

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


def posterior(t: Tensor) -> tuple[Tensor, Tensor]:
    """(a, b) with x_0 ~ N(a x_t, b^2) given x_t, where data are N(0, I): what is known before all learning.

    x^_0 = a x_t + b F lets a network F of unit size be exact near t = 0 (Karras et al., 2022, table 1).
    """
    total = (1 - t) ** 2 + t**2
    return (1 - t) / total, t / total.sqrt()


def noise_of(x_t: Tensor, x0: Tensor, t: float) -> Tensor:
    """e = (x_t - (1 - t) x_0) / t, the noise that a prediction of x_0 implies."""
    return (x_t - (1 - t) * x0) / t
