"""The phases of times: what repeats with the day, the week and the year, of columns of one float (Spec.cycles)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from likewise.core.spec import Spec

HARMONICS = 3  # of each period: with three, each of seven days of a week can be told apart


class CycleFeatures(nn.Module):
    """Tokens of K columns -> sines and cosines of the phases of those that have cycles.

    sizes  column -> the number of its features
    """

    def __init__(self, specs: Mapping[str, Spec]) -> None:
        super().__init__()
        self.cycles = {n: s.cycles for n, s in specs.items() if s.cycles is not None and s.cycles.periods}
        self.sizes = {n: 2 * HARMONICS * len(c.periods) for n, c in self.cycles.items()}
        for k, cycles in enumerate(self.cycles.values()):
            for part, values in zip(("edges", "times", "periods"), vars(cycles).values(), strict=True):
                self.register_buffer(
                    f"{part}_{k}", torch.tensor(values, dtype=torch.float64), persistent=False
                )

    def forward(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """column -> (B, 1, 1) tokens -> column -> (B, 1, F); a time is found in float64."""
        features = {}
        for k, name in enumerate(self.cycles):
            if name not in values:
                continue
            edges, times, periods = (getattr(self, f"{part}_{k}") for part in ("edges", "times", "periods"))
            z = values[name].double().clamp(edges[0], edges[-1])
            right = torch.searchsorted(edges, z.contiguous(), right=True).clamp(1, len(edges) - 1)
            low, high = edges[right - 1], edges[right]
            share = (z - low) / (high - low).clamp(min=1e-12)
            time = times[right - 1] + share * (times[right] - times[right - 1])
            phase = 2 * math.pi * (time / periods % 1)
            angles = (phase[..., None] * torch.arange(1, HARMONICS + 1, device=z.device)).flatten(-2)
            features[name] = torch.cat([angles.sin(), angles.cos()], dim=-1).to(values[name])
        return features
