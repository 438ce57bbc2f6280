"""`likewise infill RUN rows.csv`: missing cells of a file, sampled given their rows, once or several times."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats

from likewise.cli.main import main
from likewise.data.table import Table
from likewise.models.imputation import PooledMeans, fill_missing, pool
from likewise.models.model import Model

ROWS = [
    {
        "age": 20 + i * i % 37 if i % 5 else None,
        "income": (400_000 + i * 7 % 41 * 25) / 100 if i % 7 else None,
        "city": ["Oslo", "Bonn, DE", "Rome"][i % 3] if i % 4 else None,
        "member": i % 2 == 0,
    }
    for i in range(120)
]
WRITTEN = [
    ["id", "age", "income", "city", "member", "note"],
    ["007", "30", "4001.50", "Oslo", "True", "a, b"],
    ["008", "", "4002", "Rome", "", ""],
    ["009", "NA", "", " Oslo", "False", "c"],
    ["010", "", "", "", "", ""],
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("run") / "rows"
    Model("*", Table.from_rows(ROWS).columns, width=16, depth=1).save(folder)
    return str(folder)


@pytest.fixture
def holes(tmp_path: Path) -> Path:
    path = tmp_path / "holes.csv"
    write(path, WRITTEN)
    return path


def write(path: Path, rows: list[list[str]], separator: str = ",") -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(rows)


def read(path: Path) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def infill(run: str, path: Path, out: Path, *words: str) -> int:
    return main(["infill", run, str(path), "--out", str(out), *words])


def test_cells_that_are_there_stay_as_they_are_written(
    run: str, holes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [[*row[:3], row[3].strip(), *row[4:]] for row in WRITTEN]
    write(holes, rows)
    assert infill(run, holes, tmp_path / "filled.csv") == 0
    filled = read(tmp_path / "filled.csv")
    assert filled[0] == WRITTEN[0] and len(filled) == len(WRITTEN)
    for before, after in zip(rows[1:], filled[1:], strict=True):
        for name, old, new in zip(WRITTEN[0], before, after, strict=True):
            if name in ("id", "note") or old not in ("", "NA"):
                assert new == old
            else:
                assert new != "" and new != "NA"
    assert all(20 <= int(row[1]) <= 56 for row in filled[1:]) and filled[4][4] in ("True", "False")
    report = capsys.readouterr().out
    assert "8 cells of 4 rows filled" in report and "Rubin" in report


def test_draws_are_rows_of_one_file(
    run: str, holes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(holes, [row[:] if row[3] != " Oslo" else [*row[:3], "Oslo", *row[4:]] for row in WRITTEN])
    assert infill(run, holes, tmp_path / "one.csv") == 0
    assert infill(run, holes, tmp_path / "many.csv", "--draws", "3") == 0
    report = capsys.readouterr().out
    assert "each 3 times" in report and "95 % interval" in report
    many = pd.read_csv(tmp_path / "many.csv", dtype=str)
    assert [*many["draw"]] == [str(d) for d in (1, 2, 3) for _ in range(4)]
    first = many[many["draw"] == "1"].drop(columns="draw").fillna("").values.tolist()
    assert first == read(tmp_path / "one.csv")[1:]  # more draws leave the first as it is
    assert many.groupby("draw")["age"].apply(tuple).nunique() > 1
    assert many.groupby("draw")["id"].apply(tuple).nunique() == 1


def test_a_target_may_be_absent(run: str, tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", [["city", "age"], ["Oslo", "30"], ["Rome", "40"]])
    assert infill(run, tmp_path / "rows.csv", tmp_path / "filled.csv") == 0
    filled = pd.read_csv(tmp_path / "filled.csv")
    assert [*filled] == ["city", "age", "income", "member"] and not filled.isna().any().any()
    write(tmp_path / "one.csv", [["city", "age", "income"], ["Oslo", "30", ""]])
    assert infill(run, tmp_path / "one.csv", tmp_path / "filled1.csv") == 0
    assert len(pd.read_csv(tmp_path / "filled1.csv")) == 1


def test_types_of_a_parquet_stay(run: str, tmp_path: Path) -> None:
    columns = {
        "age": pa.array([30, None, 40], pa.int8()),
        "income": pa.array([None, 4001.5, None], pa.float32()),
        "member": pa.array([True, None, None]),
        "city": pa.array(["Oslo", None, "Rome"]),
        "day": pa.array([None, 1, 2], pa.date32()),
    }
    pq.write_table(pa.table(columns), tmp_path / "holes.parquet")
    assert infill(run, tmp_path / "holes.parquet", tmp_path / "filled.parquet") == 0
    table = pq.read_table(tmp_path / "filled.parquet")
    assert table.schema.types == pa.table(columns).schema.types
    assert [table[name].null_count for name in table.column_names] == [0, 0, 0, 0, 1]
    assert table["age"].to_pylist()[::2] == [30, 40] and table["income"].to_pylist()[1] == 4001.5


def test_a_csv_becomes_a_file_with_types(run: str, tmp_path: Path) -> None:
    write(tmp_path / "holes.csv", [["age", "member"], ["30", "True"], ["", "False"], ["31", ""]])
    assert infill(run, tmp_path / "holes.csv", tmp_path / "filled.parquet") == 0
    schema = pq.read_schema(tmp_path / "filled.parquet")
    assert [str(t) for t in schema.types][:2] == ["int64", "bool"] and b"likewise" in schema.metadata


def test_separators_and_spreadsheets(run: str, tmp_path: Path) -> None:
    write(tmp_path / "holes.csv", [["age", "city"], ["30", "Bonn, DE"], ["", "Oslo"]], ";")
    for ending in ("tsv", "xlsx", "jsonl"):
        assert infill(run, tmp_path / "holes.csv", tmp_path / f"filled.{ending}") == 0
    table = Table.open(tmp_path / "filled.tsv")
    assert table[0]["age"] == 30 and isinstance(table[1]["age"], int)


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        ([["age", "city"], ["30", "Oso"]], [], "did you mean 'Oslo'"),
        ([["x"], ["1"]], [], "no value in any column of the model"),
        ([["age", "draw"], ["", "1"], ["3", "2"]], ["--draws", "2"], "a column 'draw'"),
        ([["age"], ["30"]], ["--given", "city=Oslo"], "leave --given"),
        ([["age"], ["30"]], ["-n", "3"], "--draws times"),
    ],
)
def test_errors(
    run: str,
    tmp_path: Path,
    rows: list[list[str]],
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path / "holes.csv", rows)
    assert infill(run, tmp_path / "holes.csv", tmp_path / "filled.csv", *words) != 0
    error = capsys.readouterr().err
    assert message in error and not (tmp_path / "filled.csv").exists()


def test_rows_that_cannot_be_read_stay(run: str, tmp_path: Path) -> None:
    write(tmp_path / "holes.csv", [["age", "city"], ["", "Oso"], ["", "Oslo"], ["3", "Rome"]])
    assert infill(run, tmp_path / "holes.csv", tmp_path / "filled.csv", "--skip-bad") == 0
    rows = read(tmp_path / "filled.csv")
    assert rows[1][:2] == ["", "Oso"] and rows[2][0] != "" and rows[3][:2] == ["3", "Rome"]


def test_files_are_not_replaced(run: str, holes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = holes.read_bytes()
    assert infill(run, holes, holes) != 0
    assert "is there already" in capsys.readouterr().err and holes.read_bytes() == before
    assert main(["infill", run, "--draws", "3", "--known", "age=30"]) != 0
    assert "for a file of rows" in capsys.readouterr().err


@pytest.mark.parametrize("family", ["any_order", "mixture"])
def test_no_value_that_is_filled_is_missing(family: str) -> None:
    model = Model("age, income, city, member", Table.from_rows(ROWS).columns, family, seed=1)
    filled = fill_missing(model, ROWS[:40], seed=3)
    assert all(value is not None for row in filled for value in row.values())
    for before, after in zip(ROWS, filled, strict=False):
        assert {n: v for n, v in before.items() if v is not None}.items() <= after.items()
    again = fill_missing(model, ROWS[3:5], seed=3, indices=[3, 4])
    assert again == filled[3:5]  # whatever the other rows are


def test_rubins_rules() -> None:
    estimates, variances = [10.0, 12.0, 11.0, 13.0], [2.0, 2.5, 1.5, 2.0]
    pooled = pool(estimates, variances)
    between, within = np.var(estimates, ddof=1), 2.0
    total = within + 1.25 * between
    assert pooled.estimate == 11.5 and pooled.error == pytest.approx(math.sqrt(total))
    df = 3 * (total / (1.25 * between)) ** 2
    assert (
        pooled.high - 11.5
        == pytest.approx(11.5 - pooled.low)
        == pytest.approx(float(scipy.stats.t.ppf(0.975, df)) * math.sqrt(total))
    )
    assert pooled.missing_share == pytest.approx(1.25 * between / total)
    alike = pool([1.0, 1.0], [4.0, 4.0])
    assert (
        alike.error == 2.0
        and alike.missing_share == 0
        and alike.high == pytest.approx(1 + 1.96 * 2, abs=1e-3)
    )
    assert math.isnan(pool([3.0], [1.0]).error)


def test_means_of_parts_are_those_of_all_rows() -> None:
    values = np.random.default_rng(0).normal(5, 2, (2, 30))
    means = PooledMeans(["x", "empty"])
    for draw, rows in enumerate(values):
        for part in (rows[:7], rows[7:]):
            means.add(draw, [{"x": v, "empty": None} for v in part])
    expected = pool(values.mean(1).tolist(), (values.var(1, ddof=1) / 30).tolist())
    result = means.results()
    assert [*result] == ["x"] and result["x"].error == pytest.approx(expected.error)
