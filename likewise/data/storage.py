"""RowStore: the rows of a data set with the kind of each column; values are read when they are used."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from likewise.data.arrow import FILE, LINE, PART, PASSAGE, ROW, take
from likewise.data.validation import BadRow, ValidationReport, validate
from likewise.modalities import KINDS
from likewise.modalities.base import Modality, Row

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

ROWS, LAZY_ROWS = 100_000, 1_000  # that are read at a time, of small values and of large ones


class RowStore:
    """Rows of a data set, which may be larger than memory.

    data   the data set, with its rows in their stored order
    kinds  column -> kind; other columns of the data set are hidden
    index  the places of the rows in `data`, None for all
    styles  column -> how its cells are written, see Modality.with_style
    """

    def __init__(
        self,
        data: Dataset,
        kinds: Mapping[str, str],
        index: np.ndarray | None = None,
        styles: Mapping[str, str] | None = None,
    ) -> None:
        self.data, self.kinds, self.index, self.styles = data, dict(kinds), index, dict(styles or {})

    def __len__(self) -> int:
        return len(self.data) if self.index is None else len(self.index)

    def with_kinds(self, kinds: Mapping[str, str]) -> RowStore:
        """The same rows with other columns."""
        return RowStore(self.data, kinds, self.index, self.styles)

    def _place(self, row: int) -> int:
        """The place of a row in the data set. Raises IndexError without such a row."""
        row = range(len(self))[row]
        return row if self.index is None else int(self.index[row])

    def __getitem__(self, row: int) -> Row:
        """The values of one row; large ones are read here."""
        return {
            name: _value(self.cell(name, row), KINDS[kind].from_cell) for name, kind in self.kinds.items()
        }

    def column(self, name: str) -> Sequence[Any]:
        """The values of a column, None where they are missing; read one by one if they may be large."""
        kind = KINDS[self.kinds[name]]
        if kind.lazy:
            return LazyColumn(self, name, kind)
        return [_value(cell, kind.from_cell) for cell in self.cells(name)]

    def cell(self, name: str, row: int) -> Any:
        """A value in its stored form, a picture as {bytes, path}."""
        return self.data.data.column(name)[self._place(row)].as_py()

    def file(self, row: int) -> str | None:
        """The file of a folder that a row is from, None for other rows."""
        return self.cell(FILE, row) if FILE in self.data.column_names else None

    def cells(self, name: str) -> Iterator[Any]:
        """The stored values of a column."""
        size = LAZY_ROWS if name in self.kinds and KINDS[self.kinds[name]].lazy else ROWS
        for start in range(0, len(self), size):
            yield from self.arrow(name, range(start, min(start + size, len(self)))).to_pylist()

    def arrow(self, name: str, rows: Sequence[int] | np.ndarray | None = None) -> pa.ChunkedArray:
        """A stored column, of all or of some rows."""
        column = self.data.data.column(name)
        if rows is None:
            return column if self.index is None else take(column, self.index)
        if isinstance(rows, range) and rows.step == 1 and self.index is None:
            return column.slice(rows.start, len(rows))
        places = np.asarray(rows, dtype=np.int64)
        return take(column, places if self.index is None else self.index[places])

    @cached_property
    def numbers(self) -> np.ndarray:
        """The number of each row in its source, (N,) int64; of a passage, that of its document."""
        return self.arrow(ROW).to_numpy()

    def bad_row(self, position: int, column: str, reason: str) -> BadRow:
        """A value that cannot be used, by the position of its row here."""
        line = self.cell(LINE, position) if LINE in self.data.column_names else None
        return BadRow(int(self.numbers[position]), column, reason, self.file(position), line)

    def without(self, bad: Sequence[BadRow]) -> RowStore:
        """The rows that have no bad value."""
        excluded = {b.row for b in bad}
        if not excluded:
            return self
        return self.select(np.flatnonzero(~np.isin(self.numbers, list(excluded))))

    def present(self, name: str, rows: Sequence[int] | None = None) -> np.ndarray | None:
        """Which of the rows have a value in a column, (N,) bool; None if all have."""
        if not self.data.data.column(name).null_count:
            return None
        is_valid = self.arrow(name, rows).is_valid().to_numpy()
        return None if is_valid.all() else is_valid

    def known(self, name: str) -> RowStore:
        """The rows that have a value in a column."""
        present = self.present(name)
        return self if present is None else self.select(np.flatnonzero(present))

    def select(self, rows: Sequence[int] | np.ndarray) -> RowStore:
        """Some of the rows, by their numbers."""
        places = np.asarray(rows, dtype=np.int64)
        index = places if self.index is None else self.index[places]
        return RowStore(self.data, self.kinds, index, self.styles)

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
        """A hash of the columns and of every row's content and part, the same in every process."""
        schema, parts = (
            json.dumps(self.kinds).encode(),
            json.dumps(self.parts).encode() if self.parts else b"",
        )
        return hashlib.sha256(schema + parts + b"".join(self.report.digests)).hexdigest()[:16]

    @cached_property
    def parts(self) -> list[str] | None:
        """The part of a given split that each row is in, None without one."""
        if PART not in self.data.column_names:
            return None
        return self.arrow(PART).to_pylist()

    @cached_property
    def near_copies(self) -> list[Hashable] | None:
        """A key for each row; rows that are nearly the same in every column of a kind that has near copies have the
        same key. None without such a column."""
        columns = []
        for name, signatures in self.report.signatures.items():
            keys = iter(KINDS[self.kinds[name]].group_near_copies([s for s in signatures if s is not None]))
            columns.append([("missing", i) if s is None else next(keys) for i, s in enumerate(signatures)])
        return list(zip(*columns, strict=True)) if columns else None

    # ---- rows that are passages of documents

    @property
    def has_passages(self) -> bool:
        """Whether rows are passages of documents."""
        return PASSAGE in self.data.column_names

    @property
    def passage_keys(self) -> np.ndarray:
        """The place of each row, (N,) int64: document * 2^32 + the number of its passages that follow."""
        return self.arrow(PASSAGE).to_numpy()

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
        return _value(self._rows.cell(self._name, row), self._kind.peek_cell)

    def __iter__(self) -> Iterator[Any]:
        return (_value(cell, self._kind.peek_cell) for cell in self._rows.cells(self._name))


def _value(cell: Any, read: Callable[[Any], Any]) -> Any:
    """A stored value as people see it, None for a missing one."""
    return None if cell is None else read(cell)
