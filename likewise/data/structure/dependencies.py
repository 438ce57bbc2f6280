"""Columns that a class determines, columns with one value, and columns that are never above another one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from likewise.data.structure.columns import Values
from likewise.data.structure.rules import Constant, Dependency, Identity, Order
from likewise.modalities.ranked import Ranked

MAX_LEVELS = 1000  # of a class that determines a column
MIN_CONFIRMED = 10  # rows that a rule predicts from others, and that have not the most frequent value
MAX_CHANCE = 1e-9  # probability that a rule holds by chance
MIN_ROWS = 100
MIN_CROSSED = 0.05  # share of pairs of values of different rows that are in the other order
SAMPLE = 2000  # rows in which orders are looked for


def find_dependencies(values: Mapping[str, Values], train: np.ndarray) -> list[Dependency]:
    """Of each column that a class determines, the rule by the class with the fewest levels; none in a circle."""
    classes = {n: v for n, v in values.items() if v.numbers is None and 1 < v.distinct <= MAX_LEVELS}
    found: list[Dependency] = []
    for by, keys in sorted(classes.items(), key=lambda item: item[1].distinct):
        for name, v in values.items():
            if name == by or any(
                rule.column == name or (rule.by == name and rule.column == by) for rule in found
            ):
                continue
            codes = find_mapping(keys.codes, v.codes, train)
            if codes is None or _is_circular(found, name, by):
                continue
            levels = [None, *keys.levels]
            known = {str(levels[code + 1]): _value(v, value) for code, value in codes.items() if code >= 0}
            found.append(Dependency(name, by, known, rows=len(train)))
    return found


def find_mapping(keys: np.ndarray, codes: np.ndarray, train: np.ndarray) -> dict[int, int] | None:
    """Key -> the code that all rows (N,) with that key have; None unless all have, and more often than by chance."""
    some = np.linspace(0, len(keys) - 1, min(SAMPLE, len(keys))).astype(np.int64)
    if len(np.unique(keys[some])) != len(np.unique(np.stack([keys[some], codes[some]], 1), axis=0)):
        return None
    order = np.argsort(keys, kind="stable")
    k, c = keys[order], codes[order]
    first = np.flatnonzero(np.diff(k, prepend=k[0] - 1))
    sizes = np.diff(np.append(first, len(k)))
    if (c != np.repeat(c[first], sizes)).any() or len(first) < 2:
        return None
    in_train = train[order]
    counts = np.add.reduceat(in_train.astype(np.int64), first)
    of_train = codes[train]
    shares = np.unique(of_train + 1, return_counts=True)[1] / len(of_train)
    if len(shares) < 2:
        return None
    predicted = (counts - 1).clip(min=0)  # training rows, each by another one
    usual = np.bincount(of_train + 1).argmax() - 1
    confirmed = int(predicted[c[first] != usual].sum())
    chance = predicted.sum() * math.log(float((shares**2).sum()))
    if confirmed < MIN_CONFIRMED or chance > math.log(MAX_CHANCE):
        return None
    return dict(zip(k[first].tolist(), c[first].tolist(), strict=True))


def _value(v: Values, code: int) -> object:
    """The value of a code, as rows have it; None for a missing one."""
    if code < 0:
        return None
    if v.numbers is None:
        return v.column.load(v.levels[code].encode())
    [value] = (
        v.column.from_numbers(v.numbers[v.codes == code][:1]) if isinstance(v.column, Ranked) else [None]
    )
    return value if isinstance(value, int | float | str | bool) else str(value)


def _is_circular(found: Sequence[Dependency], column: str, by: str) -> bool:
    """Whether `by` follows from the column."""
    sources = {rule.column: rule.by for rule in found}
    name: str | None = by
    while name is not None and name != column:
        name = sources.get(name)
    return name is not None


def find_constants(values: Mapping[str, Values], train: np.ndarray) -> list[Constant]:
    """Columns with one value in all rows."""
    if train.sum() < MIN_ROWS:
        return []
    whole = {n: v for n, v in values.items() if v.present.all() and v.distinct == 1}
    return [Constant(n, _value(v, int(v.codes[0])), rows=len(train)) for n, v in whole.items()]


def find_orders(
    values: Mapping[str, Values], train: np.ndarray, identities: Sequence[Identity], seed: int = 0
) -> list[Order]:
    """Pairs of columns in order in all rows, without those that follow from others, or that ranges imply."""
    columns = {n: v for n, v in values.items() if v.numbers is not None and v.distinct > 2}
    if not columns or train.sum() < MIN_ROWS:
        return []
    rng = np.random.default_rng(seed)
    rows = rng.choice(np.flatnonzero(train), min(SAMPLE, int(train.sum())), replace=False)
    names = list(columns)
    arrays = {n: v.numbers for n, v in columns.items() if v.numbers is not None}
    few = np.stack([arrays[n][rows] for n in names])
    members = [{rule.column, *rule.inputs} for rule in identities]
    above: dict[str, set[str]] = {}
    for i, low in enumerate(names):
        with np.errstate(invalid="ignore"):
            holds = ~(few[i] > few).any(1)
            crossed = (few[i] > few[:, rng.permutation(len(rows))]).mean(1)
        both = (~np.isnan(few[i]) & ~np.isnan(few)).sum(1)
        for j in np.flatnonzero(holds & (crossed >= MIN_CROSSED) & (both >= MIN_ROWS)).tolist():
            high = names[j]
            if i == j or any({low, high} <= some for some in members):
                continue
            a, b = arrays[low], arrays[high]
            if not (a > b).any() and (a < b).any() and low not in above.get(high, ()):
                above.setdefault(low, set()).add(high)
    follows = {low: {h for m in highs for h in above.get(m, ())} for low, highs in above.items()}
    return [
        Order(low, high, rows=len(train))
        for low in above
        for high in names
        if high in above[low] - follows[low]
    ]
