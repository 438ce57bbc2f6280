"""RowStore: the rows of a data set with the kind of each column; values are read when they are used."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from likewise.data.arrow import FILE, PASSAGE
from likewise.data.validation import ValidationReport, validate
from likewise.modalities import KINDS
from likewise.modalities.base import Modality, Row

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset


class RowStore:
    """Rows of a data set, which may be larger than memory.

    kinds  column -> kind; other columns of the data set are hidden
    """

    def __init__(self, data: Dataset, kinds: Mapping[str, str]) -> None:
        self.data, self.kinds = data, dict(kinds)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> Row:
        """The values of one row; large ones are read here."""
        cells = self.data[range(len(self))[row]]
        return {name: KINDS[kind].from_cell(cells[name]) for name, kind in self.kinds.items()}

    def column(self, name: str) -> Sequence[Any]:
        """The values of a column, read one by one if they may be large."""
        kind = KINDS[self.kinds[name]]
        return LazyColumn(self, name, kind) if kind.lazy else list(map(kind.from_cell, self.cells(name)))

    def cell(self, name: str, row: int) -> Any:
        """A value in its stored form, a picture as {bytes, path}."""
        return self.data[range(len(self))[row]][name]

    def file(self, row: int) -> str | None:
        """The file of a folder that a row is from, None for other rows."""
        return self.cell(FILE, row) if FILE in self.data.column_names else None

    def cells(self, name: str) -> Iterator[Any]:
        """The stored values of a column."""
        batches = self.data.select_columns(name).with_format("arrow").iter(1000)
        return (cell for batch in batches for cell in batch.column(0).to_pylist())

    def select(self, rows: Sequence[int]) -> RowStore:
        """Some of the rows, by their numbers."""
        return RowStore(self.data.select(rows), self.kinds)

    def complement(self, rows: Sequence[int]) -> list[int]:
        """The numbers of all other rows."""
        excluded = set(rows)
        return [row for row in range(len(self)) if row not in excluded]

    @cached_property
    def report(self) -> ValidationReport:
        """The validation of all rows."""
        return validate(self.kinds, len(self), self.cells)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the columns and of every row's content, the same in every process."""
        schema = json.dumps(self.kinds).encode()
        return hashlib.sha256(schema + b"".join(self.report.digests)).hexdigest()[:16]

    # ---- rows that are passages of documents

    @property
    def has_passages(self) -> bool:
        """Whether rows are passages of documents."""
        return PASSAGE in self.data.column_names

    @property
    def passage_keys(self) -> np.ndarray:
        """The place of each row, (N,) int64: document * 2^32 + the number of its passages that follow."""
        return self.data.select_columns(PASSAGE).with_format("arrow")[:][PASSAGE].to_numpy()

    def documents(self, name: str) -> Iterator[tuple[int, str]]:
        """The first row and the text of each document; passages are joined where the next one follows."""
        keys, texts = self.passage_keys, self.cells(name)
        starts = [row for row in range(len(self)) if not row or keys[row] != keys[row - 1] - 1]
        for first, end in itertools.pairwise([*starts, len(self)]):
            yield first, "".join(itertools.islice(texts, end - first))

    def document_hashes(self) -> list[str]:
        """The hash of each row's document, the same for copies of a document."""
        [name] = [name for name, kind in self.kinds.items() if KINDS[kind].passages]
        documents = (self.passage_keys >> 32).tolist()
        hashes = {document: hashlib.sha256() for document in documents}
        for document, text in zip(documents, self.cells(name), strict=True):
            hashes[document].update(text.encode())
        digests = {document: digest.hexdigest() for document, digest in hashes.items()}
        return [digests[document] for document in documents]


class LazyColumn(Sequence[Any]):
    """A column of large values, each read when it is used."""

    def __init__(self, rows: RowStore, name: str, kind: type[Modality]) -> None:
        self._rows, self._name, self._kind = rows, name, kind

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, row: int) -> Any: ...
    @overload
    def __getitem__(self, row: slice) -> list[Any]: ...
    def __getitem__(self, row: int | slice) -> Any:
        if isinstance(row, slice):
            return [self[i] for i in range(len(self))[row]]
        return self._kind.peek_cell(self._rows.cell(self._name, row))

    def __iter__(self) -> Iterator[Any]:
        return map(self._kind.peek_cell, self._rows.cells(self._name))
