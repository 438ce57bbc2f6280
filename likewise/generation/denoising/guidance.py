"""Guidance and known values during sampling, as functions over a `Denoise`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.core.options import validate_fields
from likewise.core.ranges import GuidanceScale, Share
from likewise.generation.denoising.samplers import Denoise


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance while sampling; the fields are sampling options of families.

    guidance       scale: 1 leaves the model as it is, more trades diversity for fidelity
    guidance_from, guidance_to  interval of times t that are guided (Kynkäänniemi et al., 2024)
    zero_star      whether the prediction without sources is scaled first, as in `classifier_free_guidance`
    """

    guidance: GuidanceScale
    guidance_from: Share = 0.0
    guidance_to: Share = 0.9
    zero_star: bool = True

    def __post_init__(self) -> None:
        validate_fields(self)
        if self.guidance_from > self.guidance_to:
            raise ValueError(
                f"guidance_from={self.guidance_from:g} is above guidance_to={self.guidance_to:g}, so no "
                "noise level is guided; exchange them, or give guidance 1 for none"
            )


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
    """The Denoise whose input and output are `value` wherever `known` (both (B, N)) holds."""

    def clamped(x_t: Tensor, t: float | Tensor) -> Tensor:
        return torch.where(known, value, denoise(torch.where(known, value, x_t), t))

    return clamped
