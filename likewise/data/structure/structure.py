"""Structure: the rules of a table, by which columns are computed instead of learned, and samples are checked."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from likewise.core.formula import Formula, View, quote_name
from likewise.core.option_names import option_text
from likewise.data.structure.columns import numbers_of
from likewise.data.structure.expressions import Expression
from likewise.data.structure.rules import (
    Combination,
    Comparison,
    Computed,
    Constant,
    Dependency,
    Identity,
    Order,
    Pattern,
    Presence,
    Requirement,
    Rule,
    Unique,
    rule_from_json,
)
from likewise.modalities.base import Modality, Row
from likewise.modalities.conditions import Condition
from likewise.modalities.ranked import Ranked


@dataclass(frozen=True)
class Structure:
    """Rules of rows.

    rules  found in a table, or required

    >>> structure = Structure((Identity("total", "a + b", 0.0),))
    >>> structure.computed, bool(Structure())
    (['total'], False)
    """

    rules: tuple[Rule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rules)

    def of(self, kind: type[Rule]) -> Iterator[Any]:
        """The rules of a kind."""
        return (rule for rule in self.rules if isinstance(rule, kind))

    @cached_property
    def computing(self) -> list[Computed]:
        """The rules that compute a column, each after those that it needs."""
        left = {
            rule.column: rule for rule in self.rules if isinstance(rule, Identity | Dependency | Constant)
        }
        ordered: list[Computed] = []
        while left:
            ready = [rule for rule in left.values() if not left.keys() & set(rule.inputs)]
            if not ready:
                raise ValueError(f"{' and '.join(map(quote_name, left))} are computed from each other")
            ordered += ready
            left = {n: rule for n, rule in left.items() if rule not in ready}
        return ordered

    @property
    def computed(self) -> list[str]:
        """The columns that are computed."""
        return [rule.column for rule in self.computing]

    def restrict(self, targets: Collection[str], columns: Collection[str]) -> Structure:
        """The rules that compute targets from columns of a formula, and those that relate targets to these.

        At least one target is left to learn.
        """
        rules: list[Rule] = []
        free = len(targets) - 1
        for rule in self.rules:
            match rule:
                case Identity() | Dependency() | Constant():
                    kept = rule.column in targets and {*rule.inputs} <= {*columns} and free > 0
                    free -= kept
                case Presence():
                    kept = rule.column in targets and rule.by in columns
                case Requirement():
                    if missing := [name for name in rule.columns if name not in columns]:
                        raise ValueError(
                            f"{rule} is required, and the formula has no column {quote_name(missing[0])}; leave it out"
                        )
                    kept = True
                case _:
                    kept = {*rule.columns} <= {*columns} and bool({*rule.columns} & {*targets})
            if kept:
                rules.append(rule)
        return Structure(tuple(rules))

    def learned_formula(self, formula: Formula) -> Formula:
        """The formula without the targets that are computed; a column that says where others have values is before them."""
        computed, leaders = {*self.computed}, {rule.column: rule.by for rule in self.of(Presence)}
        views = {view.name: view for view in formula.targets if view.name not in computed}
        ordered: dict[str, View] = {}
        for name, view in views.items():
            if (by := leaders.get(name)) in views:
                ordered.setdefault(by, views[by])
            ordered.setdefault(name, view)
        return Formula(tuple(ordered.values()), formula.sources)

    def to_json(self) -> list[dict[str, Any]]:
        """The rules as JSON values."""
        return [rule.to_json() for rule in self.rules]

    @classmethod
    def from_json(cls, state: Sequence[Mapping[str, Any]]) -> Self:
        """The inverse."""
        return cls(tuple(map(rule_from_json, state)))

    def lines(self) -> list[str]:
        """A line for each rule: what it is, in how many rows it holds, and what follows; the orders are one line."""
        orders = list(self.of(Order))
        lines = [f"{rule} {rule.where}{_consequence(rule)}" for rule in self.rules if rule not in orders]
        if orders:
            lines.append(f"{', '.join(map(str, orders))} {orders[0].where}{_consequence(orders[0])}")
        return lines


def _consequence(rule: Rule) -> str:
    match rule:
        case Identity() | Dependency() | Constant():
            return f", so {quote_name(rule.column)} is computed, not learned"
        case Presence():
            return ", so one state is learned for both"
        case Order():
            return ", so samples keep to it"
    return ", so every sample satisfies it"


@dataclass(frozen=True)
class RowRules:
    """The structure of rows with columns of these modalities."""

    structure: Structure
    columns: Mapping[str, Modality] = field(default_factory=dict)

    # ---- from what is learned to whole rows

    def complete(self, rows: Sequence[Row], given: Sequence[Row]) -> list[Row]:
        """Rows with their computed columns, and without values where others say that there is none.

        given  values that are kept as they are
        """
        rows = [dict(row) for row in rows]
        for rule in self.structure.of(Presence):
            for row, kept in zip(rows, given, strict=True):
                if rule.by in row and kept.get(rule.column) is None and not rule.is_present(row[rule.by]):
                    row[rule.column] = None
        for computing in self.structure.computing:
            inputs = set(computing.inputs)
            if not all(inputs <= row.keys() for row in rows):
                continue  # a part of the targets, while rows are sampled
            values = self.compute(computing, rows)
            for row, kept, value in zip(rows, given, values, strict=True):
                before = kept.get(computing.column)
                row[computing.column] = value if before is None else before
        return rows

    def compute(self, rule: Computed, rows: Sequence[Row]) -> list[Any]:
        """The values of the column of a rule, None where what it is computed from is missing."""
        match rule:
            case Constant():
                return [rule.value] * len(rows)
            case Dependency():
                values = [
                    rule.values.get(str(row[rule.by])) if row[rule.by] is not None else None for row in rows
                ]
                column = self.columns.get(rule.column)
                return [v if v is None or column is None else _as_written(column, v) for v in values]
            case Identity():
                numbers = np.asarray(
                    Expression(rule.expression).evaluate(self.arrays(rule.inputs, rows)), dtype=float
                )
                numbers = np.broadcast_to(numbers, len(rows))
                if rule.decimals is not None:
                    numbers = np.round(numbers + 0.0, rule.decimals) + 0.0
                return self._values(rule.column, numbers)

    def arrays(self, names: Collection[str], rows: Sequence[Row]) -> dict[str, np.ndarray]:
        """The columns of rows: numbers with nan, or objects with None, where missing, (N,)."""
        arrays: dict[str, np.ndarray] = {}
        for name in names:
            values = [row.get(name) for row in rows]
            column = self.columns.get(name)
            if isinstance(column, Ranked):
                arrays[name] = numbers_of(column, values)
            else:
                arrays[name] = np.empty(len(rows), dtype=object)
                arrays[name][:] = values
        return arrays

    def _values(self, name: str, numbers: np.ndarray) -> list[Any]:
        """Numbers, nan where missing, as the values of a column."""
        column = self.columns[name]
        assert isinstance(column, Ranked)
        gone = ~np.isfinite(numbers)
        values = column.from_numbers(np.where(gone, column.low, numbers))
        return [None if missing else value for missing, value in zip(gone.tolist(), values, strict=True)]

    # ---- checks

    def violations(self, rows: Sequence[Row]) -> list[list[str]]:
        """The rules that each row violates: of a row that lacks a column of a rule, none."""
        found: list[list[str]] = [[] for _ in rows]
        for rule in self.structure.rules:
            for i, broken in enumerate(self._broken(rule, rows)):
                if broken:
                    found[i].append(str(rule))
        return found

    def _broken(self, rule: Rule, rows: Sequence[Row]) -> Sequence[bool] | np.ndarray:
        """Whether each row violates a rule."""
        match rule:
            case Identity():
                arrays = self.arrays([rule.column, *rule.inputs], rows)
                computed = Expression(rule.expression).evaluate(arrays)
                slack = rule.tolerance * (1 + 1e-9) + 1e-9 * np.abs(arrays[rule.column])
                return np.abs(computed - arrays[rule.column]) > slack
            case Dependency() | Constant():
                needed = rule.columns
                there = [all(row.get(n) is not None for n in needed) for row in rows]
                return [
                    known and value is not None and str(value) != str(row[rule.column])
                    for known, value, row in zip(there, self._compute(rule, rows, there), rows, strict=True)
                ]
            case Presence():
                return [
                    rule.column in row
                    and rule.by in row
                    and (row[rule.column] is not None) != rule.is_present(row[rule.by])
                    for row in rows
                ]
            case Order():
                arrays = self.arrays(rule.columns, rows)
                with np.errstate(invalid="ignore"):
                    return arrays[rule.low] > arrays[rule.high]
            case Comparison():
                there = [all(name in row for name in rule.columns) for row in rows]
                holds = np.asarray(
                    Expression(rule.text).evaluate(self.arrays(rule.columns, rows)), dtype=bool
                )
                return ~holds & np.array(there)
            case Combination():
                known = {*rule.known}
                return [
                    all(name in row for name in rule.columns)
                    and tuple(str(row[name]) for name in rule.columns) not in known
                    for row in rows
                ]
            case Pattern():
                match = re.compile(rule.pattern).fullmatch
                return [row.get(rule.column) is not None and not match(str(row[rule.column])) for row in rows]
        return [False] * len(rows)

    def _compute(self, rule: Computed, rows: Sequence[Row], there: Sequence[bool]) -> list[Any]:
        """The values of a rule for the rows that have what it needs, None for the others."""
        values = iter(self.compute(rule, [row for row, known in zip(rows, there, strict=True) if known]))
        return [next(values) if known else None for known in there]

    def unfit(self, rows: Sequence[Row]) -> list[list[Rule]]:
        """The rules for which each sample is to be drawn again.

        These are rules that relate columns, and those of computed values outside of the range of the training rows.
        """
        found: list[list[Rule]] = [[] for _ in rows]
        for rule in self.structure.rules:
            computes = isinstance(rule, Identity | Dependency | Constant)
            for i, broken in enumerate(
                self._out_of_range(rule, rows) if computes else self._broken(rule, rows)
            ):
                if broken:
                    found[i].append(rule)
        return found

    def _out_of_range(self, rule: Rule, rows: Sequence[Row]) -> Sequence[bool] | np.ndarray:
        column = self.columns.get(rule.columns[0])
        if not isinstance(rule, Identity) or not isinstance(column, Ranked):
            return []
        numbers = self.arrays([rule.column], rows)[rule.column]
        slack = rule.tolerance + 1e-9 * np.abs(numbers)
        with np.errstate(invalid="ignore"):
            return (numbers < column.low - slack) | (numbers > column.high + slack)

    def rows_to_repeat(self, rows: Sequence[Row | None]) -> list[int]:
        """The rows in which a value that is to be unique occurs again, None aside."""
        places: set[int] = set()
        for rule in self.structure.of(Unique):
            seen: set[str] = set()
            for i, row in enumerate(rows):
                value = None if row is None else row.get(rule.column)
                if value is not None and str(value) in seen:
                    places.add(i)
                seen.add(str(value))
        return sorted(places)

    def log_prob(self, rows: Sequence[Row]) -> np.ndarray:
        """log P of the computed columns of rows given the others, (N,): 0 where all rules hold, -inf where one does not.

        Of an identity with exceptions it is the log of the share of the rows in which it holds; of the others their
        share times the probability that the column has that value in any row.
        """
        nats = np.zeros(len(rows))
        for rule in self.structure.rules:
            broken = np.asarray(self._broken(rule, rows), dtype=bool)
            if not rule.exceptions:
                nats[broken] = -np.inf
                continue
            share = rule.exceptions / rule.rows
            there = np.array([row.get(rule.columns[0]) is not None for row in rows])
            nats[there & ~broken] += np.log1p(-share)
            for i in np.flatnonzero(broken).tolist():
                column = self.columns[rule.columns[0]]
                z = column.encode(rows[i][rule.columns[0]])
                normal = -0.5 * z.double() ** 2 - 0.5 * math.log(2 * math.pi)
                nats[i] += math.log(share) + float(normal + column.log_scale(z))
        return nats

    # ---- from what is given to what is learned

    def resolve(
        self, row: Row, within: Mapping[str, Condition] | None = None
    ) -> tuple[Row, dict[str, Condition]]:
        """What is given, and conditions, in terms of the columns that are learned.

        A given value of a computed column becomes one of the column that it is computed from, or a condition on that.
        Raises ValueError where that is not possible, and for values that contradict a rule.
        """
        row, conditions = dict(row), dict(within or {})
        for rule in reversed(self.structure.computing):
            if rule.column in conditions:
                self._add(conditions, *self._condition(rule, conditions.pop(rule.column)))
            if row.get(rule.column) is not None:
                self._solve(rule, row, conditions)
        given = [{name: value for name, value in row.items() if value is not None}]
        for rule in self.structure.computing:
            if not rule.exceptions and any(self._broken(rule, given)):
                raise ValueError(
                    f"what is given contradicts {rule}, which holds in the data; correct one of the values"
                )
        for rule in self.structure.of(Presence):
            if row.get(rule.column) is None and rule.column not in conditions:
                continue
            if row.get(rule.by) is None and rule.present:
                conditions.setdefault(rule.by, Condition(values=rule.classes or ()))
            elif row.get(rule.by) is not None and not rule.is_present(row[rule.by]):
                raise ValueError(f"what is given contradicts {rule}; leave {quote_name(rule.column)} out")
        return row, conditions

    def _add(self, conditions: dict[str, Condition], name: str, condition: Condition) -> None:
        """Add a condition on a column beside others."""
        before = conditions.get(name)
        if before is None or before.excludes_missing_only:
            conditions[name] = condition
        elif before.values and condition.values:
            both = tuple(value for value in before.values if value in condition.values)
            if not both:
                raise ValueError(f"{name}: no value is {before} and {condition}")
            conditions[name] = Condition(values=both)
        elif not condition.excludes_missing_only:
            raise ValueError(f"{name} has two conditions, {before} and {condition}; give one")

    def _condition(self, rule: Computed, condition: Condition) -> tuple[str, Condition]:
        """A condition on a computed column as one on the column that it is computed from."""
        if not isinstance(rule, Dependency) or not condition.values:
            raise ValueError(
                f"{quote_name(rule.column)} is computed ({rule}), so it can have no condition; give one of "
                f"{', '.join(map(quote_name, rule.inputs)) or 'another column'}, or train with {option_text('no-structure')}"
            )
        return rule.by, self._classes(rule, condition.values)

    def _classes(self, rule: Dependency, values: Collection[Any]) -> Condition:
        """The classes from which one of some values follows."""
        wanted = {*map(str, values)}
        keys = [key for key, value in rule.values.items() if str(value) in wanted]
        if not keys:
            raise ValueError(
                f"{rule.column}: no row of the data has {' or '.join(map(repr, map(str, values)))}"
            )
        return Condition(values=tuple(keys))

    def _solve(self, rule: Computed, row: Row, conditions: dict[str, Condition]) -> None:
        """Add the value of the one column that is not given to a row, or a condition on it."""
        unknown = [name for name in rule.inputs if row.get(name) is None]
        if not unknown:
            return
        name = unknown[0]
        if isinstance(rule, Dependency):
            self._add(conditions, name, self._classes(rule, [row[rule.column]]))
            return
        value = (
            self._solve_identity(rule, name, row)
            if isinstance(rule, Identity) and len(unknown) == 1
            else None
        )
        if value is None:
            several = "all but one of " if len(unknown) > 1 else ""
            raise ValueError(
                f"{quote_name(rule.column)} is computed ({rule}), so it can be given together with "
                f"{several}{', '.join(map(quote_name, unknown))} only; give that, or train with "
                f"{option_text('no-structure')}"
            )
        if reason := self.columns[name].check(value):
            raise ValueError(f"{name} would be {value} by {rule}: {reason}")
        row[name] = value

    def _solve_identity(self, rule: Identity, name: str, row: Row) -> Any:
        """The value of one column of an identity, if the expression is linear in it; else None."""
        column = self.columns[name]
        if not isinstance(column, Ranked):
            return None
        known = self.arrays([rule.column, *(n for n in rule.inputs if n != name)], [row])
        scale = max(abs(column.low), abs(column.high), 1.0)
        places = np.array([0.0, 1.0, 2.0]) * scale
        spread = {n: np.repeat(v, 3) for n, v in known.items()} | {name: places}
        f = np.asarray(Expression(rule.expression).evaluate(spread), dtype=float)
        if not np.isfinite(f).all() or abs(f[2] - 2 * f[1] + f[0]) > 1e-9 * np.abs(f).max() or f[1] == f[0]:
            return None
        solved = (known[rule.column] - f[0]) / (f[1] - f[0]) * scale
        if column.step:
            solved = np.round(np.round(solved / column.step) * column.step, 9)
        return self._values(name, solved)[0]


def _as_written(column: Modality, value: Any) -> Any:
    """A value of JSON as the values of a column are: a date of a text."""
    return column.load(value.encode()) if isinstance(value, str) else value
