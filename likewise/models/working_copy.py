"""WorkingCopy: the copy of a family that computes, kept while its weights stay as they are."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Any

from torch import Tensor

from likewise.families.base import Family


class WorkingCopy:
    """What `Family.compute_copy` makes, for a model that samples again and again; it is no part of what is saved.

    It is made anew when a weight has changed: a tensor has another address, or was written to.
    """

    def __init__(self) -> None:
        self._key: Hashable = None
        self._copy: Family | None = None

    def of(self, family: Family, **options: Any) -> Family:
        """The copy that computes, by options of `compute_copy`: `family` itself where it computes in float32."""
        tensors = itertools.chain(family.parameters(), family.buffers())
        key = (id(family), family.training, *sorted(options.items()), *map(_state, tensors))
        if self._copy is None or self._key != key:
            self._copy = None  # before another is made, as each may be large
            copy = family.compute_copy(**options)
            if copy is family:
                return family
            self._key, self._copy = key, copy
        self._copy.default_guidance = dict(family.default_guidance)
        return self._copy

    def __deepcopy__(self, memo: dict[int, Any]) -> WorkingCopy:
        return WorkingCopy()

    def __reduce__(self) -> tuple[type[WorkingCopy], tuple[()]]:
        return WorkingCopy, ()


def _state(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version
