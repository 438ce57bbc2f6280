"""TODO evaluation.domains.sql."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np

from likewise.data.datasets.sql import ANY
from likewise.evaluation.domains.base import UNREAD, DomainCheck, Row, RowMetric, _silent, import_tool
from likewise.evaluation.domains.code import _quoted


class Statements(DomainCheck):
    """SQL, by sqlglot's parser of the dialect in the column `dialect`, or else of the one that is `named`."""

    what = "sqlglot reads it as one statement of its dialect"

    def __init__(
        self, column: str, train: Sequence[str], named: str | None = None, source: str | None = None
    ) -> None:
        """`source`, a column that is the same statement in the dialect of its name, is translated."""
        super().__init__(column, train)
        self.tool = import_tool("sqlglot", "SQL statements")
        self.named, self.source = named, source

    def valid(self, row: Row) -> bool:
        return self.parsed(row[self.column], self._dialect(row)) is not None

    def key(self, text: str) -> str:
        return " ".join(text.lower().split()).rstrip("; ")

    def more(self, rows: Sequence[Row]) -> list[RowMetric]:
        found = [
            RowMetric(
                "runs in SQLite",
                np.array([self.runs(row) for row in rows], bool),
                "a query or a value that SQLite prepares, after translation, on empty tables",
            )
        ]
        if self.source in rows[0]:
            found.append(
                RowMetric(
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
