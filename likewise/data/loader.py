"""Batches of encoded columns, in an order that a seed determines."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from likewise.core.batch import EncodedRows
from likewise.core.known import blank_values
from likewise.core.rng import seed_of
from likewise.data.storage import RowStore
from likewise.data.token_stream import TokenStream
from likewise.modalities.base import Modality

MAX_BYTES_IN_MEMORY = 2 * 2**30  # of encoded columns; larger ones are encoded batch by batch


class EncodedColumn:
    """A column of stored rows as tokens, (N, T, C) float32 or (N, T) int64.

    A windowed column is not encoded row by row: its tokens are windows of the stream of all ids.

    name      of the stored column
    modality  that encodes its values
    """

    def __init__(self, rows: RowStore, name: str, modality: Modality) -> None:
        self.rows, self.name, self.modality = rows, name, modality
        self.windowed = modality.spec.windowed

    @property
    def bytes(self) -> int:
        """The memory that `all` takes, 0 of a windowed column."""
        spec = self.modality.spec
        size = spec.tokens * (8 if spec.categorical else 4 * spec.width)
        return 0 if self.windowed else len(self.rows) * size

    @cached_property
    def all(self) -> Tensor:
        """Every row, encoded once; blank tokens where a value is missing."""
        return self.encode_rows(range(len(self.rows)))

    def at(self, rows: Sequence[int]) -> Tensor:
        """Some rows of `all`."""
        return self.encode_rows(rows) if self.windowed else self.all[torch.tensor(rows, dtype=torch.int64)]

    def encode_rows(self, rows: Sequence[int]) -> Tensor:
        """Some rows, encoded now; of a windowed column, the windows that begin with these passages."""
        if not len(rows):
            return blank_values(self.modality.spec, 0, torch.device("cpu"))
        if self.windowed:
            return self.windows(rows, [0.0] * len(rows))
        if self.present is None:
            return self.modality.encode_all(self.rows.select(rows).column(self.name))
        mask = self.present[torch.tensor(rows, dtype=torch.int64)]
        tokens = blank_values(self.modality.spec, len(rows), torch.device("cpu"))
        if mask.any():
            known = [row for row, present in zip(rows, mask.tolist(), strict=True) if present]
            tokens[mask] = self.modality.encode_all(self.rows.select(known).column(self.name))
        return tokens

    @cached_property
    def present(self) -> Tensor | None:
        """Which rows have a value, (N,) bool; None if all have, or a missing one is a value too."""
        if self.modality.has_missing:
            return None
        present = self.rows.present(self.name)
        return None if present is None else torch.from_numpy(present)

    def windows(self, rows: Sequence[int], shares: Sequence[float]) -> Tensor:
        """Of a windowed column, a window for each passage, which begins at that share of the passage."""
        return self._stream.windows(rows, shares)

    @cached_property
    def _stream(self) -> TokenStream:
        return TokenStream.build(self.modality, self.rows.cells(self.name), self.rows.passage_keys)


def encode(columns: Mapping[str, EncodedColumn], rows: Sequence[int]) -> EncodedRows:
    """Some rows of columns, by their numbers."""
    index = torch.tensor(rows, dtype=torch.int64)
    present = {name: column.present[index] for name, column in columns.items() if column.present is not None}
    return EncodedRows({name: column.at(rows) for name, column in columns.items()}, present)


def iterate_batches(
    columns: Mapping[str, EncodedColumn], size: int, *, seed: int, start: int, rank: int, world: int
) -> Iterator[EncodedRows]:
    """Endless batches of columns of the same rows; see Table.batches."""
    count = len(next(iter(columns.values())).rows)
    in_memory = sum(column.bytes for column in columns.values()) <= MAX_BYTES_IN_MEMORY
    windowed = any(column.windowed for column in columns.values())
    epoch = -1
    order: list[int] = []
    for step in itertools.count(start):
        rows = []
        for place in range(step * size + rank, (step + 1) * size, world):
            if place // count != epoch:
                epoch = place // count
                shuffle = torch.Generator().manual_seed(seed_of("order", seed, epoch))
                order = torch.randperm(count, generator=shuffle).tolist()
            rows.append(order[place % count])
        shares: list[float] = []
        if windowed:
            generator = torch.Generator().manual_seed(seed_of("window", seed, step))  # one for all processes
            shares = torch.rand(size, generator=generator)[rank::world].tolist()
        index = torch.tensor(rows, dtype=torch.int64)
        tokens = {
            name: column.windows(rows, shares)
            if column.windowed
            else column.at(rows)
            if in_memory
            else column.encode_rows(rows)
            for name, column in columns.items()
        }
        yield EncodedRows(tokens, {n: c.present[index] for n, c in columns.items() if c.present is not None})
