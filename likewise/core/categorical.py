"""Sampling from the logits of categorical distributions. Legend: B rows, K classes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

Option = float | Tensor  # a number, or one for each row, (B, 1) float64


def sample_categorical(
    logits: Tensor, u: Tensor, temperature: Option, top_p: Option = 1.0, min_p: Option = 0.0
) -> Tensor:
    """Sample one class per row after filtering: logits (B, K), uniform u (B,) -> (B,). Temperature 0 is argmax.

    Whether an option is a number or one for each row makes no difference to a row.
    """
    if isinstance(temperature, Tensor):
        cold = temperature == 0
        scaled = logits / temperature.masked_fill(cold, 1.0).float()
        sampled = inverse_cdf_sample(filter_logits(scaled, top_p, min_p), u)
        return torch.where(cold[:, 0], logits.argmax(-1), sampled)
    if temperature == 0:
        return logits.argmax(-1)
    return inverse_cdf_sample(filter_logits(logits / temperature, top_p, min_p), u)


def filter_logits(logits: Tensor, top_p: Option, min_p: Option) -> Tensor:
    """Logits (..., K) with the classes outside of the nucleus at minus infinity.

    The nucleus is the smallest set of most likely classes with total probability `top_p` (Holtzman et al.,
    2020), with ties of its last one, less those below `min_p` times the highest probability (Nguyen et al.,
    2024). The most likely class always stays.
    """
    if bool((top_p < 1).any() if isinstance(top_p, Tensor) else top_p < 1):
        unfiltered, best = logits, sort_descending(logits)
        p = (best - logits.logsumexp(-1, keepdim=True)).exp()
        share = top_p.float() if isinstance(top_p, Tensor) else top_p
        in_nucleus = p.cumsum(-1) - p < share  # those before it have less than top_p
        count = in_nucleus.sum(-1, keepdim=True).clamp(min=1)
        logits = logits.masked_fill(logits < best.gather(-1, count - 1), -torch.inf)
        if isinstance(top_p, Tensor):
            logits = torch.where(top_p < 1, logits, unfiltered)
    if isinstance(min_p, Tensor):
        floor = logits.amax(-1, keepdim=True) + min_p.log().float()
        logits = logits.masked_fill(logits < floor, -torch.inf)
    elif min_p > 0:
        best = logits.amax(-1, keepdim=True)
        logits = logits.masked_fill(logits < best + math.log(min_p), -torch.inf)
    return logits


def sort_descending(x: Tensor) -> Tensor:
    """Sort along the last axis; on a CPU by NumPy, which is many times as fast as PyTorch there."""
    if x.device.type == "cpu":
        return torch.from_numpy(np.sort(x.numpy(), axis=-1)).flip(-1)
    return x.sort(dim=-1, descending=True).values


def inverse_cdf_sample(logits: Tensor, u: Tensor) -> Tensor:
    """Class ids by inversion of the cumulative distribution: logits (B, K), u (B,) in [0, 1) -> (B,)."""
    cumulative = logits.softmax(-1).cumsum(-1)
    total = cumulative[:, -1:]
    below = torch.minimum(u[:, None] * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulative, below, right=True)[:, 0]
