"""Table: rows with typed columns, validated, split by concept, and read as batches."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from likewise.core.batch import EncodedRows
from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula, FormulaError, unknown_column
from likewise.core.options import validated
from likewise.core.ranges import NonNegativeInt, PositiveInt, Seed
from likewise.core.signatures import expand_dataclasses
from likewise.data import views
from likewise.data.arguments import RequiredColumns, TableArguments
from likewise.data.arrow import TableError, from_rows
from likewise.data.loader import EncodedColumn, encode, iterate_batches
from likewise.data.matching import Reference, RunColumns
from likewise.data.readers import DEFAULT_FORMAT, FileFormat, Reading, read_source
from likewise.data.report import (
    Account,
    TableReport,
    column_reports,
    find_oddities,
)
from likewise.data.schema import infer_schema
from likewise.data.split import (
    DEFAULT_HOLDOUT,
    Holdout,
    Split,
    advise,
    copy_notes,
    grouping_column,
    split_rows,
)
from likewise.data.storage import RowStore
from likewise.data.usable import find_bad, misfits, usable_rows, without_bad
from likewise.data.validation import BadRow
from likewise.modalities import KINDS
from likewise.modalities.base import Modality, Row

ALL_COLUMNS = RequiredColumns()


class Table:
    """Rows with typed columns, made by `open` or `from_rows`. Its parts `train` and `test` are tables too.

    views     the columns that `add_views` added
    report    what was read, as what, and what was not used

    >>> table = Table.from_rows([{"x": i / 10, "label": "odd" if i % 2 else "even"} for i in range(20)])
    >>> table.kinds, len(table.train), table[3]
    ({'x': 'number', 'label': 'label'}, 18, {'x': 0.3, 'label': 'odd'})
    >>> next(table.batches(["x", "label"], 4))["x"].shape
    torch.Size([4, 1, 1])
    """

    def __init__(self, rows: RowStore, arguments: TableArguments, whole: Table | None = None) -> None:
        self.views: dict[str, Modality] = {}
        self._stored: dict[str, str] = {}  # the column of each of these
        self.skipped: list[BadRow] = []  # the bad rows that were left out
        self.account = Account()
        self.arguments = arguments
        self._rows = rows
        self._whole = whole  # the table that this one is a part of
        self._encoded: dict[str, EncodedColumn] = {}

    @classmethod
    @validated
    @expand_dataclasses
    def open(
        cls,
        source: str | Path,
        *,
        options: Mapping[str, Any] | None = None,
        kinds: Mapping[str, str] | None = None,
        skip_bad: bool = False,
        split: Holdout = DEFAULT_HOLDOUT,
        fmt: FileFormat = DEFAULT_FORMAT,
        required: RequiredColumns = ALL_COLUMNS,
        like: Mapping[str, Modality] | RunColumns | Reference | None = None,
    ) -> Table:
        """The rows of a data set by name, a folder, a text or table file, or a hub data set.

        A table file ends in .csv, .tsv, .jsonl, .ndjson, .json, .parquet, .arrow, .feather or .xlsx; it may be
        compressed (.gz, .zip). Long texts are documents, whose rows are passages; they are held out as whole
        documents if there are 20, else as the last part of each.

        options   keywords of the data set and of the `fit` of the columns' modalities
        kinds     column -> kind, where the inferred one is to be overridden
        skip_bad  leave out rows with values that cannot be used, instead of an error
        holdout   the fraction of rows that are held out, in groups of equal `by`
        by        a column (default: "concept", else the first text)
        pairs     a column: half of the held-out rows are pairs of `by` and this column, each of which training
                  rows have with others, such as a thing and a style
        near_copies  whether near copies of a picture, such as others of its sizes, are held out together (default:
                  yes, except in the built-in data sets, whose held-out rows are always the same)
        encoding  of text files, .csv and .tsv (default: found in the file, mostly UTF-8)
        separator  of the cells of a .csv or .tsv, one character or "tab" (default: found in the file)
        decimal   the decimal mark of numbers in cells of text (default: found in the file)
        thousands  what separates groups of three digits in them (default: found in the file)
        header    whether the first row names the columns; else they are column_1, column_2 ...
        columns   those that are needed; others are left out if they have values that cannot be used
        complete  those of them without which a row is a bad row, such as targets; other values may be missing
        like      column -> its modality in a model, as which it is read; the columns of the run whose table this is;
                  or a model that is to learn this table: columns that stand for its own extend these

        Raises TableError for a source that cannot be read, unknown names, pairs that cannot be held out, and,
        unless `skip_bad`, bad rows.
        """
        arguments = TableArguments(
            source=str(source),
            options=dict(options or {}),
            kinds=dict(kinds or {}),
            skip_bad=skip_bad,
            holdout=split,
            fmt=fmt,
            required=required,
        )
        model_kinds: Mapping[str, str] = {}
        if isinstance(like, Reference):
            arguments, model_kinds = replace(arguments, reference=like), like.kinds_by_name()
        elif isinstance(like, RunColumns):
            arguments = replace(arguments, fixed=like.columns)
        elif like:
            arguments = replace(arguments, fixed=like)
            model_kinds = {name: column.kind for name, column in like.items() if column.kind in KINDS}
        reading = read_source(source, arguments.dataset_options, fmt, {**model_kinds, **arguments.kinds})
        model_kinds = {name: kind for name, kind in model_kinds.items() if name in reading.rows.column_names}
        return cls._validated(reading, arguments.resolved(model_kinds))

    @classmethod
    @validated
    @expand_dataclasses
    def from_rows(
        cls,
        rows: Sequence[Row],
        kinds: Mapping[str, str] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        skip_bad: bool = False,
        split: Holdout = DEFAULT_HOLDOUT,
    ) -> Table:
        """Rows in memory as a table; see `open`."""
        arguments = TableArguments(
            options=dict(options or {}),
            kinds=dict(kinds or {}),
            skip_bad=skip_bad,
            holdout=split,
        )
        return cls._validated(Reading(from_rows(rows)), arguments)

    @classmethod
    def _validated(cls, reading: Reading, arguments: TableArguments) -> Table:
        """The table of what was read, checked as `open` documents."""
        schema = infer_schema(reading.rows, arguments.kinds, reading.left_out, reading.reasons)
        arguments.validate(schema.kinds)
        arguments = arguments.matched(schema.kinds)
        tables: dict[int, Table] = {}

        def fit(rows: RowStore) -> Mapping[str, Modality]:
            table = tables[id(rows)] = cls(rows, arguments)
            return table.columns

        rows = RowStore(schema.rows, schema.kinds)
        usable = usable_rows(rows, arguments, reading.bad, schema.left_out, fit)
        table = tables.get(id(usable.rows)) or cls(usable.rows, arguments)
        table.skipped = usable.skipped
        table.account = Account(
            reading.read,
            [*reading.unused, *(f"column {n!r} is left out: {why}" for n, why in usable.left_out.items())],
            [*reading.notes, *schema.notes],
            schema.reasons,
            usable.left_out,
        )
        return table

    @property
    def report(self) -> TableReport:
        """What was read, as what, what was not used and why, and what is odd about it."""
        return TableReport(
            source=self.source,
            rows=len(self),
            train=len(self.train),
            test=len(self.test),
            heldout=self._split.how,
            account=self.account,
            skipped=self.skipped,
            columns=column_reports(self._rows, self.columns, self.account.reasons),
            findings=[
                *self._split.notes,
                *find_oddities(self._rows, self.columns),
                *copy_notes(self._rows, self._split),
            ],
        )

    def add_views(self, formula: str | Formula, **runs: views.Viewer) -> Table:
        """The same rows with a further column for every view of the formula.

        `image[size=32]` is the column image fitted with that option, `image@codes` is that column seen through
        the trained model `codes=`, and `text@minilm` through a frozen encoder (encoders.py), unless `minilm=`
        is given. Raises FormulaError for unknown columns, options and models, ValueError for a column that a
        model cannot see.
        """
        formula = Formula.parse(formula) if isinstance(formula, str) else formula
        new: dict[str, Modality] = {}
        kinds = self._rows.kinds
        self._check_views(formula)
        for view in formula.views:
            name = view.column
            if view.through:
                train, test = self.train._known_values(name), self.test._known_values(name)
                new[view.name] = views.fit_view(view, kinds[name], runs, train, test)
            elif view.options:
                options = views.view_options(view, kinds[name])
                new[view.name] = self._fit(name, {**self.arguments.options, **options})
        return self._replace_columns(new, formula)

    def with_views(self, columns: Mapping[str, Modality], formula: Formula) -> Table:
        """The same rows as a trained model of `formula` reads them: with its views, and its modalities.

        Rows with values that these modalities cannot encode are left out if bad rows are skipped. Raises FormulaError
        for a column that is missing, TableError for such rows where they are not skipped.
        """
        kinds = self._rows.kinds
        self._check_views(Formula(tuple(map(formula.view, columns))))
        new = {name: c for name, c in columns.items() if self.columns.get(name) != c}
        bad: list[BadRow] = []
        for name, column in new.items():
            if name in kinds:
                views.require_kind(name, kinds[name], column)
            if not column.accepts_all:
                bad += misfits(self._rows, formula.view(name).column, column)
        table = self._without(list(dict.fromkeys(bad))) if bad else self
        return table._replace_columns(new, formula)

    def _without(self, bad: Sequence[BadRow]) -> Table:
        """The rows that a trained model can encode, split anew. Raises TableError unless bad rows are skipped."""
        skip_bad = self.arguments.skip_bad and self._whole is None
        rows = without_bad(
            self._rows, bad, skip_bad, "cannot be encoded by the model, which was trained on others"
        )
        table = Table(rows, self.arguments)
        table.views, table._stored, table.account = self.views, self._stored, self.account
        table.skipped = sorted([*self.skipped, *bad], key=lambda b: b.row)
        table.fingerprint = self.fingerprint  # of the source, by which a run knows it
        return table

    def fitted(self, name: str) -> Modality:
        """The modality of a stored column by itself, however a model reads it."""
        return (self if self._whole is None else self._whole)._fit(name, self.arguments.options)

    def refit(self, learned: Mapping[str, Modality], formula: Formula) -> Table:
        """The same rows, in which these views of a formula extend those that a trained model has learned.

        See `Modality.refit`. Raises FormulaError for a column that is missing.
        """
        views_of = Formula(tuple(map(formula.view, learned)))
        whole = self if self._whole is None else self._whole
        self._check_views(views_of)
        new: dict[str, Modality] = {}
        for view in views_of.views:
            options = views.view_options(view, self._rows.kinds[view.column])
            options = {n: v for n, v in options.items() if n not in learned[view.name].settled}
            given = {} if view.through else {**self.arguments.options, **options}
            new[view.name] = whole._fit(view.column, given, learned[view.name])
        return self._replace_columns(new, formula)

    def _check_views(self, formula: Formula) -> None:
        """Raise FormulaError for a view of a column that is not stored, or with the name of one that is."""
        kinds = self._rows.kinds
        for view in formula.views:
            if view.column in self.account.left_out:
                raise FormulaError(
                    f"column {view.column!r} is left out: {self.account.left_out[view.column]}"
                )
            if view.column not in kinds:
                raise unknown_column(view.column, kinds)
            if view.name != view.column and view.name in kinds:
                raise FormulaError(
                    f"{view} is a view of {view.column!r}, and the table has a column of that name as well; "
                    "rename the column"
                )

    def _replace_columns(self, new: Mapping[str, Modality], formula: Formula) -> Table:
        """The same rows with these columns of a formula, which replace others of the same name."""
        if all(self.views.get(name) is column for name, column in new.items()):
            return self  # with its encoded columns
        table = copy.copy(self)  # with its cached properties
        table.views = {**self.views, **new}
        table._stored = {**self._stored, **{name: formula.view(name).column for name in new}}
        table._encoded = {name: column for name, column in self._encoded.items() if name not in new}
        if "_parts" in self.__dict__:
            train, test = self._parts
            table._parts = train._replace_columns(new, formula), test._replace_columns(new, formula)
        return table

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
    def train(self) -> Table:
        """The training rows."""
        return self._parts[0]

    @property
    def test(self) -> Table:
        """The held-out rows: whole concepts, new compositions of words of training rows, and pairs."""
        return self._parts[1]

    @cached_property
    def _parts(self) -> tuple[Table, Table]:
        """Training and held-out rows."""
        heldout = self._split.heldout
        return self._part(self._rows.complement(heldout)), self._part(heldout)

    @cached_property
    def _split(self) -> Split:
        return split_rows(self._rows, self.arguments.holdout)

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

    def subset_train(self, rows: Sequence[int]) -> Table:
        """This table with only some of its training rows, by their numbers in `train`.

        Columns and held-out rows are the same. It has no source to be opened from.
        """
        table = Table(self._rows, replace(self.arguments, source=None), self)
        table.views, table._stored, table.account = self.views, self._stored, self.account
        table._parts = self.train._part(rows), self.test
        table.fingerprint = hashlib.sha256(repr((self.fingerprint, list(rows))).encode()).hexdigest()[:16]
        return table

    def without_gaps(self, names: Iterable[str]) -> Table:
        """The same table without training and held-out rows that lack a value of one of these columns.

        The columns are the same.
        """
        parts = []
        for part in (self.train, self.test):
            masks = [mask for name in names if (mask := part.present(name)) is not None]
            parts.append(part._part(np.logical_and.reduce(masks).nonzero()[0].tolist()) if masks else part)
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
        return find_bad(self._rows, self.arguments, [], lambda rows: Table(rows, self.arguments).columns)

    def present(self, name: str, rows: Sequence[int] | None = None) -> np.ndarray | None:
        """Which rows have a value in a column, (N,) bool, of all or of some rows; None if all have."""
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
        # rows in groups of their class leave classes without a training row, which need a name as well
        by = grouping_column(self._rows.kinds, self.arguments.holdout.by)
        rows = self if kind.role == "class" and name == by else self.train
        if learned and (settled := sorted(learned.settled & options.keys())):
            raise TableError(
                f"{name} has the {settled[0]} of the trained model, which weights depend on; leave --{settled[0]} out"
            )
        values = rows._known_values(name)
        if not len(values):
            raise TableError(f"{name} has no value in the training rows, of which it could be learned")
        modality = (learned.refit if learned else kind.fit)(values, **options)
        return modality if "length" in options else modality.grow_to_fit(self.test._known_values(name))

    def _known_values(self, name: str) -> Sequence[Any]:
        """The values of a column that are not missing."""
        return self._rows.known(name).column(name)

    def _part(self, rows: Sequence[int]) -> Table:
        """Some of the rows, with the modalities of the whole table."""
        whole = self if self._whole is None else self._whole
        part = Table(self._rows.select(rows), self.arguments, whole)
        part.views, part._stored, part.account = self.views, self._stored, self.account
        return part

    def _stored_name(self, name: str) -> str:
        """The stored column of a view; a column itself. Raises TableError for an unknown one."""
        if name not in self.kinds:
            raise TableError(did_you_mean("column", name, self.kinds))
        return self._stored.get(name, name)
