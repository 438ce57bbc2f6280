"""How a model learns the columns of its formula: numbers as ranks or on a line, missing values as values or not."""

from __future__ import annotations

from collections.abc import Mapping

from likewise.core.formula import Formula
from likewise.modalities.base import Modality


def columns_of(formula: Formula, columns: Mapping[str, Modality], cells: bool) -> dict[str, Modality]:
    """The columns of a formula, as a family learns them.

    cells  whether the family gives the intervals of values probabilities (Family.learns_cells)

    Such a family learns numbers in rank space. Where its targets are several columns, a missing value is a value, and so
    it is of their sources; of a single target only the values that rows have are learned. Other families learn numbers on
    a linear scale, on which values that are far apart stay so, and rows in part.
    """
    chosen = {name: columns[name] for name in formula.columns}
    if not cells:
        return {name: column.linear() for name, column in chosen.items()}
    targets = formula.target_names
    if len(targets) == 1:
        [name] = targets
        return {**chosen, name: columns[name].without_missing()}
    return chosen
