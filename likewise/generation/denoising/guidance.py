"""Guidance and known values during sampling, as functions over a `Denoise`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.core.options import RowValues, validate_fields
from likewise.core.ranges import GuidanceScale, Share
from likewise.core.spec import Spec
from likewise.nets.layers import row_sums


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance while sampling; the fields are sampling options of families.

    guidance       scale: 1 leaves the model as it is, more trades diversity for fidelity; None: the default of
                   each column
    guidance_from, guidance_to  interval of times t that are guided (Kynkäänniemi et al., 2024)
    zero_star      whether the prediction without sources is scaled first, as in `classifier_free_guidance`
    """

    guidance: GuidanceScale | None = None
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

    def for_columns(self, default: Mapping[str, float], rows: int, device: torch.device) -> ColumnGuidance:
        """The same with a scale for each row and column of `default`."""
        own = self.guidance.values if isinstance(self.guidance, RowValues) else [self.guidance] * rows
        scales = [list(default.values()) if scale is None else [scale] * len(default) for scale in own]
        return ColumnGuidance(
            torch.tensor(scales, device=device), self.guidance_from, self.guidance_to, self.zero_star
        )


@dataclass(frozen=True)
class ColumnGuidance:
    """`Guidance` with a scale for each row and column: `scales` (B, K)."""

    scales: Tensor
    guidance_from: float
    guidance_to: float
    zero_star: bool

    @property
    def common(self) -> Tensor:
        """The scale of all columns of each row, (B, 1); 1 where they differ."""
        first = self.scales[:, :1]
        return torch.where((self.scales == first).all(1, keepdim=True), first, 1.0)


def default_scales(targets: Mapping[str, Spec], of_signals: float) -> dict[str, float]:
    """Default guidance of each target: `of_signals` for images and other signals, else 1.

    A signal is judged by how good it looks, for which guidance trades diversity; a number or a class by its
    distribution given the sources, which guidance changes.
    """
    return {n: of_signals if spec.is_signal else 1.0 for n, spec in targets.items()}


def classifier_free_guidance(
    x_t: Tensor, x0: Tensor, x0_without: Tensor, scale: float | Tensor, zero_star: bool
) -> Tensor:
    """Classifier-free guidance (Ho & Salimans, 2022) of x_0 predictions with and without the sources, (B, N).

    With zero_star the prediction without sources is first scaled to fit the one with them (Fan et al., 2025,
    "CFG-Zero*"). That is for many numbers: of few the fit leaves little to guide, and of one nothing.
    """
    d, d_without = x_t - x0, x_t - x0_without  # both are t times a velocity, so what holds for v holds for d
    if zero_star:
        fit = row_sums(d * d_without) / row_sums(d_without.square()).clamp(min=1e-8)
        d_without = fit * d_without
    return x_t - (d_without + scale * (d - d_without))
