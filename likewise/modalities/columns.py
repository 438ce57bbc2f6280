"""Records about stored columns: the summary that a kind is inferred from, and the check of one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class ColumnSummary:
    """A stored column, as its kind is inferred from it.

    dtype         "string", "int", "float", "bool", "list", a file type ("image", "audio", "video"), or else
                  the data set's own name of the type
    rows          the number of rows
    count_unique  computes the number of distinct values
    max_length    characters of the longest string, 0 for other values
    """

    name: str
    dtype: str
    rows: int
    count_unique: Callable[[], int]
    max_length: int = 0

    @cached_property
    def unique(self) -> int:
        return self.count_unique()


@dataclass(frozen=True)
class CellCheck:
    """One stored value.

    content  its bytes, for a hash
    problem  why it cannot be used
    trait    a property that all values of the column should share, such as "grey"
    """

    content: bytes
    problem: str | None = None
    trait: str | None = None
