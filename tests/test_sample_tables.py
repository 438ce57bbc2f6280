"""Samples as a table in a file: .csv, .tsv, .parquet, .xlsx, .jsonl, in parts."""

from __future__ import annotations

import csv
import datetime
import json
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from likewise.cli import sample_table
from likewise.cli.main import main
from likewise.core.provenance import is_output
from likewise.data.table import Table
from likewise.data.table_writer import TableColumn, arrow_type, write_table
from likewise.modalities import Label, Number, Text
from likewise.models.model import Model

CITIES = ["Oslo", 'Bonn, "DE"', "Rome"]
ROWS = [
    {
        "age": 20 + i * i % 37 if i % 5 else None,
        "income": (400_000 + i * 7 % 41 * 25) / 100,
        "city": CITIES[i % 3],
        "member": i % 2 == 0,
        "rooms": 1 + i % 4,
    }
    for i in range(120)
]
NAMES = list(ROWS[0])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained model: its samples have the values of the table."""
    folder = tmp_path_factory.mktemp("run") / "rows"
    Model("*", Table.from_rows(ROWS).columns, width=16, depth=1).save(folder)
    return str(folder)


def sample(run: str, out: Path, *words: str) -> None:
    assert main(["sample", run, "--out", str(out), *words]) == 0


def test_a_csv_has_the_cells_of_the_source(run: str, tmp_path: Path) -> None:
    sample(run, tmp_path / "rows.csv", "-n", "60")
    with open(tmp_path / "rows.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == NAMES and len(rows) == 60
    age, income, city, member, rooms = map(set, zip(*rows, strict=True))
    assert "" in age and all(20 <= int(cell) <= 56 for cell in age - {""})
    assert all(4000 <= float(cell) <= 4010 and float(cell) % 0.25 == 0 for cell in income)
    assert city == set(CITIES) and member == {"True", "False"} and rooms == {"1", "2", "3", "4"}
    table = Table.open(tmp_path / "rows.csv")
    assert table.kinds == Table.from_rows(ROWS).kinds
    assert [type(v) for v in table[0].values()] == [type(v) for v in ROWS[1].values()] or table[0][
        "age"
    ] is None


def test_all_formats_have_the_same_rows(run: str, tmp_path: Path) -> None:
    for ending in ("csv", "tsv", "parquet", "xlsx", "jsonl"):
        sample(run, tmp_path / f"rows.{ending}", "-n", "30", "--seed", "3")
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    [sheet] = openpyxl.load_workbook(tmp_path / "rows.xlsx").worksheets
    cells = [dict(zip(NAMES, row, strict=True)) for row in list(sheet.iter_rows(values_only=True))[1:]]
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert cells == rows == [{n: line[n] for n in NAMES} for line in lines]
    frame = pd.read_csv(tmp_path / "rows.csv")
    assert frame.equals(pd.read_csv(tmp_path / "rows.tsv", sep="\t"))
    assert frame.equals(pd.read_parquet(tmp_path / "rows.parquet").astype(frame.dtypes.to_dict()))
    schema = pq.read_schema(tmp_path / "rows.parquet")
    assert [str(t) for t in schema.types] == ["int64", "double", "string", "bool", "int64"]
    about = json.loads(schema.metadata[b"likewise"])
    assert (about["seed"], about["rows"], about["formula"]) == (3, 30, ", ".join(NAMES))
    assert [line["likewise"]["index"] for line in lines] == [*range(30)] and is_output(
        tmp_path / "rows.jsonl"
    )


def test_parts_do_not_change_the_samples(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample(run, tmp_path / "whole.csv", "-n", "20")
    monkeypatch.setattr(sample_table, "PART_ROWS", 7)
    sample(run, tmp_path / "parts.csv", "-n", "20")
    sample(run, tmp_path / "parts.parquet", "-n", "20")
    assert (tmp_path / "whole.csv").read_bytes() == (tmp_path / "parts.csv").read_bytes()
    assert pq.ParquetFile(tmp_path / "parts.parquet").num_row_groups == 3


def test_what_is_given_is_a_column(run: str, tmp_path: Path) -> None:
    sample(run, tmp_path / "oslo.csv", "-n", "5", "--given", "city=Oslo")
    assert [*pd.read_csv(tmp_path / "oslo.csv")["city"]] == ["Oslo"] * 5
    columns = Table.from_rows(ROWS).columns
    Model("* | city", columns, width=16, depth=1).save(tmp_path / "model")
    sample(str(tmp_path / "model"), tmp_path / "rome.csv", "-n", "3", "--given", "city=Rome")
    frame = pd.read_csv(tmp_path / "rome.csv")
    assert [*frame] == ["age", "income", "member", "rooms", "city"] and [*frame["city"]] == ["Rome"] * 3
    sample(str(tmp_path / "model"), tmp_path / "none.csv", "-n", "3")
    assert "city" not in pd.read_csv(tmp_path / "none.csv")


def test_files_are_not_replaced(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.csv"
    out.write_text("mine")
    assert main(["sample", run, "--out", str(out)]) != 0
    assert "is there already" in capsys.readouterr().err and out.read_text() == "mine"
    sample(run, out, "--overwrite", "-n", "2")
    assert len(out.read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["rows.txt", "rows.png", "rows.xls"])
def test_other_names_are_refused(
    run: str, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", run, "--out", str(tmp_path / name)]) != 0
    assert ".csv, .tsv, .parquet, .xlsx or .jsonl" in capsys.readouterr().err


def test_texts_too(tmp_path: Path) -> None:
    columns = {"text": Text.fit(["red circle", "blue square"])}
    Model("text", columns, "autoregressive", width=16, depth=1).save(tmp_path / "run")
    words = ["red", "blue", "-n", "2", "--out", str(tmp_path / "texts.csv")]
    assert main(["sample", str(tmp_path / "run"), *words]) == 0
    texts = [*pd.read_csv(tmp_path / "texts.csv", keep_default_na=False)["text"]]
    assert [text.split(" ")[0][:3] for text in texts] == ["red", "red", "blu", "blu"]


COLUMN = TableColumn("x", str, lambda value: value, pa.string())


def test_a_sheet_has_texts_as_they_are(tmp_path: Path) -> None:
    write_table(tmp_path / "a.xlsx", [COLUMN], [[["=1+1"], [None], ["007"]]], {}, 3)
    [sheet] = openpyxl.load_workbook(tmp_path / "a.xlsx").worksheets
    assert [(c.value, c.data_type) for c in sheet["A"]][1:] == [("=1+1", "s"), (None, "n"), ("007", "s")]
    with pytest.raises(ValueError, match="control characters"):
        write_table(tmp_path / "b.xlsx", [COLUMN], [[["a\x01"]]], {}, 1)
    with pytest.raises(ValueError, match="1,048,575 rows at most"):
        write_table(tmp_path / "b.xlsx", [COLUMN], [], {}, 2**20)
    assert not (tmp_path / "b.xlsx").exists()


def test_a_file_is_complete_or_not_there(tmp_path: Path) -> None:
    def parts() -> Any:
        yield [["a"]]
        raise ValueError("no more")

    for ending in ("csv", "parquet", "xlsx", "jsonl"):
        with pytest.raises(ValueError, match="no more"):
            write_table(tmp_path / f"a.{ending}", [COLUMN], parts(), {}, 2)
    assert [*tmp_path.iterdir()] == []
    write_table(tmp_path / "empty.parquet", [COLUMN], [], {}, 0)
    assert pq.read_table(tmp_path / "empty.parquet").num_rows == 0
    column = TableColumn("likewise", str, lambda value: value, pa.string())
    with pytest.raises(ValueError, match="key of provenance"):
        write_table(tmp_path / "a.jsonl", [column], [], {}, 0)


def test_dates_are_texts_in_json(tmp_path: Path) -> None:
    column = TableColumn("day", str, lambda value: value, pa.date32())
    write_table(tmp_path / "a.jsonl", [column], [[[datetime.date(2024, 5, 1)]]], {}, 1)
    assert json.loads((tmp_path / "a.jsonl").read_text())["day"] == "2024-05-01"


@pytest.mark.parametrize(
    ("column", "type"),
    [
        (Number.fit([1, 2, 2]), "int64"),
        (Number.fit([1, None, None, None, 2]), "int64"),
        (Number.fit([1.5, 2.0]), "double"),
        (Label.fit(["a", "b"]), "string"),
        (Label.fit([True, False]), "bool"),
        (Label.fit([3, 4]), "int64"),
        (Text.fit(["a b"]), "string"),
    ],
)
def test_types(column: Any, type: str) -> None:
    assert str(arrow_type(column)) == type
