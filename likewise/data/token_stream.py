"""TokenStream: the ids of all documents one after another, in memory or in a file, and windows of them."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likewise.modalities.base import Modality

MAX_BYTES_IN_MEMORY = 2**30  # of ids; more go into a memory-mapped file
CHUNK = 1000  # passages that are tokenised together


@dataclass(frozen=True)
class TokenStream:
    """The ids of passages.

    ids     (n,) without ends, an array or a memory-mapped file
    starts  (N + 1,) the start of each passage, and n
    ends    (N,) the end of the consecutive passages of its document that begin with each passage
    latest  (N,) the latest start of a window of each passage. If the rest of the document is not here, windows
            end before the cut, so that no end (id 0) is learned there, unless the part is shorter than a window
    length  tokens of a window
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    latest: np.ndarray
    length: int

    @classmethod
    def build(cls, column: Modality, values: Iterable[Any], keys: np.ndarray | Sequence[int]) -> TokenStream:
        """The stream of the passages of a windowed column.

        `keys` has the place of each passage: document * 2^32 + the number of its passages that follow.
        """
        counts: list[int] = []
        chunks: list[np.ndarray] = []
        file, size = None, 0
        width = np.uint16 if column.spec.classes < 2**16 else np.uint32
        for chunk in _chunks(values):
            rows = column.encode_unpadded(chunk)
            counts += map(len, rows)
            chunks.append(np.concatenate([np.asarray(row, dtype=width) for row in rows]))
            size += chunks[-1].nbytes
            if size > MAX_BYTES_IN_MEMORY:
                file = file or tempfile.TemporaryFile()  # noqa: SIM115   # open as long as it is mapped
                for part in chunks:
                    file.write(part.tobytes())
                chunks, size = [], 0
        if file is not None:
            file.write(b"".join(part.tobytes() for part in chunks))
            file.flush()
        ids = (
            np.memmap(file, dtype=width, mode="r")
            if file is not None
            else np.concatenate([np.empty(0, width), *chunks])
        )
        starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        key = np.asarray(keys, dtype=np.int64)
        breaks = np.append(np.flatnonzero(np.diff(key) != -1) + 1, len(key)).astype(np.int64)
        run = np.searchsorted(breaks, np.arange(len(key)), side="right")  # of consecutive passages
        ends, run_starts = starts[breaks[run]], starts[np.append(0, breaks)[run]]
        complete = key[breaks[run] - 1] % 2**32 == 0
        length = column.spec.tokens
        latest = np.where(complete, ends, np.maximum(run_starts, ends - length))
        return cls(ids, starts.astype(np.int64), ends, latest, length)

    def windows(self, rows: Sequence[int], shares: Sequence[float]) -> Tensor:
        """A window for each passage of `rows`, (B, length) int64, which begins at that share of the passage.

        It continues through the next passages, and is padded with id 0 where the document ends.
        """
        out = torch.zeros(len(rows), self.length, dtype=torch.int64)
        for row, i, share in zip(out, rows, shares, strict=True):
            first = int(self.starts[i] + share * (self.starts[i + 1] - self.starts[i]))
            first = min(first, int(self.latest[i]))
            ids = self.ids[first : min(first + self.length, int(self.ends[i]))]
            row[: len(ids)] = torch.from_numpy(ids.astype(np.int64))
        return out


def _chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    """The values in lists of CHUNK."""
    values = iter(values)
    while chunk := list(itertools.islice(values, CHUNK)):
        yield chunk
