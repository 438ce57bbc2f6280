"""TODO core.categorical."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def sample_categorical(
    logits: Tensor, u: Tensor, temperature: float, top_p: float = 1.0, min_p: float = 0.0
) -> Tensor:
    """A class a row of what is kept, the most likely one at temperature 0: logits (B, K), u (B,) -> (B,)."""
    if temperature == 0:
        return logits.argmax(-1)
    return inverse_cdf_sample(filter_logits(logits / temperature, top_p, min_p), u)


def filter_logits(logits: Tensor, top_p: float, min_p: float) -> Tensor:
    """Logits (..., K) of what may be drawn, the rest minus infinity.

    These are the fewest most likely classes of `top_p` in all (Holtzman et al., 2020), and others as likely
    as the last of these, that have at least `min_p` of the most likely one's probability (Nguyen et al.,
    2024). The most likely class always stays.
    """
    if top_p < 1:
        best = sort_descending(logits)
        p = (best - logits.logsumexp(-1, keepdim=True)).exp()
        few = p.cumsum(-1) - p < top_p  # what comes before does not do
        kept = few.sum(-1, keepdim=True).clamp(min=1)
        logits = logits.masked_fill(logits < best.gather(-1, kept - 1), -torch.inf)
    if min_p > 0:
        best = logits.amax(-1, keepdim=True)
        logits = logits.masked_fill(logits < best + math.log(min_p), -torch.inf)
    return logits


def sort_descending(x: Tensor) -> Tensor:
    """Sorted along the last axis; a processor's by NumPy, which is many times as fast as PyTorch there."""
    if x.device.type == "cpu":
        return torch.from_numpy(np.sort(x.numpy(), axis=-1)).flip(-1)
    return x.sort(dim=-1, descending=True).values


def inverse_cdf_sample(logits: Tensor, u: Tensor) -> Tensor:
    """Ids by inversion of the distribution function: logits (B, K), u (B,) in [0, 1) -> (B,)."""
    up_to = logits.softmax(-1).cumsum(-1)
    total = up_to[:, -1:]
    below = torch.minimum(u[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(up_to, below, right=True)[:, 0]
