"""The columns of a table as arrays, in which structure is looked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from likewise.data.storage import RowStore
from likewise.modalities.base import Modality
from likewise.modalities.rank_scale import decimals_of
from likewise.modalities.ranked import Ranked


@dataclass(frozen=True)
class Values:
    """The values of a column in N rows.

    column   the modality
    codes    (N,) int64, equal for equal values, from 0 on; -1 where missing
    numbers  (N,) float64, nan where missing; None for a column of classes
    levels   the values of the codes of a column of classes
    """

    column: Modality
    codes: np.ndarray
    numbers: np.ndarray | None = None
    levels: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def present(self) -> np.ndarray:
        """Which rows have a value, (N,) bool."""
        return self.codes >= 0

    @cached_property
    def distinct(self) -> int:
        """How many different values there are."""
        return len(np.unique(self.codes[self.present]))

    @property
    def step(self) -> float:
        """The width of the lattice of the numbers, 0 where they are continuous."""
        return self.column.step if isinstance(self.column, Ranked) else 0.0

    @property
    def unit(self) -> float:
        """The unit of the last decimal: 0.01 for the step 0.05; 0 where numbers are continuous."""
        return float(10.0 ** -decimals_of(self.step)) if self.step else 0.0

    def take(self, rows: np.ndarray) -> Self:
        """Some of the rows, by their numbers or a mask."""
        numbers = None if self.numbers is None else self.numbers[rows]
        return type(self)(self.column, self.codes[rows], numbers, self.levels)


def numbers_of(column: Modality, values: Sequence[Any]) -> np.ndarray:
    """The numbers of values of a Ranked column, nan where they are missing, (N,) float64."""
    assert isinstance(column, Ranked)
    gone = np.array([value is None for value in values], dtype=bool)
    numbers = np.full(len(values), np.nan)
    if not gone.all():
        numbers[~gone] = column.numbers([value for value in values if value is not None])
    return numbers


def values_of(columns: Mapping[str, Modality], rows: RowStore) -> dict[str, Values]:
    """The values of those columns of rows that are one number or one class."""
    found = {}
    for name, column in columns.items():
        if column.spec.tokens != 1 or column.spec.width > 1:
            continue
        if isinstance(column, Ranked):
            numbers = _numbers(name, column, rows)
            found[name] = Values(column, _codes(numbers), numbers)
        elif column.spec.categorical:
            encoded = rows.arrow(name).combine_chunks().dictionary_encode()
            levels = tuple(map(str, encoded.dictionary.to_pylist()))
            codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
            found[name] = Values(column, codes, levels=levels)
    return found


def _numbers(name: str, column: Ranked, rows: RowStore) -> np.ndarray:
    """The numbers of a column; read at once where they are stored as such."""
    import pyarrow as pa

    stored = rows.arrow(name)
    if pa.types.is_integer(stored.type) or pa.types.is_floating(stored.type):
        return stored.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
    return numbers_of(column, rows.column(name))


def _codes(numbers: np.ndarray) -> np.ndarray:
    present = ~np.isnan(numbers)
    codes = np.full(len(numbers), -1, dtype=np.int64)
    codes[present] = np.unique(numbers[present], return_inverse=True)[1]
    return codes
