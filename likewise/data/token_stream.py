"""Stream: documents as ids one after another, in memory or in a file, and windows of them."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from likewise.modalities.document import Document

IN_MEMORY = 2**30  # bytes of ids that are kept in memory; more go into a file that is mapped
AT_ONCE = 1000  # passages that are tokenised together


@dataclass(frozen=True)
class TokenStream:
    """Passages as ids.

    ids     (n,) without ends, an array or a mapped file
    starts  (N + 1,) where each passage begins, and n
    ends    (N,) where what goes on from each passage ends: the passages of its document that follow it
    latest  (N,) where a window of each passage begins at the latest: if its document goes on elsewhere, early
            enough that id 0 does not stand where it was cut, unless all there is of it is less than a window
    length  tokens of a window
    """

    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    latest: np.ndarray
    length: int

    @classmethod
    def of(cls, column: Document, values: Iterable[str], places: Sequence[int]) -> TokenStream:
        """Passages of a column, with the place of each: document * 2^32 + how many of it follow."""
        counts, chunks, file, kept = [], [], None, 0
        width = np.uint16 if column.spec.classes < 2**16 else np.uint32
        for group in _groups(values):
            rows = column.encode_unpadded(group)
            counts += map(len, rows)
            chunks.append(np.concatenate([np.asarray(row, dtype=width) for row in rows]))
            kept += chunks[-1].nbytes
            if kept > IN_MEMORY:
                file = file or tempfile.TemporaryFile()  # noqa: SIM115   # open as long as it is mapped
                for chunk in chunks:
                    file.write(chunk.tobytes())
                chunks, kept = [], 0
        if file is not None:
            file.write(b"".join(chunk.tobytes() for chunk in chunks))
            file.flush()
        ids = (
            np.memmap(file, dtype=width, mode="r")
            if file is not None
            else np.concatenate([np.empty(0, width), *chunks])
        )
        starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        place = np.asarray(places, dtype=np.int64)
        breaks = np.append(np.flatnonzero(np.diff(place) != -1) + 1, len(place)).astype(np.int64)
        run = np.searchsorted(breaks, np.arange(len(place)), side="right")
        ends, begins = starts[breaks[run]], starts[np.append(0, breaks)[run]]
        whole = place[breaks[run] - 1] % 2**32 == 0
        latest = np.where(whole, ends, np.maximum(begins, ends - column.length))
        return cls(ids, starts.astype(np.int64), ends, latest, column.length)

    def windows(self, rows: Sequence[int], shares: Sequence[float]) -> Tensor:
        """A window for each of these passages, (B, length) int64, that begins at this share of it.

        It goes on through the passages that follow, and is filled up with id 0 where the document ends.
        """
        out = torch.zeros(len(rows), self.length, dtype=torch.int64)
        for row, i, share in zip(out, rows, shares, strict=True):
            first = int(self.starts[i] + share * (self.starts[i + 1] - self.starts[i]))
            first = min(first, int(self.latest[i]))
            ids = self.ids[first : min(first + self.length, int(self.ends[i]))]
            row[: len(ids)] = torch.from_numpy(ids.astype(np.int64))
        return out


def _groups(values: Iterable[str]) -> Iterable[list[str]]:
    """The same in lists of AT_ONCE."""
    values = iter(values)
    while group := list(itertools.islice(values, AT_ONCE)):
        yield group
