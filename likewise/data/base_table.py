"""BaseTable: rows with a kind for each column, their modalities, their split, and their batches."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from torch import Tensor

from likewise.core.batch import EncodedRows
from likewise.core.errors import did_you_mean
from likewise.core.options import validated
from likewise.core.ranges import NonNegativeInt, PositiveInt, Seed
from likewise.data.arguments import TableArguments
from likewise.data.arrow import TableError
from likewise.data.loader import EncodedColumn, encode, iterate_batches
from likewise.data.report import Account
from likewise.data.split import Split, advise, grouping_column, split_rows
from likewise.data.storage import RowStore
from likewise.data.structure import Structure, find_structure
from likewise.data.usable import find_bad
from likewise.data.validation import BadRow
from likewise.modalities import KINDS
from likewise.modalities.base import Modality, Row


class BaseTable:
    """Rows with typed columns, their modalities, fitted on training rows, their split, and their batches.

    `Table` adds how rows are opened, and how columns are seen through models.
    """

    def __init__(self, rows: RowStore, arguments: TableArguments, whole: Self | None = None) -> None:
        self.views: dict[str, Modality] = {}
        self._stored: dict[str, str] = {}  # the column of each of these
        self.skipped: list[BadRow] = []  # the bad rows that were left out
        self.account = Account()
        self.arguments = arguments
        self._rows = rows
        self._whole = whole  # the table that this one is a part of
        self._encoded: dict[str, EncodedColumn] = {}

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each column."""
        return self._rows.kinds | {name: column.kind for name, column in self.views.items()}

    @property
    def stored_kinds(self) -> dict[str, str]:
        """The kind of each column that is no further view of another one."""
        return {name: kind for name, kind in self.kinds.items() if name in self._rows.kinds}

    @property
    def source(self) -> str | None:
        """The name or path that was opened, None for rows in memory."""
        return self.arguments.source

    def reopen_args(self) -> dict[str, Any]:
        """JSON values such that `Table.open(**args)` gives this table. Raises TableError for rows in memory."""
        if self.source is None:
            raise TableError("this table was made of rows in memory and has no name to open; pass the table")
        return self.arguments.to_json()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Row:
        """The values of one row; large ones are read here, so a table may be larger than memory."""
        values = self._rows[row]
        return values | {name: values[column] for name, column in self._stored.items()}

    def column(self, name: str) -> Sequence[Any]:
        """The values of a column, read one by one if they may be large. Raises TableError without one."""
        return self._rows.column(self._stored_name(name))

    @property
    def columns(self) -> dict[str, Modality]:
        """The modality of each column, fitted on the training rows only."""
        return self._columns | self.views

    @cached_property
    def _columns(self) -> dict[str, Modality]:
        if self._whole is not None:
            return self._whole._columns
        fixed = {n: c for n, c in self.arguments.fixed.items() if self._rows.kinds.get(n) == c.kind}
        learned, options = self.arguments.learned, self.arguments.options
        return {n: fixed.get(n) or self._fit(n, options, learned.get(n)) for n in self._rows.kinds}

    @property
    def train(self) -> Self:
        """The training rows."""
        return self._parts[0]

    @property
    def test(self) -> Self:
        """The held-out rows: whole concepts, new compositions of words of training rows, and pairs."""
        return self._parts[1]

    @cached_property
    def _parts(self) -> tuple[Self, Self]:
        """Training and held-out rows."""
        heldout = self._split.heldout
        return self._part(self._rows.complement(heldout)), self._part(heldout)

    @cached_property
    def _split(self) -> Split:
        return split_rows(self._rows, self.arguments.holdout)

    @cached_property
    def structure(self) -> Structure:
        """The rules that all rows satisfy, training and held-out ones: sums, columns that others determine, and so on."""
        train = np.ones(len(self), dtype=bool)
        train[self._split.heldout] = False
        return find_structure(self._columns, self._rows, train)

    def require_heldout(self, minimum: int, purpose: str) -> None:
        """Raise TableError, with what to do, if fewer rows are held out than something needs."""
        if len(self.test) < minimum:
            raise TableError(
                f"the table holds out {len(self.test)} of {len(self)} rows and {purpose} needs at least {minimum}; "
                f"{advise(self._rows, self.arguments.holdout, minimum)}"
            )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the columns and of every row's content, the same in every process."""
        return self._rows.fingerprint

    def subset_train(self, rows: Sequence[int]) -> Self:
        """This table with only some of its training rows, by their numbers in `train`.

        Columns and held-out rows are the same. It has no source to be opened from.
        """
        table = type(self)(self._rows, replace(self.arguments, source=None), self)
        table.views, table._stored, table.account = self.views, self._stored, self.account
        table._parts = self.train._part(rows), self.test
        table.fingerprint = hashlib.sha256(repr((self.fingerprint, list(rows))).encode()).hexdigest()[:16]
        return table

    def with_values(self, names: Iterable[str], *, every: bool = True) -> Self:
        """The same table with only the training and held-out rows that have a value of each of these columns.

        every  whether of each, else of one of them at least

        The columns are the same.
        """
        names, combine = list(names), np.logical_and if every else np.logical_or
        parts = []
        for part in (self.train, self.test):
            masks = [mask for name in names if (mask := part.present(name)) is not None]
            complete = not masks or (not every and len(masks) < len(names))
            rows = np.arange(len(part)) if complete else combine.reduce(masks).nonzero()[0]
            parts.append(part if len(rows) == len(part) else part._part(rows.tolist()))
        if all(new is old for new, old in zip(parts, self._parts, strict=True)):
            return self
        table = copy.copy(self)
        table._parts = parts[0], parts[1]
        return table

    def row_numbers(self) -> list[int]:
        """The number of each row of a whole table in its source; of a passage, that of its document."""
        return self._rows.numbers.tolist()

    def check(self) -> list[BadRow]:
        """Every row that cannot be used: empty, NaN, an unreadable picture, a text that is too long."""
        return find_bad(self._rows, self.arguments, [], lambda rows: type(self)(rows, self.arguments).columns)

    def present(self, name: str, rows: Sequence[int] | None = None) -> np.ndarray | None:
        """Which rows have a value in a column, (N,) bool, of all or of some rows; None if all have.

        Where "missing" is a value of the column (Modality.has_missing), all have one.
        """
        if self.columns[name].has_missing:
            return None
        return self._rows.present(self._stored_name(name), rows)

    def documents(self, name: str) -> list[Row]:
        """A row for each document of a column, with the passages that follow each other in this table."""
        return [{**self[row], name: text} for row, text in self._rows.documents(self._stored_name(name))]

    def encoded(self, name: str, rows: Sequence[int] | None = None) -> Tensor:
        """The tokens of the column, or of some rows, (N, T, C) float32 or (N, T) int64, encoded once.

        Of documents, the windows that begin with the passages; for some rows only these are encoded.
        """
        column = self._encoded_column(name)
        return column.all if rows is None else column.at(rows)

    @validated
    def batches(
        self,
        names: Sequence[str],
        size: PositiveInt,
        *,
        seed: Seed = 0,
        start: NonNegativeInt = 0,
        rank: NonNegativeInt = 0,
        world: PositiveInt = 1,
    ) -> Iterator[EncodedRows]:
        """Endless batches from step `start`, in epochs whose order depends on (seed, epoch).

        The `size` rows of a step depend on nothing else, so a resumed run reads the same ones; process `rank`
        of `world` takes every `world`-th of them. Raises TableError for an unknown column or without rows.
        """
        if not len(self):
            raise TableError("there are no rows to make batches of")
        columns = {name: self._encoded_column(name) for name in names}
        return iterate_batches(columns, size, seed=seed, start=start, rank=rank, world=world)

    def encoded_rows(self, names: Sequence[str], rows: Sequence[int]) -> EncodedRows:
        """Some rows of these columns, encoded."""
        return encode({name: self._encoded_column(name) for name in names}, rows)

    def _encoded_column(self, name: str) -> EncodedColumn:
        """The column's tokens, one object per column. Raises TableError for an unknown one."""
        if name not in self._encoded:
            self._encoded[name] = EncodedColumn(self._rows, self._stored_name(name), self.columns[name])
        return self._encoded[name]

    def _fit(self, name: str, options: Mapping[str, Any], learned: Modality | None = None) -> Modality:
        """The modality of a column, fitted on the training rows, with room for the held-out ones.

        It extends the one that a model has `learned`, if there is one.
        """
        kind = KINDS[self._rows.kinds[name]]
        options = {n: v for n, v in options.items() if n in kind.options()}
        # a given split, or rows in groups of their class, leave classes without a training row, which need a name too
        by = grouping_column(self._rows.kinds, self.arguments.holdout.by)
        rows = self if kind.role == "class" and (name == by or self._rows.parts) else self.train
        if learned and (settled := sorted(learned.settled & options.keys())):
            raise TableError(
                f"{name} has the {settled[0]} of the trained model, which weights depend on; leave --{settled[0]} out"
            )
        known = rows._known_values(name)
        if not len(known):
            raise TableError(f"{name} has no value in the training rows, of which it could be learned")
        every = kind.models_missing
        values, test = (
            part.column(name) if every else part._known_values(name) for part in (rows, self.test)
        )
        modality = (learned.refit if learned else kind.fit)(values, **options)
        if style := self._rows.styles.get(name):
            modality = modality.with_style(style)
        return modality if "length" in options else modality.grow_to_fit(test)

    def _known_values(self, name: str) -> Sequence[Any]:
        """The values of a column that are not missing."""
        return self._rows.known(name).column(name)

    def _part(self, rows: Sequence[int]) -> Self:
        """Some of the rows, with the modalities of the whole table."""
        whole = self if self._whole is None else self._whole
        part = type(self)(self._rows.select(rows), self.arguments, whole)
        part.views, part._stored, part.account = self.views, self._stored, self.account
        return part

    def _stored_name(self, name: str) -> str:
        """The stored column of a view; a column itself. Raises TableError for an unknown one."""
        if name not in self.kinds:
            raise TableError(did_you_mean("column", name, self.kinds))
        return self._stored.get(name, name)
