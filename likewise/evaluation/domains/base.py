"""DomainCheck: row metrics of texts of one domain, by an independent tool.

A check knows rows of a table and no model. The tools are the optional extra `domains`.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from likewise.data.table import Table
from likewise.evaluation.report import Better
from likewise.modalities.text import Text

Row = Mapping[str, Any]
COLUMN = "text"  # of a data set of texts
PARSE_ERRORS = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)  # of Python's compiler


class ToolError(ValueError):
    """A tool of a check is not installed."""


@dataclass(frozen=True)
class RowMetric:
    """One number for each row, (N,): bool for a share, float for a mean."""

    name: str
    values: np.ndarray
    note: str
    better: Better = "higher"


def import_tool(name: str, domain: str) -> Any:
    """A module of the extra `domains`. Raises ToolError with the command that installs it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ToolError(
            f"{domain} are checked by {name.partition('.')[0]}, which is not installed; "
            'pip install "likewise[domains]"'
        ) from None


class DomainCheck:
    """Validity, uniqueness and novelty of the texts of a column."""

    criterion = ""  # of a valid text, in words

    def __init__(self, column: str, train: Sequence[str]) -> None:
        """`train` are the training texts. Raises ToolError."""
        self.column, self.train = column, train

    @classmethod
    def columns(cls, table: Table) -> list[str]:
        """The columns of a table that can be checked."""
        return [name for name in text_columns(table) if name == COLUMN]

    @classmethod
    def for_column(cls, table: Table, column: str) -> Self:
        """The check of a column, which is one of `columns`."""
        return cls(column, table.train.column(column))

    def valid(self, row: Row) -> bool:
        """Whether the tool accepts a row's text."""
        raise NotImplementedError

    def key(self, text: str) -> str:
        """A canonical form: equal for texts that differ in spelling alone. Defined for any text."""
        return text

    def new(self, rows: Sequence[Row]) -> np.ndarray:
        """Whether no training text has the same canonical form, (N,)."""
        return np.array([self.key(row[self.column]) not in self._train_keys for row in rows], dtype=bool)

    def more_metrics(self, rows: Sequence[Row]) -> list[RowMetric]:
        """Metrics of this domain alone."""
        return []

    def row_metrics(self, rows: Sequence[Row]) -> list[RowMetric]:
        """All metrics of rows; also those of valid texts are shares of all rows."""
        valid = np.array([self.valid(row) for row in rows], dtype=bool)
        first: dict[str, int] = {}
        for i, row in enumerate(rows):
            first.setdefault(self.key(row[self.column]), i)
        unique = np.zeros(len(rows), dtype=bool)
        unique[list(first.values())] = True
        return [
            RowMetric("valid", valid, self.criterion),
            RowMetric("valid, unique", valid & unique, "and none before it is the same"),
            RowMetric("valid, unique, new", valid & unique & self.new(rows), "nor is any training text"),
            *self.more_metrics(rows),
        ]

    def comparable(self, rows: Sequence[Row], samples: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        """Held-out rows in the form in which they are compared with samples."""
        return list(rows)

    @cached_property
    def _train_keys(self) -> set[str]:
        return {self.key(text) for text in self.train}


def text_columns(table: Table) -> list[str]:
    """The columns of texts but the one that says what a row is about."""
    return [n for n, column in table.columns.items() if isinstance(column, Text) and n != "concept"]


@contextmanager
def quiet_logger(name: str) -> Iterator[None]:
    """Without the warnings of a tool, of which each invalid text has some."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
