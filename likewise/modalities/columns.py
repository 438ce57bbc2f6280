"""Records about stored columns: the summary that a kind is inferred from, the check of one value, all values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class ColumnSummary:
    """A stored column, as its kind is inferred from it.

    dtype         "string", "int", "float", "bool", "list", a file type ("image", "audio", "video"), or else
                  the data set's own name of the type
    rows          the number of rows
    count_unique  computes the number of distinct values
    max_length    characters of the longest string, 0 for other values
    read_sample   reads some of the distinct values of a column of strings, without words for missing values
    """

    name: str
    dtype: str
    rows: int
    count_unique: Callable[[], int]
    max_length: int = 0
    read_sample: Callable[[], Sequence[str]] = tuple

    @cached_property
    def sample(self) -> Sequence[str]:
        return self.read_sample()

    @cached_property
    def unique(self) -> int:
        return self.count_unique()


@dataclass(slots=True)  # there is one for each value of a table
class CellCheck:
    """One stored value.

    content    its bytes, for a hash
    problem    why it cannot be used
    traits     properties that are counted over the column, such as "grey"; see `Modality.findings`
    signature  of kinds that have near copies, see `Modality.group_near_copies`
    """

    content: bytes
    problem: str | None = None
    traits: tuple[str, ...] = ()
    signature: bytes | None = None


@dataclass(frozen=True)
class ColumnValues:
    """All values of a column, in which `Modality.findings` looks for what is odd.

    values  in order; those of large kinds are read when they are used
    rows    the name of each one's row in a message: "row 7"
    traits  trait -> the number of values that have it; see CellCheck
    """

    name: str
    values: Sequence[Any]
    rows: Sequence[str]
    traits: Counter[str]
