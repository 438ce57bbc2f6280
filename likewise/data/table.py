"""Table: rows with typed columns, validated, split by concept, and read as batches."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from likewise.core.formula import Formula, FormulaError, unknown_column
from likewise.core.options import validated
from likewise.core.signatures import expand_dataclasses
from likewise.data import views
from likewise.data.arguments import RequiredColumns, TableArguments
from likewise.data.base_table import BaseTable
from likewise.data.matching import Reference, RunColumns
from likewise.data.readers import DEFAULT_FORMAT, DataFrame, FileFormat, Reading, read_rows, read_source
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
    class_notes,
    copy_notes,
)
from likewise.data.storage import RowStore
from likewise.data.usable import misfits, usable_rows, without_bad
from likewise.data.validation import BadRow
from likewise.modalities import KINDS, Id
from likewise.modalities.all_columns import expand_formula
from likewise.modalities.base import Modality, Row

ALL_COLUMNS = RequiredColumns()


class Table(BaseTable):
    """Rows with typed columns, made by `open` or `from_rows`. Its parts `train` and `test` are tables too.

    views     the columns that `add_views` added
    report    what was read, as what, and what was not used

    >>> table = Table.from_rows([{"x": i / 10, "label": "odd" if i % 2 else "even"} for i in range(20)])
    >>> table.kinds, len(table.train), table[3]
    ({'x': 'number', 'label': 'label'}, 18, {'x': 0.3, 'label': 'odd'})
    >>> next(table.batches(["x", "label"], 4))["x"].shape
    torch.Size([4, 1, 1])
    """

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
        complete  those of them without which a row is a bad row; other values may be missing
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
        rows: Iterable[Row] | DataFrame,
        kinds: Mapping[str, str] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        skip_bad: bool = False,
        split: Holdout = DEFAULT_HOLDOUT,
    ) -> Table:
        """Rows in memory as a table: dicts, or a data frame (pandas, polars, Arrow). See `open` for the rest.

        None, NaN, and NA and NaT of pandas are missing values. Raises TableError for anything else.
        """
        arguments = TableArguments(
            options=dict(options or {}),
            kinds=dict(kinds or {}),
            skip_bad=skip_bad,
            holdout=split,
        )
        return cls._validated(read_rows(rows, arguments.kinds), arguments)

    @classmethod
    def _validated(cls, reading: Reading, arguments: TableArguments) -> Table:
        """The table of what was read, checked as `open` documents."""
        schema = infer_schema(reading.rows, arguments.kinds, reading.left_out, reading.reasons)
        styles = {**reading.styles, **schema.styles}
        arguments.validate(schema.kinds)
        arguments = arguments.matched(schema.kinds)
        tables: dict[int, Table] = {}

        def fit(rows: RowStore) -> Mapping[str, Modality]:
            table = tables[id(rows)] = cls(rows, arguments)
            return table.columns

        rows = RowStore(schema.rows, schema.kinds, styles=styles)
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
                *class_notes(self._rows, self._split),
                *find_oddities(self._rows, self.columns),
                *copy_notes(self._rows, self._split),
            ],
            structure=self.structure.lines(),
        )

    def expand(self, formula: str | Formula) -> Formula:
        """The formula with columns of the table in the place of `*`: all that it does not name and that can be used.

        A RequestWarning names the others. Raises FormulaError if there is none.
        """
        formula = Formula.parse(formula) if isinstance(formula, str) else formula
        if not formula.has_all:
            return formula
        self._check_views(Formula(tuple(view for view in formula.views if not view.is_all)))
        stored = {name: column for name, column in self.columns.items() if name not in self.views}
        return expand_formula(formula, stored, self.account.left_out)

    def ids(self, formula: Formula) -> dict[str, Id]:
        """The columns that a formula does not name, as they tell rows apart: the forms of their values."""
        named = {view.column for view in formula.views}
        return {
            name: Id.fit(self.column(name))
            for name, column in self.columns.items()
            if name not in named and name not in self.views and column.why_id(name)
        }

    def add_views(self, formula: str | Formula, **runs: views.Viewer) -> Table:
        """The same rows with a further column for every view of the formula.

        `image[size=32]` is the column image fitted with that option, `image@codes` is that column seen through
        the trained model `codes=`, and `text@minilm` through a frozen encoder (encoders.py), unless `minilm=`
        is given. Raises FormulaError for unknown columns, options and models, ValueError for a column that a
        model cannot see.
        """
        formula = self.expand(formula)
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
