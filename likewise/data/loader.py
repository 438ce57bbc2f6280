"""Batches: columns as tokens, encoded once or when they are drawn, in an order that a seed gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from likewise.core.batch import Batch
from likewise.core.known import blank_values
from likewise.core.rng import seed_of
from likewise.data.storage import RowStore
from likewise.data.token_stream import TokenStream
from likewise.modalities.base import Modality

IN_MEMORY = 2 * 2**30  # bytes of encoded columns that are kept; more is encoded batch by batch


class EncodedColumn:
    """A column of stored rows as tokens, (N, T, C) float32 or (N, T) int64.

    Of documents, which are not encoded row by row, they are windows of its stream of ids.
    """

    def __init__(self, rows: RowStore, name: str, modality: Modality) -> None:
        """`name` is that of the stored values, `modality` how they are written."""
        self.rows, self.name, self.modality = rows, name, modality
        self.windowed = modality.spec.windowed

    @property
    def bytes(self) -> int:
        """How much memory all of it takes beside the stream."""
        spec = self.modality.spec
        size = spec.tokens * (8 if spec.categorical else 4 * spec.width)
        return 0 if self.windowed else len(self.rows) * size

    @cached_property
    def all(self) -> Tensor:
        """Every row, encoded once."""
        return self.encode_rows(range(len(self.rows)))

    def at(self, rows: Sequence[int]) -> Tensor:
        """Some rows, of those that were encoded once."""
        return self.encode_rows(rows) if self.windowed else self.all[torch.tensor(rows, dtype=torch.int64)]

    def encode_rows(self, rows: Sequence[int]) -> Tensor:
        """Some rows, encoded now; of documents, windows that begin where the passages do."""
        if not len(rows):
            return blank_values(self.modality.spec, 0, torch.device("cpu"))
        if self.windowed:
            return self.windows(rows, [0.0] * len(rows))
        return self.modality.encode_all(self.rows.some(rows).column(self.name))

    def windows(self, rows: Sequence[int], shares: Sequence[float]) -> Tensor:
        """Of documents, a window for each of these passages that begins at this share of it."""
        return self._stream.windows(rows, shares)

    @cached_property
    def _stream(self) -> TokenStream:
        return TokenStream.of(self.modality, self.rows.cells(self.name), self.rows.passage_keys)


def iterate_batches(
    columns: Mapping[str, EncodedColumn], size: int, *, seed: int, start: int, rank: int, world: int
) -> Iterator[Batch]:
    """Batches of columns of the same rows, without end; see Table.batches."""
    count = len(next(iter(columns.values())).rows)
    in_memory = sum(column.bytes for column in columns.values()) <= IN_MEMORY
    running = any(column.windowed for column in columns.values())
    epoch, order = -1, []
    for step in itertools.count(start):
        rows = []
        for place in range(step * size + rank, (step + 1) * size, world):
            if place // count != epoch:
                epoch = place // count
                shuffle = torch.Generator().manual_seed(seed_of("order", seed, epoch))
                order = torch.randperm(count, generator=shuffle).tolist()
            rows.append(order[place % count])
        shares: list[float] = []
        if running:
            draw = torch.Generator().manual_seed(seed_of("window", seed, step))  # the same in each process
            shares = torch.rand(size, generator=draw)[rank::world].tolist()
        yield {
            name: column.windows(rows, shares)
            if column.windowed
            else column.at(rows)
            if in_memory
            else column.encode_rows(rows)
            for name, column in columns.items()
        }
