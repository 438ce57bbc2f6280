"""Where a missing value is a value of its own: in rows of columns of one token, such as those of a table."""

from __future__ import annotations

from collections.abc import Mapping

from likewise.core.formula import Formula
from likewise.modalities.base import Modality


def columns_of(formula: Formula, columns: Mapping[str, Modality]) -> dict[str, Modality]:
    """The columns of a formula, as a model of it learns them.

    Of a single target only the values that rows have are learned, and so they are beside a picture or a text: what is
    missing there is not given, and not sampled. Where the targets are several columns of one token, a missing value is
    a value, and so it is of their sources.
    """
    chosen = {name: columns[name] for name in formula.columns}
    targets = formula.target_names
    if any(columns[name].spec.tokens > 1 for name in targets):
        return {name: column.without_missing() for name, column in chosen.items()}
    if len(targets) == 1:
        [name] = targets
        return {**chosen, name: columns[name].without_missing()}
    return chosen
