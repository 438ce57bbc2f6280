"""Parameters of tests over a matrix: few by default, which have every pair of values, and the rest marked `full`."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable
from itertools import combinations

import pytest
from _pytest.mark import ParameterSet

Row = tuple[Hashable, ...]
ROW_FAMILIES = ("any_order", "trees")  # families that learn columns of one token only


def pairs(row: Row) -> set[tuple[tuple[int, Hashable], ...]]:
    """The pairs of values of a row, each value with its place."""
    return set(combinations(enumerate(row), 2))


def representative(rows: Iterable[Row]) -> set[Row]:
    """Few of the rows that have every pair of values that any of them has.

    Rows that add the most pairs come first, in an order that favours no value.
    """
    rows = list(rows)
    random.Random(0).shuffle(rows)
    chosen, covered = set(), set()
    for least in range(len(pairs(rows[0])), 0, -1):
        for row in rows:
            if len(pairs(row) - covered) >= least:
                chosen.add(row)
                covered |= pairs(row)
    return chosen


def pairwise(rows: Iterable[Row]) -> list[ParameterSet]:
    """All rows as parameters of a test, those that are not representative with the mark `full`."""
    rows = list(rows)
    default = representative(rows)
    return [pytest.param(*row, marks=() if row in default else pytest.mark.full) for row in rows]


def mainly(default: Iterable[Hashable], values: Iterable[Hashable]) -> list[ParameterSet]:
    """Values, or rows of them, as parameters of a test, those that are not in `default` with the mark `full`."""
    default, values = list(default), list(values)
    assert set(default) <= set(values), f"not among the values: {set(default) - set(values)}"
    rows = [(value if isinstance(value, tuple) else (value,), value in default) for value in values]
    return [pytest.param(*row, marks=() if often else pytest.mark.full) for row, often in rows]
