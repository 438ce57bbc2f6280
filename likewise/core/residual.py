"""What of a given value survives noise: the part that a model cannot represent, kept in variations of the value."""

from __future__ import annotations

from torch import Tensor


def shrink_residual(residual: Tensor, noise: float) -> Tensor:
    """r s^2 / (s^2 + noise^2), with s^2 the mean square of r, (B, ...), in each row: the Wiener filter.

    It is the best linear estimate of a signal r in noise of that deviation (Wiener, 1949): all of r without
    noise, none of it in infinite noise.

    >>> import math, torch
    >>> [shrink_residual(torch.tensor([[3.0, -1.0]]), noise).tolist()[0][0] for noise in (0.0, 5**0.5, math.inf)]
    [3.0, 1.5, 0.0]
    """
    power = residual.square().flatten(1).mean(1).view(-1, *[1] * (residual.ndim - 1))
    return residual / (1 + noise**2 / power.clamp(min=1e-20))
