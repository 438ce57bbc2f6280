"""The search for equations among columns of numbers: on some rows first, then on all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Relation = dict[str, int]  # column -> 1 or -1: their sum with these signs is 0
SCREEN_ROWS = 6  # in which a relation is looked for, before it is checked
SPAN_ROWS = 2000  # from which relations of many columns are computed
MAX_TRIPLES = 60  # columns among which sums of three are looked for at most
NULL = 1e-4  # deviation of a sum of standardised columns that is none
MAX_TOLERANCE = 0.02  # by which rounding may explain a difference, as a share of the deviation of a column
MAX_PERIODS = 600  # of an annuity


@dataclass(frozen=True)
class Numbers:
    """Columns of numbers without missing values.

    names   of the columns
    matrix  (C, N) float64
    units   (C,) of the last decimal
    """

    names: Sequence[str]
    matrix: np.ndarray
    units: np.ndarray

    def screen(self, rng: np.random.Generator) -> np.ndarray:
        """The columns in a few rows, (C, SCREEN_ROWS), those first in which most columns are not 0."""
        count = self.matrix.shape[1]
        rows = rng.choice(count, min(count, 20 * SCREEN_ROWS), replace=False)
        busy = np.argsort(-(self.matrix[:, rows] != 0).sum(0), kind="stable")[: 4 * SCREEN_ROWS]
        return self.matrix[:, rows[rng.permutation(busy)[:SCREEN_ROWS]]]

    @cached_property
    def slack(self) -> np.ndarray:
        """By which each column may be off through rounding: not at all where that is much of its deviation; (C,)."""
        fine = self.units <= MAX_TOLERANCE * self.matrix.std(1)
        return np.where(fine, self.units, 0.0) + 1e-9 * np.abs(self.matrix).max(1, initial=0.0)

    def without(self, names: set[str]) -> Numbers:
        """The other columns."""
        kept = [i for i, name in enumerate(self.names) if name not in names]
        return Numbers([self.names[i] for i in kept], self.matrix[kept], self.units[kept])


def equal_columns(numbers: Numbers, few: np.ndarray) -> Iterator[Relation]:
    """a = b in a few rows."""
    index = np.arange(len(few))[:, None]
    for i, j in _matches(numbers, few, few, index, numbers.slack):
        if i < j:
            yield {numbers.names[i]: 1, numbers.names[j]: -1}


def sums(numbers: Numbers, few: np.ndarray, terms: int) -> Iterator[Relation]:
    """a = b + c, a = b + c + d, with any signs, in a few rows; each once."""
    columns = np.arange(len(few))
    if terms > 2 and len(columns) > MAX_TRIPLES:
        distinct = [len(np.unique(row[:SPAN_ROWS])) for row in numbers.matrix]
        columns = np.argsort([-d for d in distinct], kind="stable")[:MAX_TRIPLES]
    if len(columns) < terms + 1:
        return
    index = np.array(list(itertools.combinations(sorted(columns.tolist()), terms)))
    slack, seen = numbers.slack[index].sum(1), set()
    for signs in itertools.product((1, -1), repeat=terms):
        total = sum(s * few[index[:, k]] for k, s in enumerate(signs))
        for a, k in _matches(numbers, few, total, index, slack):
            relation = {a: -1, **dict(zip(index[k].tolist(), signs, strict=True))}
            lowest = min(relation)
            key = tuple(sorted((m, s * relation[lowest]) for m, s in relation.items()))
            if key not in seen:
                seen.add(key)
                yield {numbers.names[m]: s for m, s in relation.items()}


def products(numbers: Numbers, few: np.ndarray) -> Iterator[tuple[str, str, str, str]]:
    """(a, b, sign, c) with a = b * c or a = b / c in a few rows."""
    varied = np.flatnonzero(np.ptp(few, axis=1) > 0)
    for sign, choose in (("*", itertools.combinations), ("/", itertools.permutations)):
        index = np.array(list(choose(varied.tolist(), 2))).reshape(-1, 2)
        if sign == "/":
            index = index[few[index[:, 1]].all(1)]
        b, c = few[index[:, 0]], few[index[:, 1]]
        value = b * c if sign == "*" else b / c
        for a, k in _matches(numbers, few, value, index, np.zeros(len(index))):
            yield numbers.names[a], numbers.names[index[k, 0]], sign, numbers.names[index[k, 1]]


def _matches(
    numbers: Numbers, few: np.ndarray, values: np.ndarray, index: np.ndarray, slack: np.ndarray
) -> Iterator[tuple[int, int]]:
    """(a, k) where values (K, R) of columns index (K, J) are those of another column a in a few rows (C, R)."""
    for a in range(len(few)):
        error = slack + numbers.slack[a]
        near = np.flatnonzero(np.abs(values[:, 0] - few[a, 0]) <= error)
        near = near[(np.abs(values[near] - few[a]) <= error[near, None]).all(1)]
        yield from ((a, k) for k in near[(index[near] != a).all(1)].tolist())


def annuities(numbers: Numbers, few: np.ndarray) -> Iterator[tuple[str, str, str, str, int]]:
    """(payment, amount, rate, periods, divisor) of loans, the rate of a period being rate / divisor."""
    low, high = numbers.matrix.min(1), numbers.matrix.max(1)
    whole = [i for i in range(len(few)) if numbers.units[i] == 1 and low[i] >= 2 and high[i] <= MAX_PERIODS]
    rates = [i for i in range(len(few)) if low[i] >= 0 and high[i] < 100 and np.ptp(few[i]) > 0]
    for t, r, divisor in itertools.product(whole, rates, (1200, 12, 100, 1)):
        rate = few[r] / divisor
        if t == r or not 1e-5 < rate.max() <= 1 or not rate.all():
            continue
        due = few * rate / -np.expm1(-few[t] * np.log1p(rate))  # of each amount
        index = np.stack([np.arange(len(few)), np.full(len(few), t), np.full(len(few), r)], 1)
        index, due = index[np.ptp(few, axis=1) > 0], due[np.ptp(few, axis=1) > 0]
        for a, k in _matches(numbers, few, due, index, np.zeros(len(index))):
            if index[k, 0] not in (t, r):
                yield (*(numbers.names[i] for i in (a, index[k, 0], r, t)), divisor)  # type: ignore[misc]


def long_sums(numbers: Numbers, rng: np.random.Generator) -> Iterator[tuple[Relation, float]]:
    """Relations of any number of columns with the constant that they sum to, from the null space of some rows."""
    count = numbers.matrix.shape[1]
    rows = rng.choice(count, min(count, SPAN_ROWS), replace=False)
    part = numbers.matrix[:, rows]
    part = part - part.mean(1, keepdims=True)
    deviation = part.std(1)
    varied = np.flatnonzero(deviation > 0)
    if len(varied) < 3 or len(rows) < 2 * len(varied):
        return
    z = part[varied] / deviation[varied, None]
    values, vectors = np.linalg.eigh(z @ z.T / len(rows))
    null = (
        vectors[:, np.sqrt(values.clip(min=0)) < NULL].T / deviation[varied]
    )  # (K, C) of the columns themselves
    for row in _reduce(null):
        used = np.flatnonzero(np.abs(row) > 0.02)
        if len(used) < 3 or np.abs(np.abs(row[used]) - 1).max() > 0.02:
            continue
        relation = {numbers.names[varied[i]]: round(float(row[i])) for i in used.tolist()}
        sums_ = sum(s * numbers.matrix[numbers.names.index(n)][rows] for n, s in relation.items())
        yield relation, float(np.median(sums_))


def _reduce(rows: np.ndarray) -> np.ndarray:
    """The reduced row echelon form of a few vectors (K, C), pivots at the largest elements."""
    rows = rows.copy()
    for k in range(len(rows)):
        pivot = int(np.argmax(np.abs(rows[k])))
        if rows[k, pivot] == 0:
            continue
        rows[k] /= rows[k, pivot]
        others = np.arange(len(rows)) != k
        rows[others] -= rows[others, pivot][:, None] * rows[k]
    return rows


def rank(relations: Sequence[Mapping[str, int]]) -> int:
    """How many of the relations do not follow from others."""
    names = sorted({name for relation in relations for name in relation})
    matrix = np.array([[relation.get(name, 0) for name in names] for relation in relations])
    return int(np.linalg.matrix_rank(matrix)) if len(relations) else 0
