"""Small parts that networks share: norms without parameters, initialisation, and a typed ModuleList."""

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
