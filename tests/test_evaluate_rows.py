"""Rows of several numbers and classes: TSTR, DCR, copies, faults of cells, missing shares and pairs of columns."""

from __future__ import annotations

import dataclasses
import functools
import importlib.machinery
import importlib.util
import json
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from likewise.cli.main import main
from likewise.core.formula import Formula
from likewise.data.table import Table
from likewise.evaluation.comparison.report_page import report_page
from likewise.evaluation.evaluators import prediction, rows
from likewise.evaluation.evaluators.prediction import PredictionMetrics
from likewise.evaluation.evaluators.quality import quality_result
from likewise.evaluation.evaluators.rows import RowMetrics
from likewise.evaluation.features.cells import Cells, ColumnCells
from likewise.evaluation.metrics.neighbours import Neighbours, nearer
from likewise.evaluation.metrics.pair_variation import pair_variation
from likewise.evaluation.metrics.tstr import area_under_curve, r_squared
from likewise.evaluation.reference import ReferenceSet
from likewise.evaluation.report import MetricResult, Report, ReportRows
from likewise.modalities.base import Row
from likewise.modalities.date import Date
from likewise.modalities.label import Label
from likewise.modalities.number import Number
from likewise.viz.panels import panel

TARGETS = ["price", "size", "kind", "day", "noise"]
NAME = ", ".join(TARGETS)
ROWS = 300


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw_rows(count: int, seed: int, holes: float = 0.2) -> list[Row]:
    """A price of two decimals that the size, a class and a date depend on; holes in price and kind."""
    x, y, z = rng(seed).normal(size=(3, count))
    gaps = rng(seed + 100).random((count, 2)) < holes
    return [
        {
            "price": None if gap[0] else round(float(np.exp(2 + 0.5 * a)), 2),
            "size": round(100 + 20 * (a + 0.3 * b)),
            "kind": None if gap[1] else "ABC"[int(np.digitize(a + 0.2 * c, [-0.7, 0.7]))],
            "day": str(np.datetime64("2024-01-01") + int(30 * a + 3 * b) + 200),
            "noise": round(c, 3),
        }
        for a, b, c, gap in zip(x, y, z, gaps, strict=True)
    ]


@functools.cache
def table() -> Table:
    return Table.from_rows(draw_rows(1200, 0), {"kind": "label", "day": "date"}, holdout=0.25)


@functools.cache
def metrics() -> RowMetrics:
    reference = ReferenceSet.choose(table(), Formula.parse(NAME), ROWS, 1, 0)
    return RowMetrics(reference, TARGETS, [])


def measure(samples: list[Row]) -> dict[str, MetricResult]:
    return {r.name.removeprefix(f"{NAME}: "): r for r in metrics().results(samples)}


def worse(result: MetricResult) -> bool:
    """Beyond the interval of real rows."""
    assert result.real is not None
    return result.value.low > result.real.high


def test_new_rows_are_as_good_as_real_ones() -> None:
    results = measure(draw_rows(ROWS, 1))
    assert list(results) == [
        "DCR", "copies", "out of range", "more decimals", "unseen classes", "missing", "pairs",
    ]  # fmt: skip
    assert not any(worse(r) for r in results.values())
    assert results["DCR"].value.low < 0.5 < results["DCR"].value.high and not results["DCR"].warning
    assert results["copies"].value.value == results["more decimals"].value.value == 0


def test_copies_of_training_rows_are_counted_and_warned_of() -> None:
    train = [{c: metrics().reference.train_values(c)[i] for c in TARGETS} for i in range(ROWS)]
    samples = [train[i] if i % 2 else row for i, row in enumerate(draw_rows(ROWS, 1))]
    results = measure(samples)
    assert results["copies"].value.value == 0.5 and results["copies"].real.value == 0
    assert results["DCR"].value.low > 0.5 and "nearer to training rows" in results["DCR"].warning
    report = Report(NAME, None, ROWS, 1, 0, {}, (results["DCR"],))
    assert f"warning: {results['DCR'].warning[:40]}" in str(report)
    assert report.to_json()["results"][0]["warning"]


def test_copies_of_held_out_rows_are_no_memory_of_training() -> None:
    test = [{c: metrics().reference.test_values(c)[i] for c in TARGETS} for i in range(ROWS)]
    result = measure(test)["DCR"]
    assert result.value.high < 0.5 and not result.warning


CHANGES: dict[str, tuple[Callable[[Row, int], Row], str]] = {
    "out of range": (lambda row, i: {**row, "size": row["size"] + 500 * (i % 10 == 0)}, "size"),
    "more decimals": (lambda row, i: {**row, "noise": row["noise"] + 1e-5}, "noise"),
    "unseen classes": (lambda row, i: {**row, "kind": "D"} if i % 5 == 0 else row, "kind"),
    "missing": (lambda row, i: {**row, "day": None} if i % 3 == 0 else row, "day"),
    "pairs": (lambda row, i: {**row, "size": 200 - row["size"]}, "size"),
}


@pytest.mark.parametrize("metric", CHANGES)
def test_a_fault_of_a_column_is_found_and_the_column_named(metric: str) -> None:
    change, column = CHANGES[metric]
    samples = [change(row, i) for i, row in enumerate(draw_rows(ROWS, 1))]
    results = measure(samples)
    assert worse(results[metric]) and column in results[metric].worst.split(", ")
    others = {name for name in results if worse(results[name])} - {metric, "pairs"}
    assert not others


def test_missing_shares_are_differences() -> None:
    full = [{**row, "price": row["price"] or 7.0} for row in draw_rows(ROWS, 1)]
    result = measure(full)["missing"]
    assert result.worst == "price" and abs(result.value.value - 0.2) < 0.06


# ---- TSTR


def predicted(samples: list[Row], predict: tuple[str, ...] = ()) -> dict[str, MetricResult]:
    found = PredictionMetrics(metrics(), predict)
    return {r.name.removeprefix(f"{NAME}: "): r for r in found.results(samples)}


def test_tstr_of_new_rows_is_that_of_real_ones_and_noise_is_left_out() -> None:
    found = PredictionMetrics(metrics(), ())
    assert found.predicted == ["price", "size", "kind", "day"]
    assert "cannot predict noise" in found.notes[0]
    results = predicted(draw_rows(ROWS, 1))
    assert list(results) == ["TSTR", *(f"{c}: TSTR" for c in found.predicted)]
    for result in results.values():
        assert result.value.low < result.real.high and result.real.low < result.value.high
    assert results["price: TSTR"].value.value > 0.5 and results["kind: TSTR"].value.value > 0.8


def test_tstr_of_columns_that_do_not_belong_together_is_low() -> None:
    samples = draw_rows(ROWS, 1)
    order = rng(2).permutation(ROWS)
    results = predicted(
        [{**row, "price": samples[i]["price"]} for row, i in zip(samples, order, strict=True)]
    )
    assert results["price: TSTR"].value.high < results["price: TSTR"].real.low
    assert results["TSTR"].worst == "price" and results["TSTR"].value.high < results["TSTR"].real.low
    assert abs(results["kind: TSTR"].value.value - results["kind: TSTR"].real.value) < 0.1


def test_a_target_that_is_named_is_predicted_alone() -> None:
    results = predicted(draw_rows(ROWS, 1), ("noise",))
    assert list(results) == ["TSTR", "noise: TSTR"] and results["noise: TSTR"].value.value < 0.2


def test_samples_of_one_class_or_without_values_predict_nothing() -> None:
    results = predicted([{**row, "kind": "A", "price": None} for row in draw_rows(ROWS, 1)])
    assert results["kind: TSTR"].value.value == 0.5 and results["price: TSTR"].value.value < 0.01


# ---- the report


def test_a_page_stands_alone_with_a_plot_of_each_column_and_the_warning() -> None:
    samples = draw_rows(ROWS, 1)
    results = measure(samples)
    warned = dataclasses.replace(results["DCR"], warning="nearer <to> training rows")
    columns = {c: metrics().reference.table.columns[c] for c in TARGETS}
    real = [{c: metrics().reference.test_values(c)[i] for c in TARGETS} for i in range(ROWS)]
    others = [r for name, r in results.items() if name != "DCR"]
    report = Report(
        NAME,
        None,
        ROWS,
        1,
        0,
        {},
        (warned, *others, *predicted(samples).values()),
        rows=ReportRows(columns, real, samples),
    )
    page = report_page(report)
    assert "Warning:</strong> nearer &lt;to&gt; training rows" in page
    assert all(f'alt="distribution of {c}"' in page for c in TARGETS)
    assert page.count("joint distribution of") == 6 and "total variation" in page
    assert not re.findall(r"<script|<link|https?://|src=(?!\"data:image/png;base64,)", page)
    assert "rows" not in report.to_json() and json.dumps(report.to_json())


def test_panels_show_missing_values() -> None:
    for column, values in (
        (Number.fit([1.0, 2.0, None]), [1.0, 2.0, None, 2.0]),
        (Date.fit(["2024-01-01", "2024-01-09", None]), ["2024-01-05", "2024-01-01", None, "2024-01-09"]),
    ):
        axes = Figure().subplots()
        panel(column, axes, values, [None] * 4)
        assert [text.get_text() for text in axes.texts] == ["missing"]
        assert [bar.get_height() for bar in axes.patches[-2:]] == [0.25, 1]
        empty = Figure().subplots()
        panel(column, empty, [v for v in values if v is not None], None)
        assert not empty.texts
    axes = Figure().subplots()
    panel(Label.fit(["a", None]), axes, ["a", "a", None], [None, None, None])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "missing"]
    assert [bar.get_height() for bar in axes.patches[-2:]] == [0, 1]


def test_evaluate_writes_the_page_and_predicts_what_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [",".join("" if v is None else str(v) for v in row.values()) for row in draw_rows(1000, 0)]
    Path("t.csv").write_text("\n".join([",".join(TARGETS), *lines]))
    train = ["train", "t.csv", "price, size, kind", "--family", "mixture", "--steps", "3", "--out", "r"]
    assert main(train) == 0
    evaluate = ["evaluate", "r", "--n", "100", "--likelihood-rows", "0"]
    assert main([*evaluate, "--predict", "kind"]) == 0
    said = capsys.readouterr().out
    assert "report: r/report.json, r/report.html" in said and "TSTR" in said and "DCR" in said
    stored = json.loads(Path("r/report.json").read_text())
    assert [r["column"] for r in stored["results"] if r["name"].endswith(": TSTR")] == ["", "kind"]
    assert 'alt="distribution of price"' in Path("r/report.html").read_text()
    assert main([*evaluate, "--predict", "knid", "--overwrite"]) == 1
    assert "did you mean 'kind'" in capsys.readouterr().err


class QualityReport:
    """The interface of that of sdmetrics, which is not installed beside pandas 3."""

    def generate(self, real: dict, synthetic: dict, metadata: dict, *, verbose: bool) -> None:
        [(name, frame)], [other] = synthetic.items(), real.values()
        assert list(frame) == list(other) == list(metadata["tables"][name]["columns"]) and not verbose
        self.kinds = {c: kind["sdtype"] for c, kind in metadata["tables"][name]["columns"].items()}
        self.score = float((frame.isna() == other.isna()).to_numpy().mean())
        assert self.kinds == {
            "price": "numerical",
            "size": "numerical",
            "kind": "categorical",
            "day": "numerical",
        }
        assert frame["price"].dtype == float and frame["kind"].dtype == object

    def get_score(self) -> float:
        return self.score


def test_the_score_of_sdmetrics_is_beside_that_of_training_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {c: metrics().reference.table.columns[c] for c in TARGETS[:4]}
    real, train, samples = draw_rows(50, 0), draw_rows(50, 1), draw_rows(50, 0)
    report_rows = ReportRows(columns, real, samples, train)
    if importlib.util.find_spec("sdmetrics") is None:
        with pytest.raises(
            ValueError, match=r"sdmetrics is not installed: pip install 'likewise\[sdmetrics\]'"
        ):
            quality_result(report_rows)
    fake = types.ModuleType("sdmetrics.reports")
    fake.QualityReport = QualityReport
    spec = importlib.machinery.ModuleSpec("sdmetrics", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setitem(sys.modules, "sdmetrics", types.ModuleType("sdmetrics"))
    monkeypatch.setitem(sys.modules, "sdmetrics.reports", fake)
    result = quality_result(report_rows)
    assert result.name == "price, size, kind, day: sdmetrics" and result.better == "higher"
    assert result.value.value == 1 > result.real.value > 0.5


# ---- refusals


def test_a_target_that_cannot_be_predicted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown number or class among the targets 'prise'.*'price'"):
        PredictionMetrics(metrics(), ["prise"])
    monkeypatch.setattr(prediction, "MIN_ROWS", 5000)
    with pytest.raises(ValueError, match="TSTR of price cannot be measured: it needs at least 5000 training"):
        PredictionMetrics(metrics(), ["price"])
    found = PredictionMetrics(metrics(), ())
    assert found.results(draw_rows(ROWS, 1)) == [] and "at least 5000 training" in " ".join(found.notes)


def test_too_few_rows_for_dcr_are_said_with_the_number_needed() -> None:
    reference = ReferenceSet.choose(table(), Formula.parse(NAME), rows.MIN_ROWS - 1, 1, 0)
    few = RowMetrics(reference, TARGETS, [])
    assert f"DCR is not measured, as it needs at least {rows.MIN_ROWS} training" in few.notes[0]
    assert not any("DCR" in r.name for r in few.results(draw_rows(rows.MIN_ROWS - 1, 1)))


# ---- the metrics


def test_distances_are_sums_over_columns() -> None:
    values = {"n": [1, 2, 3, 4, None], "k": ["a", "a", "b", None, "b"]}
    cells = Cells.fit({"n": Number.fit(values["n"]), "k": Label.fit(values["k"])}, values)
    x = cells.read(values)
    [distances] = cells.distances(x, x)
    ranks = np.array([1, 3, 5, 7]) / 8
    assert distances[0, 1] == pytest.approx(ranks[1] - ranks[0])
    assert distances[0, 2] == pytest.approx(ranks[2] - ranks[0] + 1)
    assert distances[0, 4] == 2 and distances[2, 4] == 1 and distances[3, 3] == distances[4, 4] == 0
    assert (distances == distances.T).all()


def test_cells_of_dates_have_a_range() -> None:
    days = [f"2024-03-{d:02}" for d in range(1, 29)]
    column = ColumnCells(Date.fit(days), days)
    outside = column.out_of_range(column.read(["2024-02-28", "2024-03-05", None, "2025-01-01"]))
    assert outside.tolist() == [True, False, False, True]


def test_nearest_rows_and_the_interval_of_nearer() -> None:
    a, b = rng(0).random((30, 50)), rng(1).random((30, 50))
    plain = Neighbours.find(iter([a[:20].copy(), a[20:].copy()]))
    assert (plain.nearest == a.min(1)).all() and (plain.rows[:, 0] == a.argmin(1)).all()
    alone = Neighbours.find(iter([a[:20].copy(), a[20:].copy()]), without_self=True)
    others = a.copy()
    np.fill_diagonal(others, np.inf)
    assert (alone.nearest == others.min(1)).all()
    value = nearer(plain, Neighbours.find(iter([b])), rng=rng())
    assert value.value == np.mean(a.min(1) < b.min(1)) and value.low < value.value < value.high


def test_pair_variation_of_known_tables() -> None:
    bins = np.stack([np.arange(400) % 2, np.arange(400) % 2, np.arange(400) // 2 % 2], 1)
    opposite = bins.copy()
    opposite[:, 1] = 1 - opposite[:, 1]
    value, each = pair_variation(opposite, bins, [(0, 1), (0, 2)], rng=rng())
    assert each.tolist() == [1.0, 0.0] and value.value == 0.5 and value.low < 0.5 < value.high


def test_intervals_of_predictions_cover_the_truth() -> None:
    covered = []
    for seed in range(60):
        truth = rng(seed).normal(size=300)
        skill = r_squared(truth, truth + rng(seed + 500).normal(0, 0.5, size=300))
        covered.append(skill.estimate.low <= 0.75 <= skill.estimate.high)
        classes = np.arange(300) % 2
        score = classes + rng(seed).normal(size=300)
        auc = area_under_curve(classes, np.stack([-score, score], 1))
        covered.append(auc.estimate.low <= 0.7602 <= auc.estimate.high)  # Phi(1 / sqrt 2)
    assert 0.88 < np.mean(covered) < 1
