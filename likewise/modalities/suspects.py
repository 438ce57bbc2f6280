"""Values that may stand for something else: signs for missing values, and ids that are there twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from likewise.modalities.columns import ColumnValues
from likewise.modalities.id import MIN_ROWS, has_form

NINES = re.compile("-9{2,}|9{3,}|-1")
APART = 0.5  # of the range of the others, between these and a sign for missing values
SIGN_DATES = {
    "1899-12-30",
    "1899-12-31",
    "1900-01-01",
    "1901-01-01",
    "1970-01-01",
    "2099-12-31",
    "2999-12-31",
    "9999-12-31",
}
NEARLY = 0.95  # of the values are different where they are nearly ids
SOME = 1000  # texts from which most columns are told
MAX_LISTED = 3


def missing_signs(numbers: np.ndarray, write: Callable[[float], str]) -> list[tuple[float, str]]:
    """Numbers that may stand for missing values, such as -999: the least or the largest of a column, twice at least.

    write  a number -> its text, of a date in ISO 8601
    """
    found = []
    for value in {float(numbers.min()), float(numbers.max())} if len(numbers) else ():
        places = np.flatnonzero(numbers == value)
        others = numbers[numbers != value]
        if len(places) < 2 or not len(others):
            continue
        text = write(value)
        if not (NINES.fullmatch(text) or text in SIGN_DATES):
            continue
        apart = np.abs(others - value).min() > APART * (others.max() - others.min())
        if (value < 0 and others.min() >= 0 and text[:1] == "-" and "-" not in text[1:]) or (
            apart and text != "-1"
        ):
            found.append((value, text))
    return sorted(found)


def missing_sign_line(name: str, text: str, count: int, total: int) -> str:
    """What is said of one."""
    return (
        f"{name}: {count:,} of {total:,} values are {text}, which may stand for missing values; leave these cells "
        "empty if so"
    )


def near_id_lines(column: ColumnValues) -> list[str]:
    """A line if nearly all values are different, as ids are, and some are there twice."""
    values = [(v, row) for v, row in zip(column.values, column.rows, strict=True) if v is not None]
    counts: Counter[Any] = Counter(v for v, _ in values)
    if len(values) < MIN_ROWS or not NEARLY * len(values) <= len(counts) < len(values):
        return []
    twice = [v for v, n in counts.items() if n > 1]
    shown = "; ".join(
        f"{v} in {', '.join([row for w, row in values if w == v][:MAX_LISTED])}" for v in twice[:MAX_LISTED]
    )
    more = "; ..." if len(twice) > MAX_LISTED else ""
    return [
        f"{column.name}: nearly an id, as {len(counts):,} of {len(values):,} values are different; there twice or more: "
        f"{shown}{more}"
    ]


def near_text_id_lines(column: ColumnValues) -> list[str]:
    """The same of texts of one form."""
    some = [v for v in column.values[:SOME] if v is not None]
    return near_id_lines(column) if has_form(list(dict.fromkeys(some))) else []
