"""What `*` stands for in a formula: the columns of a table that it does not name, and that can be used."""

from __future__ import annotations

from collections.abc import Mapping

from likewise.core.errors import warn
from likewise.core.formula import Formula, FormulaError, quote_name
from likewise.modalities.base import Modality

BESIDE = "a text beside numbers and labels"


def expand_formula(
    formula: Formula, columns: Mapping[str, Modality], left_out: Mapping[str, str] | None = None
) -> Formula:
    """The formula with columns in the place of `*`, in their order; a RequestWarning names those that are not used.

    left_out  column -> why a table does not have it

    Ids are not used, nor are texts where all targets can be numbers and labels: a formula may name them beside `*`.
    Raises FormulaError if no column is left.

    >>> from likewise.modalities import Label, Number
    >>> columns = {"age": Number.fit([40, 50]), "city": Label.fit(["Oslo", "Rome"])}
    >>> str(expand_formula(Formula.parse("* | city"), columns))
    'age | city'
    """
    if not formula.has_all:
        return formula
    named = {view.column for view in formula.views if not view.is_all}
    others = {name: column for name, column in columns.items() if name not in named}
    reasons = {name: why for name, why in (left_out or {}).items() if name not in named}
    reasons |= {name: why for name, column in others.items() if (why := column.why_id(name))}
    others = {name: column for name, column in others.items() if name not in reasons}
    targets = [columns[n] for v in formula.targets if not v.is_all and (n := v.column) in columns]
    if any(view.is_all for view in formula.targets):
        targets += others.values()
    cells = [is_cell(column) for column in targets if not is_text(column)]
    if cells and all(cells):
        reasons |= {name: BESIDE for name, column in others.items() if is_text(column)}
    used = [name for name in columns if name in others and name not in reasons]
    said = "; ".join(f"{quote_name(name)}: {why}" for name, why in reasons.items())
    if not used:
        raise FormulaError(
            f"there is no column that * in {str(formula)!r} stands for"
            + (f" ({said})" if said else "; all are named already, so leave it out")
        )
    if said:
        warn(f"* leaves out {said}")
    return formula.expand(used)


def is_cell(column: Modality) -> bool:
    """Whether a value is one number or one class."""
    return column.spec.tokens == 1 and column.spec.width <= 1


def is_text(column: Modality) -> bool:
    """Whether a value is a text of any length."""
    return column.spec.tokens > 1 and column.spec.categorical
