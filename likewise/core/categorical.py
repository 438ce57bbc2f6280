"""Sampling from the logits of categorical distributions. Legend: B rows, K classes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def sample_categorical(
    logits: Tensor, u: Tensor, temperature: float, top_p: float = 1.0, min_p: float = 0.0
) -> Tensor:
    """Sample one class per row after filtering: logits (B, K), uniform u (B,) -> (B,). Temperature 0 is argmax."""
    if temperature == 0:
        return logits.argmax(-1)
    return inverse_cdf_sample(filter_logits(logits / temperature, top_p, min_p), u)


def filter_logits(logits: Tensor, top_p: float, min_p: float) -> Tensor:
    """Logits (..., K) with the classes outside of the nucleus at minus infinity.

    The nucleus is the smallest set of most likely classes with total probability `top_p` (Holtzman et al.,
    2020), with ties of its last one, less those below `min_p` times the highest probability (Nguyen et al.,
    2024). The most likely class always stays.
    """
    if top_p < 1:
        best = sort_descending(logits)
        p = (best - logits.logsumexp(-1, keepdim=True)).exp()
        in_nucleus = p.cumsum(-1) - p < top_p  # those before it have less than top_p
        count = in_nucleus.sum(-1, keepdim=True).clamp(min=1)
        logits = logits.masked_fill(logits < best.gather(-1, count - 1), -torch.inf)
    if min_p > 0:
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
