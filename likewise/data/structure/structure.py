"""Structure: the rules of a table, by which columns are computed instead of learned, and samples are checked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from likewise.core.formula import quote_name
from likewise.core.option_names import option_text
from likewise.data.structure.columns import numbers_of
from likewise.data.structure.expressions import Expression
from likewise.data.structure.rules import (
    Computed,
    Constant,
    Dependency,
    Identity,
    Order,
    Presence,
    Rule,
    rule_from_json,
)
from likewise.modalities.base import Modality, Row
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

    def restricted(self, targets: Collection[str], columns: Collection[str]) -> Structure:
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
                case Order():
                    kept = {rule.low, rule.high} <= {*columns} and bool({rule.low, rule.high} & {*targets})
                case _:
                    kept = True
            if kept:
                rules.append(rule)
        return Structure(tuple(rules))

    def to_json(self) -> list[dict[str, Any]]:
        """The rules as JSON values."""
        return [rule.to_json() for rule in self.rules]

    @classmethod
    def from_json(cls, state: Sequence[Mapping[str, Any]]) -> Self:
        """The inverse."""
        return cls(tuple(map(rule_from_json, state)))

    def lines(self) -> list[str]:
        """A line for each rule: what it is, in how many rows it holds, and what follows."""
        return [f"{rule} {rule.where}{_consequence(rule)}" for rule in self.rules]


def _consequence(rule: Rule) -> str:
    match rule:
        case Identity() | Dependency() | Constant():
            return f", so {quote_name(rule.column)} is computed, not learned"
        case Presence():
            return ", so one state is learned for both"
        case Order():
            return ", so samples keep to it"
    return ""


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
            if not all(set(computing.inputs) <= row.keys() for row in rows):
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
                there = [
                    row.get(rule.column) is not None and all(row.get(n) is not None for n in rule.inputs)
                    for row in rows
                ]
                return [
                    known and value is not None and str(value) != str(row[rule.column])
                    for known, value, row in zip(there, self._computed(rule, rows, there), rows, strict=True)
                ]
            case Presence():
                return [
                    rule.column in row
                    and rule.by in row
                    and (row[rule.column] is not None) != rule.is_present(row[rule.by])
                    for row in rows
                ]
            case Order():
                arrays = self.arrays([rule.low, rule.high], rows)
                with np.errstate(invalid="ignore"):
                    return arrays[rule.low] > arrays[rule.high]
        return [False] * len(rows)

    def _computed(self, rule: Computed, rows: Sequence[Row], there: Sequence[bool]) -> list[Any]:
        """The values of a rule for the rows that have what it needs, None for the others."""
        values = iter(self.compute(rule, [row for row, known in zip(rows, there, strict=True) if known]))
        return [next(values) if known else None for known in there]

    # ---- from what is given to what is learned

    def resolve(self, row: Row) -> Row:
        """A row in which given values of computed columns have become values of those that they are computed from.

        Raises ValueError where that is not possible, and for values that contradict a rule.
        """
        row = dict(row)
        for rule in reversed(self.structure.computing):
            if row.get(rule.column) is not None:
                self._solve(rule, row)
        if broken := self.violations([{n: v for n, v in row.items() if v is not None}])[0]:
            raise ValueError(
                f"what is given contradicts {broken[0]}, which holds in the data; correct one of the values"
            )
        return row

    def _solve(self, rule: Computed, row: Row) -> None:
        """Add the value of the one column that is not given to a row."""
        unknown = [name for name in rule.inputs if row.get(name) is None]
        if not unknown:
            return
        name, value = unknown[0], None
        if isinstance(rule, Identity) and len(unknown) == 1:
            value = self._solve_identity(rule, name, row)
        elif isinstance(rule, Dependency):
            keys = [key for key, v in rule.values.items() if str(v) == str(row[rule.column])]
            if not keys:
                raise ValueError(f"{rule.column}: no row of the data has {row[rule.column]!r}")
            value = self.columns[name].load(keys[0].encode()) if len(keys) == 1 else None
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
