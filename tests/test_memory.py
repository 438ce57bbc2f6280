"""Rows in memory and files of Arrow: what data frames hold is read, missing values are missing, all else is an error."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.data.arrow import TableError
from likewise.data.table import Table

N = 20
FRAME = pd.DataFrame(
    {"count": [1, 2, None, 4] * 5, "city": ["Oslo", "Rome", None, "Rome"] * 5, "x": [0.5, 1] * 10}
)
READERS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "pandas, own types": lambda frame: frame.convert_dtypes(),
    "pandas, an index that is no range": lambda frame: frame.set_index(pd.Index([i * i for i in range(N)])),
    "dicts with NaN": lambda frame: frame.to_dict("records"),
    "dicts with NA": lambda frame: frame.convert_dtypes().to_dict("records"),
    "a generator": lambda frame: (row for row in frame.to_dict("records")),
    "Arrow": pa.Table.from_pandas,
    "Arrow, views of strings": lambda frame: pa.table(frame).cast(
        pa.schema([("count", pa.float64()), ("city", pa.string_view()), ("x", pa.float64())])
    ),
    "Arrow, categories": lambda frame: pa.table(
        {**{n: pa.array(frame[n]) for n in frame}, "city": pa.array(frame["city"]).dictionary_encode()}
    ),
    "Arrow, categories as polars has them": lambda frame: pa.table(
        {
            "count": pa.array(frame["count"]),
            "city": pa.DictionaryArray.from_arrays(
                pa.array([0, 1, None, 1] * 5, pa.uint32()), pa.array(["Oslo", "Rome"], pa.string_view())
            ),
            "x": pa.array(frame["x"]),
        }
    ),
}


@pytest.mark.parametrize("reader", READERS)
def test_data_frames_and_dicts_are_one_table(reader: str) -> None:
    """The same values, whole numbers as such, and what is missing is missing."""
    table = Table.from_rows(READERS[reader](FRAME))
    assert table.kinds == {"count": "number", "city": "label", "x": "number"}
    assert table[0] == {"count": 1, "city": "Oslo", "x": 0.5} and type(table[0]["count"]) is int
    assert table[2] == {"count": None, "city": None, "x": 0.5}
    assert table.report.gaps == [
        "count: 5 of 20 values are missing (25.0%)",
        "city: 5 of 20 values are missing (25.0%)",
    ]
    assert any("the index of a data frame" in line for line in table.report.account.unused) == (
        reader == "pandas, an index that is no range"
    )


def test_values_of_python_and_numpy() -> None:
    rows = [
        {
            "a": np.int64(i),
            "b": np.float32(i / 4) if i else math.nan,
            "c": Decimal("1.50") + i,
            "d": pd.NaT if i % 4 == 0 else pd.Timestamp("2024-01-01"),
            "e": np.bool_(i % 2),
            "f": PIL.Image.new("RGB", (4, 4), (i, 0, 0)) if i else None,
        }
        for i in range(N)
    ]
    table = Table.from_rows(rows)
    kinds = {"a": "number", "b": "number", "c": "number", "d": "date", "e": "label", "f": "image"}
    assert table.kinds == kinds and Table.from_rows(pd.DataFrame(rows)).kinds == kinds
    assert table[1]["b"] == 0.25 and table[1]["c"] == 2.5 and table[1]["d"] == "2024-01-01T00:00:00"
    assert [line.partition(":")[0] for line in table.report.gaps] == ["b", "d", "f"]


def test_names_of_pictures_are_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a table file; relative names are those of the current folder."""
    monkeypatch.chdir(tmp_path)
    for i in range(N):
        PIL.Image.new("RGB", (8, 8), (i, 0, 0)).save(f"{i}.png")
    for path in (str, Path, lambda name: tmp_path / name):
        table = Table.from_rows([{"image": path(f"{i}.png"), "label": "ab"[i % 2]} for i in range(N)])
        assert table.kinds["image"] == "image" and table[3]["image"].getpixel((0, 0)) == (3, 0, 0)
    with pytest.raises(TableError, match=r"row 0, image: cannot open the file 'gone/0.png'"):
        Table.from_rows([{"image": f"gone/{i}.png", "label": "a"} for i in range(N)])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "rows are of the type NoneType; give rows as dicts, such as"),
        ({"a": [1, 2]}, "rows are of the type dict; give rows as dicts"),
        ("people.csv", "rows are of the type str"),
        ([[1, 2], [3, 4]], "row 0 is of the type list; give rows as dicts"),
        (np.zeros((3, 2)), "row 0 is of the type ndarray"),
        ([{"a": 1}, {2: 3}], "row 1 has the key 2; names of columns are texts"),
        ([{"a": 10**30}], "'a' has whole numbers of more than 64 bits"),
        ([{"a": 1}, {"a": "x"}], "'a' mixes types: int, str; write its values in one form"),
        ([{"a": 1j}], "'a' has values of the type complex, which no table stores"),
        (
            [{"image": np.zeros((8, 8, 3), np.uint8)}],
            r"'image' holds arrays of the shape \(8, 8, 3\); make pictures",
        ),
        (pa.table([[1], [2]], names=["a", "a"]), "several columns have one name, 'a'"),
    ],
)
def test_all_else_is_an_error_that_says_what_to_do(rows: Any, message: str) -> None:
    with pytest.raises(TableError, match=message):
        Table.from_rows(rows)


@pytest.mark.parametrize("source", [None, 5, b"x.csv", ["a.csv", "b.csv"], FRAME])
def test_a_source_is_a_name(source: Any) -> None:
    with pytest.raises(
        TableError, match=rf"not of the type {type(source).__name__}; Table.from_rows takes rows"
    ):
        Table.open(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "the name of the data is empty"),
        ("-", "standard input is not read; write the data to a file"),
        ("https://example.org/a.csv", "is an address, and addresses are not fetched; download it"),
    ],
)
def test_what_is_no_name_of_data(source: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        Table.open(source)


# ---- files


def write(path: Path, table: pa.Table) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    return path


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("column", "kind", "second"),
    [
        (pa.array(["a", "b"] * 10).dictionary_encode(), "label", "b"),
        (pa.array([1, 2] * 10).dictionary_encode(), "number", 2),
        (pa.array(["a", None] * 10).dictionary_encode(), "label", None),
        (pa.array(["a", "b"] * 10, pa.string_view()), "label", "b"),
        (pa.array(["a", "b"] * 10, pa.large_string()), "label", "b"),
        (pa.array([Decimal("1.25"), Decimal("2.25")] * 10), "number", 2.25),
        (pa.array([2**63, 2**63 + 5] * 10, pa.uint64()), "number", 2**63 + 5),
        (pa.array(np.float16([0.5, 1.5] * 10)), "number", 1.5),
        (pa.array([0.5, math.nan] * 10), "number", None),
        (pa.array([3.0, math.nan] * 10), "number", None),
        (
            pa.array([datetime.datetime(2024, 1, 1)] * N, pa.timestamp("ns", "UTC")),
            "date",
            "2024-01-01T00:00:00Z",
        ),
        (pa.array([datetime.timedelta(hours=3)] * N), "duration", "0 days 03:00:00"),
    ],
)
def test_types_of_arrow(tmp_path: Path, ending: str, column: pa.Array, kind: str, second: Any) -> None:
    table = Table.open(write(tmp_path / f"t.{ending}", pa.table({"v": column, "x": list(range(N))})))
    assert table.kinds == {"v": kind, "x": "number"} and table[1]["v"] == second


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("column", "why"),
    [
        (pa.array([[1, 2]] * N), "no modality reads lists"),
        (pa.array([{"a": 1}] * N), "no modality reads objects with the keys a"),
        (pa.array([[("a", 1)]] * N, pa.map_(pa.string(), pa.int64())), "no modality reads map<string, int64"),
        (pa.nulls(N), "it has no value in any row"),
    ],
)
def test_columns_that_cannot_be_read_are_left_out(
    tmp_path: Path, ending: str, column: pa.Array, why: str
) -> None:
    table = Table.open(write(tmp_path / f"t.{ending}", pa.table({"v": column, "x": list(range(N))})))
    assert table.kinds == {"x": "number"} and why in table.report.account.left_out["v"]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_files_without_rows_and_with_equal_names(tmp_path: Path, ending: str) -> None:
    empty = write(tmp_path / f"empty.{ending}", pa.table({"a": pa.array([], pa.int64())}))
    with pytest.raises(TableError, match="it has no rows"):
        Table.open(empty)
    twice = write(tmp_path / f"twice.{ending}", pa.table([[1], [2]], names=["a", "a"]))
    with pytest.raises(TableError, match=rf"twice.{ending}: several columns have one name, 'a'"):
        Table.open(twice)


def test_parquet_needs_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read where it is: nothing is written to a home folder, which may be read-only."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    Table.open(write(tmp_path / "t.parquet", pa.table({"x": list(range(N))})))
    assert not (tmp_path / "cache").exists()


def test_an_index_of_pandas_is_no_column(tmp_path: Path) -> None:
    FRAME.set_index(pd.Index([i * i for i in range(N)])).to_parquet(tmp_path / "t.parquet")
    table = Table.open(tmp_path / "t.parquet")
    assert list(table.kinds) == list(FRAME)
    assert "the index of a data frame, which has no name, is left out" in table.report.account.unused[0]
    FRAME.set_index(pd.Index([i * i for i in range(N)], name="km")).to_parquet(tmp_path / "named.parquet")
    assert "km" in Table.open(tmp_path / "named.parquet").kinds


# ---- what is odd about a column


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            ["Oslo", "oslo", "Rome"],
            "v: classes differ in case, spaces or invisible characters only, .* 'Oslo' and 'oslo'; ",
        ),
        (["Oslo", "Oslo ", "Rome"], "'Oslo' and 'Oslo '; write them alike"),
        (
            ["Oslo", "Oslo\u00a0", "Rome\u200b", "Rome"],
            r"'Oslo' and 'Oslo\\xa0'; 'Rome' and 'Rome\\u200b'; write",
        ),
        (["Köln", "Ko\u0308ln"], r"'Ko\\u0308ln' and 'K\\xf6ln'"),
        (["Norway"], "v: every value is 'Norway', so there is nothing to learn of it"),
        ([3], "v: every value is 3, so there is nothing to learn of it"),
        ([None, 2.5], "v: every value is 2.5, so there is nothing"),
    ],
)
def test_classes_that_look_the_same_and_columns_of_one_value(values: list[Any], line: str) -> None:
    table = Table.from_rows([{"v": values[i % len(values)], "x": i * i} for i in range(5 * N)])
    (found,) = [found for found in table.report.findings if found.startswith("v: ")]
    assert re.search(line, found), found


@pytest.mark.parametrize(
    ("first", "step", "counts"), [(0, 1, True), (1000, 1, True), (0, 2, False), (0.5, 1, False)]
)
def test_a_column_that_counts_the_rows_is_named(first: float, step: int, counts: bool) -> None:
    table = Table.from_rows([{"id": first + step * i, "x": i * i} for i in range(N)])
    lines = [line for line in table.report.findings if line.startswith("id: the values count the rows")]
    assert bool(lines) == counts
