"""Checks: what an independent tool says of the texts of one domain, row by row.

A check knows rows of a table and no model. The tools are the optional extra `judges`; Python's functions and
the plays need none.
"""

from __future__ import annotations

import ast
import importlib
import logging
import re
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.abc import InspectLoader
from typing import Any

import numpy as np

from likewise.demos.statements import ANY
from likewise.evaluation.report import Better

Row = Mapping[str, Any]
UNREAD = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)  # of Python's compiler
ROW = 8  # words that are a copy if they stand so in a training text


class ToolError(ValueError):
    """A tool that a check needs and that is not installed."""


@dataclass(frozen=True)
class Mark:
    """One number for each row, (N,): bool for what is a share, float for what is a mean."""

    name: str
    values: np.ndarray
    note: str
    better: Better = "higher"


def tool(name: str, domain: str) -> Any:
    """A module of the extra `judges`. Raises ToolError that says how to have it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ToolError(
            f"{domain} are judged by {name.partition('.')[0]}, which is not installed; "
            'pip install "likewise[judges]"'
        ) from None


class Check:
    """The texts of a column: which are valid, which are the same, which are new."""

    what = ""  # makes a text valid, in words

    def __init__(self, column: str, train: Sequence[str]) -> None:
        """`train` are the training texts. Raises ToolError."""
        self.column, self.train = column, train

    def valid(self, row: Row) -> bool:
        """Whether the tool accepts a row's text."""
        raise NotImplementedError

    def key(self, text: str) -> str:
        """What two texts have in common that are the same, written otherwise; of any text."""
        return text

    def new(self, rows: Sequence[Row]) -> np.ndarray:
        """Whether no training text is the same, (N,)."""
        return np.array([self.key(row[self.column]) not in self._known for row in rows], bool)

    def more(self, rows: Sequence[Row]) -> list[Mark]:
        """What else there is to say."""
        return []

    def marks(self, rows: Sequence[Row]) -> list[Mark]:
        """All that is said of rows; of what is valid alone a share of all rows, so that each has N."""
        valid = np.array([self.valid(row) for row in rows], bool)
        found: set[str] = set()
        keys = [self.key(row[self.column]) for row in rows]
        first = np.array([not (key in found or found.add(key)) for key in keys], bool)
        return [
            Mark("valid", valid, self.what),
            Mark("valid, unique", valid & first, "and none before it is the same"),
            Mark("valid, unique, new", valid & first & self.new(rows), "nor is any training text"),
            *self.more(rows),
        ]

    def real(self, rows: Sequence[Row], drawn: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        """Rows held out as they are compared with drawn ones."""
        return list(rows)

    @cached_property
    def _known(self) -> set[str]:
        return {self.key(text) for text in self.train}


class Functions(Check):
    """Python, by its own compiler; nothing is run."""

    what = "Python compiles it"

    def valid(self, row: Row) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                InspectLoader.source_to_code(row[self.column])
        except UNREAD:
            return False
        return True

    def key(self, text: str) -> str:
        tree = _tree(text)
        return text if tree is None else ast.dump(tree)

    def more(self, rows: Sequence[Row]) -> list[Mark]:
        names = [_function(row[self.column]) for row in rows]
        found = [
            Mark(
                "one function",
                np.array([name is not None for name in names]),
                "a whole function and nothing else",
            )
        ]
        if "name" in rows[0]:
            same = [name == row["name"] for name, row in zip(names, rows, strict=True)]
            found.append(Mark("named so", np.array(same), "the function's name is the column name"))
        return found


class Statements(Check):
    """SQL, by sqlglot's parser of the dialect in the column `dialect`, or else of the one that is `named`."""

    what = "sqlglot reads it as one statement of its dialect"

    def __init__(
        self, column: str, train: Sequence[str], named: str | None = None, source: str | None = None
    ) -> None:
        """`source`, a column that is the same statement in the dialect of its name, is translated."""
        super().__init__(column, train)
        self.tool = tool("sqlglot", "SQL statements")
        self.named, self.source = named, source

    def valid(self, row: Row) -> bool:
        return self.parsed(row[self.column], self._dialect(row)) is not None

    def key(self, text: str) -> str:
        return " ".join(text.lower().split()).rstrip("; ")

    def more(self, rows: Sequence[Row]) -> list[Mark]:
        found = [
            Mark(
                "runs in SQLite",
                np.array([self.runs(row) for row in rows], bool),
                "a query or a value that SQLite prepares, after translation, on empty tables",
            )
        ]
        if self.source in rows[0]:
            found.append(
                Mark(
                    "translated",
                    np.array([self.translated(row) for row in rows], bool),
                    f"the same as sqlglot's translation of {self.source}, but for the spelling",
                )
            )
        return found

    def parsed(self, text: str, dialect: str | None) -> Any:
        """The one statement of a text, None if it is another number of them, or none that is understood."""
        with _silent("sqlglot"):
            try:
                found = self.tool.parse(text, read=dialect)
            except (self.tool.errors.SqlglotError, *UNREAD):
                return None
        one = len(found) == 1 and found[0] is not None and not isinstance(found[0], self.tool.exp.Command)
        return found[0] if one else None

    def runs(self, row: Row) -> bool:
        """Whether SQLite would run a query, or a query for a value, if its tables were there.

        It is prepared, and not run.
        """
        exp, tree = self.tool.exp, self.parsed(row[self.column], self._dialect(row))
        if isinstance(tree, exp.Condition) and not isinstance(tree, exp.Query):
            tree = exp.select(tree).from_("x")  # a value alone
        if not isinstance(tree, exp.Query):
            return False
        made = {cte.alias for cte in tree.find_all(exp.CTE)}
        tables = [table for table in tree.find_all(exp.Table) if table.name and table.name not in made]
        columns: dict[str, set[str]] = {table.name: {"x"} for table in tables}
        called = {table.alias_or_name: table.name for table in tables}
        for table in tables:  # SQLite has no schemas
            table.set("db", None)
            table.set("catalog", None)
        for column in tree.find_all(exp.Column):
            if column.name and (column.table in called or (tables and not column.table)):
                columns[called.get(column.table, next(iter(columns)))].add(column.name)
        with _silent("sqlglot"), closing(sqlite3.connect(":memory:")) as base:
            try:
                for name, names in columns.items():
                    whole = {each.lower(): _quoted(each) for each in names}.values()
                    base.execute(f"CREATE TABLE {_quoted(name)} ({', '.join(whole)})")
                base.execute("EXPLAIN " + tree.sql("sqlite"))
            except (sqlite3.Error, sqlite3.Warning, self.tool.errors.SqlglotError, *UNREAD):
                return False
        return True

    def translated(self, row: Row) -> bool:
        """Whether a text is what sqlglot makes of `source`, both written as sqlglot writes."""
        ours, other = self.parsed(row[self.column], self.named), self.parsed(row[self.source], self.source)
        if ours is None or other is None:
            return False
        with _silent("sqlglot"):
            try:
                return ours.sql(self.named) == other.sql(self.named)
            except (self.tool.errors.SqlglotError, *UNREAD):
                return False

    def _dialect(self, row: Row) -> str | None:
        dialect = row.get("dialect", self.named)
        return None if dialect == ANY else dialect


class Molecules(Check):
    """SMILES, by RDKit; two are the same if their canonical SMILES is."""

    what = "RDKit reads it as a molecule, with valences that there are"

    def __init__(self, column: str, train: Sequence[str]) -> None:
        super().__init__(column, train)
        self.chem, self.base = tool("rdkit.Chem", "molecules"), tool("rdkit.rdBase", "molecules")

    def valid(self, row: Row) -> bool:
        return self._canonical(row[self.column]) is not None

    def key(self, text: str) -> str:
        return self._canonical(text) or text

    def _canonical(self, text: str) -> str | None:
        with self.base.BlockLogs():
            found = self.chem.MolFromSmiles(text) if text.strip() else None
            return None if found is None else self.chem.MolToSmiles(found)


class Plays(Check):
    """Running prose, by the words and the rows of words that the training works have."""

    def marks(self, rows: Sequence[Row]) -> list[Mark]:
        said = [_words(row[self.column]) for row in rows]
        spelt = [float(np.mean([w in self._words for w in words])) if words else 0.0 for words in said]
        runs = [[*zip(*(words[i:] for i in range(ROW)), strict=False)] for words in said]
        fresh = [float(np.mean([run not in self._runs for run in found])) if found else 1.0 for found in runs]
        return [
            Mark(
                "words known", np.array(spelt), "share of a text's words that training works have", "as real"
            ),
            Mark(
                f"{ROW} words new",
                np.array(fresh),
                f"share of a text's rows of {ROW} words that stand in no training work",
                "as real",
            ),
        ]

    def real(self, rows: Sequence[Row], drawn: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        """Passages of rows held out, as long as the drawn texts."""
        found = []
        for i, row in enumerate(drawn):
            text, long = rows[i % len(rows)][self.column], len(row[self.column])
            start = int(rng.integers(max(1, len(text) - long + 1)))
            found.append({self.column: text[start : start + long]})
        return found

    @cached_property
    def _words(self) -> set[str]:
        return {word for text in self.train for word in _words(text)}

    @cached_property
    def _runs(self) -> set[tuple[str, ...]]:
        return {
            run for text in self.train for run in zip(*(_words(text)[i:] for i in range(ROW)), strict=False)
        }


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def _tree(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except UNREAD:
        return None


def _function(text: str) -> str | None:
    """The name of the function that a text is, None if it is something else.

    >>> _function("def f(x):\\n    return x"), _function("x = 1")
    ('f', None)
    """
    tree = _tree(text)
    first = tree.body[0] if tree is not None and len(tree.body) == 1 else None
    return first.name if isinstance(first, ast.FunctionDef | ast.AsyncFunctionDef) else None


def _quoted(name: str) -> str:
    """A name as SQLite takes any."""
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Without a tool's warnings, of which each wrong text has some."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
