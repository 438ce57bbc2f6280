"""Functions of Python, by its own compiler."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from importlib.abc import InspectLoader

import numpy as np

from likewise.evaluation.domains.base import PARSE_ERRORS, DomainCheck, Row, RowMetric


class Functions(DomainCheck):
    """Compiled, never run; two are the same if their syntax trees are."""

    criterion = "Python compiles it"

    def valid(self, row: Row) -> bool:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                InspectLoader.source_to_code(row[self.column])
        except PARSE_ERRORS:
            return False
        return True

    def key(self, text: str) -> str:
        tree = _parse(text)
        return text if tree is None else ast.dump(tree)

    def more_metrics(self, rows: Sequence[Row]) -> list[RowMetric]:
        names = [_function_name(row[self.column]) for row in rows]
        single = np.array([name is not None for name in names])
        metrics = [RowMetric("one function", single, "a whole function and nothing else")]
        if "name" in rows[0]:
            same = np.array([name == row["name"] for name, row in zip(names, rows, strict=True)])
            metrics.append(RowMetric("name correct", same, "the function has the name in the column name"))
        return metrics


def _parse(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except PARSE_ERRORS:
        return None


def _function_name(text: str) -> str | None:
    """The name of the function that a text consists of, None if it is something else.

    >>> _function_name("def f(x):\\n    return x"), _function_name("x = 1")
    ('f', None)
    """
    tree = _parse(text)
    first = tree.body[0] if tree is not None and len(tree.body) == 1 else None
    return first.name if isinstance(first, ast.FunctionDef | ast.AsyncFunctionDef) else None
