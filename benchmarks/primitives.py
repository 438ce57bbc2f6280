"""The cost of the parts of a network on this processor, on which choices in likewise/nets rest.

    python benchmarks/primitives.py

Milliseconds of forward and backward, bf16, the median of ten; B 96, T 41, D 192, 3 heads: the shapes of the
default icons run. The last lines repeat the convolutions after likewise.training.process.tune_malloc.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.training.process import tune_malloc

B, T, D, H = 96, 41, 192, 3
BF16 = torch.bfloat16


def cost(function: Callable[[], Tensor], *inputs: Tensor) -> float:
    """Milliseconds of function() and of its gradient for `inputs`."""
    seconds = []
    for _ in range(13):
        start = time.perf_counter()
        out = function()
        torch.autograd.grad(out, inputs, torch.ones_like(out))
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds[3:])


def leaf(*shape: int, memory: torch.memory_format = torch.preserve_format) -> Tensor:
    return torch.randn(*shape).to(BF16, memory_format=memory).requires_grad_()


def main() -> None:
    x, q, k, v = leaf(B, T, D), leaf(B, H, T, 64), leaf(B, H, T, 64), leaf(B, H, T, 64)
    rows: list[tuple[str, float]] = [
        ("layer norm, no weights", cost(lambda: F.layer_norm(x, (D,)), x)),
        ("RMS norm, no weights", cost(lambda: F.rms_norm(x, (D,)), x)),
        ("attention as two matrix products", cost(lambda: (q @ k.mT).softmax(-1) @ v, q, k, v)),
        ("scaled_dot_product_attention", cost(lambda: F.scaled_dot_product_attention(q, k, v), q, k, v)),
    ]
    hidden = leaf(B, T, 4 * D)
    rows += [
        ("GELU", cost(lambda: F.gelu(hidden), hidden)),
        ("squared ReLU", cost(lambda: F.relu(hidden).square(), hidden)),
    ]

    def convolution(channels: int, size: int) -> float:
        image = leaf(B, channels, size, size, memory=torch.channels_last)
        kernel = leaf(channels, channels, 3, 3, memory=torch.channels_last)
        return cost(lambda: F.conv2d(image, kernel, padding=1), image, kernel)

    shapes = ((24, 24), (48, 12), (96, 24))
    rows += [(f"3x3 convolution, {c} channels, {s} px", convolution(c, s)) for c, s in shapes]
    tune_malloc()
    rows += [(f"3x3 convolution, {c} channels, {s} px, tuned malloc", convolution(c, s)) for c, s in shapes]
    for name, milliseconds in rows:
        print(f"{name:55}{milliseconds:8.2f} ms")


if __name__ == "__main__":
    main()
