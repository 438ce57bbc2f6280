"""Few-step sampling by mean velocities (Geng et al., 2025, "MeanFlow").

    u(x_t, t, r) = (x_t - x_r) / (t - r)    the mean of v from t down to r < t, along the flow             (1)
    x_r = x_t - (t - r) u                   one step; to r = 0 it is a sample                              (2)
    u(x_t, t, r) ~ a v + (1 - a) u(x_s, s, r),   s = t - a (t - r),   x_s = x_t - (t - s) v                (3)

(3) holds where paths are straight, and anywhere as a -> 0. Its right side, without gradient, is the target of
the left one, which needs no derivative of the network: at a = 1 that is flow matching, and a falls during
training (Zhang et al., 2025, "AlphaFlow"). The network predicts x^ = x_t - t u, so x^ = x^_0 where r = t. v is
its own prediction at r = t, guided by a scale w that is one of its conditions, so that a guided step costs one
evaluation (Meng et al., 2023). Half of the rows learn x_0 at r = t, w = 1, as in any flow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.core.rng import Rng
from likewise.generation.denoising.guidance import classifier_free_guidance
from likewise.generation.denoising.paths import velocity

MAX_GUIDANCE = 4.0  # guidance scales from 1 to it are learned
GUIDED_UNTIL = 0.9  # time from which on noisier points are not guided
FINAL_A = 0.1  # a of (3) at the end
FALL = 0.5  # share of training in which a falls from 1 to FINAL_A
ConditionedDenoise = Callable[..., Tensor]  # (x_t, t, step) -> x^; without a step x^_0


@dataclass(frozen=True)
class StepCondition:
    """Conditions of the network beside t, each (B, 1): the length t - r of a step, and the guidance."""

    span: Tensor
    guidance: Tensor

    def stacked(self) -> Tensor:
        """As numbers in [0, 1], (B, 2)."""
        return torch.cat([self.span, (self.guidance - 1) / (MAX_GUIDANCE - 1)], dim=1)

    def repeat(self, n: int) -> StepCondition:
        """The same for n batches, one after the other."""
        return StepCondition(self.span.repeat(n, 1), self.guidance.repeat(n, 1))

    def only(self, rows: Tensor) -> StepCondition:
        """The same for some of the rows, (B, 1) bool; no step of the others."""
        return StepCondition(self.span * rows, torch.where(rows, self.guidance, 1.0))

    @classmethod
    def none(cls, rows: int, device: torch.device) -> StepCondition:
        """Steps of no length, unguided: the flow itself."""
        return cls(torch.zeros(rows, 1, device=device), torch.ones(rows, 1, device=device))


def sample_intervals(t: Tensor, other: Tensor, rng: Rng) -> tuple[Tensor, StepCondition]:
    """Times (B, K) and steps to learn; in half of the rows from the later to the earlier of two `other` times.

    t (B, K) and `other` (B, 2 or more) are times as of a flow. A quarter of the steps start at noise, and a
    quarter end at data.
    """
    u = rng.uniform(4)
    high = torch.where(u[:, 1:2] < 0.25, 1.0, other[:, :2].amax(1, keepdim=True))
    low = torch.where(u[:, 2:3] < 0.25, 0.0, other[:, :2].amin(1, keepdim=True))
    long = u[:, :1] < 0.5  # rows whose step has a length
    guidance = torch.where(long, MAX_GUIDANCE ** u[:, 3:], 1.0)
    return torch.where(long, high, t), StepCondition((high - low) * long, guidance)


def meanflow_target(
    x_t: Tensor,
    t: Tensor,
    step: StepCondition,
    conditional: ConditionedDenoise,
    unconditional: ConditionedDenoise,
    known: Tensor,
    progress: float,
) -> Tensor:
    """The target x^ by (3), (B, N), for x_t (B, N), t (B, 1); where `known`, (B, N) bool, it is x_t.

    conditional, unconditional  the denoiser with the sources, and without
    """
    a = 1 - (1 - FINAL_A) * min(1.0, progress / FALL)
    no_step = StepCondition.none(len(t), t.device)
    x0 = conditional(x_t, t, no_step)
    guided = classifier_free_guidance(x_t, x0, unconditional(x_t, t, no_step), step.guidance, zero_star=True)
    v = velocity(x_t, torch.where(t <= GUIDED_UNTIL, guided, x0), t)
    s = t - a * step.span
    x_s = torch.where(known, x_t, x_t - a * step.span * v)
    rest = StepCondition((1 - a) * step.span, step.guidance)
    u = a * v + (1 - a) * velocity(x_s, conditional(x_s, s, rest), s) if a < 1 else v
    return torch.where(known, x_t, x_t - t * u)
