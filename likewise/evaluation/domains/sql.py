"""SQL statements, by sqlglot's parsers of dialects and by SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Self

import numpy as np

from likewise.data.datasets.sql import ANY
from likewise.data.table import Table
from likewise.evaluation.domains.base import (
    PARSE_ERRORS,
    DomainCheck,
    Row,
    RowMetric,
    import_tool,
    quiet_logger,
    text_columns,
)


class Statements(DomainCheck):
    """Parsed in the dialect of the column `dialect`, if rows have one, else in `dialect`."""

    criterion = "sqlglot reads it as one statement of its dialect"

    def __init__(self, column: str, train: Sequence[str], dialect: str | None = None) -> None:
        super().__init__(column, train)
        self.tool = import_tool("sqlglot", "SQL statements")
        self.dialect = dialect

    def valid(self, row: Row) -> bool:
        return self.parse(row[self.column], self._dialect_of(row)) is not None

    def key(self, text: str) -> str:
        return " ".join(text.lower().split()).rstrip("; ")

    def more_metrics(self, rows: Sequence[Row]) -> list[RowMetric]:
        return [
            RowMetric(
                "runs in SQLite",
                np.array([self.runs(row) for row in rows], dtype=bool),
                "a query or a value that SQLite prepares, after translation, on empty tables",
            )
        ]

    def parse(self, text: str, dialect: str | None) -> Any:
        """The syntax tree of a text that is exactly one known statement, else None."""
        with quiet_logger("sqlglot"):
            try:
                trees = self.tool.parse(text, read=dialect)
            except (self.tool.errors.SqlglotError, *PARSE_ERRORS):
                return None
        single = len(trees) == 1 and trees[0] is not None
        return trees[0] if single and not isinstance(trees[0], self.tool.exp.Command) else None

    def runs(self, row: Row) -> bool:
        """Whether SQLite prepares a query, or a query for a value, on empty tables. It is not run."""
        exp, tree = self.tool.exp, self.parse(row[self.column], self._dialect_of(row))
        if isinstance(tree, exp.Condition) and not isinstance(tree, exp.Query):
            tree = exp.select(tree).from_("x")  # a value alone
        if not isinstance(tree, exp.Query):
            return False
        tables = self._tables(tree)
        with quiet_logger("sqlglot"), closing(sqlite3.connect(":memory:")) as database:
            try:
                for name, columns in tables.items():
                    distinct = {column.lower(): _quote(column) for column in columns}.values()
                    database.execute(f"CREATE TABLE {_quote(name)} ({', '.join(distinct)})")
                database.execute("EXPLAIN " + tree.sql("sqlite"))
            except (sqlite3.Error, sqlite3.Warning, self.tool.errors.SqlglotError, *PARSE_ERRORS):
                return False
        return True

    def _tables(self, tree: Any) -> dict[str, set[str]]:
        """The tables of a query and their columns; their schemas, which SQLite lacks, are removed from it."""
        exp = self.tool.exp
        local = {cte.alias for cte in tree.find_all(exp.CTE)}
        tables = [table for table in tree.find_all(exp.Table) if table.name and table.name not in local]
        columns: dict[str, set[str]] = {table.name: {"x"} for table in tables}
        aliases = {table.alias_or_name: table.name for table in tables}
        for table in tables:
            table.set("db", None)
            table.set("catalog", None)
        for column in tree.find_all(exp.Column):
            if column.name and (column.table in aliases or (tables and not column.table)):
                columns[aliases.get(column.table, next(iter(columns)))].add(column.name)
        return columns

    def _dialect_of(self, row: Row) -> str | None:
        dialect = row.get("dialect", self.dialect)
        return None if dialect == ANY else dialect


class Translations(Statements):
    """Statements in two dialects, each in a column with the name of its dialect."""

    def __init__(self, column: str, train: Sequence[str], source: str | None) -> None:
        """`source` is the column that is translated, if the table has one."""
        super().__init__(column, train, dialect=column)
        self.source = source

    @classmethod
    def columns(cls, table: Table) -> list[str]:
        return text_columns(table)

    @classmethod
    def for_column(cls, table: Table, column: str) -> Self:
        source = next((name for name in cls.columns(table) if name != column), None)
        return cls(column, table.train.column(column), source)

    def more_metrics(self, rows: Sequence[Row]) -> list[RowMetric]:
        metrics, source = super().more_metrics(rows), self.source
        if source is not None and source in rows[0]:
            metrics.append(
                RowMetric(
                    "translation correct",
                    np.array([self._translation_correct(row, source) for row in rows], dtype=bool),
                    f"the same as sqlglot's translation of {source}, but for the spelling",
                )
            )
        return metrics

    def _translation_correct(self, row: Row, source: str) -> bool:
        """Whether a text is sqlglot's translation of the source, both in sqlglot's spelling."""
        target, tree = self.parse(row[self.column], self.dialect), self.parse(row[source], source)
        if target is None or tree is None:
            return False
        with quiet_logger("sqlglot"):
            try:
                return target.sql(self.dialect) == tree.sql(self.dialect)
            except (self.tool.errors.SqlglotError, *PARSE_ERRORS):
                return False


def _quote(name: str) -> str:
    """A name in SQLite's quotes, which allow any."""
    return '"' + name.replace('"', '""') + '"'
