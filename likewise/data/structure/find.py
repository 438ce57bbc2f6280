"""Structure of a table: the rules that all of its rows satisfy, found on training rows and checked on all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from likewise.data.storage import RowStore
from likewise.data.structure.columns import values_of
from likewise.data.structure.dependencies import find_constants, find_dependencies, find_orders
from likewise.data.structure.identities import MIN_ROWS, choose_computed, find_identities
from likewise.data.structure.missing import find_presence
from likewise.data.structure.rules import Rule
from likewise.data.structure.structure import Structure
from likewise.modalities.base import Modality


def find_structure(columns: Mapping[str, Modality], rows: RowStore, train: np.ndarray) -> Structure:
    """The structure of those columns that are one number or one class.

    rows   all rows; train (N,) bool: those for training

    Fewer than MIN_ROWS training rows show none.
    """
    if train.sum() < MIN_ROWS:
        return Structure()
    values = values_of(columns, rows)
    constants = find_constants(values, train)
    varied = {n: v for n, v in values.items() if n not in {rule.column for rule in constants}}
    dependencies = find_dependencies(varied, train)
    identities = choose_computed(
        find_identities(varied, train), varied, {rule.column for rule in dependencies}
    )
    computed = {*(rule.column for rule in identities), *(rule.column for rule in dependencies)}
    presence = find_presence({n: v for n, v in varied.items() if n not in computed}, train)
    rules: list[Rule] = [*identities, *dependencies, *constants, *presence]
    return Structure(tuple(rules + list(find_orders(varied, train, identities))))
