"""Ids: recognised by their form, not learned by *, and new ones in samples."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
import uuid
from pathlib import Path

import pytest
import torch

from likewise.cli.main import main
from likewise.core.errors import RequestWarning
from likewise.data.table import Table
from likewise.modalities import Id, modality_from_json

N = 300
DRAW = random.Random(0)
IDS = {
    "counting": [f"C-{i:05d}" for i in range(N)],
    "counting without zeros": [f"INV{i}" for i in range(95, 95 + N)],
    "behind": [f"{i:04d}/24" for i in range(N)],
    "uuid": [str(uuid.UUID(int=DRAW.getrandbits(128))) for _ in range(N)],
    "hash": [hashlib.sha256(str(i).encode()).hexdigest() for i in range(N)],
    "short hash": [hashlib.sha256(str(i).encode()).hexdigest()[:8] for i in range(N)],
    "customer": [
        f"{DRAW.randrange(1000, 9999)}-" + "".join(DRAW.choices("ABCDEFGHIJ", k=5)) for _ in range(N)
    ],
    "random code": [f"K{i * 7919 % 99991:05d}" for i in range(N)],
}


@pytest.mark.parametrize("name", IDS)
def test_ids_are_recognised_and_new_ones_have_their_form(name: str) -> None:
    values = IDS[name]
    table = Table.from_rows([{"who": v, "x": i / 7, "city": "ab"[i % 2]} for i, v in enumerate(values)])
    column = table.columns["who"]
    assert isinstance(column, Id) and table.kinds == {"who": "id", "x": "number", "city": "label"}
    assert modality_from_json(json.loads(json.dumps(column.to_json()))) == column
    fresh = list(itertools.islice(column.fresh(seed=1), 500))
    assert len(set(fresh)) == 500 and not set(fresh) & set(values)
    assert all(re.fullmatch(column.form(), text) for text in fresh)
    assert {len(v) for v in fresh} <= {len(v) for v in values} or name == "counting without zeros"
    with pytest.warns(RequestWarning, match=r"\* leaves out who: each row has another value, as an id"):
        assert str(table.expand("*")) == "x, city"
    assert "who" not in " ".join(line for line in table.report.findings)
    if column.next < 0:
        other = list(itertools.islice(column.fresh(seed=2), 50))
        assert other != fresh[:50] and fresh[:9] == list(itertools.islice(column.fresh(seed=1), 9))


@pytest.mark.parametrize(
    "values",
    [
        [f"a house with {i} rooms" for i in range(N)],
        ["".join(DRAW.choices("ACGT", k=12)) for _ in range(N)],
        [f"C{'C' * (i % 40)}{i}O" for i in range(N)],
        [f"u{i}.png.txt mail {i}" for i in range(N)],
        [f"C-{i % 280:05d}" for i in range(N)],
    ],
)
def test_what_is_no_id(values: list[str]) -> None:
    assert Table.from_rows([{"who": v, "x": i / 7} for i, v in enumerate(values)]).kinds["who"] != "id"


def test_a_form_with_few_ids_left_ends() -> None:
    column = Id.fit([f"{a}{b}-{a}" for a, b in itertools.product("0123456789", "01234567")])
    fresh = list(column.fresh())
    assert len(fresh) == len(set(fresh)) == 10 * 10 * 10 - 80
    assert column.decode(torch.zeros(1, dtype=torch.int64)) in fresh and column.spec.classes == 1


def test_tables_of_samples_have_new_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"{1000 + i},C-{i:04d},{i * 37 % 13},{'yes' if i % 3 else 'no'}" for i in range(80)]
    Path("t.csv").write_text("\n".join(["id,who,x,paid", *lines]))
    size = ["--width", "16", "--depth", "1", "--steps", "2"]
    assert main(["train", "t.csv", "*", "--family", "any_order", "--out", "run", *size]) == 0
    assert main(["sample", "run", "-n", "30", "--out", "rows.csv"]) == 0
    rows = [line.split(",") for line in Path("rows.csv").read_text().splitlines()]
    assert rows[0] == ["id", "who", "x", "paid"]
    assert [row[:2] for row in rows[1:]] == [[str(1080 + i), f"C-{80 + i:04d}"] for i in range(30)]
    assert {row[3] for row in rows[1:]} <= {"yes", "no"}
