"""ModuleList: torch's list of submodules, with the type of its elements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from torch import nn

M = TypeVar("M", bound=nn.Module)


class ModuleList(nn.ModuleList, Generic[M]):
    """The same as `nn.ModuleList`; a type checker knows that its elements are of class M."""

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, idx: slice) -> ModuleList[M]: ...
        @overload
        def __getitem__(self, idx: int) -> M: ...
        def __getitem__(self, idx: int | slice) -> M | ModuleList[M]: ...
        def __iter__(self) -> Iterator[M]: ...
