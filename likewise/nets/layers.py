"""Small parts that networks share: norms without parameters, products whose rows do not depend on each other,
initialisation, and a typed ModuleList.

A row of a product of matrices is rounded otherwise in a product of one to three rows than in one of more: libraries
have other kernels for these. Without gradients, on a CPU, small products are therefore computed with further rows, so
that a sample has the same bits in any batch (measured with MKL in float32; bfloat16 products were the same anyway).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class ModuleList(nn.ModuleList, Generic[M]):
    """The same as `nn.ModuleList`; a type checker knows that its elements are of class M."""

    if TYPE_CHECKING:

        def __init__(self, modules: Iterable[M] = ()) -> None: ...
        @overload
        def __getitem__(self, idx: slice) -> ModuleList[M]: ...
        @overload
        def __getitem__(self, idx: int) -> M: ...
        def __getitem__(self, idx: int | slice) -> M | ModuleList[M]: ...
        def __iter__(self) -> Iterator[M]: ...


MIN_ROWS = 4  # of a product, for each thread: from as many on, and up to MANY in multiples, rows do not depend on them
MANY = 32


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x W^T + b, (..., D) -> (..., K). Without gradients each row has the same bits whatever the others are."""
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    rows, unit, outputs = x.shape[:-1].numel(), MIN_ROWS * torch.get_num_threads(), len(weight)
    extra = -rows % unit if rows < max(MANY, unit) else 0
    if not extra and outputs > 1:
        return F.linear(x, weight, bias)
    if outputs == 1:  # a product with a vector has a kernel of its own, too
        weight, bias = F.pad(weight, (0, 0, 0, 1)), None if bias is None else F.pad(bias, (0, 1))
    y = F.linear(F.pad(x.reshape(rows, x.shape[-1]), (0, 0, 0, extra)), weight, bias)
    return y[:rows, :outputs].reshape(*x.shape[:-1], outputs)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    """A convolution of (B, C, h, w) to few channels; without gradients a row has the same bits beside others and alone."""
    if torch.is_grad_enabled() or x.device.type != "cpu" or len(x) != 1:
        return F.conv2d(x, weight, bias, padding=padding)
    return F.conv2d(x.expand(2, -1, -1, -1), weight, bias, padding=padding)[:1]


def row_sums(x: Tensor) -> Tensor:
    """The sum of each row, (B, N) -> (B, 1). Without gradients it does not depend on the others, as `linear`."""
    if torch.is_grad_enabled() or x.device.type != "cpu" or len(x) != 1:
        return x.sum(1, keepdim=True)
    return x.expand(2, -1).sum(1, keepdim=True)[:1]  # several threads share the sum of a single row


class Linear(nn.Linear):
    """`nn.Linear` by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def norm(x: Tensor) -> Tensor:
    """Layer norm over the last axis, without parameters."""
    return F.layer_norm(x, x.shape[-1:])


def norm_channels(x: Tensor) -> Tensor:
    """Layer norm over the channels of (B, C, h, w) in channels-last memory."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def zero_init(layer: M) -> M:
    """The same layer with all parameters at zero."""
    for p in layer.parameters():
        nn.init.zeros_(p)
    return layer


def float32_parameters(layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Weight and bias in float32: bf16 does not resolve 256 levels, so flat areas would look grainy."""
    assert layer.bias is not None
    return layer.weight.float(), layer.bias.float()


def to_channels_last(module: nn.Module) -> None:
    """Store the weights of all convolutions of a module channels-last, which is faster on a CPU."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
