"""A parent table and a child table that are joined by a key, as two tables from which models can learn.

parents   a row for each parent: its columns, the number of its children, and where they begin
children  a row for each child: its columns, and of its parent, its position and the children before it a summary
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from likewise.core.errors import did_you_mean, warn
from likewise.core.option_names import option_text
from likewise.data.arrow import PART, TableError
from likewise.data.base_table import BaseTable
from likewise.data.split import Holdout
from likewise.data.table import Table
from likewise.data.validation import BadRow, format_bad_rows
from likewise.modalities.base import Modality, Row
from likewise.modalities.id import Id, has_form
from likewise.modalities.ranked import Ranked

NUMBER = "number"


@dataclass(frozen=True)
class Layout:
    """The names of the columns of both tables, JSON values.

    key       the column that joins the tables
    parents   column of the parents -> the source of the children that has its value; the number of children is one
    count     the column of the parents that has the number of children
    columns   the columns of the children's file, without the key
    previous  column of the children -> the source that has its value in the child before
    means     column of the children -> the source that has the mean of the children before
    position  the source that has the number of children before
    order     the column of dates or numbers by which the children of each parent are in order, "" if there is none
    first     the column of the parents with its value in the first child
    gap       the target that has the difference from the child before, in place of `order`
    """

    key: str
    parents: Mapping[str, str]
    count: str
    columns: Sequence[str]
    previous: Mapping[str, str]
    means: Mapping[str, str]
    position: str
    order: str = ""
    first: str = ""
    gap: str = ""

    def sources(self, parent: Row, before: Sequence[Row]) -> Row:
        """The sources of a child: its parent, and a summary of the children before it."""
        row = {source: parent.get(name) for name, source in self.parents.items()}
        row[self.position] = len(before)
        for name, source in self.previous.items():
            row[source] = before[-1].get(name) if before else None
        if self.order and not before:
            row[self.previous[self.order]] = parent.get(self.first)
        for name, source in self.means.items():
            values = [child[name] for child in before if child.get(name) is not None]
            row[source] = sum(values) / len(values) if values else None
        return row

    @property
    def targets(self) -> list[str]:
        """The targets of the children."""
        return [*([self.gap] if self.gap else []), *(n for n in self.columns if n != self.order)]


@dataclass(frozen=True)
class ChildTables:
    """The result of `join_tables`.

    parents, children  see the head of the module; the children of a held-out parent are held out
    keys      new keys of parents
    rows      of each parent, its children in order, with the columns of their file
    original  the modalities of the columns of the parents' file and of the children's
    """

    parents: Table
    children: Table
    layout: Layout
    keys: Id
    rows: Sequence[Sequence[Row]]
    original: tuple[Mapping[str, Modality], Mapping[str, Modality]]


def join_tables(
    parents: Table,
    children: Table,
    key: str,
    *,
    order: str | None = None,
    skip_bad: bool = False,
    holdout: Holdout | None = None,
) -> ChildTables:
    """Join the rows of two tables by the column `key` that both have.

    order     the column by which the children of a parent are in order (default: the first one of dates, or the first
              number by which they are in the file); "" for the order of the file
    skip_bad  leave out rows without a key, with the key of another parent, and children without a parent
    holdout   which parents are held out

    Raises TableError for a key that a table does not have, for such rows unless they are skipped, and if no child is left.
    """
    for table, what in ((parents, "parents"), (children, "children")):
        if key not in table.stored_kinds:
            name = table.source or f"the table of the {what}"
            raise TableError(f"{name}: {did_you_mean('column', key, table.stored_kinds)}")
    parent_of, kept = _parent_rows(parents, key, skip_bad)
    groups = _group_children(children, key, parent_of, skip_bad)
    if not any(groups.values()):
        raise TableError(
            f"no row of {children.source or 'the children'} has a parent, so there is nothing to learn of them"
        )
    order = _order(children, groups.values(), key, order)
    if order:
        numbers = children.columns[order].numbers(children.column(order))  # type: ignore[attr-defined]
        groups = {number: sorted(group, key=lambda i: numbers[i]) for number, group in groups.items()}
    layout = _layout(parents, children, key, order)
    ids = [n for n in children.stored_kinds if n not in (key, *layout.columns)]
    if ids:
        warn(f"of the children's columns {', '.join(ids)} are left out, as they are ids")
    columns = {name: children.column(name) for name in layout.columns}
    rows = [[{name: columns[name][i] for name in columns} for i in groups[number]] for number in kept]
    of_parents = _rows(parents, [n for n in parents.stored_kinds if n != key], kept)
    for row, group in zip(of_parents, rows, strict=True):
        row[layout.count] = len(group)
        if order:
            row[layout.first] = group[0][order] if group else None
    kinds = {n: kind for n, kind in parents.stored_kinds.items() if n != key} | {layout.count: NUMBER}
    kinds |= {layout.first: children.kinds[order]} if order else {}
    table = Table.from_rows(of_parents, kinds, **dataclasses.asdict(holdout or Holdout()))
    texts = [key_text(v) for v in parents.column(key)]
    return ChildTables(
        table,
        _child_table(table, children, layout, of_parents, rows),
        layout,
        new_keys([text for text in texts if text is not None]),
        rows,
        (parents.columns, children.columns),
    )


def key_text(value: Any) -> str | None:
    """A key as a text, the same for 7, 7.0 and "7".

    >>> key_text(7.0), key_text(" C-7 "), key_text(None)
    ('7', 'C-7', None)
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else str(value).strip() or None


def new_keys(texts: Sequence[str]) -> Id:
    """Keys of the form of these; where they have none, the whole numbers that follow them.

    >>> [next(new_keys(k).fresh()) for k in (["anna", "bob"], ["7", "2009"], [f"C-{i:03d}" for i in range(20)])]
    ['1', '2010', 'C-020']
    """
    numbers = [int(text) for text in texts if text.isdecimal() and text == str(int(text))]
    if len(numbers) == len(texts) or not has_form(texts):
        return Id(("", ""), max(numbers, default=0) + 1, integer=len(numbers) == len(texts))
    return Id.fit(texts)


def _parent_rows(parents: Table, key: str, skip_bad: bool) -> tuple[dict[str, int], list[int]]:
    """The row of each key, and the rows that can be used."""
    row_of: dict[str, int] = {}
    bad = []
    for i, value in enumerate(parents.column(key)):
        text = key_text(value)
        if text is None:
            bad.append(_bad(parents, i, key, "the key is missing"))
        elif text in row_of:
            bad.append(
                _bad(
                    parents,
                    i,
                    key,
                    f"{text!r} is the key of {_bad(parents, row_of[text], key, '').place} too",
                )
            )
        else:
            row_of[text] = i
    _report(parents, "parents", bad, skip_bad)
    return row_of, list(row_of.values())


def _group_children(
    children: Table, key: str, row_of: Mapping[str, int], skip_bad: bool
) -> dict[int, list[int]]:
    """The row of a parent -> those of its children, in the order of the file."""
    groups: dict[int, list[int]] = defaultdict(list, {row: [] for row in row_of.values()})
    bad = []
    for i, value in enumerate(children.column(key)):
        text = key_text(value)
        if text is None or text not in row_of:
            reason = "the key is missing" if text is None else f"there is no parent {text!r}"
            bad.append(_bad(children, i, key, reason))
        else:
            groups[row_of[text]].append(i)
    _report(children, "children", bad, skip_bad)
    return groups


def _bad(table: BaseTable, row: int, column: str, reason: str) -> BadRow:
    return table._rows.bad_row(row, column, reason)


def _report(table: Table, what: str, bad: Sequence[BadRow], skip_bad: bool) -> None:
    """Say which rows are left out. Raises TableError unless bad rows are skipped."""
    if not bad:
        return
    name = table.source or what
    count = f"{len(bad):,} of {len(table):,} rows of {name} do not fit the key"
    if not skip_bad:
        raise TableError(
            format_bad_rows(
                f"{count}; correct them, or leave them out with {option_text('skip_bad', True)}", bad
            )
        )
    warn(f"{count} and are left out; the first: {bad[0]}")


def _rows(table: Table, names: Sequence[str], rows: Iterable[int]) -> list[Row]:
    columns = {name: table.column(name) for name in names}
    return [{name: columns[name][i] for name in names} for i in rows]


def _order(children: Table, groups: Iterable[Sequence[int]], key: str, order: str | None) -> str:
    """The column by which children are in order, "" for none. Raises TableError for one that cannot be."""
    ranked = {n: column for n, column in children.columns.items() if isinstance(column, Ranked) and n != key}
    if order == "":
        return ""
    if order is not None:
        if order not in ranked:
            raise TableError(did_you_mean("column of dates or numbers to order children by", order, ranked))
        for i, value in enumerate(children.column(order)):
            if value is None:
                reason = f"the value is missing by which children are in order; give another {option_text('order')}"
                raise TableError(str(_bad(children, i, order, reason)))
        return order
    complete = {n: column for n, column in ranked.items() if all(v is not None for v in children.column(n))}
    for name, column in complete.items():
        if column.spec.cycles is not None:  # a date
            return name
    several = [group for group in groups if len(group) > 1]
    for name, column in complete.items():
        numbers = column.numbers(children.column(name))
        if several and all((np.diff(numbers[group]) > 0).all() for group in several):
            return name
    return ""


def _layout(parents: Table, children: Table, key: str, order: str) -> Layout:
    """Names that no column has yet."""
    taken = {*parents.stored_kinds, *children.stored_kinds}

    def new(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    count = new("number of children")
    columns = [n for n in children.stored_kinds if n != key and not children.columns[n].why_id(n)]
    first, gap = (new(f"first {order}"), new(f"{order} after the one before")) if order else ("", "")
    of_parents = [n for n in parents.stored_kinds if n != key and not parents.columns[n].why_id(n)]
    return Layout(
        key,
        {name: new(f"parent {name}") for name in [*of_parents, count]},
        count,
        columns,
        {name: new(f"previous {name}") for name in columns},
        {
            name: new(f"mean {name} so far")
            for name in columns
            if children.columns[name].numeric and name != order
        },
        new("position"),
        order,
        first,
        gap,
    )


def _child_table(
    parents: Table, children: Table, layout: Layout, of_parents: Sequence[Row], rows: Sequence[Sequence[Row]]
) -> Table:
    """A row for each child, split as the parents are."""
    heldout = set(parents.test.row_numbers())
    order = children.columns[layout.order] if layout.order else None
    result = []
    for number, (parent, group) in enumerate(zip(of_parents, rows, strict=True)):
        at = order.numbers([child[layout.order] for child in group]) if isinstance(order, Ranked) else None
        for k, child in enumerate(group):
            row = {n: child[n] for n in layout.columns if n != layout.order} | layout.sources(
                parent, group[:k]
            )
            if at is not None:
                row[layout.gap] = float(at[k] - at[k - 1]) if k else None
            result.append(row | ({PART: "test" if number in heldout else "train"} if heldout else {}))
    kinds = {n: children.kinds[n] for n in layout.columns if n != layout.order}
    kinds |= {source: children.kinds[name] for name, source in layout.previous.items()}
    kinds |= {source: parents.kinds[name] for name, source in layout.parents.items()}
    kinds |= dict.fromkeys(
        [*layout.means.values(), layout.position, *([layout.gap] if layout.gap else [])], NUMBER
    )
    used = {name: kind for name, kind in kinds.items() if any(row.get(name) is not None for row in result)}
    result = [{name: row.get(name) for name in [*used, *([PART] if heldout else [])]} for row in result]
    return Table.from_rows(result, used, **({} if heldout else {"holdout": 0.0}))
