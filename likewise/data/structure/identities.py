"""Identities among columns of numbers: sums, differences, products, ratios and annuities that hold in all rows.

A candidate is found in a few rows and checked in all, training and held-out, at the decimals of the columns: within
half a unit of the last decimal, or a whole one, as the sum of rounded terms can differ by that. Every column of it
matters: without it the identity fails in at least MIN_SUPPORT rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from likewise.data.structure.columns import Values
from likewise.data.structure.expressions import Expression, quote_word
from likewise.data.structure.rules import Identity
from likewise.data.structure.search import (
    MAX_TOLERANCE,
    Numbers,
    Relation,
    annuities,
    equal_columns,
    long_sums,
    products,
    rank,
    sums,
)
from likewise.modalities.rank_scale import decimals_of

MIN_ROWS = 100
MIN_SUPPORT = 10  # rows in which a column of an identity matters, and times as many as its exceptions
MAX_EXCEPTIONS = 0.002  # share of the rows, of the training rows and of the held-out ones
DRAWS = 2  # of rows in which relations are looked for, as one may be an exception


@dataclass(frozen=True)
class Candidate:
    """An identity before it is decided which of its columns is computed.

    choices    column -> the expression of the others that is equal to it
    relation   signs of a sum, None for another one
    """

    choices: Mapping[str, str]
    tolerance: float
    exceptions: int
    rows: int
    relation: Relation | None = None


def find_identities(values: Mapping[str, Values], train: np.ndarray, seed: int = 0) -> list[Candidate]:
    """Those of the columns of numbers; `train` (N,) bool are the training rows, the others are held out."""
    columns = {n: v for n, v in values.items() if v.numbers is not None and v.take(train).distinct > 1}
    masks: dict[bytes, list[str]] = {}
    for name, v in columns.items():
        masks.setdefault(np.packbits(v.present).tobytes(), []).append(name)
    whole = [n for n, v in columns.items() if v.present.all()]
    found: list[Candidate] = []
    for names in masks.values():
        part = columns[names[0]].present
        if (part & train).sum() < MIN_ROWS:
            continue
        pool = list(dict.fromkeys([*names, *whole]))
        needed = set(names) if not part.all() else set(pool)
        search = _Search({n: columns[n].take(part) for n in pool}, train[part], needed, seed)
        found += search.run()
    return found


class _Search:
    """The identities of columns without missing values, of which one of the `needed` ones is part."""

    def __init__(self, columns: Mapping[str, Values], train: np.ndarray, needed: set[str], seed: int) -> None:
        self.columns, self.train, self.needed = dict(columns), train, needed
        self.rng = np.random.default_rng(seed)
        self.arrays = {n: v.numbers for n, v in columns.items() if v.numbers is not None}
        self.relations: list[Relation] = []
        self.found: list[Candidate] = []

    def run(self) -> list[Candidate]:
        """All of them."""
        for terms in (1, 2, 3):
            for numbers, few in self._draws():
                for relation in sums(numbers, few, terms) if terms > 1 else equal_columns(numbers, few):
                    self._add_sum(relation)
        for numbers, few in self._draws():
            left = numbers.without({n for r in self.relations for n in [max(r, key=self._distinct)]})
            for relation, constant in long_sums(left, self.rng):
                self._add_sum(relation, constant)
            for a, b, sign, c in products(numbers, few):
                self._add(a, f"{quote_word(b)} {sign} {quote_word(c)}", [b, c])
            for a, amount, rate, periods, divisor in annuities(numbers, few):
                of_period = quote_word(rate) if divisor == 1 else f"{quote_word(rate)} / {divisor}"
                text = f"annuity({quote_word(amount)}, {of_period}, {quote_word(periods)})"
                self._add(a, text, [amount, rate, periods])
        return self.found

    def _distinct(self, name: str) -> int:
        return self.columns[name].distinct

    def _draws(self) -> Iterator[tuple[Numbers, np.ndarray]]:
        """The columns, without copies of others, and a few rows of them."""
        copies = {n for r in self.relations if len(r) == 2 for n, sign in r.items() if sign < 0}
        names = [n for n in self.columns if n not in copies]
        matrix = np.stack([self.arrays[n][self.train] for n in names])
        numbers = Numbers(names, matrix, np.array([self.columns[n].unit for n in names]))
        for _ in range(DRAWS if len(names) > 1 else 0):
            yield numbers, numbers.screen(self.rng)

    # ---- checks

    def _add_sum(self, relation: Relation, constant: float = 0.0) -> None:
        """Add a sum that holds and does not follow from others."""
        if not self.needed & relation.keys() or rank([*self.relations, relation]) == len(self.relations):
            return
        checked = self._check_sum(relation, constant)
        if checked is None:
            return
        tolerance, exceptions = checked
        if exceptions and (more := self._extend(relation, constant, tolerance)):
            relation, exceptions = more, 0
        self.relations.append(relation)
        choices = {name: _sum_text(relation, name, constant) for name in relation if name in self.needed}
        self.found.append(Candidate(choices, tolerance, exceptions, len(self.train), relation))

    def _check_sum(self, relation: Relation, constant: float) -> tuple[float, int] | None:
        total = np.sum([sign * self.arrays[name] for name, sign in relation.items()], axis=0) - constant
        return self._check(total, {n: self.arrays[n] for n in relation} if not constant else {}, [*relation])

    def _check(
        self, error: np.ndarray, terms: Mapping[str, np.ndarray], names: Sequence[str]
    ) -> tuple[float, int] | None:
        """The tolerance and the exceptions of an identity of so large an error in each row; None if it is none."""
        units = sorted({self.columns[n].unit for n in names})
        least = min(float(self.arrays[n].std()) for n in names)
        largest = max(float(np.abs(self.arrays[n]).max()) for n in names)
        rounding = (t for unit in units for t in (unit / 2, unit))
        exact = units[0] / 2 if len(names) > 1 else 0.0  # a sum is a multiple of the finest unit
        for tolerance in dict.fromkeys((exact, *(t for t in rounding if t <= MAX_TOLERANCE * least))):
            bad = np.abs(error) > tolerance + 1e-9 * largest
            exceptions = int(bad.sum())
            if any(bad[part].mean() > MAX_EXCEPTIONS for part in (self.train, ~self.train) if part.any()):
                continue
            needed = MIN_SUPPORT * max(1, exceptions)
            if all((np.abs(term[~bad]) > tolerance).sum() >= needed for term in terms.values()):
                return tolerance, exceptions
        return None

    def _extend(self, relation: Relation, constant: float, tolerance: float) -> Relation | None:
        """A relation with a further column that is what is left of it in every row."""
        left = sum(sign * self.arrays[name] for name, sign in relation.items()) - constant
        for name in self.columns:
            for sign in (1, -1):
                close = np.abs(left + sign * self.arrays[name]) <= tolerance + 1e-9 * np.abs(left).max()
                if name not in relation and close.all():
                    return {**relation, name: sign}
        return None

    def _add(self, column: str, text: str, inputs: Sequence[str]) -> None:
        """Add another identity, by its expression."""
        if not self.needed & {column, *inputs} or any(
            column in c.choices and not c.relation for c in self.found
        ):
            return
        error = Expression(text).evaluate(self.arrays) - self.arrays[column]
        if np.isfinite(error).all() and (checked := self._check(error, self._support(column), [column])):
            tolerance, exceptions = checked
            self.found.append(Candidate({column: text}, tolerance, exceptions, len(self.train)))

    def _support(self, column: str) -> dict[str, np.ndarray]:
        """The column, and how it differs from the value that most rows have."""
        values, counts = np.unique(self.arrays[column], return_counts=True)
        return {column: self.arrays[column], "": self.arrays[column] - values[counts.argmax()]}


def _sum_text(relation: Relation, column: str, constant: float) -> str:
    """The sum that is equal to a column of a relation: positive terms first."""
    own = relation[column]
    terms = [(-sign * own, name) for name, sign in relation.items() if name != column]
    terms.sort(key=lambda term: -term[0])
    parts = [f"{'+' if sign > 0 else '-'} {quote_word(name)}" for sign, name in terms]
    if constant * own:
        parts.insert(0, f"{'+' if constant * own > 0 else '-'} {abs(constant):.12g}")
    text = " ".join(parts)
    return text.removeprefix("+ ") if text.startswith("+") else "-" + text.removeprefix("- ")


def choose_computed(
    candidates: Sequence[Candidate], values: Mapping[str, Values], taken: set[str]
) -> list[Identity]:
    """An identity for each candidate, whose column no other one needs first.

    Of the columns of a sum the one that occurs in the fewest identities is computed, of these the one with the most
    different values.

    taken  columns that are computed otherwise
    """
    members = [c.choices.keys() | _inputs(c) for c in candidates]
    degree = {name: sum(name in some for some in members) for some in members for name in some}
    chosen: list[Identity] = []
    computed = set(taken)
    for candidate in sorted(candidates, key=lambda c: (c.relation is not None, len(c.choices))):
        for name in sorted(
            candidate.choices, key=lambda n: (degree[n], -values[n].distinct, list(values).index(n))
        ):
            expression = candidate.choices[name]
            if name in computed or _depends(chosen, Expression(expression).names, name):
                continue
            decimals = _decimals(name, expression, values)
            identity = Identity(
                name,
                expression,
                candidate.tolerance,
                decimals,
                rows=candidate.rows,
                exceptions=candidate.exceptions,
            )
            chosen.append(identity)
            computed.add(name)
            break
    return chosen


def _inputs(candidate: Candidate) -> set[str]:
    return {name for text in candidate.choices.values() for name in Expression(text).names}


def _depends(chosen: Sequence[Identity], names: frozenset[str] | set[str], column: str) -> bool:
    """Whether one of the names is computed from a column."""
    sources = {identity.column: identity.inputs for identity in chosen}
    left, seen = list(names), set()
    while left:
        name = left.pop()
        if name == column:
            return True
        if name not in seen:
            seen.add(name)
            left += sources.get(name, [])
    return False


def _decimals(column: str, expression: str, values: Mapping[str, Values]) -> int | None:
    """To how many a computed value is rounded: those of the column, else those of its terms."""
    if values[column].step:
        return decimals_of(values[column].step)
    steps = [values[name].step for name in Expression(expression).names]
    return (
        max(map(decimals_of, steps))
        if all(steps) and "*" not in expression and "/" not in expression
        else None
    )
