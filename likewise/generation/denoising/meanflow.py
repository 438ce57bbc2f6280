"""Jumps: mean velocities, by which a flow is drawn in one step or a few (Geng et al., 2025, "MeanFlow").

    u(x_t, t, r) = (x_t - x_r) / (t - r)    the mean of v from t down to r < t, along the flow             (1)
    x_r = x_t - (t - r) u                   one step; to r = 0 it is a draw                                (2)
    u(x_t, t, r) ~ a v + (1 - a) u(x_s, s, r),   s = t - a (t - r),   x_s = x_t - (t - s) v                (3)

(3) is true where paths are straight, and anywhere as a -> 0. Its right side, held fixed, is what the left
one learns, which needs no derivative of the network: at a = 1 that is flow matching, and a falls while
training (Zhang et al., 2025, "AlphaFlow"). The network says x^ = x_t - t u, so x^ = x^_0 where r = t. v is
what it says itself where r = t, guided by a scale w that it is told, so that a guided step costs one
evaluation (Meng et al., 2023). Half of the rows learn x_0 at r = t, w = 1, as in any flow: there the model is
what it was.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.core.rng import Rng
from likewise.generation.denoising.guidance import classifier_free_guidance
from likewise.generation.denoising.paths import velocity

MAX_GUIDANCE = 4.0  # guidance that is learned, from 1
UNTIL = 0.9  # time from which on noisier points are not guided
LEAST = 0.1  # a of (3), in the end
FALL = 0.5  # share of training in which a falls from 1 to that
ConditionedDenoise = Callable[..., Tensor]  # (x_t, t, jump) -> x^, and without a jump x^_0


@dataclass(frozen=True)
class StepCondition:
    """What a network is told of a jump beside t, each (B, 1): its length t - r, and the guidance."""

    span: Tensor
    guidance: Tensor

    def stacked(self) -> Tensor:
        """As numbers in [0, 1], (B, 2)."""
        return torch.cat([self.span, (self.guidance - 1) / (MAX_GUIDANCE - 1)], dim=1)

    def repeat(self, n: int) -> StepCondition:
        """The same for n batches, one after the other."""
        return StepCondition(self.span.repeat(n, 1), self.guidance.repeat(n, 1))

    @classmethod
    def none(cls, rows: int, device: torch.device) -> StepCondition:
        """No jump, unguided: the flow itself."""
        return cls(torch.zeros(rows, 1, device=device), torch.ones(rows, 1, device=device))


def sample_intervals(t: Tensor, other: Tensor, rng: Rng) -> tuple[Tensor, StepCondition]:
    """Times (B, K) and jumps to learn; half of the rows jump, from the later to the earlier of two `other`s.

    t (B, K) and `other` (B, 2 or more) are times as of a flow. Of the jumps a quarter begin at noise, and a
    quarter end at data.
    """
    u = rng.uniform(4)
    high = torch.where(u[:, 1:2] < 0.25, 1.0, other[:, :2].amax(1, keepdim=True))
    low = torch.where(u[:, 2:3] < 0.25, 0.0, other[:, :2].amin(1, keepdim=True))
    jumps = u[:, :1] < 0.5
    guidance = torch.where(jumps, MAX_GUIDANCE ** u[:, 3:], 1.0)
    return torch.where(jumps, high, t), StepCondition((high - low) * jumps, guidance)


def meanflow_target(
    x_t: Tensor,
    t: Tensor,
    jump: StepCondition,
    asked: ConditionedDenoise,
    without: ConditionedDenoise,
    known: Tensor,
    progress: float,
) -> Tensor:
    """The x^ that is right by (3), (B, N): x_t (B, N), t (B, 1), known (B, N) bool, which stays.

    asked, without  what the network says given the sources, and given none
    """
    a = 1 - (1 - LEAST) * min(1.0, progress / FALL)
    still = StepCondition.none(len(t), t.device)
    x0 = asked(x_t, t, still)
    guided = classifier_free_guidance(x_t, x0, without(x_t, t, still), jump.guidance, zero_star=True)
    v = velocity(x_t, torch.where(t <= UNTIL, guided, x0), t)
    s = t - a * jump.span
    x_s = torch.where(known, x_t, x_t - a * jump.span * v)
    left = StepCondition((1 - a) * jump.span, jump.guidance)
    u = a * v + (1 - a) * velocity(x_s, asked(x_s, s, left), s) if a < 1 else v
    return torch.where(known, x_t, x_t - t * u)


def sample_few_steps(
    asked: ConditionedDenoise, x: Tensor, times: list[float], guidance: float, value: Tensor, known: Tensor
) -> Tensor:
    """(2) along times from noise to 0, with `value` wherever `known` holds; all but times (B, N)."""
    scale = torch.full_like(x[:, :1], guidance)
    for t, s in itertools.pairwise(times):
        x = torch.where(known, value, x)
        now = torch.full_like(scale, t)
        x = x + (s - t) * velocity(x, asked(x, now, StepCondition(now - s, scale)), t)
    return torch.where(known, value, x)
