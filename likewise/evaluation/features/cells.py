"""Cells: numbers and classes of rows as arrays, for distances and for trees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from likewise.evaluation.features.values import number_text, numbers_of
from likewise.evaluation.reference import is_class
from likewise.modalities.base import Modality

MAX_DECIMALS = 12  # beyond that, numbers have no fixed number of decimals
MAX_CLASSES = 255  # that trees tell apart; the rarer ones are one class
BINS = 10  # of a column
CHUNK = 500  # rows whose distances are computed together


def has_cells(column: Modality) -> bool:
    """Whether the values of a column are numbers, dates and the like, or classes."""
    return is_class(column) or numbers_of(column, []) is not None


class ColumnCells:
    """A column of numbers or classes, in terms of its training values.

    An array of it is (N,) float64, NaN where a value is missing: numbers, or ids of classes, the most frequent first.
    """

    def __init__(self, column: Modality, train: Sequence[Any]) -> None:
        self.column, self.is_class = column, is_class(column)
        if self.is_class:
            counts = Counter(str(v) for v in train if v is not None)
            self.ids = {name: i for i, (name, _) in enumerate(counts.most_common())}
        self.count = len(self.ids) if self.is_class else 0  # of the classes of training rows
        known = self.read(train)
        self.known = np.sort(known[~np.isnan(known)])
        self.decimals = None if self.is_class else _decimals(self.known)

    def read(self, values: Sequence[Any]) -> np.ndarray:
        """A class that no training row has gets an id of its own, `count` or above."""
        present = np.array([v is not None for v in values], dtype=bool)
        cells = np.full(len(values), np.nan)
        if self.is_class:
            names = (str(v) for v in values if v is not None)
            cells[present] = [self.ids.setdefault(name, len(self.ids)) for name in names]
        elif present.any():
            cells[present] = numbers_of(self.column, [v for v in values if v is not None])
        return cells

    def unseen(self, cells: np.ndarray) -> np.ndarray:
        """Which are classes that no training row has, (N,) bool."""
        return cells >= self.count if self.is_class else np.zeros(len(cells), dtype=bool)

    def out_of_range(self, cells: np.ndarray) -> np.ndarray:
        """Which are numbers outside of the range of the training values, (N,) bool."""
        if self.is_class or not len(self.known):
            return np.zeros(len(cells), dtype=bool)
        return (cells < self.known[0]) | (cells > self.known[-1])

    def extra_decimals(self, cells: np.ndarray) -> np.ndarray:
        """Which are numbers with more decimals than any training value, (N,) bool."""
        if self.decimals is None:
            return np.zeros(len(cells), dtype=bool)
        return ~np.isnan(cells) & ~_close(cells, cells.round(self.decimals))

    def rounded(self, cells: np.ndarray) -> np.ndarray:
        """Numbers of the decimals of the training values, so that equal ones have equal bits."""
        return cells if self.decimals is None else cells.round(self.decimals) + 0.0

    def ranks(self, cells: np.ndarray) -> np.ndarray:
        """The middle rank of numbers among the training values, in [0, 1]."""
        low, high = (np.searchsorted(self.known, cells, side) for side in ("left", "right"))
        return np.where(np.isnan(cells), np.nan, (low + high) / (2 * max(1, len(self.known))))

    def bins(self, cells: np.ndarray) -> np.ndarray:
        """The bin of each value, (N,) int: 0 is missing, then quantiles or the most frequent classes, and the rest."""
        if self.is_class:
            bins = np.minimum(cells, BINS) + 1
        else:
            bins = np.searchsorted(self._edges, cells, "right") + 1
        return np.where(np.isnan(cells), 0, bins).astype(int)

    @property
    def bin_names(self) -> list[str]:
        """Of numbers the lower ends."""
        if self.is_class:
            names = list(self.ids)
            return ["missing", *names[:BINS], *(["others"] if len(names) > BINS else [])]
        ends = [number_text(self.column, float(edge)) for edge in self._edges]
        return ["missing", f"< {ends[0]}" if ends else "any", *ends]

    @cached_property
    def _edges(self) -> np.ndarray:
        if not len(self.known):
            return np.array([])
        return np.unique(np.quantile(self.known, np.arange(1, BINS) / BINS, method="nearest"))


@dataclass(frozen=True)
class Cells:
    """Columns of numbers and classes."""

    columns: dict[str, ColumnCells]

    @classmethod
    def fit(cls, columns: Mapping[str, Modality], train: Mapping[str, Sequence[Any]]) -> Cells:
        """In terms of these training values."""
        return cls({name: ColumnCells(columns[name], values) for name, values in train.items()})

    @property
    def names(self) -> list[str]:
        return list(self.columns)

    @cached_property
    def classes(self) -> np.ndarray:
        """Which columns have classes, (C,) bool."""
        return np.array([c.is_class for c in self.columns.values()])

    def read(self, values: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """The values of each column -> (N, C) float64."""
        return np.stack([column.read(values[name]) for name, column in self.columns.items()], 1)

    def each(self, method: str, cells: np.ndarray) -> np.ndarray:
        """The result of a method of each column, for (N, C): (N, C)."""
        return np.stack([getattr(c, method)(cells[:, k]) for k, c in enumerate(self.columns.values())], 1)

    def features(self, cells: np.ndarray) -> np.ndarray:
        """For trees: ids of classes below MAX_CLASSES."""
        return np.where(self.classes & (cells >= MAX_CLASSES), MAX_CLASSES - 1, cells)

    def keys(self, cells: np.ndarray) -> list[bytes]:
        """A key for each row, equal for rows that are equal in all columns."""
        return [row.tobytes() for row in np.ascontiguousarray(self.each("rounded", cells))]

    def distances(self, a: np.ndarray, b: np.ndarray) -> Iterator[np.ndarray]:
        """The distances of cells (N, C) from (M, C), (CHUNK, M) at a time.

        It is the sum over columns: of numbers the difference of ranks, of classes 0 or 1, of missing and not 1.
        """
        (x, x_ids), (y, y_ids) = self._coordinates(a), self._coordinates(b)
        for start in range(0, len(a), CHUNK):
            chunk = slice(start, start + CHUNK)
            distances = cdist(x[chunk], y, "cityblock")
            if x_ids.shape[1]:
                distances += x_ids.shape[1] * cdist(x_ids[chunk], y_ids, "hamming")
            yield distances.round(9)

    def _coordinates(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers whose city-block distance, and ids whose number of differences, is the distance of rows.

        A rank r is (r / 2, (1 - r) / 2, 0), and a missing one (0, 0, 1 / 2), at 1 from every rank.
        """
        coordinates = [np.zeros(len(cells))]
        for k, column in enumerate(self.columns.values()):
            if not column.is_class:
                ranks = column.ranks(cells[:, k])
                missing = np.isnan(ranks)
                coordinates += [
                    np.where(missing, 0, ranks / 2),
                    np.where(missing, 0, (1 - ranks) / 2),
                    missing / 2,
                ]
        return np.stack(coordinates, 1), np.nan_to_num(cells[:, self.classes], nan=-1.0)


def _close(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.isclose(a, b, rtol=1e-12, atol=1e-12)


def _decimals(numbers: np.ndarray) -> int | None:
    """The fewest decimals with which every number can be written; None if they are more than MAX_DECIMALS."""
    return next((k for k in range(MAX_DECIMALS) if _close(numbers, numbers.round(k)).all()), None)
