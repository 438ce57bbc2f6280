"""What `likewise data` says of the columns of a messy table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likewise.cli.main import main
from likewise.data.table import Table

N = 200


def messy(path: Path, header: bool = True) -> Path:
    draw = np.random.default_rng(0)
    lines = []
    for i in range(N):
        cells = [
            f"C-{i if i != 7 else 9:04d}",
            str(5000 + i * 37 % 4001 if i != 11 else 5000),
            str(int(draw.integers(18, 90)) if i % 20 else -999),
            f"{draw.normal(50, 5):.1f}" if i % 25 else "9999",
            f"{1 + i % 28:02d}.{1 + i % 12:02d}.2023" if i % 40 else "01.01.1900",
            "" if i % 4 else f"{i % 9} kg",
            "EU",
            "",
            ["yes", "no"][i % 2],
            str(draw.integers(100, 200) if i != 150 else 10**7),
        ]
        lines.append(",".join(cells))
    names = "code,user_id,age,score,since,weight,region,empty,paid,income"
    path.write_text("\n".join([*([names] if header else []), *lines]))
    return path


def test_what_is_odd_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    messy(tmp_path / "t.csv")
    assert main(["data", "t.csv"]) == 0
    said = capsys.readouterr().out
    for part in (
        "code: nearly an id, as 199 of 200 values are different; there twice or more: C-0009 in row 7 (line 9), row 9",
        "user_id: nearly an id, as 199 of 200 values are different",
        "age: 10 of 200 values are -999, which may stand for missing values; leave these cells empty if so",
        "score: 8 of 200 values are 9999, which may stand for missing values",
        "since: 5 of 200 values are 1900-01-01, which may stand for missing values",
        "weight: 150 of 200 values are missing (75.0%)",
        "weight: values are numbers without the unit kg",
        "region: every value is 'EU', so there is nothing to learn of it",
        "column 'empty' is left out: it has no value in any row",
        "income: 1 of 200 values are far from the others, which lie between 100 and 199: 1e+07 (row 150 (line 152))",
        "a date in each cell, such as",
        "2 different values",
    ):
        assert part in said, part


@pytest.mark.parametrize(
    "values",
    [
        [9, 99, 5, 999, 998, 1000, 7, 999] * 5,
        [-1, 0, 1, 2, -2] * 8,
        [9, 99, 8, 7] * 10,
        [-9.5, -99, 3, -100] * 10,
    ],
)
def test_what_is_no_sign_for_missing_values(values: list[float]) -> None:
    found = Table.from_rows([{"x": v, "y": i / 7} for i, v in enumerate(values)]).report.findings
    assert not any("may stand for missing values" in line for line in found)


def test_a_first_row_that_looks_like_data_is_said(tmp_path: Path) -> None:
    notes = " ".join(Table.open(messy(tmp_path / "t.csv", header=False), skip_bad=True).report.notes())
    assert "the first row, " in notes and "looks like the other rows; if it is one, give --no-header" in notes
    path = tmp_path / "u.csv"
    path.write_text("\n".join(f"2024-01-{1 + i % 28:02d},{'ab'[i % 2]}" for i in range(60)))
    notes = " ".join(Table.open(path).report.notes())
    assert "looks like the other rows" in notes
    assert "looks like" not in " ".join(Table.open(messy(tmp_path / "v.csv"), skip_bad=True).report.notes())
