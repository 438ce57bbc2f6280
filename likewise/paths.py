"""Paths: how data turns into noise, and the conversions between what a network may predict. Layer 0.

Time runs from t = 0, data, to t = 1, noise: x_t = alpha(t) x_0 + sigma(t) e with e ~ N(0, I).
Along the rectified path (alpha, sigma) = (1 - t, t) the velocity of a point is dx_t/dt = v = e - x_0.
Every sampler works on this path; another one (variance preserving, say) maps onto it by a change of time
and scale.
"""

from __future__ import annotations

from torch import Tensor

# Below it 1 / t is cut off, so that the error of a velocity is never more than 20 times the error of x_0
# (Li & He, 2025, "JiT").
T_MIN = 0.05


def noised(x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t on the rectified path. `t` broadcasts against the others."""
    return x0 + t * (noise - x0)


def velocity(x_t: Tensor, x0: Tensor, t: Tensor | float) -> Tensor:
    """v = (x_t - x_0) / t, with t cut off at T_MIN: the same cut in training and in sampling."""
    return (x_t - x0) / (t.clamp(min=T_MIN) if isinstance(t, Tensor) else max(t, T_MIN))


def noise_of(x_t: Tensor, x0: Tensor, t: float) -> Tensor:
    """e = (x_t - (1 - t) x_0) / t, the noise that a prediction of x_0 implies."""
    return (x_t - (1 - t) * x0) / t
