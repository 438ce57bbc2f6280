"""What columns of written values share: whether most cells can be read, and which values are far from the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from likewise.modalities.columns import ColumnSummary, ColumnValues
from likewise.modalities.ranked import Ranked
from likewise.modalities.robust import is_usual

MOST = 0.95  # of the cells of a column can be read, so that the others are errors
MIN_CELLS = 10  # of which one may be an error
FIRST = 20  # cells from which most other columns are told
MAX_LISTED = 5  # far values in a message


def mostly(column: ColumnSummary, parse: Callable[[str], Any]) -> bool:
    """Whether nearly all cells of a column can be parsed."""
    cells = column.sample
    if not cells or 2 * sum(parse(cell) is not None for cell in cells[:FIRST]) < len(cells[:FIRST]):
        return False
    bad = sum(parse(cell) is None for cell in cells)
    return bad <= (1 - MOST) * len(cells) or (bad == 1 and len(cells) >= MIN_CELLS)


def far_values(modality: Ranked, column: ColumnValues, said: Sequence[float] = ()) -> list[str]:
    """A line if all values are the same, or some are far from the others, but for numbers that are `said` already."""
    known = [(v, row) for v, row in zip(column.values, column.rows, strict=True) if v is not None]
    numbers = modality.numbers([v for v, _ in known])
    if len(numbers) > 1 and (numbers == numbers[0]).all():
        return [f"{column.name}: every value is {known[0][0]}, so there is nothing to learn of it"]
    is_said = np.isin(numbers, said)
    far = ~is_usual(numbers) & ~is_said
    if not far.any():
        return []
    usual, places = numbers[~far & ~is_said], np.flatnonzero(far)
    listed = ", ".join(f"{known[i][0]} ({known[i][1]})" for i in places[:MAX_LISTED])
    more = ", ..." if len(places) > MAX_LISTED else ""
    low, high = modality.from_numbers(np.array([usual.min(), usual.max()]))
    return [
        f"{column.name}: {len(places)} of {len(numbers)} values are far from the others, which lie between {low} and {high}: "
        f"{listed}{more}; correct them if they are errors"
    ]
