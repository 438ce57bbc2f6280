"""TODO evaluation.domains.code."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from importlib.abc import InspectLoader

import numpy as np

from likewise.evaluation.domains.base import UNREAD, DomainCheck, Row, RowMetric


class Functions(DomainCheck):
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

    def more(self, rows: Sequence[Row]) -> list[RowMetric]:
        names = [_function(row[self.column]) for row in rows]
        found = [
            RowMetric(
                "one function",
                np.array([name is not None for name in names]),
                "a whole function and nothing else",
            )
        ]
        if "name" in rows[0]:
            same = [name == row["name"] for name, row in zip(names, rows, strict=True)]
            found.append(RowMetric("named so", np.array(same), "the function's name is the column name"))
        return found


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
