"""Table: rows with typed columns, checked, split by concept, and drawn as batches."""

from __future__ import annotations

import ast
import copy
import hashlib
import inspect
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from likewise import reading
from likewise.demos import DEMOS
from likewise.formula import Formula, FormulaError, View, unknown
from likewise.frozen import FROZEN, frozen
from likewise.modalities import KINDS, Label, Modality, image
from likewise.reading import TableError
from likewise.rng import seed_of
from likewise.split import documents_held_out, held_out
from likewise.stream import Stream
from likewise.survey import BadRow, Survey, content, survey

if TYPE_CHECKING:
    from datasets import Dataset

Row = dict[str, Any]            # column -> a value a person can look at
Batch = dict[str, Tensor]       # column -> (B, T, C) float32, or (B, T) int64
IN_MEMORY = 2 * 2**30           # bytes of encoded columns that are kept; more is encoded batch by batch
SHOWN = 10                      # bad rows that a message lists


class Viewer(Protocol):
    """A trained model, or whatever else a column can be seen through."""

    def view(self, column: str, values: Sequence[Any]) -> Modality:
        """The column as it is seen, fitted on training values. Raises ValueError if it cannot be."""


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

    def __init__(self, data: Dataset, kinds: Mapping[str, str], args: Mapping[str, Any],
                 whole: Table | None = None) -> None:
        self.views: dict[str, Modality] = {}
        self.skipped: list[BadRow] = []
        self.warnings: list[str] = []
        self._data = data
        self._own = dict(kinds)     # of the columns that are stored
        self._args = dict(args)     # of `open`
        self._whole = whole         # the table that this one is a part of
        self._kept: dict[str, Tensor] = {}
        self._streams: dict[str, Stream] = {}

    @classmethod
    def open(cls, source: str | Path, *, options: Mapping[str, Any] | None = None,
             kinds: Mapping[str, str] | None = None, skip_bad: bool = False, holdout: float | None = None,
             by: str | None = None, pairs: str | None = None, encoding: str | None = None) -> Table:
        """The rows of a demo, a folder of pictures or texts, a text or table file or a hub data set.

        A table file ends in .csv, .jsonl or .parquet. Texts too long for a row are documents: their rows are
        passages, held out as whole documents if there are 20, else as the last part of each; `encoding` is
        that of text files and .csv (default UTF-8).

        `options` are keywords of the demo and of the `fit` of the modalities at hand; `kinds` overrules what
        a column is taken for; `holdout` is the fraction of rows held out, in groups of equal column `by`
        (default: the column "concept", else the first text). With a column `pairs`, half of it are pairs of
        `by` and this column, each side of which training rows have with others: a thing and a style, both
        seen, together new. Raises TableError for a source that cannot be read, for what is not known, if
        there are no such pairs, and, unless `skip_bad`, for bad rows.
        """
        name, path = str(source), Path(source).expanduser()
        own = inspect.signature(DEMOS[name]).parameters if name in DEMOS else {}
        data = reading.read(source, {n: v for n, v in (options or {}).items() if n in own}, encoding)
        args = {"source": str(path.resolve()) if name not in DEMOS and path.exists() else name,
                "options": dict(options or {}), "kinds": dict(kinds or {}), "skip_bad": skip_bad,
                "holdout": holdout, "by": by, "pairs": pairs, "encoding": encoding}
        return cls._checked(data, args, own)

    @classmethod
    def from_rows(cls, rows: Sequence[Row], kinds: Mapping[str, str] | None = None, *,
                  options: Mapping[str, Any] | None = None, skip_bad: bool = False,
                  holdout: float | None = None, by: str | None = None, pairs: str | None = None) -> Table:
        """Rows in memory as a table, checked like those of `open`."""
        args = {"source": None, "options": dict(options or {}), "kinds": dict(kinds or {}),
                "skip_bad": skip_bad, "holdout": holdout, "by": by, "pairs": pairs, "encoding": None}
        return cls._checked(reading.from_rows(rows), args)

    @classmethod
    def _checked(cls, data: Dataset, args: Mapping[str, Any], own: Iterable[str] = ()) -> Table:
        """The table that `open` promises; `own` are the options of the demo."""
        data, kinds, warnings = reading.typed(data, args["kinds"])
        known = {*own, *(name for kind in kinds.values() for name in KINDS[kind].options())}
        for name in args["options"]:
            if name not in known:
                raise TableError(unknown("option of this table", name, sorted(known)))
        known = [name for name in kinds if kinds[name] != "image"]
        for name in filter(None, (args["by"], args["pairs"])):
            if name not in known:
                raise TableError(unknown("column to hold out by", name, known))
        if args["holdout"] is not None and not 0 <= args["holdout"] < 1:
            raise TableError(f"holdout={args['holdout']}: write a fraction of the rows, from 0 to below 1")
        table = cls(data, kinds, args)
        bad = table.check()
        if bad and not args["skip_bad"]:
            count = f"{len({b.row for b in bad})} of {len(table)} rows"
            more = [f"and {len(bad) - SHOWN} more"] if len(bad) > SHOWN else []
            raise TableError(f"{count} cannot be used; mend them, or leave them out with --skip-bad"
                             + "\n  ".join(["", *map(str, bad[:SHOWN]), *more]))
        if bad:
            table = table._without(bad)
            if not len(table):
                raise TableError(f"no row can be used; the first: {bad[0]}")
            table.skipped = bad
        table.warnings = warnings + table._survey.doubts()
        return table

    def see(self, formula: str | Formula, **runs: Viewer) -> Table:
        """The same rows with a further column for every view of the formula.

        `image[size=32]` is the column image fitted with that option, `image@codes` is that column as the
        trained model given by `codes=` sees it, `text@minilm` as a frozen encoder does (frozen.py), unless
        `minilm=` is given. Raises FormulaError for a column, an option or a model that is not there,
        ValueError for what a model cannot see.
        """
        formula = Formula.parse(formula) if isinstance(formula, str) else formula
        new = {}
        for view in formula.views:
            if view.column not in self._own:
                raise FormulaError(unknown("column", view.column, self._own))
            if view.through and view.options:
                raise FormulaError(f"{view}: what is seen through a model has no options; leave "
                                   f"[{view.options[0][0]}=...] out")
            if view.through:
                new[str(view)] = self._through(view, runs)
            elif view.options:
                new[str(view)] = self._fitted(view.column, self._options(view))
        return self.with_views(new)

    def with_views(self, columns: Mapping[str, Modality]) -> Table:
        """The same rows as a trained model sees them: with those of `columns` that are views, and with its
        own way to write a column where that is another than this table's.

        Raises TableError for values that cannot be written that way.
        """
        new = {name: column for name, column in columns.items() if name not in self._own}
        for name in new:
            if (own := View.parse(name).column) not in self._own:
                raise FormulaError(unknown("column", own, self._own))
        for name, column in columns.items():
            if name in self._own and column != self.columns[name]:
                self._fits(name, column)
                new[name] = column
        return self._with(new)

    def _with(self, new: Mapping[str, Modality]) -> Table:
        """The same rows with these columns in the place of others of the name."""
        if all(self.views.get(name) is column for name, column in new.items()):
            return self     # with what it has encoded
        seen = copy.copy(self)      # and what it has found out so far
        seen.views = self.views | new
        seen._kept = {name: kept for name, kept in self._kept.items() if name not in new}
        seen._streams = {name: kept for name, kept in self._streams.items() if name not in new}
        if "_parts" in self.__dict__:
            seen._parts = tuple(part._with(new) for part in self._parts)
        return seen

    def _fits(self, name: str, column: Modality) -> None:
        """Raise TableError unless every value of a column of this table can be written as `column` does."""
        if self._own[name] != column.kind:
            raise TableError(f"{name} is of the kind {self._own[name]} here, and {column.kind} in the model; "
                             f"open the data with --kind {name}={column.kind}")
        if column.kind != "image":      # of which every size fits
            for row, value in enumerate(self._cells(name)):
                if reason := column.check(value):
                    raise TableError(f"{BadRow(row, name, reason)}; the model learned from other values")

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each column."""
        return self._own | {name: column.kind for name, column in self.views.items()}

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
        return len(self._data)

    def __getitem__(self, row: int) -> Row:
        """One row; pictures are opened here, so a table may be larger than memory."""
        cells = self._data[range(len(self))[row]]
        cells.pop(reading.PASSAGE, None)
        values = {name: image.read(content(cell)) if self._own[name] == "image" else cell
                  for name, cell in cells.items()}
        return values | {name: values[View.parse(name).column] for name in self.views}

    def column(self, name: str) -> Sequence[Any]:
        """The values of a column, read when asked for if they may be large. Raises TableError for none."""
        name = self._stored(name)
        lazy = {"image": _Pictures, "document": _Column}.get(self._own[name])
        return lazy(self, name) if lazy else list(self._cells(name))

    @property
    def columns(self) -> dict[str, Modality]:
        """The modality of each column, with what it learned from the training rows only."""
        return self._columns | self.views

    @cached_property
    def _columns(self) -> dict[str, Modality]:
        if self._whole is not None:
            return self._whole._columns
        return {name: self._fitted(name, self._args["options"]) for name in self._own}

    @property
    def train(self) -> Table:
        """The rows to learn from."""
        return self._parts[0]

    @property
    def test(self) -> Table:
        """The rows held out: whole concepts, new compositions of words that training rows have, and pairs."""
        return self._parts[1]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the columns and of every row's content, the same in every process."""
        schema = json.dumps(self._own).encode()
        return hashlib.sha256(schema + b"".join(self._survey.digests)).hexdigest()[:16]

    def only(self, rows: Sequence[int]) -> Table:
        """This table with some of its training rows alone, by their numbers in `train`.

        Columns and held-out rows stay what they are; it has no name to be opened by.
        """
        few = Table(self._data, self._own, {**self._args, "source": None}, self)
        few.views = self.views
        few._parts = self.train._part(rows), self.test
        few.fingerprint = hashlib.sha256(repr((self.fingerprint, list(rows))).encode()).hexdigest()[:16]
        return few

    def check(self) -> list[BadRow]:
        """Every row that cannot be used: missing, empty, NaN, an unreadable picture, an over-long text."""
        broken = self._survey.broken
        rest = self._without(broken) if broken else self
        numbers = np.delete(np.arange(len(self)), sorted({bad.row for bad in broken}))
        unfit = [BadRow(int(numbers[i]), name, reason)
                 for name, kind in self._own.items() if kind != "image" and len(rest)
                 for i, value in enumerate(rest._cells(name)) if (reason := rest.columns[name].check(value))]
        return sorted(broken + unfit, key=lambda bad: bad.row)

    def encoded(self, name: str, rows: Sequence[int] | None = None) -> Tensor:
        """The column, or some rows of it, as tokens, (N, T, C) float32 or (N, T) int64, encoded once.

        Of documents, windows that begin where the passages do, for which nothing else is encoded.
        """
        if rows is not None:
            return (self._encode(name, rows) if self.columns[name].spec.running else
                    self.encoded(name)[torch.tensor(rows, dtype=torch.int64)])
        if name not in self._kept:
            self._kept[name] = self._encode(name, range(len(self)))
        return self._kept[name]

    def batches(self, names: Sequence[str], size: int, *, seed: int = 0, start: int = 0, rank: int = 0,
                world: int = 1) -> Iterator[Batch]:
        """Batches without end, from step `start`: epochs, each in an order that (seed, epoch) gives.

        A step's `size` rows depend on nothing else, so a resumed run sees what an uninterrupted one does;
        process `rank` of `world` takes every `world`-th of them. Raises TableError for an unknown column or
        no rows.
        """
        if not len(self):
            raise TableError("there are no rows to draw batches from")
        for name in names:
            self._cells(name)
        in_memory = sum(map(self._bytes, names)) <= IN_MEMORY
        running = [name for name in names if self.columns[name].spec.running]
        epoch, order = -1, []
        for step in itertools.count(start):
            rows = []
            for place in range(step * size + rank, (step + 1) * size, world):
                if place // len(self) != epoch:
                    epoch = place // len(self)
                    shuffle = torch.Generator().manual_seed(seed_of("order", seed, epoch))
                    order = torch.randperm(len(self), generator=shuffle).tolist()
                rows.append(order[place % len(self)])
            if running:
                # the same in each process
                draw = torch.Generator().manual_seed(seed_of("window", seed, step))
                shares = torch.rand(size, generator=draw)[rank::world].tolist()
            yield {name: self._stream(name).windows(rows, shares) if name in running else
                   self.encoded(name, rows) if in_memory else self._encode(name, rows) for name in names}

    def documents(self, name: str) -> list[Row]:
        """A row for each document of a column, as far as its passages follow each other in this table."""
        places, found, parts = self._places(), [], []
        for i, text in enumerate(self._cells(name)):
            if not i or places[i] != places[i - 1] - 1:
                found.append(self[i])
                parts.append([])
            parts[-1].append(text)
        return [{**row, name: "".join(texts)} for row, texts in zip(found, parts, strict=True)]

    def _places(self) -> np.ndarray:
        """Where each row stands, (N,) int64: document * 2^32 + how many passages follow."""
        return self._data.select_columns(reading.PASSAGE).with_format("arrow")[:][reading.PASSAGE].to_numpy()

    def _keys(self, documents: Sequence[int]) -> list[str]:
        """Of each row a hash of its document, which copies share."""
        [name] = [name for name, kind in self._own.items() if kind == "document"]
        found: dict[int, Any] = {}
        for document, text in zip(documents, self._cells(name), strict=True):
            found.setdefault(document, hashlib.sha256()).update(text.encode())
        hexes = {document: digest.hexdigest() for document, digest in found.items()}
        return [hexes[document] for document in documents]

    def _stream(self, name: str) -> Stream:
        """The documents of a column, as ids."""
        if name not in self._streams:
            self._streams[name] = Stream.of(self.columns[name], self._cells(name), self._places())
        return self._streams[name]

    @property
    def _by(self) -> str | None:
        """The column whose equal values are one group of the split."""
        texts = [name for name, kind in self._own.items() if kind == "text"]
        return self._args["by"] or ("concept" if "concept" in self._own else next(iter(texts), None))

    @cached_property
    def _parts(self) -> tuple[Table, Table]:
        """Training and held-out rows."""
        if reading.PASSAGE in self._data.column_names and not (self._args["by"] or self._args["pairs"]):
            numbers = (self._places() >> 32).tolist()
            held = documents_held_out(numbers, self._keys(numbers), self._args["holdout"])
            return self._part(np.delete(np.arange(len(self)), held).tolist()), self._part(held)
        if self._by:
            keys = [str(cell) for cell in self._cells(self._by)]
        else:       # every row alone, rows that are the same together
            keys = [digest.hex() for digest in self._survey.digests]
        classes: list[list[str]] = [[] for _ in keys]
        for name, kind in self._own.items():
            if kind == "label" and name != self._by:
                for row, cell in zip(classes, self._cells(name), strict=True):
                    row.append(f"{name} {cell}")
        pairs = self._args["pairs"]
        partners = [str(cell) for cell in self._cells(pairs)] if pairs else None
        held = held_out(keys, classes, self._args["holdout"], partners)
        return self._part(np.delete(np.arange(len(self)), held).tolist()), self._part(held)

    def _through(self, view: View, runs: Mapping[str, Viewer]) -> Modality:
        """A view through one of the models, or through a frozen encoder."""
        name, own = view.through, self._own[view.column]
        if name not in runs and name not in FROZEN:
            raise FormulaError(unknown("model to see through", name, [*runs, *FROZEN]))
        viewer = runs[name] if name in runs else frozen(name)
        found = viewer.view(view.column, self.train.column(view.column))
        if found.kind not in (own, "vector"):
            raise FormulaError(f"{view}: {name} sees a {found.kind}, and {view.column} is a {own}; write "
                               f"{view.column!r} as it is, or --kind {view.column}={found.kind}")
        return found.roomy(self.test.column(view.column))

    def _options(self, view: View) -> dict[str, Any]:
        """The options of a view, and for the rest those of the table."""
        kind = self._own[view.column]
        known = KINDS[kind].options()
        for name, _ in view.options:
            if name not in known:
                raise FormulaError(f"{view}: {unknown(f'option of the kind {kind}', name, known)}")
        return self._args["options"] | {name: _literal(value) for name, value in view.options}

    def _fitted(self, name: str, options: Mapping[str, Any]) -> Modality:
        kind = KINDS[self._own[name]]
        options = {n: v for n, v in options.items() if n in kind.options()}
        # rows split by their class leave classes that no training row has, and these too need a name
        rows = self if kind is Label and name == self._by else self.train
        modality = kind.fit(rows.column(name), **options)
        return modality if "length" in options else modality.roomy(self.test.column(name))

    @cached_property
    def _survey(self) -> Survey:
        return survey(self._own, len(self), self._cells)

    def _part(self, rows: Sequence[int]) -> Table:
        """Some of the rows, with the modalities of all."""
        whole = self if self._whole is None else self._whole
        part = Table(self._data.select(rows), self._own, self._args, whole)
        part.views = self.views
        return part

    def _without(self, bad: Sequence[BadRow]) -> Table:
        """A table of its own of the other rows."""
        rows = np.delete(np.arange(len(self)), sorted({b.row for b in bad}))
        return Table(self._data.select(rows.tolist()), self._own, self._args)

    def _stored(self, name: str) -> str:
        """The column that a view is of, a column itself. Raises TableError."""
        if name not in self.kinds:
            raise TableError(unknown("column", name, self.kinds))
        return View.parse(name).column if name in self.views else name

    def _cells(self, name: str) -> Iterator[Any]:
        """A column as it is stored, a picture as {bytes, path}."""
        batches = self._data.select_columns(self._stored(name)).with_format("arrow").iter(1000)
        return (cell for batch in batches for cell in batch.column(0).to_pylist())

    def _bytes(self, name: str) -> int:
        """How much memory the encoded column takes."""
        spec = self.columns[name].spec
        return 0 if spec.running else len(self) * spec.tokens * (8 if spec.categorical else 4 * spec.width)

    def _encode(self, name: str, rows: Sequence[int]) -> Tensor:
        modality, spec = self.columns[name], self.columns[name].spec
        if not len(rows):
            shape = (0, spec.tokens) if spec.categorical else (0, spec.tokens, spec.width)
            return torch.empty(shape, dtype=torch.int64 if spec.categorical else torch.float32)
        if spec.running:
            return self._stream(name).windows(rows, [0.0] * len(rows))
        part = self if len(rows) == len(self) else self._part(rows)
        return modality.encode_all(part.column(name))


class _Column(Sequence[Any]):
    """A column that may be larger than memory, read when it is asked for."""

    def __init__(self, table: Table, name: str) -> None:
        self._table, self._name = table, name

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, row: int) -> Any:
        return self._value(self._table._data[range(len(self))[row]][self._name])

    def __iter__(self) -> Iterator[Any]:
        return map(self._value, self._table._cells(self._name))

    def _value(self, cell: Any) -> Any:
        return cell


class _Pictures(_Column):
    """Pictures of a column."""

    def _value(self, cell: Any) -> PIL.Image.Image:
        return image.peek(content(cell))


def _literal(text: str) -> Any:
    """ "32" -> 32, "cubic" -> "cubic" """
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
