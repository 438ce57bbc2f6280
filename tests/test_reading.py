"""Table files are read as they are meant, or refused with the place: widths, dialects, numbers, missing values, notes."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import PIL.Image
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from likewise.cli.main import main
from likewise.core.formula import FormulaError
from likewise.core.option_names import as_flag
from likewise.data import spool
from likewise.data.arrow import ROW, TableError
from likewise.data.cells import MARKS, MISSING
from likewise.data.readers import FileFormat, delimited
from likewise.data.readers.table_file import read_table_file
from likewise.data.report import TableReport
from likewise.data.table import Table
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of a name and returns its path."""

    def write(text: str | bytes, name: str = "t.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


def lines(header: str, rows: Sequence[str], end: str = "\n") -> str:
    return end.join([header, *rows, ""])


def account(report: TableReport) -> str:
    """All that a report says, on one line."""
    return " | ".join([*report.account.read, *report.notes(), *(c.reason for c in report.columns)])


AGES = [str(20 + i % 30) for i in range(40)]


# ---- widths: nothing shifts


def test_an_empty_field_at_the_end_of_each_row_is_left_out(write: Write) -> None:
    found = Table.open(write(lines("id,age,income", [f"{1000 + i},{i + 20},{i * 7}," for i in range(30)])))
    assert found[3] == {"id": 1003, "age": 23, "income": 21}
    assert "the empty field at the end of each row is left out" in account(found.report)
    named = Table.open(write(lines("id,age,", [f"{1000 + i},{i + 20}," for i in range(30)])))
    assert named[3] == {"id": 1003, "age": 23}
    assert "column 3, which has no name, is left out: it is empty" in account(named.report)


@pytest.mark.parametrize("row", ["1029,49,7,x", "1029,49,7,", "1029,49", "1029,49,7,,"])
def test_a_row_of_another_width_is_a_bad_row_with_its_line(write: Write, row: str) -> None:
    path = write(lines("id,age,income", [*(f"{1000 + i},{i + 20},{i * 7}" for i in range(29)), row, "9,9,9"]))
    count = row.count(",") + 1
    with pytest.raises(
        TableError, match=rf"1 of 31 rows .*\n  row 29 \(line 31\): {count} fields where the header has 3"
    ):
        Table.open(path)
    found = Table.open(path, skip_bad=True)
    assert len(found) == 30 and found[29] == {"id": 9, "age": 9, "income": 9}
    assert found.row_numbers() == [*range(29), 30]
    assert [bad.line for bad in found.report.skipped] == [31]


def test_a_header_that_fits_no_row_is_one_sentence(write: Write) -> None:
    path = write(lines("id,age,city", [f"{1000 + i},{i},Berlin, DE" for i in range(30)]))
    for skip_bad in (False, True):
        with pytest.raises(
            TableError, match="names 3 columns, and no row has as many fields .line 2: 4 fields"
        ) as told:
            Table.open(path, skip_bad=skip_bad)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a,b\n1,2\n3,"x\n4,5\n', "a quote that opens in line 3 is not closed"),
        ('a,b\n1,2\n"x" y,5\n', "in line 3 a quoted cell goes on after its closing quote"),
        ('a,b\n1,"2\n3"x,5\n', "in lines 2 to 3 a quoted cell goes on"),
        ("a,b\n1,2\n3,\0\n", "line 3: there is a NUL character"),
        ("", "it is empty"),
        (" \n\n", "it is empty"),
        ("a,b\n", "it has no rows"),
        ("a,b\n\n\n", "it has no rows"),
        ("age,x,age\n1,2,3\n", "the columns 1 and 3 have one name, 'age'"),
        ("1,2,1\n1,2,3\n", "the columns 1 and 3 have one name, '1'; rename one of them, or give --no-header"),
        (b"a,b\n1,\xff\xfe\x81\n", "line 2: the byte 0xff is not UTF-8; give .* --encoding"),
    ],
)
def test_what_cannot_be_read_names_the_place(write: Write, text: str | bytes, said: str) -> None:
    with pytest.raises(TableError, match=said) as told:
        Table.open(write(text))
    assert "\n" not in str(told.value) and "t.csv" in str(told.value)


def test_blank_lines_comments_and_empty_rows_are_counted(write: Write) -> None:
    rows = [f"{i},{i + 20}" for i in range(30)]
    text = lines("# made by hand\n# in May\nid,age", [*rows[:10], "", "# pause", ",", *rows[10:], "", ""])
    found = Table.open(write(text))
    assert len(found) == 30 and found[10] == {"id": 10, "age": 30}
    said = account(found.report)
    assert "lines before the names of the columns, which are left out: 2" in said
    assert "blank lines that are left out: 1 (line 14)" in said
    assert "comments that are left out: 1 (line 15)" in said
    assert "rows without any value that are left out: 1 (line 16)" in said
    with pytest.raises(TableError, match=r"row 12 \(line 18\), age: 'x' is not a number"):
        Table.open(write(text.replace("11,31", "11,x")))


def test_a_name_may_begin_as_a_comment_does(write: Write) -> None:
    found = Table.open(write(lines("#,name", [f"{i},thing {i}" for i in range(30)])))
    assert list(found.kinds) == ["#", "name"]


def test_lines_are_counted_where_cells_have_several(write: Write) -> None:
    text = 'note,age\n"one\ntwo",1\n"three\r\nfour",2\n' + lines("", ["x,3"] * 12)[1:] + "x,unknown\n"
    with pytest.raises(TableError, match=r"row 14 \(line 18\), age: 'unknown'"):
        Table.open(write(text))
    assert Table.open(write(text), skip_bad=True)[1]["note"] == "three\r\nfour"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_newlines_of_every_system(write: Write, end: str) -> None:
    found = Table.open(write(lines("a,b", [f"{i},word {i}" for i in range(30)], end)))
    assert found[7] == {"a": 7, "b": "word 7"}


def test_columns_without_a_name(write: Write) -> None:
    rows = [f"{i},{i * 3 % 7},x{i}" for i in range(30)]
    found = Table.open(write(lines(",a,", rows)))
    assert found[3] == {"a": 2, "column_3": "x3"}
    said = account(found.report)
    assert "column 1, which has no name, is left out: it counts the rows" in said
    assert "column 3, which has no name, is called column_3" in said


def test_names_with_spaces_around_them_and_spaces_after_separators(write: Write) -> None:
    found = Table.open(write(lines(" a , b", [f"{i},{i}" for i in range(30)])))
    assert list(found.kinds) == ["a", "b"] and "names are read without the spaces" in account(found.report)
    found = Table.open(write(lines('a, b, "c d"', [f'{i}, "x, {i}", Ulm' for i in range(30)])))
    assert found[2] == {"a": 2, "b": "x, 2", "c d": "Ulm"}
    assert "a space after each separator" in account(found.report)


def test_a_first_row_that_looks_like_the_others_is_said(write: Write) -> None:
    rows = [f"{i % 9},{'Ulm' if i % 2 else 'Bonn'},{i / 4}" for i in range(30)]
    path = write("\n".join(["5,Ulm,2.5", *rows]))
    assert "looks like the other rows; if it is one, give --no-header" in account(Table.open(path).report)
    found = Table.open(path, header=False)
    assert list(found.kinds) == ["column_1", "column_2", "column_3"] and len(found) == 31
    assert found[0] == {"column_1": 5, "column_2": "Ulm", "column_3": 2.5}
    assert Table.open(**found.reopen_args()).fingerprint == found.fingerprint
    for header, rest in (
        ("age,city,x", rows),
        ("5,city,2.5", rows),
        ("word,note", [f"{'word' if i % 2 else 'term'},note {i}" for i in range(30)]),
    ):
        said = account(Table.open(write(lines(header, rest))).report)
        assert ("looks like" in said) == header.startswith("word")


def test_one_column(write: Write) -> None:
    assert Table.open(write(lines("age", AGES))).column("age") == list(map(int, AGES))


def test_a_cell_may_be_longer_than_the_csv_module_reads_by_itself(write: Write) -> None:
    before = csv.field_size_limit()
    found = Table.open(write(f"n,text\n1,{'a word and ' * 20_000}\n2,b\n"))
    assert found.kinds["text"] == "document" and csv.field_size_limit() == before


# ---- dialects


@pytest.mark.parametrize(
    ("separator", "name", "said"),
    [
        (";", "t.csv", "separator ';'"),
        ("\t", "t.csv", "separator tab"),
        ("|", "t.csv", "separator '|'"),
        (",", "t.tsv", "separator ','"),
    ],
)
def test_separators_are_found_and_said(write: Write, separator: str, name: str, said: str) -> None:
    rows = [f"{i}{separator}Ulm, DE{separator}x".replace("Ulm, DE", '"Ulm, DE"') for i in range(30)]
    found = Table.open(write(lines(separator.join("abc"), rows), name))
    assert found[3] == {"a": 3, "b": "Ulm, DE", "c": "x"} and said in account(found.report)


def test_the_promised_separator_is_not_said(write: Write) -> None:
    for name, separator in (("t.csv", ","), ("t.tsv", "\t")):
        found = Table.open(write(lines(f"a{separator}b", [f"{i}{separator}x" for i in range(30)]), name))
        assert found.report.account.read == [name]


def test_separators_can_be_given(write: Write) -> None:
    path = write(lines("a,1;b", [f"{i};{i}" for i in range(30)]))
    assert list(Table.open(path, separator=";").kinds) == ["a,1", "b"]
    path = write(lines("a:b", [f"{i}:{i}" for i in range(30)]))
    assert list(Table.open(path, separator=":").kinds) == ["a", "b"]
    assert list(Table.open(write("a\tb\n1\t2\n3\t4\n"), separator="tab").kinds) == ["a", "b"]
    assert list(Table.open(write("sep=;\na;b\n1;2\n3;4\n")).kinds) == ["a", "b"]
    for separator in (";;", "a", '"', ""):
        with pytest.raises(TableError, match="write one character"):
            Table.open(path, separator=separator)
    with pytest.raises(TableError, match="decimal and thousands are both"):
        Table.open(path, decimal=",", thousands=",")


@pytest.mark.parametrize(
    ("encoding", "given", "said"),
    [
        ("utf-8-sig", None, ""),
        ("utf-16", None, "encoding utf-16"),
        ("utf-16-le", None, "encoding utf-16-le, without a byte order mark"),
        ("utf-16-be", None, "encoding utf-16-be, without a byte order mark"),
        ("utf-32", None, "encoding utf-32"),
        ("cp1252", None, "encoding cp1252, as in 'Köln'"),
        ("latin-1", "latin-1", ""),
        ("cp1251", "cp1251", ""),
        ("mac-roman", "mac-roman", ""),
    ],
)
def test_encodings_are_found_or_given(write: Write, encoding: str, given: str | None, said: str) -> None:
    city = "Кёльн" if encoding == "cp1251" else "Köln"
    path = write(lines("age,city", [f"{i},{city}" for i in range(30)]), encoding=encoding)
    found = Table.open(path, encoding=given)
    assert found[3] == {"age": 3, "city": city}
    assert said in account(found.report) if said else "encoding" not in account(found.report)


@pytest.mark.parametrize("encoding", ["cp1251", "mac-roman", "cp850", "shift-jis"])
def test_an_encoding_that_cannot_be_told_is_asked_for(write: Write, encoding: str) -> None:
    word = {"cp1251": "Кёльн", "shift-jis": "ケルン"}.get(encoding, "Köln")
    with pytest.raises(TableError, match=r"line 2: the byte 0x\w\w is not UTF-8; give .*--encoding"):
        Table.open(write(lines("age,city", [f"{i},{word}" for i in range(30)]), encoding=encoding))
    with pytest.raises(TableError, match="no encoding 'utf-9'"):
        Table.open(write("a\n1\n"), encoding="utf-9")


# ---- numbers


def column(
    cells: Sequence[str | None], others: Sequence[Sequence[str]] = (), **options: Any
) -> tuple[list[Any], str]:
    """The values of a column of these cells, beside others, and what is said of the table."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["x", *(f"other{i}" for i in range(len(others)))])
    writer.writerows(zip(["" if c is None else c for c in cells], *others, strict=True))
    path = Path("t.csv")
    path.write_text(text.getvalue())
    found = Table.open(path, **options)
    return list(found.column("x")), account(found.report)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "2"], [1, 2]),
        (["1.5", "-2", "+3", "1e3", ".5", "5."], [1.5, -2.0, 3.0, 1000.0, 0.5, 5.0]),
        ([" 1", "2 "], [1, 2]),
        (["1,234.5", "12"], [1234.5, 12.0]),
        (["1.234,5", "12"], [1234.5, 12.0]),
        (["12,5", "3"], [12.5, 3.0]),
        (["1,234,567", "12"], [1234567, 12]),
        (["1.234.567", "12"], [1234567, 12]),
        (["1.234", "5.678"], [1.234, 5.678]),
        (["1 234,5", "12"], [1234.5, 12.0]),
        (["1\u00a0234", "12"], [1234, 12]),
        (["1'234.50", "12"], [1234.5, 12.0]),
        (["−5", "3"], [-5, 3]),
        (["$1,234.50", "-$5", "$ 6"], [1234.5, -5.0, 6.0]),
        (["12 €", "-3,5 €"], [12.0, -3.5]),
        (["45 %", "3%"], [45, 3]),
        (["USD 5", "USD 1,000"], ["USD 5", "USD 1,000"]),  # open: a comma
        (["USD 5.5", "USD 1,000"], [5.5, 1000.0]),
        (["$5", "€6"], ["$5", "€6"]),
        (["1,234", "5,678"], ["1,234", "5,678"]),
        (["1 234", "12"], ["1 234", "12"]),
        (["007", "12"], ["007", "12"]),
        (["0x10", "12"], ["0x10", "12"]),
        (["+491700", "+491800"], ["+491700", "+491800"]),
        (["12345678901234567890", "12"], ["12345678901234567890", "12"]),
        (["TRUE", "FALSE"], ["TRUE", "FALSE"]),
        (["yes", "no"], ["yes", "no"]),
        (["True", "False"], [True, False]),
        (["2024-05-01", "2024-05-02"], ["2024-05-01", "2024-05-02"]),
        (["1,23,456", "12"], [123456, 12]),  # as in India
        (["12,34,567.50", "5"], [1234567.5, 5.0]),
        (["1,23,45", "12"], ["1,23,45", "12"]),
        (["٣", "٤"], [3, 4]),
        (["٣٫٥", "１２"], [3.5, 12.0]),
        (["(1,234.50)", "12"], [-1234.5, 12.0]),  # as accountants write it
        (["($5)", "$6.5"], [-5.0, 6.5]),
        (["(5)", "(6)"], ["(5)", "(6)"]),
        (["(-5)", "6"], ["(-5)", "6"]),
        (["NA", "Ulm"], ["NA", "Ulm"]),
    ],
)
def test_cells_are_numbers_where_they_are_certainly(cells: list[str], values: list[Any]) -> None:
    found, _ = column(cells * 20, [[str(i) for i in range(20 * len(cells))]])
    assert found == values * 20
    assert [type(v) for v in found[: len(values)]] == [type(v) for v in values]


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("mark", ["?", "-", "--", ".", "#DIV/0!", "#VALUE!", " ? "])
@pytest.mark.parametrize("number", ["12", "1.5", "1.234,5", "$3"])
def test_marks_of_missing_values_among_numbers(mark: str, number: str) -> None:
    """However many there are; among texts they are texts."""
    found, said = column([number, mark] * 30, [["a", "b"] * 30])
    assert found[1] is None and isinstance(found[0], int | float)
    assert f"x: 30 times '{mark.strip()}' among numbers: missing values" in said
    found, said = column(["Ulm", mark] * 30, [["a", "b"] * 30])
    assert found[:2] == ["Ulm", mark] and "among numbers" not in said


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize("unit", ["kg", "°C", "m²", "km/h", "k"])
def test_numbers_with_a_word_are_numbers(unit: str) -> None:
    """Where all have the same one; files of samples have it again."""
    cells = [f"{i % 17} {unit}" for i in range(60)]
    found, said = column(cells, [["a"] * 60])
    assert found == [i % 17 for i in range(60)] and f"x: values are numbers without the unit {unit}" in said
    found, said = column(cells, [["a"] * 60], kinds={"x": "text"})
    assert found == cells
    found, said = column([*cells[:-1], "9 apples"], [["a"] * 60])
    assert found == [*cells[:-1], "9 apples"]


@pytest.mark.usefixtures("inside")
@pytest.mark.parametrize(
    ("cell", "dates"),
    [
        ("2024-05-0{}", True),
        ("0{}/05/2024", True),
        ("{}.5.2024", True),
        ("2024/5/{} 10:30", True),
        ("10:3{}", True),
        ("1:0{}:33 PM", True),
        ("1.2.{}", False),
        ("5/{}", False),
        ("10:{}", False),
    ],
)
def test_dates_and_times_of_digits_are_said(cell: str, dates: bool) -> None:
    found, said = column([cell.format(1 + i % 9) for i in range(40)], [["a"] * 40])
    assert found[2] == cell.format(3) and (" in each cell, such as " in said) == dates


@pytest.mark.usefixtures("inside")
def test_what_is_open_is_decided_by_other_columns_or_options() -> None:
    cells = ["1,234", "5,678"] * 20
    text, said = column(cells)
    assert text == cells and "'1,234' may be 1234 or 1.234; --decimal . or --decimal , says which" in said
    assert column(cells, [["12,5"] * 40])[0] == [1.234, 5.678] * 20
    assert column(cells, [["12.5"] * 40])[0] == [1234, 5678] * 20
    assert column(cells, [["12,5"] * 40, ["12.5"] * 40])[0] == cells  # they disagree
    assert column(cells, decimal=".")[0] == [1234, 5678] * 20
    assert column(cells, thousands=",")[0] == [1234, 5678] * 20
    assert column(cells, decimal=",")[0] == [1.234, 5.678] * 20
    points = ["1.234", "5.678"] * 20
    assert column(points)[0] == [1.234, 5.678] * 20
    assert column(points, [["12,5"] * 40])[0] == [1234, 5678] * 20
    assert column(points, thousands=".")[0] == [1234, 5678] * 20
    spaces = ["1 234", "12"] * 20
    assert "--thousands ' ' says so" in column(spaces)[1]
    assert column(spaces, thousands=" ")[0] == [1234, 12] * 20


@pytest.mark.usefixtures("inside")
def test_a_unit_is_left_out_and_said() -> None:
    for cells, unit in ((["$1,234.50", "$5"], "$"), (["4 %", "5 %"], "%")):
        _, said = column(cells * 20)
        assert f"values are numbers without the unit {unit}, with which" in said
        assert f"40 of 40 cells are numbers in {unit}" in said


@pytest.mark.usefixtures("inside")
def test_cells_with_and_without_a_unit_are_text() -> None:
    found, said = column(["0.", "0%", "0%"])
    assert found == ["0.", "0%", "0%"] and "2 of 3 cells are numbers, and '0.' are not" in said


@pytest.mark.usefixtures("inside")
def test_one_bad_cell_does_not_make_a_column_text() -> None:
    cells = [*AGES[:7], "unknown", *AGES[7:]]
    with pytest.raises(
        TableError, match=r"1 of 41 rows .*\n  row 7 \(line 9\), x: 'unknown' is not a number"
    ):
        column(cells)
    values, said = column(cells, skip_bad=True)
    assert values == list(map(int, AGES)) and "40 of 41 cells are numbers" in said
    assert "left out: 1 row: x: 'unknown' is not a number (row 7 (line 9))" in said
    assert column(cells, kinds={"x": "label"})[0] == cells
    assert column(cells, kinds={"x": "number"}, skip_bad=True)[0] == list(map(int, AGES))


@pytest.mark.usefixtures("inside")
def test_many_cells_that_are_no_numbers_make_a_column_text_and_that_is_said() -> None:
    cells = [*AGES[:30], *["low", "high"] * 5]
    values, said = column(cells)
    assert values == cells and "30 of 40 cells are numbers, and 'low', 'high' are not" in said
    with pytest.raises(TableError, match="10 of 40 rows"):
        column(cells, kinds={"x": "number"})
    assert column(cells, kinds={"x": "number"}, skip_bad=True)[0] == list(map(int, AGES[:30]))
    with pytest.raises(
        TableError, match="column 'x' cannot be read as numbers: no cell is one, such as 'Ulm'"
    ):
        column(["Ulm", "Bonn"] * 20, kinds={"x": "number"})
    codes = [*AGES, "4a", "4b"] + [f"{i}c" for i in range(20)]
    assert column(codes)[0] == codes


def test_integers_are_numbers_and_classes_keep_their_type(write: Write) -> None:
    rows = [
        f"{i % 6 + 1},{2000 + i % 25},{'TRUE' if i % 2 else 'FALSE'},+49{1000000 + i},{i % 3}"
        for i in range(60)
    ]
    found = Table.open(write(lines("rooms,year,sold,phone,class", rows)))
    assert found.kinds == {
        "rooms": "number",
        "year": "number",
        "sold": "label",
        "phone": "id",
        "class": "label",
    }
    assert found[1] == {"rooms": 2, "year": 2001, "sold": "TRUE", "phone": "+491000001", "class": 1}
    assert found.columns["class"].decode(torch.tensor([2])) == 2
    assert found.columns["sold"].classes == ("FALSE", "TRUE")
    reasons = {column.name: column.reason for column in found.report.columns}
    assert reasons == {
        "rooms": "60 of 60 cells are numbers",
        "year": "60 of 60 cells are numbers",
        "sold": "2 different values",
        "phone": "codes such as '+491000000', each row has another value, as an id, such as +491000000",
        "class": "its name, and 3 different values",
    }
    as_label = Table.open(
        write(lines("rooms,x", [f"{i % 6},{i}" for i in range(60)])), kinds={"rooms": "label"}
    )
    assert as_label.columns["rooms"].classes == tuple("012345")


# ---- missing values


def gaps(count: int = 60) -> list[str]:
    return [
        f"{'' if i % 5 == 0 else i},{'' if i % 7 == 0 else ('Ulm', 'Bonn')[i % 2]},{i / 4}"
        for i in range(count)
    ]


def test_a_table_with_gaps_is_shown(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(lines("age,city,x", gaps()))
    found = Table.open(path)
    assert len(found) == 60 and found[0] == {"age": None, "city": None, "x": 0.0}
    assert found.report.gaps == [
        "age: 12 of 60 values are missing (20.0%)",
        "city: 9 of 60 values are missing (15.0%)",
    ]
    assert main(["data", str(path)]) == 0
    assert "age: 12 of 60 values are missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    "family",
    ["flow", "mixture", *(pytest.param(f, marks=pytest.mark.full) for f in ("autoregressive", "vae", "gan"))],
)
def test_rows_are_learned_without_the_sources_that_they_lack(write: Write, family: str) -> None:
    found = Table.open(write(lines("age,city,x", gaps())), columns=["x", "age", "city"], complete=["x"])
    options = {} if family == "mixture" else {"width": 16, "depth": 1}
    model = Model("x | age, city", found.columns, family, **options)
    viewed = found.with_views(model.columns, model.formula)
    batch = next(viewed.train.batches(["x", "age", "city"], 20))
    assert batch.present.keys() == {"age", "city"} and not batch.present["age"].all()
    blank = ~batch.present["age"]
    assert (batch["age"][blank] == 0).all() and batch["age"].shape == (20, 1, 1)
    steps = list(train(model, found, Plan(steps=2, batch=8)))
    assert len(steps) == 2 and np.isfinite(steps[-1].loss)


def test_a_missing_source_changes_nothing_else(write: Write) -> None:
    """Its place in the batch is ignored."""
    found = Table.open(write(lines("age,city,x", gaps())))
    model = Model("x | age, city", found.columns, "flow", width=16, depth=1)
    context = model.processor.context([found[0]])
    assert not context.present.any() and model.processor.context([found[1]]).present.all()


def test_a_missing_value_of_a_complete_column_makes_a_bad_row(write: Write) -> None:
    path = write(lines("age,city,x", gaps()))
    with pytest.raises(TableError, match=r"12 of 60 rows cannot be used.*\n  row 0 \(line 2\), age: missing"):
        Table.open(path, complete=["age"])
    assert len(Table.open(path, complete=["age"], skip_bad=True)) == 48
    with pytest.raises(TableError, match="unknown column 'aeg': did you mean 'age'"):
        Table.open(path, complete=["aeg"])


def test_a_run_with_gaps_is_evaluated_and_goes_on(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, run = write(lines("age,city,x", gaps(100))), str(tmp_path / "r")
    tiny = ["--steps", "2", "--width", "16", "--depth", "1", "--out", run]
    assert main(["train", str(path), "x | age, city", *tiny]) == 0
    assert main(["evaluate", run, "--n", "10"]) == 0, capsys.readouterr().err
    assert main(["train", "--resume", "--out", run, "--steps", "3"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_a_column_without_a_value_is_left_out_everywhere(tmp_path: Path, name: str) -> None:
    rows = [{"age": i, "x": i / 4, "note": None} for i in range(30)]
    table, path = pa.Table.from_pylist(rows), tmp_path / name
    if name.endswith("csv"):
        path.write_text(lines("age,x,note", [f"{i},{i / 4}," for i in range(30)]))
    elif name.endswith("jsonl"):
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        pyarrow.parquet.write_table(table, path)
    found = Table.open(path)
    assert list(found.kinds) == ["age", "x"] and len(found) == 30
    assert "column 'note' is left out: it has no value in any row" in account(found.report)
    with pytest.raises(TableError, match="column 'note' is left out: it has no value"):
        Table.open(path, columns=["note", "x"])
    with pytest.raises(FormulaError, match="column 'note' is left out: it has no value"):
        found.add_views("note | x")


# ---- other files


def test_spreadsheets(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append([])
    book.active.append(["age", "city", "when", "price", "code", "sold", None])
    for i in range(30):
        when = datetime.datetime(2024, 5, 1 + i % 20)
        book.active.append([20 + i if i != 7 else "unknown", "Ulm", when, i / 4, f"0{i:02d}", bool(i % 2)])
    book.create_sheet("more").append(["x"])
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(TableError, match=r"row 7 \(line 10\), age: 'unknown' is not a number"):
        Table.open(tmp_path / "t.xlsx")
    found = Table.open(tmp_path / "t.xlsx", skip_bad=True)
    assert found[3] == {
        "age": 23,
        "city": "Ulm",
        "when": "2024-05-04",
        "price": 0.75,
        "code": "003",
        "sold": "TRUE",
    }
    assert "the sheet 'Sheet' (not 'more'; save one as a file of its own to read it)" in account(found.report)
    (tmp_path / "n.xlsx").write_text("no workbook")
    openpyxl.Workbook().save(tmp_path / "e.xlsx")
    for name, said in (("n.xlsx", "it is no .xlsx file"), ("e.xlsx", "its first sheet, 'Sheet', is empty")):
        with pytest.raises(TableError, match=said):
            Table.open(tmp_path / name)


def test_records_of_json(write: Write) -> None:
    rows = [
        {"when": f"2024-05-{1 + i % 28:02d}", "load": i, "on": bool(i % 2), "code": "007", "all": [1]}
        for i in range(30)
    ]
    texts = {
        "t.jsonl": "\n".join(map(json.dumps, rows)),
        "t.ndjson": "\n\n".join(map(json.dumps, rows)),
        "t.json": json.dumps(rows, indent=1),
        "u.json": "\n".join(map(json.dumps, rows)),
    }
    for name, text in texts.items():
        found = Table.open(write(text, name))
        assert found[1] == {"when": "2024-05-02", "load": 1, "on": True, "code": "007"}, name
        assert found.kinds == {
            "when": "date",
            "load": "number",
            "on": "label",
            "code": "label",
        }
        said = account(found.report)
        assert "column 'all' is left out: no modality reads lists" in said
        assert "a date in each cell, such as 2024-05-01" in said
        assert "stored as whole numbers" in said
    assert found.columns["on"].decode(torch.tensor([1])) is True


def test_records_of_json_that_are_none(write: Write) -> None:
    good = [json.dumps({"a": i, "b": f"x{i}"}) for i in range(30)]
    bad = {
        '{"a": 1,': "no JSON: ",
        "[1]": r"\[1\] is no object",
        '{"a": 1, "a": 2}': "the key 'a' is there twice",
        "{}": "an object without keys",
    }
    for line, said in bad.items():
        path = write("\n".join([*good[:9], "", line, *good[9:]]), "t.jsonl")
        with pytest.raises(TableError, match=rf"1 of 31 rows .*\n  row 9 \(line 11\): {said}"):
            Table.open(path)
        assert Table.open(path, skip_bad=True).row_numbers() == [*range(9), *range(10, 31)]
    for text, name, said in (
        ("[1, 2", "t.json", "no JSON"),
        ('{"a": {"b": 1}\n}', "t.json", "it holds no array of objects but one of: objects"),
        ("", "t.jsonl", "it has no rows"),
        ("nothing", "t.jsonl", "1 lines are no record, the first: row 0"),
    ):
        with pytest.raises(TableError, match=said):
            Table.open(write(text, name))


def test_values_of_several_types_in_records_of_json(write: Write) -> None:
    rows: list[dict[str, Any]] = [
        {"age": 20 + i, "mixed": i if i % 2 else f"x{i}", "n": i} for i in range(40)
    ]
    rows[7]["age"], rows[9]["n"] = "unknown", 0.5
    path = write("\n".join(map(json.dumps, rows)), "t.jsonl")
    with pytest.raises(TableError, match=r"row 7 \(line 8\), age: 'unknown' is not a number"):
        Table.open(path)
    found = Table.open(path, skip_bad=True)
    assert found[7]["age"] == 28 and found[8]["n"] == 0.5 and found[1]["mixed"] == "1"
    assert "mixed" in account(found.report)
    del rows[3]["n"]
    found = Table.open(write("\n".join(map(json.dumps, rows)), "t.jsonl"), skip_bad=True)
    assert found[3]["n"] is None and "missing of 39 values: n 1" in account(found.report)


def test_files_of_arrow(tmp_path: Path) -> None:
    table = pa.table(
        {
            "age": pa.array(range(30)),
            "when": pa.array([datetime.datetime(2024, 5, 1 + i % 28, 7) for i in range(30)]),
            "day": pa.array([datetime.date(2024, 5, 1 + i % 28) for i in range(30)]),
            "price": pa.array([decimal.Decimal(i * 100) for i in range(30)], pa.decimal128(10, 2)),
            "city": pa.array(["Ulm", "Bonn"] * 15).dictionary_encode(),
            "who": pa.array([{"name": "a", "n": i} for i in range(30)]),
            "raw": pa.array([b"no picture"] * 30),
        }
    )
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pa.OSFile(str(tmp_path / "t.feather"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    for name in ("t.arrow", "t.feather", "t.parquet"):
        found = Table.open(tmp_path / name, skip_bad=True)
        row = {"age": 1, "when": "2024-05-02T07:00:00", "day": "2024-05-02", "price": 100, "city": "Bonn"}
        assert found[1] == row, name
        said = account(found.report)
        assert found.kinds["when"] == found.kinds["day"] == "date"
        assert "column 'who' is left out: no modality reads objects with the keys name, n" in said
        assert "column 'raw' is left out: no value of it can be used" in said
        with pytest.raises(TableError, match="column 'who' is left out: no modality reads objects"):
            Table.open(tmp_path / name, columns=["age", "who"])


def test_compressed_files_and_files_of_other_programs(write: Write, tmp_path: Path) -> None:
    text = lines("a;b", [f"{i};x" for i in range(30)])
    found = Table.open(write(gzip.compress(text.encode()), "t.csv.gz"))
    assert found[3] == {"a": 3, "b": "x"} and "separator ';'" in account(found.report)
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("t.csv", text)
    assert Table.open(tmp_path / "t.zip").fingerprint == found.fingerprint
    with zipfile.ZipFile(tmp_path / "u.zip", "w") as archive:
        archive.writestr("t.csv", text)
        archive.writestr("u.csv", text)
    for path, said in (
        (tmp_path / "u.zip", "holds 2 files"),
        (write(b"", "t.xls"), "save it as .xlsx"),
        (write(b"", "t.sav"), "save it as .csv"),
        (write(b"x", "t.gz"), "ends in .csv"),
    ):
        with pytest.raises(TableError, match=said):
            Table.open(path)


def test_options_of_a_format_that_a_file_does_not_have(write: Write, tmp_path: Path) -> None:
    write('{"a": 1}\n', "t.jsonl")
    write("a text", "t.txt")
    for name, options, said in (
        ("t.jsonl", {"separator": ";"}, "t.jsonl has no separator to choose; leave --separator out"),
        ("t.jsonl", {"encoding": "latin-1"}, "leave --encoding out"),
        ("t.jsonl", {"header": False}, "leave --no-header out"),
        ("t.txt", {"decimal": ","}, "leave --decimal out"),
    ):
        with pytest.raises(TableError, match=said):
            Table.open(tmp_path / name, **options)
    pictures(tmp_path / "pics")
    for source in ("digits", tmp_path / "pics"):
        with pytest.raises(TableError, match="has no decimal to choose; leave --decimal out"):
            Table.open(source, decimal=",")


# ---- names of files


def pictures(folder: Path, count: int = 20) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        PIL.Image.new("L", (4, 4), i).save(folder / f"{i:03d}.png")


def named(folder: Path, names: Sequence[str], column: str = "image") -> Path:
    path = folder / "t.csv"
    path.write_text(lines(f"{column},x", [f"{name},{i}" for i, name in enumerate(names)]))
    return path


@pytest.mark.parametrize(
    "form",
    [
        "pics/{:03d}.png",
        "pics\\{:03d}.png",
        "pics/{:03d}",
        "{folder}/pics/{:03d}.png",
        "pics/../pics/{:03d}.png",
    ],
)
def test_names_of_files_in_every_form(tmp_path: Path, form: str) -> None:
    pictures(tmp_path / "pics")
    path = named(tmp_path, [form.format(i, folder=tmp_path) for i in range(20)])
    found = Table.open(path)
    assert found.kinds == {"image": "image", "x": "number"} and found[7]["image"].getpixel((0, 0)) == 7
    assert "the column image names .png files" in account(found.report)


def test_a_file_name_that_is_none_is_a_bad_row(tmp_path: Path) -> None:
    pictures(tmp_path, 19)
    path = named(tmp_path, [f"{i:03d}.png" for i in range(20)])
    with pytest.raises(TableError, match=r"row 19 \(line 21\), image: cannot open the file '.*019.png'"):
        Table.open(path)
    assert len(Table.open(path, skip_bad=True)) == 19
    PIL.Image.new("L", (4, 4)).save(tmp_path / "003.jpg")
    path = named(tmp_path, [f"{i:03d}" for i in range(19)])
    with pytest.raises(TableError, match=r"row 3 \(line 5\), image: '003' may be 003.jpg or 003.png"):
        Table.open(path)


def test_a_column_of_pictures_without_pictures_is_no_text(tmp_path: Path) -> None:
    path = named(tmp_path, [f"{i:03d}" for i in range(20)])
    found = Table.open(path)
    assert list(found.kinds) == ["x"]
    assert "column 'image' is left out: no file of the kind image has a name such as '000'" in account(
        found.report
    )
    with pytest.raises(TableError, match="column 'image' is left out: no file"):
        Table.open(path, columns=["image", "x"], complete=["image"])
    assert Table.open(path, kinds={"image": "text"}).kinds["image"] == "text"
    other = named(tmp_path, [f"{i:03d}" for i in range(20)], "file_name")
    assert Table.open(other).kinds["file_name"] == "id"
    assert "no file of the kind image has a name such as '000', so they are texts" in account(
        Table.open(other).report
    )


def test_addresses_of_pictures_are_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = named(tmp_path, [f"https://example.org/{i}.png" for i in range(20)])
    found = Table.open(path)
    assert found.kinds["image"] == "text" and found[3]["image"] == "https://example.org/3.png"
    assert "image: addresses such as https://example.org/0.png are not fetched: they are texts" in account(
        found.report
    )
    assert main(["data", str(path)]) == 0


def test_words_that_are_also_names_of_files_are_words(tmp_path: Path) -> None:
    pictures(tmp_path)
    path = named(tmp_path, ["000", "001"] * 10, "kind")
    assert Table.open(path).kinds["kind"] == "label"


# ---- the report


def test_the_report_is_one_account(write: Write, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = [f"{20 + i};{i},5;Köln" for i in range(40)]
    rows[7] = "unknown;1,5;Köln"
    path = write(lines("age;income;city", rows), encoding="cp1252")
    report = Table.open(path, skip_bad=True).report
    assert report.account.read == [
        "t.csv: separator ';', encoding cp1252, as in 'Köln'; --encoding says if it is another one"
    ]
    assert (report.rows, report.train, report.test, report.heldout) == (39, 35, 4, "equal rows together")
    assert len(report.summary()) == 3
    assert main(["data", str(path)]) == 0
    shown = capsys.readouterr().out
    assert str(report) in shown and "training stops at rows that cannot be used" in shown
    for part in (
        "39 rows, 35 for training and 4 held out, equal rows together",
        "39 of 39 cells are numbers, decimal ','",
        "1 row: age: 'unknown' is not a number (row 7 (line 9))",
    ):
        assert part.replace("39 of 39", "40 of 40") in shown
    command = [
        "train",
        str(path),
        "income | age",
        "--skip-bad",
        "--steps",
        "1",
        "--width",
        "16",
        "--depth",
        "1",
    ]
    assert main([*command, "--out", str(tmp_path / "r")]) == 0
    assert capsys.readouterr().err.splitlines()[:3] == report.summary()


def test_a_large_table_is_memory_mapped(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "ROWS", 50)
    path = write(lines("a,b", [f"{i},{'xyz'[i % 3]}" for i in range(200)]))
    small = Table.open(path).fingerprint
    mapped: list[int] = []
    whole = spool.memory_map
    monkeypatch.setattr(spool, "MAX_BYTES_IN_MEMORY", 1000)
    monkeypatch.setattr(spool, "memory_map", lambda *args: mapped.append(1) or whole(*args))
    assert Table.open(path).fingerprint == small and mapped


# ---- whatever is written is read back, or refused with the place

NAMES = (
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
    .map(str.strip)
    .filter(bool)
)
CELLS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    st.integers(-(10**20), 10**20).map(str),
    st.floats().map(repr),
    st.sampled_from(
        [
            "",
            "NA",
            "007",
            "1,5",
            "1.234",
            "12 %",
            "$3",
            "x\ny",
            '"',
            ",",
            ";",
            "#",
            " ",
            "\r",
            "\ufeff",
            "True",
        ]
    ),
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]], dict[str, Any]]:
    """Names, rows and how they are written."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    rows = draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), min_size=1, max_size=8))
    how = {
        "delimiter": draw(st.sampled_from(",;\t|")),
        # the csv module quotes a newline in a cell if it is one of the ends of lines
        **draw(
            st.sampled_from(
                [
                    {"lineterminator": "\r\n", "quoting": csv.QUOTE_MINIMAL},
                    {"lineterminator": "\n", "quoting": csv.QUOTE_ALL},
                ]
            )
        ),
    }
    return names, rows, how


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables())
def test_what_the_csv_module_writes_is_read_back(
    tmp_path: Path, table: tuple[list[str], list[list[str]], dict[str, Any]]
) -> None:
    names, rows, how = table
    assume(names[0][0] not in "#\ufeff" and not names[0].lower().startswith("sep="))
    text = io.StringIO(newline="")
    writer = csv.writer(text, **how)
    writer.writerow(names)
    writer.writerows(rows)
    path = tmp_path / "t.csv"
    path.write_bytes(text.getvalue().encode())
    fmt = FileFormat(separator=how["delimiter"])
    if not any(cell for row in rows for cell in row):
        with pytest.raises(TableError, match="it has no rows"):
            read_table_file(path, fmt, {})
        return
    kept = [(i, row) for i, row in enumerate(rows) if any(row)]
    reading = read_table_file(path, fmt, dict.fromkeys(names, "text"))
    assert reading.rows[ROW] == [i for i, _ in kept] and not reading.bad
    for position, name in enumerate(names):  # as texts: what was written
        cells = [row[position] for _, row in kept]
        assert reading.rows[name] == [cell if cell.strip() else None for cell in cells]
    reading = read_table_file(path, fmt, {})
    bad = {(bad.row, bad.column) for bad in reading.bad}
    for position, name in enumerate(names):  # by evidence: the same texts, or the same numbers
        for value, (i, row) in zip(reading.rows[name], kept, strict=True):
            cell = row[position].strip()
            if isinstance(value, str):
                assert value == row[position]
            elif value is None:
                assert not cell or cell in MISSING or cell in MARKS or (i, name) in bad
            elif np.isfinite(value):
                plain = cell.strip("$% ")
                readings = {
                    plain,
                    plain.replace(",", "."),
                    plain.replace(".", ""),
                    plain.replace("True", "1"),
                }
                assert any(_is_number(text, value) for text in readings), (cell, value)


def _is_number(text: str, value: float) -> bool:
    try:
        return float(text) == pytest.approx(float(value))
    except ValueError:
        return False


# ---- what stands before, between and beside the rows


ROWS = [
    ("age", "income", "city"),
    *((20 + i % 50, 1000.5 + i, "Oslo" if i % 2 else "Rome") for i in range(60)),
]
TITLES = {
    "a title": [["People 2024"]],
    "a title and a blank line": [["People 2024"], []],
    "a title as wide as the table": [["People 2024", "", ""], ["printed in May", "", ""], ["", "", ""]],
    "a title and a note": [["People"], ["", "", "in EUR"]],
}


def sheet(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def write_lines(path: Path, rows: Sequence[Sequence[Any]], separator: str) -> None:
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in rows))


@pytest.mark.parametrize("kind", ["xlsx", "csv", "semicolons", "tsv"])
@pytest.mark.parametrize("title", TITLES)
def test_titles_before_the_names_of_the_columns(tmp_path: Path, kind: str, title: str) -> None:
    path = tmp_path / {"semicolons": "t.csv"}.get(kind, f"t.{kind}")
    rows = [*TITLES[title], *ROWS]
    if kind == "xlsx":
        sheet(path, rows)
    else:
        write_lines(path, rows, {"semicolons": ";", "tsv": "\t"}.get(kind, ","))
    found = Table.open(path)
    assert list(found.kinds) == ["age", "income", "city"] and len(found) == 60
    assert found[0] == {"age": 20, "income": 1000.5, "city": "Rome"}
    assert any(
        line.startswith("lines before the names of the columns") for line in found.report.account.unused
    )


@pytest.mark.parametrize(
    "rows",
    [
        [["name", ""], *[["Oslo", f"x{i}"] for i in range(9)]],  # nothing says that the second line has names
        [["name", ""], *[[f"x{i}", str(i)] for i in range(9)]],  # a row
        [["v"], *[[f"x{i}"] for i in range(9)]],  # one column
        [["a", "b"], ["kg", "m"], *[["1", "2"]] * 9],  # two lines of names
    ],
)
@pytest.mark.parametrize("kind", ["xlsx", "csv"])
def test_a_first_line_that_has_names(tmp_path: Path, kind: str, rows: list[list[str]]) -> None:
    path = tmp_path / f"t.{kind}"
    sheet(path, rows) if kind == "xlsx" else write_lines(path, rows, ",")
    found = Table.open(path, skip_bad=True)
    assert next(iter(found.kinds)) == rows[0][0] and not any(
        "lines before" in n for n in found.report.account.unused
    )


def test_a_title_is_a_row_if_there_are_no_names(tmp_path: Path) -> None:
    write_lines(tmp_path / "t.csv", [["People", "", ""], *ROWS], ",")
    assert Table.open(tmp_path / "t.csv", header=False, kinds={f"column_{i}": "label" for i in (1, 2, 3)})[
        0
    ] == {
        "column_1": "People",
        "column_2": None,
        "column_3": None,
    }


@pytest.mark.parametrize("separator", [" ", ":", "/"])
def test_lines_that_another_sign_splits_alike(tmp_path: Path, separator: str) -> None:
    """It may be the separator, or a part of texts: it is not used, and said."""
    write_lines(tmp_path / "t.csv", ROWS, separator)
    found = Table.open(tmp_path / "t.csv")
    assert len(found.kinds) == 1
    assert f"each line is one cell; {as_flag('separator', separator)} splits" in account(found.report)
    assert list(Table.open(tmp_path / "t.csv", separator=separator).kinds) == ["age", "income", "city"]
    write_lines(
        tmp_path / "t.csv", [["text"], *[["one two three"[: 3 + 4 * (i % 3)]] for i in range(20)]], ","
    )
    assert "each line is one cell" not in account(Table.open(tmp_path / "t.csv").report)


@pytest.mark.parametrize("name", ["", "Unnamed: 0"])
def test_the_index_of_a_data_frame_is_left_out(tmp_path: Path, name: str) -> None:
    """As pandas writes it, and writes it again; one that does not count is a column."""
    rows = [(name, *ROWS[0]), *((i, *row) for i, row in enumerate(ROWS[1:]))]
    write_lines(tmp_path / "t.csv", rows, ",")
    found = Table.open(tmp_path / "t.csv")
    assert list(found.kinds) == ["age", "income", "city"]
    assert "column 1, which has no name, is left out: it counts the rows" in account(found.report)
    write_lines(tmp_path / "t.csv", [rows[0], *rows[:0:-1]], ",")
    assert next(iter(Table.open(tmp_path / "t.csv").kinds)) == (name or "column_1")


def test_cells_of_a_sheet_that_look_filled(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for i, row in enumerate(ROWS):
        book.active.append([*row, f"=A{i + 1}*2" if i else "twice"])
    for first in range(2, 60, 4):
        book.active.merge_cells(f"C{first}:C{first + 3}")
    book.save(tmp_path / "t.xlsx")
    said = account(Table.open(tmp_path / "t.xlsx").report)
    assert re.search(r"merged cells, such as C\d+:C\d+, have their value in the first row only", said)
    assert (
        "formulas, such as in D2, have no result in the file" in said and "column 'twice' is left out" in said
    )
    book.create_sheet("empty", 0)
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(
        TableError, match="its first sheet, 'empty', is empty; put the sheet with the data first"
    ):
        Table.open(tmp_path / "t.xlsx")
