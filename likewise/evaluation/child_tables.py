"""Evaluation of a parent and a child table: numbers of children, children with their parents, keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from likewise.data.arrow import TableError
from likewise.data.child_tables import ChildTables
from likewise.evaluation.features.cells import Cells, has_cells
from likewise.evaluation.metrics.c2st import c2st
from likewise.evaluation.metrics.estimate import share
from likewise.evaluation.metrics.total_variation import total_variation
from likewise.evaluation.report import MetricResult, Report
from likewise.modalities.base import Row
from likewise.models.parent_child import ParentChild

MIN_PARENTS = 10  # held-out ones with children, of which anything can be said
Group = tuple[Row, Sequence[Row]]  # a parent and its children


def evaluate_child_tables(model: ParentChild, tables: ChildTables, *, seed: int = 0) -> Report:
    """Samples of as many parents as are held out, beside as many training parents.

    C2ST is of one child of each parent, chosen at random, with the columns of its parent, its position, and the child
    before: several children of a parent would be known by it. Raises TableError for fewer than MIN_PARENTS held-out
    parents with children.
    """
    rng = np.random.default_rng(seed)
    test, train = (
        _groups(tables, part.row_numbers()) for part in (tables.parents.test, tables.parents.train)
    )
    if sum(bool(children) for _, children in test) < MIN_PARENTS:
        raise TableError(
            f"{len(test)} parents are held out, and an evaluation needs {MIN_PARENTS} that have children; "
            "hold out more of them"
        )
    family = model.sample(len(test), seed=seed)
    key = model.layout.key
    by_key: dict[Any, list[Row]] = defaultdict(list)
    for child in family.children:
        by_key[child[key]].append(child)
    keys = [parent[key] for parent in family.parents]
    ours: list[Group] = [(parent, by_key[parent[key]]) for parent in family.parents]
    some = [train[i] for i in rng.permutation(len(train))[: len(test)]]
    counts = [np.array([len(c) for _, c in groups]) for groups in (ours, test, some)]
    results = [
        MetricResult(
            "number of children: total variation",
            total_variation(counts[0], counts[1], rng=rng),
            real=total_variation(counts[2], counts[1], rng=rng),
            note="half the sum of the differences of the shares of 0, 1, 2 ... children",
        )
    ]
    cells = Cells.fit(*_columns(model, tables, train))
    features = [
        cells.features(cells.read(_values(model, cells.names, groups, rng))) for groups in (ours, test, some)
    ]
    if len(features[0]) > 1:
        results.append(
            MetricResult(
                "children with their parents: C2ST",
                c2st(features[0], features[1], rng=rng, categorical=cells.classes),
                real=c2st(features[2], features[1], rng=rng, categorical=cells.classes),
                chance=0.5,
                note="one child of each parent, with its parent, its position and the child before",
            )
        )
    valid, unique = set(keys), np.array([keys.count(k) == 1 for k in keys])
    results.append(MetricResult("parents with a key of their own", share(unique), better="higher"))
    if family.children:
        found = share(np.array([child[key] in valid for child in family.children]))
        results.append(MetricResult("children with a parent", found, better="higher"))
    return Report(str(model.parents.formula), None, len(test), 1, seed, {}, tuple(results))


def _groups(tables: ChildTables, numbers: Sequence[int]) -> list[Group]:
    names = [n for n in tables.parents.kinds if n not in (tables.layout.count, tables.layout.first)]
    columns = {name: tables.parents._rows.column(name) for name in names}
    return [({n: columns[n][i] for n in names}, tables.rows[i]) for i in numbers]


def _columns(
    model: ParentChild, tables: ChildTables, train: Sequence[Group]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The columns that are compared, and their training values."""
    layout = model.layout
    columns = {
        n: c for n, c in tables.children.columns.items() if n in (*layout.columns, *model.children.sources)
    }
    columns = {n: c for n, c in columns.items() if has_cells(c)}
    columns.pop(layout.parents.get(layout.count, ""), None)
    if layout.order and model.order:
        columns[layout.order] = model.order
    rng = np.random.default_rng(0)
    return columns, _values(model, list(columns), train, rng)


def _values(
    model: ParentChild, names: Sequence[str], groups: Sequence[Group], rng: np.random.Generator
) -> dict[str, list[Any]]:
    """Column -> its values in one child of each parent that has any."""
    layout, rows = model.layout, []
    for parent, children in groups:
        if children:
            k = int(rng.integers(len(children)))
            first = {layout.first: children[0][layout.order]} if layout.order else {}
            rows.append({**layout.sources({**parent, **first}, children[:k]), **children[k]})
    return {name: [row.get(name) for row in rows] for name in names}
