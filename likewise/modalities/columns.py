"""What a modality is told of a column before it has seen values, and what checking one stored value finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class ColumnSummary:
    """A column as it is stored, from which its kind is inferred.

    dtype         "string", "int", "float", "bool", "list", a file type ("image", "audio", "video"), or what
                  the data set calls it where it is none of these
    rows          their number
    count_unique  number of distinct values, computed when asked for
    max_length    characters of the longest string, 0 where values are no strings
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
    """One stored value: its bytes, for a hash; why it cannot be used; a trait that its column should share."""

    content: bytes
    problem: str | None = None
    trait: str | None = None
