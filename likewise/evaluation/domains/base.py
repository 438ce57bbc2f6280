"""TODO evaluation.domains.base."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from likewise.evaluation.report import Better

Row = Mapping[str, Any]
UNREAD = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)  # of Python's compiler
COPIED_WORDS = 8  # words that are a copy if they stand so in a training text


class ToolError(ValueError):
    """A tool that a check needs and that is not installed."""


@dataclass(frozen=True)
class RowMetric:
    """One number for each row, (N,): bool for what is a share, float for what is a mean."""

    name: str
    values: np.ndarray
    note: str
    better: Better = "higher"


def import_tool(name: str, domain: str) -> Any:
    """A module of the extra `judges`. Raises ToolError that says how to have it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise ToolError(
            f"{domain} are judged by {name.partition('.')[0]}, which is not installed; "
            'pip install "likewise[judges]"'
        ) from None


class DomainCheck:
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

    def more(self, rows: Sequence[Row]) -> list[RowMetric]:
        """What else there is to say."""
        return []

    def row_metrics(self, rows: Sequence[Row]) -> list[RowMetric]:
        """All that is said of rows; of what is valid alone a share of all rows, so that each has N."""
        valid = np.array([self.valid(row) for row in rows], bool)
        found: set[str] = set()
        keys = [self.key(row[self.column]) for row in rows]
        first = np.array([not (key in found or found.add(key)) for key in keys], bool)
        return [
            RowMetric("valid", valid, self.what),
            RowMetric("valid, unique", valid & first, "and none before it is the same"),
            RowMetric("valid, unique, new", valid & first & self.new(rows), "nor is any training text"),
            *self.more(rows),
        ]

    def real(self, rows: Sequence[Row], drawn: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        """Rows held out as they are compared with drawn ones."""
        return list(rows)

    @cached_property
    def _known(self) -> set[str]:
        return {self.key(text) for text in self.train}


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
