"""Features: images (N, H, W, C), floats in [-1, 1], -> (N, F) float32. None is trained, so no model can have learned to please one.

Chosen by measurement on 7,447 icons at 24 px (rank of an icon's outline among 1,000 others, mean / share at rank 1) and
5,000 digits (accuracy of the nearest neighbour among 4,000):

    pixels        155  / 0.25    0.935
    random_conv   7.7  / 0.46    0.933
    edges         1.3  / 0.84    0.979    the default judge of agreement
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_CHUNK = 256   # images at a time: keeps the working set of the largest space under 100 MB


def pixels(images: np.ndarray, *, size: int = 32) -> np.ndarray:
    """The pixels themselves, averaged down to at most `size` a side: (N, size * size * C)."""
    return _map(lambda x: _shrink(x, size).flatten(1), images)


def edges(images: np.ndarray, *, cells: int = 8, bins: int = 8) -> np.ndarray:
    """Where which edge directions are (HOG, Dalal and Triggs 2005): (N, bins * cells * cells), root mean square 1.

    Blind to polarity, tone and colour, so that an outline lies near its filled shape. The square root (RootSIFT, Arandjelovic
    and Zisserman 2012) keeps one strong contour from deciding alone.
    """
    centre = (torch.arange(bins) * 2 * math.pi / bins).view(-1, 1, 1, 1)

    def features(x: Tensor) -> Tensor:                                             # (B, C, H, W)
        p = F.pad(_shrink(x, 64), (1, 1, 1, 1), mode="replicate")
        dx, dy = p[..., 1:-1, 2:] - p[..., 1:-1, :-2], p[..., 2:, 1:-1] - p[..., :-2, 1:-1]
        angle = 2 * torch.atan2(dy, dx)                # doubled: an edge and its negative have one direction
        away = (torch.remainder(angle - centre[:, None] + math.pi, 2 * math.pi) - math.pi).abs()   # (bins, B, C, H, W)
        votes = (1 - away * bins / (2 * math.pi)).clamp_min(0) * torch.hypot(dx, dy) / 2
        cell = F.adaptive_avg_pool2d(votes.sum(2).transpose(0, 1), cells)          # (B, bins, cells, cells)
        flat = cell.sqrt().flatten(1)
        return F.normalize(flat, dim=1) * flat.shape[1] ** 0.5

    return _map(features, images)


def random_conv(images: np.ndarray, *, seed: int = 0, widths: tuple[int, ...] = (16, 32, 64)) -> np.ndarray:
    """A frozen random convolutional network, averaged to 4x4 after each layer, with the input beside it: (N, F).

    Filters have zero mean and unit norm and answer by modulus, as a scattering transform does (Mallat 2012). Another `seed`
    is another judge.
    """
    rng = torch.Generator().manual_seed(seed)
    filters, inputs = [], images.shape[-1]
    for layer, width in enumerate(widths):
        size = 3 if layer else 7
        w = torch.randn(width, inputs, size, size, generator=rng)
        w = w - w.mean((1, 2, 3), keepdim=True)
        filters.append(w / w.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
        inputs = width

    def features(x: Tensor) -> Tensor:
        x = F.interpolate(x, size=(32, 32), mode="bilinear", antialias=True)
        scales = [F.adaptive_avg_pool2d(x, 4)]
        for w in filters:
            x = F.avg_pool2d(F.conv2d(F.pad(x, (w.shape[-1] // 2,) * 4, mode="replicate"), w).abs(), 2)
            scales.append(F.adaptive_avg_pool2d(x, 4))
        return torch.cat([s.flatten(1) for s in scales], 1)

    return _map(features, images)


def _shrink(x: Tensor, size: int) -> Tensor:
    """Average (B, C, H, W) down to at most `size` a side; smaller images stay as they are."""
    height, width = min(size, x.shape[-2]), min(size, x.shape[-1])
    return x if x.shape[-2:] == (height, width) else F.adaptive_avg_pool2d(x, (height, width))


@torch.no_grad()
def _map(features: Callable[[Tensor], Tensor], images: np.ndarray) -> np.ndarray:
    if images.ndim != 4 or not len(images):
        raise ValueError(f"features are taken of images (N, H, W, C) with N at least 1, not of an array {images.shape}")
    x = torch.as_tensor(np.asarray(images, np.float32)).permute(0, 3, 1, 2)
    return torch.cat([features(chunk.contiguous()) for chunk in x.split(_CHUNK)]).numpy()
