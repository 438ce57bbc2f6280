"""TODO evaluation.features.image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_CHUNK = 256  # images at a time: keeps the working set of the largest space under 200 MB


def pixel_features(images: np.ndarray, *, size: int = 32) -> np.ndarray:
    """The pixels themselves, averaged down to at most `size` a side: (N, C * size * size)."""
    return _map(lambda x: _shrunk(x, size).flatten(1), images)


def edge_features(images: np.ndarray, *, cells: int = 8, bins: int = 8) -> np.ndarray:
    """Which edge directions are where (HOG; Dalal and Triggs, 2005): (N, bins * cells^2), mean square 1.

    Blind to polarity, tone and colour, so an outline lies near its filled shape. The square root keeps one
    strong contour from deciding alone (RootSIFT; Arandjelovic and Zisserman, 2012).
    """
    centre = (torch.arange(bins) * (2 * math.pi / bins)).view(-1, 1, 1, 1, 1)

    def features(x: Tensor) -> Tensor:  # (B, C, H, W)
        p = F.pad(_shrunk(x, 64), (1, 1, 1, 1), mode="replicate")
        dx, dy = p[..., 1:-1, 2:] - p[..., 1:-1, :-2], p[..., 2:, 1:-1] - p[..., :-2, 1:-1]
        angle = 2 * torch.atan2(dy, dx)  # doubled: an edge and its negative have one direction
        apart = (torch.remainder(angle - centre + math.pi, 2 * math.pi) - math.pi).abs()
        votes = (1 - apart * bins / (2 * math.pi)).clamp_min(0) * torch.hypot(dx, dy)  # (bins, B, C, H, W)
        found = F.adaptive_avg_pool2d(votes.sum(2).transpose(0, 1), cells).sqrt().flatten(1)
        return F.normalize(found, dim=1) * found.shape[1] ** 0.5

    return _map(features, images)


def random_conv_features(
    images: np.ndarray, *, seed: int = 0, widths: tuple[int, ...] = (16, 32, 64)
) -> np.ndarray:
    """A frozen random convolutional network: the input and each of its layers, averaged to 4x4, (N, F).

    Filters have zero mean and unit norm and answer by modulus, as in a scattering transform (Bruna and
    Mallat, 2013). Another `seed` is another judge.
    """
    rng, channels, filters = torch.Generator().manual_seed(seed), images.shape[-1], []
    for layer, width in enumerate(widths):
        size = 3 if layer else 7
        w = torch.randn(width, channels, size, size, generator=rng)
        w = w - w.mean((1, 2, 3), keepdim=True)
        filters.append(w / w.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
        channels = width

    def features(x: Tensor) -> Tensor:  # (B, C, H, W)
        x = F.interpolate(x, size=(32, 32), mode="bilinear", antialias=True)
        scales = [x]
        for w in filters:
            x = F.avg_pool2d(F.conv2d(F.pad(x, (w.shape[-1] // 2,) * 4, mode="replicate"), w).abs(), 2)
            scales.append(x)
        return torch.cat([F.adaptive_avg_pool2d(x, 4).flatten(1) for x in scales], 1)

    return _map(features, images)


def _shrunk(x: Tensor, size: int) -> Tensor:
    """Average (B, C, H, W) down to at most `size` a side; smaller images stay as they are."""
    sides = tuple(min(size, side) for side in x.shape[-2:])
    return x if x.shape[-2:] == sides else F.adaptive_avg_pool2d(x, sides)


@torch.no_grad()
def _map(features: Callable[[Tensor], Tensor], images: np.ndarray) -> np.ndarray:
    if images.ndim != 4 or not len(images):
        raise ValueError(f"features are taken of images (N, H, W, C), at least one, not of {images.shape}")
    x = torch.as_tensor(np.asarray(images, np.float32)).permute(0, 3, 1, 2)
    return torch.cat([features(chunk.contiguous()) for chunk in x.split(_CHUNK)]).numpy()
