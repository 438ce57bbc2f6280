"""RowStore: rows of a data set with the kind of each column; values are read when they are used."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from likewise.data.arrow import FILE, PASSAGE
from likewise.data.validation import ValidationReport, validate
from likewise.modalities import KINDS
from likewise.modalities.base import Modality, Row

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset


class RowStore:
    """Rows of a data set, which may be larger than memory.

    kinds  of the columns, by name; what stands beside them in the data set is no value of a row
    """

    def __init__(self, data: Dataset, kinds: Mapping[str, str]) -> None:
        self.data, self.kinds = data, dict(kinds)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> Row:
        """One row; pictures are opened here."""
        cells = self.data[range(len(self))[row]]
        return {name: KINDS[kind].from_cell(cells[name]) for name, kind in self.kinds.items()}

    def column(self, name: str) -> Sequence[Any]:
        """The values of a column, read when asked for if they may be large."""
        kind = KINDS[self.kinds[name]]
        return LazyColumn(self, name, kind) if kind.lazy else list(map(kind.from_cell, self.cells(name)))

    def cell(self, name: str, row: int) -> Any:
        """A value as it is stored, a picture as {bytes, path}."""
        return self.data[range(len(self))[row]][name]

    def file(self, row: int) -> str | None:
        """The file of a folder that a row is from, if it is from one."""
        return self.cell(FILE, row) if FILE in self.data.column_names else None

    def cells(self, name: str) -> Iterator[Any]:
        """A column of them."""
        batches = self.data.select_columns(name).with_format("arrow").iter(1000)
        return (cell for batch in batches for cell in batch.column(0).to_pylist())

    def some(self, rows: Sequence[int]) -> RowStore:
        """Some of the rows, by their numbers."""
        return RowStore(self.data.select(rows), self.kinds)

    def others(self, rows: Sequence[int]) -> list[int]:
        """The numbers of all rows but these."""
        out = set(rows)
        return [row for row in range(len(self)) if row not in out]

    @cached_property
    def survey(self) -> ValidationReport:
        """What one reading of every row finds."""
        return validate(self.kinds, len(self), self.cells)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the columns and of every row's content, the same in every process."""
        schema = json.dumps(self.kinds).encode()
        return hashlib.sha256(schema + b"".join(self.survey.digests)).hexdigest()[:16]

    # ---- rows that are passages of documents

    @property
    def passages(self) -> bool:
        """Whether they are."""
        return PASSAGE in self.data.column_names

    @property
    def passage_keys(self) -> np.ndarray:
        """Where each row stands, (N,) int64: document * 2^32 + how many passages follow."""
        return self.data.select_columns(PASSAGE).with_format("arrow")[:][PASSAGE].to_numpy()

    def documents(self, name: str) -> Iterator[tuple[int, str]]:
        """The first row and the text of each document, as far as its passages follow each other here."""
        places, texts = self.passage_keys, self.cells(name)
        begins = [row for row in range(len(self)) if not row or places[row] != places[row - 1] - 1]
        for first, end in itertools.pairwise([*begins, len(self)]):
            yield first, "".join(itertools.islice(texts, end - first))

    def copies(self) -> list[str]:
        """Of each row a hash of its document, which copies of the document share."""
        [name] = [name for name, kind in self.kinds.items() if KINDS[kind].passages]
        documents, found = (self.passage_keys >> 32).tolist(), {}
        for document, text in zip(documents, self.cells(name), strict=True):
            found.setdefault(document, hashlib.sha256()).update(text.encode())
        hexes = {document: digest.hexdigest() for document, digest in found.items()}
        return [hexes[document] for document in documents]


class LazyColumn(Sequence[Any]):
    """A column of large values, each read when it is asked for."""

    def __init__(self, rows: RowStore, name: str, kind: type[Modality]) -> None:
        self._rows, self._name, self._kind = rows, name, kind

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Any:
        return self._kind.peek_cell(self._rows.cell(self._name, row))

    def __iter__(self) -> Iterator[Any]:
        return map(self._kind.peek_cell, self._rows.cells(self._name))
