"""TODO generation.denoising.guidance."""

from __future__ import annotations

import torch
from torch import Tensor

from likewise.generation.denoising.samplers import Denoise


def classifier_free_guidance(
    x_t: Tensor, x0: Tensor, x0_without: Tensor, scale: float | Tensor, zero_star: bool
) -> Tensor:
    """Classifier-free guidance (Ho & Salimans, 2022) of x_0 predictions with and without the sources, (B, N).

    With zero_star the prediction without sources is first scaled to fit the one with them (Fan et al., 2025,
    "CFG-Zero*").
    """
    d, d_without = x_t - x0, x_t - x0_without  # both are t times a velocity, so what holds for v holds for d
    if zero_star:
        fit = (d * d_without).sum(1, keepdim=True) / d_without.square().sum(1, keepdim=True).clamp(min=1e-8)
        d_without = fit * d_without
    return x_t - (d_without + scale * (d - d_without))


def clamp_known(denoise: Denoise, value: Tensor, known: Tensor) -> Denoise:
    """The Denoise that sees and says `value` wherever `known` (both (B, N)) holds."""

    def clamped(x_t: Tensor, t: float) -> Tensor:
        return torch.where(known, value, denoise(torch.where(known, value, x_t), t))

    return clamped
