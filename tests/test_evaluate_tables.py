"""Metrics of tables see every column: one column of good samples is destroyed, shuffled or rounded."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
from matplotlib.figure import Figure

from likewise.core.formula import Formula
from likewise.data.table import Table
from likewise.evaluation.evaluator import Evaluator
from likewise.evaluation.evaluators.two_sample import TwoSampleTest
from likewise.evaluation.metrics.c2st import c2st
from likewise.evaluation.metrics.kolmogorov_smirnov import kolmogorov_smirnov
from likewise.evaluation.metrics.total_variation import total_variation
from likewise.evaluation.reference import ReferenceSet
from likewise.evaluation.report import Report
from likewise.modalities.base import Row
from likewise.modalities.number import Number
from likewise.viz.panels import panel

FORMULA = "price, score, kind, age, salary"
ROWS = 200


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def rows(count: int, seed: int) -> list[Row]:
    """A price and a salary that depend on each other, with 2 decimals; a score with 3, a class, a whole number."""
    a, b, c = rng(seed).normal(size=(3, count))
    return [
        {
            "price": round(float(np.exp(2 + 0.5 * x)) + 2, 2),
            "score": round(float(100 + 5 * x + 3 * y), 3),
            "kind": "ABCD"[int(np.digitize(y, [-1, 0, 1]))],
            "age": int(np.clip(40 + 12 * z, 18, 90)),
            "salary": round(float(np.exp(10 + 0.5 * (x + 0.2 * z))), 2),
        }
        for x, y, z in zip(a, b, c, strict=True)
    ]


@functools.cache
def table() -> Table:
    """With a salary of 1e11 in training and in held-out rows."""
    real = rows(1500, 0)
    for row in real[::300]:
        row["salary"] = 1e11
    return Table.from_rows(real, {"kind": "label", "age": "number"}, holdout=0.2)


@functools.cache
def evaluator() -> Evaluator:
    return Evaluator(Formula.parse(FORMULA), table(), n=ROWS)


class Given:
    """A model of some columns that samples given rows."""

    def __init__(self, formula: str, samples: list[Row]) -> None:
        self.formula, self.samples = Formula.parse(formula), samples

    def sample(self, sources: list[Row], *, seed: int = 0) -> list[Row]:
        return [{**self.samples[i], **row} for i, row in enumerate(sources)]


Change = Callable[[Row, int], object]  # (row, its number) -> the new value


@functools.cache
def report(column: str = "", change: Change | None = None, *, shuffle: bool = False) -> Report:
    """That of as many new rows, with one column changed."""
    samples = rows(ROWS, 1)
    samples[7]["salary"] = 1e11
    if shuffle:
        order = rng(5).permutation(ROWS)
        values = [samples[i][column] for i in order]
        samples = [{**row, column: value} for row, value in zip(samples, values, strict=True)]
    if change:
        samples = [{**row, column: change(row, i)} for i, row in enumerate(samples)]
    return evaluator().report(Given(FORMULA, samples), samples, likelihood_rows=0)


def found(result: Report) -> set[str]:
    """The metrics whose interval lies beyond that of real rows, in the direction that is worse."""
    lines = (line for line in result.results if line.real is not None and line.better == "lower")
    return {line.name for line in lines if line.value.low > max(line.real.high, line.chance or 0)}


C2ST = f"{FORMULA}: C2ST"


def test_good_samples_are_clean_in_every_line() -> None:
    clean = report()
    assert found(clean) == set()
    names = {line.name for line in clean.results if line.column}
    numbers = {
        f"{c}: {m}"
        for c in ("price", "score", "age", "salary")
        for m in ("distance", "decimals", "out of range")
    }
    names = {name for name in names if not name.endswith(": TSTR")}
    assert names == numbers | {"kind: distance"}
    assert abs(clean[C2ST].value.value - 0.5) < 0.08 and abs(clean[C2ST].real.value - 0.5) < 0.08


DESTROYED: dict[str, Change] = {
    "salary": lambda row, i: round(float(rng(i).normal(7e6, 1e6)), 2),  # as one far value once made them
    "price": lambda row, i: -row["price"],
    "score": lambda row, i: 100.0,
    "age": lambda row, i: 1000 + i,
    "kind": lambda row, i: "A",
}


@pytest.mark.parametrize("column", DESTROYED)
def test_a_destroyed_column_is_found_and_named(column: str) -> None:
    result = report(column, DESTROYED[column])
    assert {C2ST, f"{column}: distance"} <= found(result)
    assert result[f"{column}: distance"].value.value > 0.35 and result[C2ST].value.value > 0.75
    others = {line.name for line in result.results if line.column not in ("", column)}
    assert not found(result) & others
    lines = str(result).splitlines()
    first = lines[lines.index("each column on its own:") + 3]
    assert first.split()[0] == column, first  # the worst first


def test_numbers_beyond_the_training_rows_are_counted() -> None:
    result = report("age", lambda row, i: 150 if i % 10 == 0 else row["age"])
    assert "age: out of range" in found(result)
    assert result["age: out of range"].value.value == pytest.approx(0.1)


@pytest.mark.parametrize("column", ["price", "salary", "score"])
def test_a_column_that_is_shuffled_against_the_others_is_found_by_the_classifier(column: str) -> None:
    result = report(column, shuffle=True)
    assert C2ST in found(result)
    assert not [name for name in found(result) if name.startswith(f"{column}: ")]  # alone it is as it was


ROUNDED: dict[str, tuple[str, Change]] = {
    "whole prices": ("price", lambda row, i: float(round(row["price"]))),
    "one decimal less": ("score", lambda row, i: round(row["score"], 2)),
    "tens": ("age", lambda row, i: round(row["age"], -1)),
    "all digits of a float": ("price", lambda row, i: row["price"] + float(rng(i).uniform(-0.005, 0.005))),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_a_column_that_is_rounded_otherwise_is_found_and_named(name: str) -> None:
    column, change = ROUNDED[name]
    result = report(column, change)
    assert f"{column}: decimals" in found(result)
    assert result[f"{column}: decimals"].value.value > 0.5


def test_many_columns_are_named_briefly_and_the_worst_are_shown() -> None:
    draw, count = rng(3), 14
    real, samples = (
        [{f"x{j}": float(v) for j, v in enumerate(row)} for row in draw.normal(size=(n, count))]
        for n in (400, 80)
    )
    samples = [{**row, "x11": row["x11"] + 3} for row in samples]
    whole = Table.from_rows(real, holdout=0.2)
    formula = Formula.parse(", ".join(real[0]))
    result = Evaluator(formula, whole, n=80).report(Given(str(formula), samples), samples, likelihood_rows=0)
    name = "x0, x1, ... (14 columns)"
    assert result[f"{name}: C2ST"].value.low > 0.8
    assert len({line.column for line in result.results if line.column}) == count  # all of them in its JSON
    lines = str(result).splitlines()
    start = lines.index("each column on its own, the 10 of 14 that differ most:")
    assert lines[start + 3].startswith("x11 ") and lines[start + 13] == ""


def picture(brightness: float, seed: int) -> PIL.Image.Image:
    pixels = np.clip(255 * brightness + 20 * rng(seed).normal(size=(5, 5)), 0, 255)
    return PIL.Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize("formula", ["image, size, kind", "image | size, kind", "size, kind | image"])
def test_a_picture_does_not_hide_the_numbers_beside_it(formula: str) -> None:
    def draw(count: int, seed: int) -> list[Row]:
        sizes = rng(seed).random(count)
        return [
            {"image": picture(s, 10_000 * seed + i), "size": float(1e6 * s), "kind": f"k{int(8 * s)}"}
            for i, s in enumerate(sizes)
        ]

    real, new = Table.from_rows(draw(400, 0), {"kind": "label"}, holdout=0.3), draw(110, 1)
    reference = ReferenceSet.choose(real, Formula.parse(formula), 110, 1, 0)
    test = TwoSampleTest(reference, reference.columns, "joint", 64)
    if reference.paired:  # samples belong to the sources of test rows
        new = [
            {c: v[i] for c, v in zip(row, map(reference.test_values, row), strict=True)}
            for i, row in enumerate(new)
        ]
    value, floor = test(new)
    assert abs(value.value - 0.5) < 0.12 and abs(floor.value - 0.5) < 0.12
    order = rng(2).permutation(110)
    for column in ("size", "kind"):
        shuffled = [{**row, column: new[j][column]} for row, j in zip(new, order, strict=True)]
        assert test(shuffled)[0].low > 0.55, column
    destroyed = [{**row, "size": 2e6 + row["size"]} for row in new]
    assert test(destroyed)[0].value > 0.95


def test_missing_sources_are_features_of_their_own() -> None:
    real = [{"x": float(i), "y": float(-i), "kind": "ab"[i % 2], "text": f"row {i % 7}"} for i in range(200)]
    for i, row in enumerate(real):
        row.update({name: None for k, name in enumerate(("y", "kind", "text")) if i % 5 == k})
    holes = Table.from_rows(real, {"text": "text", "kind": "label"}, holdout=0.3)
    reference = ReferenceSet.choose(holes, Formula.parse("x | y, kind, text"), 60, 1, 0)
    test = TwoSampleTest(reference, reference.columns, "joint", 64)
    columns = {c: reference.test_values(c) for c in ("x", "y", "kind", "text")}
    samples = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    assert abs(test(samples)[0].value - 0.5) < 0.15
    assert test([{**row, "y": 1e6} for row in samples])[0].value > 0.7


# ---- the metrics


def test_distances_of_known_distributions_and_their_intervals() -> None:
    for shift, truth in ((0.5, 0.1974), (2.0, 0.6827)):  # 2 Phi(shift / 2) - 1
        estimates = [
            kolmogorov_smirnov(shift + rng(s).normal(size=400), rng(900 + s).normal(size=400), rng=rng(s))
            for s in range(40)
        ]
        assert abs(np.mean([e.value for e in estimates]) - truth) < 0.04
        assert (
            np.mean([e.low <= truth <= e.high for e in estimates]) > 0.75
        )  # the distance is a little too large
    shares = np.array([0.5, 0.3, 0.2])
    estimates = [
        total_variation(
            rng(s).choice(3, 400, p=shares), rng(900 + s).choice(3, 400, p=shares[::-1]), rng=rng(s)
        )
        for s in range(40)
    ]
    assert abs(np.mean([e.value for e in estimates]) - 0.3) < 0.02
    assert np.mean([e.low <= 0.3 <= e.high for e in estimates]) > 0.85


def test_distances_do_not_depend_on_the_scale_or_the_order() -> None:
    a, b = rng(0).normal(size=80), 0.3 + rng(1).normal(size=60)
    plain, exponential = (
        kolmogorov_smirnov(f(a), f(b), rng=rng()).value for f in (np.asarray, lambda x: np.exp(9 * x))
    )
    shuffled = kolmogorov_smirnov(rng(2).permutation(a), b, rng=rng()).value
    assert plain == exponential == shuffled
    naive = max(abs(np.mean(a <= t) - np.mean(b <= t)) for t in np.concatenate([a, b]))
    assert plain == pytest.approx(naive)
    equal = np.array(["a", "b", "b"])
    assert total_variation(equal, equal[::-1], rng=rng()).value == 0


def test_a_far_value_hides_nothing_from_the_classifier() -> None:
    a, b = rng(0).normal(size=(150, 3)), rng(1).normal(size=(150, 3))
    a[:, 0] += 3
    far = b.copy()
    far[0, 1] = 1e11
    assert c2st(a, far, rng=rng()).value > 0.95


def test_the_classifier_sees_dependence_on_a_class_in_any_order_of_the_ids() -> None:
    order = rng(9).permutation(40)

    def pairs(seed: int, shuffle: bool) -> np.ndarray:
        x = rng(seed).random(400)
        ids = order[(40 * x).astype(int)]
        return np.stack([x, rng(seed).permutation(ids) if shuffle else ids], 1).astype(float)

    classes = np.array([False, True])
    value = c2st(pairs(0, True), pairs(1, False), rng=rng(), categorical=classes).value
    assert value > 0.7 and value > c2st(pairs(0, True), pairs(1, False), rng=rng()).value + 0.02
    alike = c2st(pairs(2, False), pairs(3, False), rng=rng(), categorical=classes)
    assert alike.low < 0.5 < alike.high


# ---- the chart of a column


def test_a_far_value_leaves_the_bars_of_the_others_apart() -> None:
    real = [*rng(0).normal(50, 10, 400).tolist(), 1e11]
    axes = Figure().subplots()
    panel(Number.fit(real), axes, real, None)
    assert axes.get_xlim()[1] < 200
    heights = [bar.get_height() for bar in axes.patches]
    assert sum(h > 0 for h in heights) > 15
