"""Dates, times and durations: read as they are written, learned as numbers, written back as they were."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from likewise.data.arrow import TableError
from likewise.data.table import Table
from likewise.modalities import Date, Duration, Number, modality_from_json
from likewise.modalities.date_format import parse_date, write_date
from likewise.modalities.duration_format import parse_duration, write_duration
from likewise.nets.cycles import CycleFeatures

START = datetime.datetime(2023, 1, 1, 0, 30)
FORMATS = [  # of strftime: what a column of a file may have
    "%Y-%m-%d",
    "%Y/%m/%d %H:%M",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S+05:30",
    "%Y%m%dT%H%M%SZ",
    "%d.%m.%Y",
    "%d.%m.%y",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y",
    "%m/%d/%y %I:%M %p",
    "%d %b %Y",
    "%b %d, %Y",
    "%d-%B-%Y",
    "%A, %d %B %Y",
    "%a, %d %b %Y %H:%M:%S GMT",
    "%b-%Y",
    "%Y-%m",
    "%H:%M",
    "%I:%M:%S %p",
]


def moments(n: int = 60) -> list[datetime.datetime]:
    draw = np.random.default_rng(0)
    return [START + datetime.timedelta(seconds=int(s)) for s in draw.integers(0, 400 * 86_400, n)]


@pytest.mark.parametrize("form", FORMATS)
def test_dates_come_back_as_they_are_written(form: str) -> None:
    values = [moment.strftime(form) for moment in moments()]
    column = Date.fit([*values, None])
    assert column.decode_all(column.encode_all([*values, None])) == [*values, None]
    assert modality_from_json(json.loads(json.dumps(column.to_json()))) == column
    assert set(map(type, column.decode_all(torch.randn(50, 1, 1)))) <= {str, type(None)}
    for value in column.decode_all(torch.randn(50, 1, 1)):
        assert value is None or datetime.datetime.strptime(value, form)
    order = [column.numbers([v])[0] for v in values]
    same = (
        moments()
        if re.search("%[Yy]", form)
        else [datetime.datetime.combine(START, m.time()) for m in moments()]
    )
    for (a, x), (b, y) in zip(
        zip(order, same, strict=True), zip(order[1:], same[1:], strict=True), strict=False
    ):
        assert (a <= b) if x <= y else (a >= b)


def test_padding_is_that_of_the_column() -> None:
    unpadded = [f"{m.day}.{m.month}.{m.year}" for m in moments()]
    assert Date.fit(unpadded).layout == "%-d.%-m.%Y"
    assert Date.fit(unpadded).decode_all(Date.fit(unpadded).encode_all(unpadded)) == unpadded
    assert Date.fit(["9:05", "10:30", "0:15"]).layout == "%-H:%M"


@pytest.mark.parametrize(
    ("values", "layout"),
    [
        (["12/31/2024", "01/02/2024"], "%m/%d/%Y"),
        (["31/12/2024", "01/02/2024"], "%d/%m/%Y"),
        (["01.02.2024", "05.06.2024"], "%d.%m.%Y"),
        (["01/02/2024", "02/02/2024", "03/02/2024", "04/02/2024"], "%d/%m/%Y"),  # as they are in order
        (["02/01/2024", "02/02/2024", "02/03/2024", "03/01/2024"], "%m/%d/%Y"),
        (["01/02/2024", "05/06/2024", "03/04/2024"], "%m/%d/%Y"),
    ],
)
def test_the_order_of_day_and_month_is_found_in_the_column(values: list[str], layout: str) -> None:
    assert Date.fit(values).layout == layout


def test_an_order_that_nothing_decides_is_said_and_can_be_given() -> None:
    rows = [{"when": f"0{1 + i * 7 % 9}/0{1 + i * 5 % 9}/2024", "x": i / 7} for i in range(30)]
    table = Table.from_rows(rows)
    assert any("day or the month first" in line for line in table.report.findings)
    assert table.columns["when"].native("02/05/2024") == datetime.date(2024, 2, 5)
    table = Table.from_rows(rows, options={"day_first": True})
    assert table.columns["when"].native("02/05/2024") == datetime.date(2024, 5, 2)


def test_resolution_is_found_in_the_values() -> None:
    hours = [f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00:00" for i in range(200)]
    column = Date.fit(hours)
    assert column.unit == "minute" and column.step == 60
    assert {v[-6:] for v in column.decode_all(torch.randn(100, 1, 1))} == {":00:00"}
    days = Date.fit([f"2024-01-{1 + i % 28:02d}T00:00:00" for i in range(60)])
    assert days.unit == "day" and days.decode(torch.zeros(1, 1))[-9:] == "T00:00:00"


def test_other_spellings_of_a_value_are_read() -> None:
    column = Date.fit([m.strftime("%d.%m.%Y %H:%M") for m in moments()])
    for value in ("2023-05-06T07:08:00", "6 May 2023 7:08 am", datetime.datetime(2023, 5, 6, 7, 8)):
        assert column.decode(column.encode(value))[:10] == "06.05.2023"
    assert column.load(b"6.5.2023 7:08") == "06.05.2023 07:08"
    for value in ("31.02.2023", "soon", 7, "10:30"):
        assert "write one such as" in (column.check(value) or "")


def test_zones() -> None:
    values = ["2024-01-01T10:00:00+01:00", "2024-01-01T10:00:00+01:00", "2024-07-01T10:00:00+02:00"]
    column = Date.fit(values * 10)
    assert column.zone == "+01:00" and column.decode(column.encode(values[2])) == "2024-07-01T09:00:00+01:00"
    assert column.native(values[2]) == datetime.datetime.fromisoformat(values[2])
    table = Table.from_rows([{"t": v, "x": i} for i, v in enumerate(values * 10)])
    assert any("offsets from UTC differ" in line for line in table.report.findings)


@pytest.mark.parametrize(
    "text",
    [
        "2024-13-01",
        "2024-02-30",
        "31.31.2024",
        "24:00",
        "9:75",
        "version 1.2",
        "1.2.24",
        "12 apples",
        "2024",
        "",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_date(text) is None


def test_digits_are_dates_on_request_only(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "\n".join(["when,day", *(f"{1_704_067_200 + 3600 * i},202401{1 + i % 28:02d}" for i in range(60))])
    )
    assert Table.open(path).kinds == {"when": "number", "day": "number"}
    table = Table.open(path, kinds={"when": "date", "day": "date"})
    when, day = table.columns["when"], table.columns["day"]
    assert (when.layout, when.step, day.layout, day.unit) == ("%s", 3600, "%Y%m%d", "day")
    assert (
        table[3] == {"when": "1704078000", "day": "20240104"} and when.native("1704078000") == 1_704_078_000
    )
    assert day.decode(day.encode("20240104")) == "20240104"


def test_a_date_that_does_not_parse_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = [f"{m:%d/%m/%Y},{i}" for i, m in enumerate(moments(40))]
    lines[4], lines[6], lines[9] = "31/02/2024,4", "NA,6", "02/25/2024,9"
    path.write_text("\n".join(["when,n", *lines]))
    with pytest.raises(TableError, match=r"row 4 \(line 6\), when: '31/02/2024' is no date or time") as error:
        Table.open(path)
    assert "row 9 (line 11), when: '02/25/2024' is no date; write one such as" in str(error.value)
    table = Table.open(path, skip_bad=True)
    assert len(table) == 38 and table[5]["when"] is None and table.columns["when"].has_missing


def test_columns_of_time_of_data_frames() -> None:
    frame = pd.DataFrame(
        {
            "oslo": pd.date_range("2024-01-01", periods=40, freq="15min", tz="Europe/Oslo"),
            "utc": pd.date_range("2024-01-01", periods=40, freq="h", tz="UTC"),
            "day": pd.date_range("2024-01-01", periods=40),
            "fraction": pd.date_range("2024-01-01", periods=40, freq="250ms"),
            "span": pd.to_timedelta(np.arange(40) * 7, unit="min"),
            "clock": [datetime.time(i % 24, 5) for i in range(40)],
            "date": [datetime.date(2024, 1, 1 + i % 28) for i in range(40)],
        }
    )
    frame.loc[3, ["oslo", "span"]] = None
    for table in (Table.from_rows(frame), Table.from_rows(frame.to_dict("records"))):
        kinds = {name: "duration" if name == "span" else "date" for name in frame}
        assert table.kinds == kinds and table[3]["oslo"] is table[3]["span"] is None
        for name, column in table.columns.items():
            values = [v for v in table.column(name) if v is not None]
            assert column.decode_all(column.encode_all(values)) == values, name
            found = [column.native(v) for v in values]
            assert found == list(frame[name].dropna()), name
    assert table.columns["fraction"].unit == "millisecond"
    assert table[0]["span"] == "0 days 00:00:00" and table[4]["utc"] == "2024-01-01T04:00:00Z"


@pytest.mark.parametrize(
    "values",
    [
        ["1:30", "26:15", "0:05"],
        ["1:30:00", "126:15:10", "0:05:59"],
        ["45 min", "1 h 30 min", "2 h"],
        ["1h 30m", "45m", "2h"],
        ["PT1H30M", "PT45S", "P2DT3H", "PT0S"],
        ["1 day, 2:03:04", "0 days, 12:00:00", "3 days, 0:00:01"],
        ["2 hours 5 minutes", "1 hour", "1 minute"],
        ["-0:30:00", "0:45:00", "30:00:00"],
    ],
)
def test_durations_come_back_as_they_are_written(values: list[str]) -> None:
    rows = [{"lap": values[i % len(values)] if i else None, "x": i / 7} for i in range(40)]
    table = Table.from_rows(rows)
    column = table.columns["lap"]
    assert isinstance(column, Duration) and column.decode_all(column.encode_all(values)) == values
    assert modality_from_json(json.loads(json.dumps(column.to_json()))) == column
    assert all(v is None or parse_duration(v) for v in column.decode_all(torch.randn(50, 1, 1)))
    assert column.native(values[0]) == datetime.timedelta(microseconds=parse_duration(values[0]).micros)  # type: ignore[union-attr]


def test_units_that_may_be_others_are_no_durations() -> None:
    assert Table.from_rows([{"size": f"{i} m", "x": i / 7} for i in range(30)]).kinds["size"] != "duration"
    assert Table.from_rows([{"when": f"{i % 24}:30", "x": i / 7} for i in range(30)]).kinds["when"] == "date"
    assert write_duration("%H:%M:%S", 10**6) == "0:00:01" and write_date("%-d.%-m.%y", 0) == "1.1.70"


def test_networks_see_the_phases_of_dates() -> None:
    """Days of a week apart have the same features of the week, others have other ones."""
    days = [(START + datetime.timedelta(days=i)).strftime("%d.%m.%Y") for i in range(800)]
    column = Date.fit(days)
    cycles = CycleFeatures({"day": column.spec, "x": Number.fit([1, 2]).spec})
    assert cycles.sizes == {"day": 12}
    week = cycles({"day": column.encode_all(days)})["day"][:, 0, [0, 1, 2, 6, 7, 8]]
    distances = torch.cdist(week[100:107], week[100:200])
    assert distances[:, 7:14].diagonal().max() < 0.1 and distances[0, 1:7].min() > 0.8
    clock = Date.fit([f"{i % 24:02d}:{i * 7 % 60:02d}" for i in range(500)])
    assert CycleFeatures({"t": clock.spec}).sizes == {"t": 6}
    assert CycleFeatures({"x": Number.fit([1, 2]).spec}).sizes == {}


def test_a_model_of_dates_learns_others() -> None:
    days = [f"{1 + i % 28:02d}.{1 + i % 12:02d}.2023" for i in range(200)]
    column = Date.fit(days)
    later = column.refit([*days, "31.12.2023", "05.02.2024"])
    assert torch.equal(later.encode("11.06.2023"), column.encode("11.06.2023"))
    assert later.decode(later.encode("05.02.2024")) == "05.02.2024"
    other = column.refit([f"{1990 + i % 30}-03-{1 + i % 28:02d}T10:30" for i in range(200)])
    assert other.layout == "%Y-%m-%dT%H:%M" and other.decode(other.encode("1999-03-10T10:30"))[:4] == "1999"
