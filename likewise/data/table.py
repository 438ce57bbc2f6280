"""Table: rows with typed columns, checked, split by concept, and drawn as batches."""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from likewise.core.batch import Batch
from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula, FormulaError, View
from likewise.data import views
from likewise.data.arrow import TableError, from_rows
from likewise.data.datasets import DATASETS
from likewise.data.loader import EncodedColumn, iterate_batches
from likewise.data.schema import infer_schema
from likewise.data.sources import read_source
from likewise.data.split import grouping_column, split_rows
from likewise.data.storage import RowStore
from likewise.data.validation import BadRow, format_bad_rows
from likewise.modalities import KINDS
from likewise.modalities.base import Modality, Row

if TYPE_CHECKING:
    from datasets import Dataset


class Table:
    """Rows with typed columns, made by `open` or `from_rows`; its parts `train` and `test` are tables too.

    `views` has the columns that `see` added, `skipped` the bad rows that were left out, `warnings` what is
    worth a look.

    >>> table = Table.from_rows([{"x": i / 10, "label": "odd" if i % 2 else "even"} for i in range(20)])
    >>> table.kinds, len(table.train), table[3]
    ({'x': 'number', 'label': 'label'}, 18, {'x': 0.3, 'label': 'odd'})
    >>> next(table.batches(["x", "label"], 4))["x"].shape
    torch.Size([4, 1, 1])
    """

    def __init__(self, rows: RowStore, args: Mapping[str, Any], whole: Table | None = None) -> None:
        self.views: dict[str, Modality] = {}
        self.skipped: list[BadRow] = []
        self.warnings: list[str] = []
        self._rows = rows
        self._args = dict(args)  # of `open`
        self._whole = whole  # the table that this one is a part of
        self._encoded: dict[str, EncodedColumn] = {}

    @classmethod
    def open(
        cls,
        source: str | Path,
        *,
        options: Mapping[str, Any] | None = None,
        kinds: Mapping[str, str] | None = None,
        skip_bad: bool = False,
        holdout: float | None = None,
        by: str | None = None,
        pairs: str | None = None,
        encoding: str | None = None,
        columns: Sequence[str] | None = None,
        like: Mapping[str, Modality] | None = None,
    ) -> Table:
        """The rows of a demo, a folder of pictures or texts, a text or table file or a hub data set.

        A table file ends in .csv, .jsonl or .parquet. Texts too long for a row are documents: their rows are
        passages, held out as whole documents if there are 20, else as the last part of each; `encoding` is
        that of text files and .csv (default UTF-8).

        `options` are keywords of the demo and of the `fit` of the modalities at hand; `kinds` overrules what
        a column is taken for; `holdout` is the fraction of rows held out, in groups of equal column `by`
        (default: the column "concept", else the first text). With a column `pairs`, half of it are pairs of
        `by` and this column, each side of which training rows have with others: a thing and a style, both
        seen, together new. Beside the `columns` that are needed, if that is said, one with values that cannot
        be used is left out. What a model has too, `like`, is taken for the same kind. Raises TableError for a
        source that cannot be read, for what is not known, if there are no such pairs, and, unless `skip_bad`,
        for bad rows.
        """
        name, path = str(source), Path(source).expanduser()
        own = inspect.signature(DATASETS[name]).parameters if name in DATASETS else {}
        theirs = {View.parse(n).column: c.kind for n, c in (like or {}).items() if c.kind in KINDS}
        data = read_source(
            source,
            {n: v for n, v in (options or {}).items() if n in own},
            encoding,
            theirs | dict(kinds or {}),
        )
        kinds = {n: kind for n, kind in theirs.items() if n in data.column_names} | dict(kinds or {})
        args = {
            "source": str(path.resolve()) if name not in DATASETS and path.exists() else name,
            "options": dict(options or {}),
            "kinds": kinds,
            "skip_bad": skip_bad,
            "holdout": holdout,
            "by": by,
            "pairs": pairs,
            "encoding": encoding,
            "columns": None if columns is None else list(columns),
        }
        return cls._checked(data, args, own)

    @classmethod
    def from_rows(
        cls,
        rows: Sequence[Row],
        kinds: Mapping[str, str] | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        skip_bad: bool = False,
        holdout: float | None = None,
        by: str | None = None,
        pairs: str | None = None,
    ) -> Table:
        """Rows in memory as a table, checked like those of `open`."""
        args = {
            "source": None,
            "options": dict(options or {}),
            "kinds": dict(kinds or {}),
            "skip_bad": skip_bad,
            "holdout": holdout,
            "by": by,
            "pairs": pairs,
            "encoding": None,
            "columns": None,
        }
        return cls._checked(from_rows(rows), args)

    @classmethod
    def _checked(cls, data: Dataset, args: Mapping[str, Any], own: Iterable[str] = ()) -> Table:
        """The table that `open` promises; `own` are the options of the demo."""
        data, kinds, warnings = infer_schema(data, args["kinds"])
        known = {*own, *(name for kind in kinds.values() for name in KINDS[kind].options())}
        for name in args["options"]:
            if name not in known:
                raise TableError(did_you_mean("option of this table", name, sorted(known)))
        known = [name for name in kinds if KINDS[kinds[name]].groupable]
        for name in filter(None, (args["by"], args["pairs"])):
            if name not in known:
                raise TableError(did_you_mean("column to hold out by", name, known))
        if args["holdout"] is not None and not 0 <= args["holdout"] < 1:
            raise TableError(f"holdout={args['holdout']}: write a fraction of the rows, from 0 to below 1")
        table = cls(RowStore(data, kinds), args)
        bad = table.check()
        if args["columns"] is not None:
            needed = {*(View.parse(name).column for name in args["columns"]), args["by"], args["pairs"]}
            if spare := {b.column: b for b in reversed(bad) if b.column not in needed}:
                warnings += [
                    f"column {name!r}, which is not needed, is left out, as there are values that "
                    f"cannot be used; the first: {first}"
                    for name, first in spare.items()
                ]
                table = cls(RowStore(data, {n: kind for n, kind in kinds.items() if n not in spare}), args)
                bad = table.check()
        if bad:
            numbers = table.numbers()
            said = [*dict.fromkeys(replace(b, row=numbers[b.row]) for b in bad)]
            if not args["skip_bad"]:
                what = f"{len({b.row for b in said})} of {len({*numbers})} rows cannot be used"
                raise TableError(
                    format_bad_rows(f"{what}; mend them, or leave them out with --skip-bad", said)
                )
            table = table._without(bad)
            if not len(table):
                raise TableError(f"no row can be used; the first: {said[0]}")
            table.skipped = said
        table.warnings = warnings + table._rows.survey.warnings()
        return table

    def add_views(self, formula: str | Formula, **runs: views.Viewer) -> Table:
        """The same rows with a further column for every view of the formula.

        `image[size=32]` is the column image fitted with that option, `image@codes` is that column as the
        trained model given by `codes=` sees it, `text@minilm` as a frozen encoder does (frozen.py), unless
        `minilm=` is given. Raises FormulaError for a column, an option or a model that is not there,
        ValueError for what a model cannot see.
        """
        formula = Formula.parse(formula) if isinstance(formula, str) else formula
        new, kinds = {}, self._rows.kinds
        for view in formula.views:
            if (name := view.column) not in kinds:
                raise FormulaError(did_you_mean("column", name, kinds))
            if view.through:
                train, test = self.train.column(name), self.test.column(name)
                new[str(view)] = views.fit_view(view, kinds[name], runs, train, test)
            elif view.options:
                asked = views.view_options(view, kinds[name])
                new[str(view)] = self._fitted(name, self._args["options"] | asked)
        return self.with_views(new)

    def with_views(self, columns: Mapping[str, Modality]) -> Table:
        """The same rows as a trained model sees them: with those of `columns` that are views, and with its
        own way to write a column where that is another than this table's.

        Raises TableError for values that cannot be written that way.
        """
        kinds = self._rows.kinds
        new = {name: column for name, column in columns.items() if name not in kinds}
        for name in new:
            if (own := View.parse(name).column) not in kinds:
                raise FormulaError(did_you_mean("column", own, kinds))
        for name, column in columns.items():
            if name in kinds and column != self.columns[name]:
                views.check_compatible(name, kinds[name], self._rows.column(name), column)
                new[name] = column
        return self._with(new)

    def _with(self, new: Mapping[str, Modality]) -> Table:
        """The same rows with these columns in the place of others of the name."""
        if all(self.views.get(name) is column for name, column in new.items()):
            return self  # with what it has encoded
        seen = copy.copy(self)  # and what it has found out so far
        seen.views = self.views | new
        seen._encoded = {name: kept for name, kept in self._encoded.items() if name not in new}
        if "_parts" in self.__dict__:
            seen._parts = tuple(part._with(new) for part in self._parts)
        return seen

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each column."""
        return self._rows.kinds | {name: column.kind for name, column in self.views.items()}

    @property
    def source(self) -> str | None:
        """The demo, path or hub name that was opened, None for rows in memory."""
        return self._args["source"]

    def reopen_args(self) -> dict[str, Any]:
        """JSON values for `Table.open(**args)` to give this table. Raises TableError for rows in memory."""
        if self.source is None:
            raise TableError("this table was made of rows in memory and has no name to open; pass the table")
        return dict(self._args)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: int) -> Row:
        """One row; pictures are opened here, so a table may be larger than memory."""
        values = self._rows[row]
        return values | {name: values[View.parse(name).column] for name in self.views}

    def column(self, name: str) -> Sequence[Any]:
        """The values of a column, read when asked for if they may be large. Raises TableError for none."""
        return self._rows.column(self._stored(name))

    @property
    def columns(self) -> dict[str, Modality]:
        """The modality of each column, with what it learned from the training rows only."""
        return self._columns | self.views

    @cached_property
    def _columns(self) -> dict[str, Modality]:
        if self._whole is not None:
            return self._whole._columns
        return {name: self._fitted(name, self._args["options"]) for name in self._rows.kinds}

    @property
    def train(self) -> Table:
        """The rows to learn from."""
        return self._parts[0]

    @property
    def test(self) -> Table:
        """The rows held out: whole concepts, new compositions of words that training rows have, and pairs."""
        return self._parts[1]

    @cached_property
    def _parts(self) -> tuple[Table, Table]:
        """Training and held-out rows."""
        held = split_rows(self._rows, *(self._args[name] for name in ("holdout", "by", "pairs")))
        return self._part(self._rows.others(held)), self._part(held)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the columns and of every row's content, the same in every process."""
        return self._rows.fingerprint

    def subset_train(self, rows: Sequence[int]) -> Table:
        """This table with some of its training rows alone, by their numbers in `train`.

        Columns and held-out rows stay what they are; it has no name to be opened by.
        """
        few = Table(self._rows, {**self._args, "source": None}, self)
        few.views = self.views
        few._parts = self.train._part(rows), self.test
        few.fingerprint = hashlib.sha256(repr((self.fingerprint, list(rows))).encode()).hexdigest()[:16]
        return few

    def numbers(self) -> list[int]:
        """Of each row of a whole table its number in what was opened; of a passage that of its document."""
        if self._rows.passages:
            return (self._rows.passage_keys >> 32).tolist()
        gone = {bad.row for bad in self.skipped}
        return [i for i in range(len(self) + len(gone)) if i not in gone]

    def check(self) -> list[BadRow]:
        """Every row that cannot be used: missing, empty, NaN, an unreadable picture, an over-long text."""
        broken = self._rows.survey.broken
        rest = self._without(broken) if broken else self
        numbers = self._rows.others([bad.row for bad in broken])
        unfit = [
            BadRow(numbers[i], name, reason)
            for name, kind in self._rows.kinds.items()
            if not KINDS[kind].accepts_all and len(rest)
            for i, value in enumerate(rest.column(name))
            if (reason := rest.columns[name].check(value))
        ]
        return [
            replace(bad, file=self._rows.file(bad.row))
            for bad in sorted(broken + unfit, key=lambda bad: bad.row)
        ]

    def documents(self, name: str) -> list[Row]:
        """A row for each document of a column, as far as its passages follow each other in this table."""
        return [{**self[row], name: text} for row, text in self._rows.documents(self._stored(name))]

    def encoded(self, name: str, rows: Sequence[int] | None = None) -> Tensor:
        """The column, or some rows of it, as tokens, (N, T, C) float32 or (N, T) int64, encoded once.

        Of documents, windows that begin where the passages do, for which nothing else is encoded.
        """
        column = self._tokens(name)
        return column.all if rows is None else column.at(rows)

    def batches(
        self, names: Sequence[str], size: int, *, seed: int = 0, start: int = 0, rank: int = 0, world: int = 1
    ) -> Iterator[Batch]:
        """Batches without end, from step `start`: epochs, each in an order that (seed, epoch) gives.

        A step's `size` rows depend on nothing else, so a resumed run sees what an uninterrupted one does;
        process `rank` of `world` takes every `world`-th of them. Raises TableError for an unknown column or
        no rows.
        """
        if not len(self):
            raise TableError("there are no rows to draw batches from")
        columns = {name: self._tokens(name) for name in names}
        return iterate_batches(columns, size, seed=seed, start=start, rank=rank, world=world)

    def _tokens(self, name: str) -> EncodedColumn:
        """A column as tokens, which are kept. Raises TableError for none."""
        if name not in self._encoded:
            self._encoded[name] = EncodedColumn(self._rows, self._stored(name), self.columns[name])
        return self._encoded[name]

    def _fitted(self, name: str, options: Mapping[str, Any]) -> Modality:
        """A column as its training rows say, with room for those held out."""
        kind = KINDS[self._rows.kinds[name]]
        options = {n: v for n, v in options.items() if n in kind.options()}
        # rows split by their class leave classes that no training row has, and these too need a name
        by = grouping_column(self._rows.kinds, self._args["by"])
        rows = self if kind.role == "class" and name == by else self.train
        modality = kind.fit(rows.column(name), **options)
        return modality if "length" in options else modality.grow_to_fit(self.test.column(name))

    def _part(self, rows: Sequence[int]) -> Table:
        """Some of the rows, with the modalities of all."""
        part = Table(self._rows.some(rows), self._args, self if self._whole is None else self._whole)
        part.views = self.views
        return part

    def _without(self, bad: Sequence[BadRow]) -> Table:
        """A table of its own of the other rows."""
        return Table(self._rows.some(self._rows.others([b.row for b in bad])), self._args)

    def _stored(self, name: str) -> str:
        """The column that a view is of, a column itself. Raises TableError."""
        if name not in self.kinds:
            raise TableError(did_you_mean("column", name, self.kinds))
        return View.parse(name).column if name in self.views else name
