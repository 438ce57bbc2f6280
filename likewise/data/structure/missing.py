"""Columns that are missing together, or exactly where another one has a value or some class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from likewise.data.structure.columns import Values
from likewise.data.structure.dependencies import MAX_LEVELS, find_mapping
from likewise.data.structure.rules import Presence

MIN_EACH = 10  # training rows with a value, and without one
MAX_CLASSES = 20  # that are named


def find_presence(values: Mapping[str, Values], train: np.ndarray) -> list[Presence]:
    """What determines whether a column has a value: a class, else the first column that is missing in the same rows,
    or in all others."""
    gaps = {
        n: v for n, v in values.items() if min(v.present[train].sum(), (~v.present[train]).sum()) >= MIN_EACH
    }
    found: list[Presence] = []
    leaders: dict[bytes, str] = {}
    for name, v in gaps.items():
        rule = _by_class(name, v, values, train)
        if rule is None:
            same, other = np.packbits(v.present).tobytes(), np.packbits(~v.present).tobytes()
            if same in leaders:
                rule = Presence(name, leaders[same], rows=len(train))
            elif other in leaders:
                rule = Presence(name, leaders[other], present=False, rows=len(train))
            else:
                leaders[same] = name
        if rule is not None:
            found.append(rule)
    return found


def _by_class(name: str, v: Values, values: Mapping[str, Values], train: np.ndarray) -> Presence | None:
    """The rule by the class with the fewest levels that tells whether a column has a value."""
    classes = {
        n: k
        for n, k in values.items()
        if n != name and k.numbers is None and k.present.all() and 1 < k.distinct <= MAX_LEVELS
    }
    for by, keys in sorted(classes.items(), key=lambda item: item[1].distinct):
        codes = find_mapping(keys.codes, v.present.astype(np.int64), train)
        if codes is None:
            continue
        there, gone = ([keys.levels[k] for k, c in codes.items() if c == state] for state in (1, 0))
        present = len(there) <= len(gone)
        classes_of = tuple(there if present else gone)
        if len(classes_of) <= MAX_CLASSES:
            return Presence(name, by, classes_of, present, rows=len(train))
    return None
