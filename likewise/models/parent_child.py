"""ParentChild: a table and its child table, sampled so that every child has a parent.

    P(parent, n) prod_{k < n} P(child_k | parent, n, k, summary of the children before)                       (1)

The parents' model has the number of children n as one more column; the children's model has the child before, and
the means of all before, as sources.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from likewise.core.formula import Formula, View
from likewise.core.rng import seed_of
from likewise.data.child_tables import ChildTables, Layout
from likewise.modalities import modality_from_json
from likewise.modalities.base import Modality, Row
from likewise.modalities.conditions import Condition
from likewise.modalities.id import Id
from likewise.modalities.ranked import Ranked
from likewise.models import checkpoint
from likewise.models.checkpoint import TABLES
from likewise.models.model import Model

PARENTS, CHILDREN = "parents", "children"  # folders of the models in the folder of the run
BATCH = 512  # rows that are sampled at once


class Family(NamedTuple):
    """Rows of both tables; a child has the key of its parent."""

    parents: list[Row]
    children: list[Row]


class ParentChild:
    """P(parents, their children), see (1).

    parents, children  the models
    layout  the names of their columns
    keys    new keys of parents
    order   the modality of the column by which children are in order, None without one
    """

    def __init__(
        self, parents: Model, children: Model, layout: Layout, keys: Id, order: Modality | None = None
    ) -> None:
        self.parents, self.children, self.layout, self.keys, self.order = (
            parents,
            children,
            layout,
            keys,
            order,
        )

    @classmethod
    def of(
        cls, tables: ChildTables, formula: str | Formula = "*", *, seed: int = 0, **options: Any
    ) -> ParentChild:
        """Untrained models of tables.

        formula  of the parents, without the key and the number of children
        options  of the family any_order, of both models

        Raises FormulaError for a formula that does not fit the columns of the parents.
        """
        layout, table = tables.layout, tables.parents
        extra = [layout.count, *([layout.first] if layout.first else [])]
        formula = Formula.parse(formula) if isinstance(formula, str) else formula
        added = tuple(View(name) for name in extra if name in table.kinds)
        formula = table.expand(Formula((*formula.targets, *added), formula.sources))
        columns = _with_styles(table.columns, tables.original[0])
        parents = Model(formula, columns, "any_order", seed=seed, **options)
        known = {**layout.parents}
        layout = dataclasses.replace(layout, parents={n: s for n, s in known.items() if n in formula.columns})
        columns = _with_styles(tables.children.columns, tables.original[1])
        targets = [n for n in layout.targets if n in columns]
        sources = [
            *layout.parents.values(),
            layout.position,
            *layout.previous.values(),
            *layout.means.values(),
        ]
        sources = [n for n in sources if n in columns]
        columns |= {n: columns[n].without_missing() for n in sources}  # what is missing is not given
        views = Formula(tuple(map(View, targets)), tuple(map(View, sources)))
        children = Model(views, columns, "any_order", seed=seed, **options)
        order = tables.original[1][layout.order] if layout.order else None
        return cls(parents, children, layout, tables.keys, order)

    # ---- sampling

    def sample(self, rows: int | Sequence[Row] = 1, *, seed: int = 0, start: int = 0) -> Family:
        """Parents, so many or one for each row of values that are known of it, and their children.

        seed, start  parent i depends on (seed, start + i) only, and so do its children and its key
        """
        given: Sequence[Row] = [{}] * rows if isinstance(rows, int) else rows
        indices = range(start, start + len(given))
        parents = self.sample_parents(given, seed, indices)
        groups = self.sample_children(parents, seed, indices)
        keys = self.make_keys(indices, seed)
        hidden = {self.layout.count, self.layout.first}
        return Family(
            [
                {self.layout.key: key} | {n: v for n, v in row.items() if n not in hidden}
                for key, row in zip(keys, parents, strict=True)
            ],
            [
                {self.layout.key: key} | child
                for key, group in zip(keys, groups, strict=True)
                for child in group
            ],
        )

    def make_keys(self, numbers: range, seed: int = 0) -> list[str | int]:
        """The keys of parents by their numbers. Raises ValueError if the form of the keys has not so many."""
        keys = [
            self.keys.native(key)
            for key in itertools.islice(self.keys.fresh(seed), numbers.start, numbers.stop)
        ]
        if len(keys) < len(numbers):
            raise ValueError(
                f"there are only {len(keys):,} new keys of the form {self.keys.form()}; sample fewer parents"
            )
        return [key for key in keys if key is not None]

    def sample_parents(self, given: Sequence[Row], seed: int, indices: Sequence[int]) -> list[Row]:
        """Parents with the number of their children, and where there are any the value of `first`."""
        rows = self.parents.sample(given, seed=seed, indices=indices, batch=BATCH)
        first, count = self.layout.first, self.layout.count
        lacking = [i for i, row in enumerate(rows) if first and row[count] and row.get(first) is None]
        if lacking:
            known = [{n: v for n, v in rows[i].items() if n != first and v is not None} for i in lacking]
            again = self.parents.sample(
                known,
                seed=seed_of("first", seed),
                indices=[indices[i] for i in lacking],
                constraint={first: Condition()},
                batch=BATCH,
            )
            for i, row in zip(lacking, again, strict=True):
                rows[i] = {**rows[i], first: row[first]}
        return rows

    def sample_children(self, parents: Sequence[Row], seed: int, indices: Sequence[int]) -> list[list[Row]]:
        """The children of each parent, in order: the k-th ones of all parents are sampled together."""
        groups: list[list[Row]] = [[] for _ in parents]
        for k in range(max((row[self.layout.count] for row in parents), default=0)):
            active = [i for i, row in enumerate(parents) if row[self.layout.count] > k]
            sources = [self._sources(parents[i], groups[i]) for i in active]
            present = (
                {self.layout.gap: Condition()} if self.layout.gap in self.children.targets and k else None
            )
            samples = self.children.sample(
                sources,
                seed=seed_of("child", k, seed),
                indices=[indices[i] for i in active],
                constraint=present,
                batch=BATCH,
            )
            for i, row in zip(active, samples, strict=True):
                groups[i].append(self._child(parents[i], groups[i], row))
        return groups

    def _sources(self, parent: Row, before: Sequence[Row]) -> Row:
        return {n: v for n, v in self.layout.sources(parent, before).items() if n in self.children.sources}

    def _child(self, parent: Row, before: Sequence[Row], sample: Row) -> Row:
        """A child with the columns of its file."""
        layout = self.layout
        child = {n: sample.get(n) for n in layout.columns}
        if isinstance(self.order, Ranked):
            value = before[-1][layout.order] if before else parent[layout.first]
            gap = sample.get(layout.gap) if before else None
            if gap:
                number = float(self.order.numbers([value])[0]) + gap
                step = self.order.step
                number = round(number / step) * step if step else number
                value = self.order.from_numbers(np.array([number]))[0]
            child[layout.order] = value
        return child

    # ---- folders

    def save(self, folder: str | Path, **more: Any) -> None:
        """Write tables.json, with further JSON values `more`, and both models as run folders."""
        folder = Path(folder)
        self.parents.save(folder / PARENTS)
        self.children.save(folder / CHILDREN)
        self.save_state(folder, **more)

    def save_state(self, folder: Path, **more: Any) -> None:
        """Write tables.json only."""
        state = {
            "key": self.layout.key,
            "layout": dataclasses.asdict(self.layout),
            "keys": self.keys.to_json(),
            "order": self.order.to_json() if self.order else None,
        }
        checkpoint.save_state(folder, {**state, **more}, TABLES)

    @classmethod
    def load(cls, folder: str | Path) -> ParentChild:
        """Read the folder of such models. Raises RunError if it cannot be read."""
        folder = Path(folder)
        state = checkpoint.load_state(folder, TABLES)
        keys, order = modality_from_json(state["keys"]), state["order"] and modality_from_json(state["order"])
        assert isinstance(keys, Id)
        parents, children = (Model.load(folder / name) for name in (PARENTS, CHILDREN))
        return cls(parents, children, Layout(**state["layout"]), keys, order)


def _with_styles(columns: Mapping[str, Modality], original: Mapping[str, Modality]) -> dict[str, Modality]:
    """The columns, written as in the file."""
    styles = {n: style for n in columns if (style := getattr(original.get(n), "style", ""))}
    return {n: c.with_style(styles[n]) if n in styles else c for n, c in columns.items()}
