"""Forecasts: the grid of time, panels of series, the template, calibrated quantiles, run folders, the commands."""

from __future__ import annotations

import csv
import json
import re
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from likewise.cli.main import main
from likewise.core.formula import Formula
from likewise.data.arrow import TableError
from likewise.data.readers import read_rows
from likewise.forecasting import Forecaster, fit_forecaster, forecaster
from likewise.forecasting.baselines import seasonal_naive
from likewise.forecasting.calendar import Calendar
from likewise.forecasting.calibration import (
    TAUS,
    coverage,
    crps,
    lag_correlations,
    sample_paths,
    scale_spread,
    spread_factors,
)
from likewise.forecasting.features import make_features
from likewise.forecasting.fitting import inputs_of
from likewise.forecasting.panel import Columns, Panel, find_columns, make_panel, merge
from likewise.forecasting.smoothing import Gains, future, smooth

START = datetime(2024, 1, 1)


def hours(count: int, first: datetime = START) -> list[str]:
    return [str(first + timedelta(hours=i)) for i in range(count)]


def rows_of(steps: int = 24 * 24, future_rows: int = 12, seed: int = 0) -> list[dict[str, object]]:
    """Two shops; load has a cycle of a day, an effect of the temperature, noise of deviation 1, and gaps."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for shop, level in (("A", 50.0), ("B", 90.0)):
        temperature = (
            20 + 4 * np.sin(np.arange(steps + future_rows) / 17) + rng.normal(0, 1, steps + future_rows)
        )
        for i, stamp in enumerate(hours(steps + future_rows)):
            load = level + 10 * np.sin(2 * np.pi * i / 24) + 2 * (temperature[i] - 20) + rng.normal()
            gap = i >= steps or i % 53 == 7
            row = {"time": stamp, "shop": shop, "load": None if gap else load, "temperature": temperature[i]}
            rows.append(row)
    return rows


def panel_of(rows: list[dict[str, object]], formula: str = "load | temperature") -> tuple[Panel, Columns]:
    reading = read_rows(rows, {})
    columns = find_columns(reading, Formula.parse(formula))
    return make_panel(reading, columns), columns


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecaster, "CHECKS", (0, 20))
        panel, columns = panel_of(rows_of())
        return fit_forecaster(panel, Formula.parse("load | temperature"), columns, 12)


# ---- time


@pytest.mark.parametrize(
    ("stamps", "step", "label"),
    [
        (hours(30), "1 hour", "2024-01-02 06:00:00"),
        ([f"2024-01-01T{h:02}:{m:02}:00+02:00" for h in range(24) for m in (0, 30)], "30 minutes", None),
        ([str(date(2024, 1, 1) + timedelta(days=i)) for i in range(9)], "1 day", "2024-01-10"),
        ([str(date(2024, 1, 1) + timedelta(weeks=i)) for i in range(9)], "1 week", "2024-03-04"),
        ([f"{2020 + m // 12}-{m % 12 + 1:02}-01" for m in range(14)], "1 month", "2021-03-01"),
        (["2023-12-31", "2024-01-31", "2024-02-29", "2024-03-31"], "1 month", "2024-04-30"),
        (["2023-01-01", "2023-04-01", "2023-07-01", "2023-10-01"], "3 months", "2024-01-01"),
        (["2020-01-01", "2021-01-01", "2022-01-01", "2023-01-01"], "1 year", "2024-01-01"),
        ([f"{d:02}.03.2024" for d in range(1, 8)], "1 day", "2024-03-08"),
        (list(range(10, 30, 2)), "2 of the numbers in the column of time", "30"),
    ],
)
def test_a_calendar_is_that_of_the_time_stamps(stamps: list[object], step: str, label: str | None) -> None:
    calendar = Calendar.of(stamps)
    assert calendar.describe() == step
    assert [calendar.index(s) for s in stamps] == list(range(len(stamps)))
    if label is not None:
        assert calendar.label(len(stamps)) == label
    if calendar.unit != "step":
        assert [calendar.index(calendar.label(i)) for i in range(3)] == [0, 1, 2]


def test_cycles_are_those_of_the_step_that_are_there_three_times() -> None:
    day = Calendar.of(["2024-01-01", "2024-01-02", "2024-01-03"])
    assert day.periods(100) == (7,) and day.periods(2000) == (7, 365)
    assert Calendar.of(hours(5)).periods(1000) == (24, 168) and Calendar.of(hours(5)).periods(300) == (24,)
    assert Calendar.of(["2024-01", "2024-02", "2024-03"]).periods(50) == (12,)


def test_times_that_cannot_be_used_are_named() -> None:
    rows = rows_of(100, 0)
    with pytest.raises(TableError, match=r"rows 0 and 200 of A have the same time, 2024-01-01 00:00:00"):
        panel_of([*rows, dict(rows[0])])
    shifted = [*rows, {**rows[5], "time": "2024-01-02 05:20:00"}]
    with pytest.raises(
        TableError, match="row 200: the time 2024-01-02 05:20:00 is not on the grid .* 1 hour"
    ):
        panel_of(shifted)
    with pytest.raises(TableError, match="row 1: the time 'soon' is no date or time"):
        make_panel(
            read_rows([{"t": v, "y": 1.0} for v in ("2024-01-01", "soon", "2024-01-02")], {}),
            Columns("t", "", ("y",)),
            Calendar.of(["2024-01-01", "2024-01-02", "2024-01-03"]),
        )
    alone = [{k: v for k, v in r.items() if k != "shop"} for r in rows]
    with pytest.raises(TableError, match="have the same time.*--id COLUMN"):
        panel_of(alone)


# ---- panels


def test_a_long_table_is_a_panel_with_gaps_and_covariates_of_the_future() -> None:
    rows = rows_of(100, 6)
    panel, columns = panel_of(rows[::-1], "load | temperature")  # in any order
    assert (columns.time, columns.id, columns.known) == ("time", "shop", ("temperature",))
    assert panel.y.shape == (2, 100) and panel.known.shape == (2, 106, 1)
    a = panel.ids.index("A")
    assert np.isnan(panel.y[a, 7]) and panel.y[a, 8] == rows[8]["load"]
    assert panel.known[a, 105, 0] == rows[105]["temperature"]


def test_a_wide_table_has_a_series_for_each_target_and_texts_are_levels() -> None:
    rows = [
        {"date": str(date(2024, 1, 1) + timedelta(days=i)), "north": i * 1.0, "south": -1.0 * i}
        | {"open": "yes" if i % 7 < 5 else "no", "wind": i % 5}
        for i in range(40)
    ]
    panel, columns = panel_of(rows, "north, south | open, wind[known=past]")
    assert panel.ids == ("north", "south") and columns.past == ("wind",)
    assert columns.numeric(columns.known) == ["open=no", "open=yes"] and panel.past.shape == (2, 40, 1)
    assert panel.known[1, :7, 1].tolist() == [1, 1, 1, 1, 1, 0, 0]


def test_what_is_constant_in_each_series_is_static() -> None:
    rows = [{**r, "size": {"A": 1, "B": 3}[str(r["shop"])]} for r in rows_of(60, 0)]
    panel, columns = panel_of(rows, "load | size")
    assert columns.static == ("size",) and sorted(panel.static[:, 0]) == [1, 3]


def test_further_rows_continue_a_panel() -> None:
    rows = rows_of(60, 0)
    whole, columns = panel_of(rows)
    first, _ = panel_of([r for r in rows if str(r["time"]) < hours(60)[40]])
    more = read_rows([r for r in rows if str(r["time"]) >= hours(60)[38]], {})
    both = merge(first, make_panel(more, columns, first.calendar))
    np.testing.assert_array_equal(both.y, whole.y)
    np.testing.assert_array_equal(both.known, whole.known)


# ---- the template, features


def test_a_template_continues_a_cycle_and_a_gap_changes_no_state() -> None:
    t = np.arange(200)
    y = (5 + np.sin(2 * np.pi * t / 10))[None]
    gains = Gains(*(np.array([v]) for v in (0.3, 0.0, 0.5)), np.array([[0.2]]))
    origins = np.array([150, 200])
    forecasts, _ = smooth(y, (10,), gains, origins, 15)
    truth = 5 + np.sin(2 * np.pi * (origins[:, None] + np.arange(15)) / 10)
    np.testing.assert_allclose(forecasts[0, :, 0], truth, atol=1e-5)
    y[0, 120:140] = np.nan
    np.testing.assert_allclose(smooth(y, (10,), gains, origins, 15)[0][0, :, 0], truth, atol=1e-5)


def test_features_see_nothing_of_what_they_are_to_predict(fitted: Forecaster) -> None:
    panel, origin = fitted.panel, 400
    task = forecaster.Task(panel.y.copy(), panel.known, panel.past, panel.static, fitted.periods, 12, 0)
    seen = make_features(inputs_of(task, fitted.fit, fitted.scale), np.array([origin]), 12)
    task.y[:, origin:] = 1e6
    again = make_features(inputs_of(task, fitted.fit, fitted.scale), np.array([origin]), 12)
    np.testing.assert_array_equal(seen[0], again[0])
    np.testing.assert_array_equal(seen[1], again[1])


# ---- calibration


def test_calibrated_spread_covers_as_named_and_factors_keep_the_order() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(0, 2, 4000)
    narrow = np.broadcast_to(forecaster.TAUS, (4000, 19)) * 0 + np.quantile(rng.normal(0, 1, 9999), TAUS)
    shares = coverage(scale_spread(narrow, spread_factors(narrow, y)), y)
    assert coverage(narrow, y)[0.9] < 0.7
    assert shares[0.5] == pytest.approx(0.5, abs=0.03) and shares[0.9] == pytest.approx(0.9, abs=0.03)


def test_crps_of_quantiles_is_that_of_the_distribution() -> None:
    rng = np.random.default_rng(0)
    q = np.quantile(rng.normal(size=200_000), TAUS)
    y = rng.normal(size=4000)
    assert crps(np.tile(q, (4000, 1)), y) == pytest.approx(1 / np.sqrt(np.pi), rel=0.06)


def test_paths_have_the_quantiles_and_the_correlation() -> None:
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(3000, 6)) * 0.6 + rng.normal(size=(3000, 1))
    correlations = lag_correlations(walk)
    q = np.tile(np.quantile(rng.normal(size=99_999), TAUS), (6, 1)) + np.arange(6)[:, None]
    paths = sample_paths(q, correlations, 6000, rng)
    np.testing.assert_allclose(np.quantile(paths, TAUS, axis=0).T, q, atol=0.12)
    assert np.corrcoef(paths[:, 0], paths[:, 1])[0, 1] > 0.5


# ---- a forecaster


def test_a_forecast_is_near_the_truth_and_beats_the_seasonal_naive_one(fitted: Forecaster) -> None:
    panel, _ = panel_of(
        rows_of(24 * 24 + 96, 0)
    )  # the noise before is that of fitted, so are the first steps
    origins = np.arange(24 * 24, 24 * 24 + 84, 12)
    truth, q = future(panel.y, origins, 12), fitted.predict(panel, origins)
    naive = crps(seasonal_naive(panel.y, 24, origins, 12), truth)
    assert crps(q, truth) < 0.6 * naive
    assert 0.25 < coverage(q, truth)[0.5] < 0.8 and coverage(q, truth)[0.9] > 0.7
    assert (np.diff(q, axis=-1) >= 0).all()


def test_a_run_folder_forecasts_the_same(fitted: Forecaster, tmp_path: Path) -> None:
    fitted.save(tmp_path / "run")
    again = Forecaster.load(tmp_path / "run")
    ours, theirs = fitted.forecast(draws=5), again.forecast(draws=5)
    np.testing.assert_array_equal(ours.quantiles, theirs.quantiles)
    np.testing.assert_array_equal(ours.paths, theirs.paths)
    assert ours.times == theirs.times and ours.times[0] == hours(24 * 24 + 1)[-1]
    short = fitted.forecast(horizon=5, draws=5)
    np.testing.assert_array_equal(short.quantiles, ours.quantiles[:, :5])


def test_what_cannot_be_forecast_is_said(fitted: Forecaster) -> None:
    with pytest.raises(TableError, match=r"at most 12 steps; train one with \[horizon=13\]"):
        fitted.forecast(horizon=13)
    with pytest.raises(
        TableError, match="temperature has no value at .* of A; a forecast needs it for 12 steps"
    ):
        fitted.forecast(panel_of(rows_of(24 * 24, 0))[0])
    with pytest.raises(TableError, match=r"needs a history of \d+ steps, and there are 30"):
        fitted.forecast(panel_of(rows_of(30, 12))[0])
    panel, columns = panel_of(rows_of(70, 0))
    with pytest.raises(TableError, match="the history has 70 steps, and a horizon of 24 needs at least 104"):
        fit_forecaster(panel, Formula.parse("load"), columns, 24)


def test_values_of_a_series_that_grows_in_proportion_stay_above_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecaster, "CHECKS", (0,))
    rng = np.random.default_rng(0)
    t = np.arange(140)
    y = np.exp(0.02 * t + 0.3 * np.sin(2 * np.pi * t / 12) + rng.normal(0, 0.02, 140))[None]
    none = np.zeros((1, 140, 0))
    months = Calendar.of(["2010-01", "2010-02", "2010-03"])
    panel = Panel(months, ("y",), y[:, :128], none, none[:, :128], np.zeros((1, 0)))
    f = fit_forecaster(panel, Formula.parse("y"), Columns("month", "", ("y",)), 12)
    assert f.log and f.periods == (12,)
    forecast = f.forecast().quantiles[0]
    assert (forecast > 0).all() and np.abs(np.log(forecast[:, 9] / y[0, 128:])).mean() < 0.1


# ---- commands


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_train_forecast_and_evaluate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(forecaster, "CHECKS", (0,))
    rows = rows_of(24 * 16, 12)
    future_rows = [r for r in rows if str(r["time"]) >= hours(24 * 16 + 1)[-1]]
    write(tmp_path / "demand.csv", [r for r in rows if r not in future_rows])
    write(tmp_path / "future.csv", future_rows)
    assert main(["data", "demand.csv"]) == 0
    shown = capsys.readouterr().out
    assert "2 series of 384 steps of 1 hour" in shown and "'load[horizon=24]'" in shown
    assert main(["train", "demand.csv", "load[horizon=12] | temperature", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "2 series of 384 steps of 1 hour" in out and "known in the future: temperature" in out
    assert main(["forecast", "run"]) == 1
    assert "temperature has no value" in capsys.readouterr().err
    assert main(["forecast", "run", "future.csv", "--draws", "3", "--out", "f.csv"]) == 0
    with Path("f.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["time", "id", *(f"{k / 20:.2f}" for k in range(1, 20))]
    assert [r["time"] for r in table[:12]] == [str(r["time"]) for r in future_rows[:12]]
    paths = Path("f-paths.csv").read_text(encoding="utf-8").splitlines()
    assert paths[0] == "time,id,path,value" and len(paths) == 1 + 2 * 3 * 12
    assert Path("f.png").read_bytes().startswith(b"\x89PNG")
    assert main(["forecast", "run", "future.csv", "--out", "f.csv"]) == 1
    assert main(["evaluate", "run", "--origins", "4"]) == 0
    assert re.search(r"likewise +[\d.]+ +[\d.]+ +\d+% +\d+%", capsys.readouterr().out)
    report = json.loads(Path("run/report.json").read_text(encoding="utf-8"))
    assert report["scores"]["likewise"]["CRPS"] < report["scores"]["seasonal naive, 24"]["CRPS"]
    assert main(["sample", "run"]) == 1
    assert "likewise forecast run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("load[horizon=0]", r"write \[horizon=48\]"),
        ("load[horizon=12, size=3]", r"write \[horizon=48\]"),
        ("lod[horizon=12]", "did you mean 'load'"),
        ("shop[horizon=12]", "shop is to be forecast and holds texts"),
        ("load[horizon=12] | temperature[known=maybe]", "known is past or future"),
    ],
)
def test_formulas_that_cannot_be_forecast(
    formula: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "demand.csv", rows_of(60, 0))
    assert main(["train", str(data), formula, "--out", str(tmp_path / "run")]) == 1
    assert re.search(message, capsys.readouterr().err)
