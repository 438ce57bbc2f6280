"""Numbers, booleans and codes of a file: samples are written as the cells of the file are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from likewise.data.table import Table
from likewise.modalities import Number, modality_from_json
from likewise.modalities.number_format import NumberFormat


def opened(tmp_path: Path, cells: list[str], separator: str = ";", **options: object) -> Table:
    path = tmp_path / "t.csv"
    lines = [f"{cell}{separator}{i}" for i, cell in enumerate(cells)]
    path.write_text("\n".join([f"x{separator}n", *lines]), encoding="utf-8")
    return Table.open(path, **options)  # type: ignore[arg-type]


def numbers(n: int = 80) -> np.ndarray:
    return np.random.default_rng(0).lognormal(6, 2, n)


@pytest.mark.parametrize(
    ("write", "pattern"),
    [
        (lambda v: f"${v:,.2f}", "$#,##0.00"),
        (lambda v: f"{v:,.2f} €".translate(str.maketrans(",.", ".,")), "#.##0,00 €"),
        (lambda v: f"EUR {v:.0f}.00", "EUR 0.00"),
        (lambda v: f"{v / 100:.1f} %", "0.0 %"),
        (lambda v: f"{v:.0f}%", "0%"),
        (lambda v: f"{v:.1f} kg", "0.0 kg"),
        (lambda v: f"{v:.0f} min", "0 min"),
        (lambda v: f"{v:,.0f}".replace(",", "\u00a0") + ",5", "#\u00a0##0,0"),
        (lambda v: f"{v:.3f}".replace(".", ","), "0,000"),
        (lambda v: f"({v:,.2f})" if v > 100 else f"{v:,.2f}", "#,##0.00;(#,##0.00)"),
        (lambda v: f"{v:.2f}", "0.00"),
        (lambda v: f"{v:.0f}.0", "0.0"),
        (lambda v: f"{v:.0f}", ""),
        (lambda v: repr(round(float(v), 3)), ""),
        (lambda v: f"-{v:.2f}" if v < 50 else f"{v:.2f}", "0.00"),
    ],
)
def test_numbers_are_written_as_in_the_file(tmp_path: Path, write: object, pattern: str) -> None:
    cells = [write(v) for v in numbers()]  # type: ignore[operator]
    table = opened(tmp_path, cells)
    column = table.columns["x"]
    assert isinstance(column, Number) and column.style == pattern
    assert list(map(column.format_cell, table.column("x"))) == cells
    assert column.format_cell(None) == ""
    again = modality_from_json(json.loads(json.dumps(column.to_json())))
    assert again == column and table.train.columns["x"] == column
    for cell in cells[:10]:
        assert column.load(cell.encode()) == pytest.approx(table.column("x")[cells.index(cell)])
    samples = list(map(column.format_cell, column.decode_all(torch.randn(80, 1, 1))))
    rows = opened(tmp_path, samples).columns["x"]
    assert isinstance(rows, Number) and rows.format_cell(1234.5)[:1] == column.format_cell(1234.5)[:1]


def test_cells_that_differ_have_the_style_of_most(tmp_path: Path) -> None:
    column = opened(tmp_path, ["$5", "$1,234.5", "$17.25", "$3,000"] * 15).columns["x"]
    assert [column.format_cell(v) for v in (5, 1234.5, 3000.25)] == ["$5", "$1,234.5", "$3,000.25"]
    column = opened(tmp_path, [repr(1.5 * 10.0 ** (i % 25 - 5)) for i in range(60)]).columns["x"]
    assert column.format_cell(1e-7) == "0.0000001" and column.format_cell(1e20) == "1e+20"


@pytest.mark.parametrize("pattern", ["$#,##0.00", "0.# %", "#.##0,00 €;(#.##0,00 €)", "0", "#'##0"])
def test_patterns(pattern: str) -> None:
    form = NumberFormat.parse(pattern)
    assert str(form) == pattern
    for value in (0, 7, -1234567, 0.5, -99.25):
        value = value if "." in pattern or "," in pattern else round(value)
        assert form.read(form.write(value)) == pytest.approx(value)
    assert form.read("no number") is None
    with pytest.raises(ValueError, match="is no pattern of numbers"):
        NumberFormat.parse("abc")


@pytest.mark.parametrize(
    "words",
    [
        "yes no",
        "Yes No",
        "Y N",
        "y n",
        "true false",
        "TRUE FALSE",
        "True False",
        "on off",
        "0 1",
        "ja nein",
        "t f",
    ],
)
def test_booleans_are_written_as_in_the_file(tmp_path: Path, words: str) -> None:
    cells = words.split() * 40
    cells[7] = cells[9] = ""
    table = opened(tmp_path, cells)
    column = table.columns["x"]
    assert [column.format_cell(v) for v in table.column("x")] == cells
    values = column.decode_all(column.encode_all(table.column("x")))
    assert [column.format_cell(v) for v in values] == cells


@pytest.mark.parametrize("form", ["{:05d}", "0{}", "{:03d}-{:02d}", "+49{:07d}"])
def test_codes_keep_their_zeros(tmp_path: Path, form: str) -> None:
    cells = [form.format(i % 9, i % 7) for i in range(80)]
    table = opened(tmp_path, cells)
    assert table.column("x") == cells and not KINDS_NUMERIC & {table.kinds["x"]}


KINDS_NUMERIC = {"number", "date", "duration"}
