"""Formulas that are likely to be of use for the columns of a table."""

from __future__ import annotations

from likewise.core.formula import quote_name
from likewise.data.table import Table
from likewise.modalities import KINDS
from likewise.modalities.all_columns import is_cell, is_text

MAX_JOINT = 6  # columns of a suggested joint distribution


def suggest_formula(table: Table) -> str:
    """The first of `suggest_formulas`.

    >>> suggest_formula(Table.from_rows([{"label": "x", "y": 0.5}, {"label": "x", "y": 0.2}]))
    'label | y'
    """
    return suggest_formulas(table)[0]


def suggest_formulas(table: Table) -> list[str]:
    """Formulas, the likeliest one first: a column given another, the reverse, and all columns together; of a table of
    many numbers and labels all columns first.

    >>> suggest_formulas(Table.from_rows([{"label": "x", "y": 0.5}, {"label": "x", "y": 0.2}]))
    ['label | y', 'y | label', 'label, y', 'label']
    """
    kinds = {name: KINDS[kind] for name, kind in table.kinds.items()}
    cells = [name for name, column in table.columns.items() if is_cell(column)]
    if len(cells) > MAX_JOINT and all(map(is_text, (table.columns[n] for n in kinds if n not in cells))):
        last = quote_name(cells[-1])
        return ["*", f"{last} | *", f"* | {last}"]
    order = sorted(kinds, key=lambda name: kinds[name].target_rank)
    names = [quote_name(name) for name in order]
    if kinds[order[0]].passages:
        return [names[0]]
    first = " | ".join(names[:2])
    reverse = " | ".join(reversed(names[:2]))
    joint = ", ".join(names) if len(names) <= MAX_JOINT else first
    return list(dict.fromkeys([first, reverse, joint, names[0]]))
