"""A parent table and a child table: keys, numbers of children, children given their parent and those before."""

from __future__ import annotations

import datetime
import itertools

import numpy as np
import pytest

from likewise.core.errors import receive_warnings
from likewise.data.arrow import TableError
from likewise.data.child_tables import ChildTables, join_tables, key_text
from likewise.data.table import Table
from likewise.models.parent_child import Family, ParentChild
from likewise.training.plan import Plan
from likewise.training.trainer import train

MEAN = {"basic": 1.0, "gold": 4.0}  # children of a parent
START = datetime.date(2024, 1, 1)


def simulate(n: int, seed: int = 0) -> Family:
    """Customers of two plans, and their orders: Poisson numbers, amounts that follow the plan and the order before, at
    least a week after it."""
    rng = np.random.default_rng(seed)
    parents, children = [], []
    for i in range(n):
        plan = "gold" if rng.random() < 0.5 else "basic"
        key = f"C-{i:04d}"
        parents.append({"customer_id": key, "plan": plan, "age": int(rng.integers(18, 80))})
        amount, day = None, int(rng.integers(0, 100))
        for _ in range(rng.poisson(MEAN[plan])):
            amount = (100.0 if plan == "gold" else 20.0) if amount is None else amount
            amount = round(amount + rng.normal(0, 3), 1)
            children.append(
                {"customer_id": key, "day": str(START + datetime.timedelta(days=day)), "amount": amount}
            )
            day += int(rng.integers(7, 15))
    return Family(parents, children)


def join(rows: Family, **options: object) -> ChildTables:
    return join_tables(
        Table.from_rows(rows.parents), Table.from_rows(rows.children), "customer_id", **options
    )


@pytest.fixture(scope="module")
def trained() -> tuple[ParentChild, ChildTables]:
    with receive_warnings(lambda _: None):
        tables = join(simulate(600))
        model = ParentChild.of(tables, width=64, depth=1)
    for part, table in ((model.parents, tables.parents), (model.children, tables.children)):
        for _ in train(part, table, Plan(steps=250, batch=256, source_dropout=0.0, lr=5e-3)):
            pass
    return model, tables


def groups(rows: Family) -> dict[str, list[dict]]:
    found = {row["customer_id"]: [] for row in rows.parents}
    for child in rows.children:
        found[child["customer_id"]].append(child)  # KeyError for a child without a parent
    return found


def test_samples(trained):
    model, _ = trained
    rows, real = model.sample(1000, seed=1), simulate(1000, seed=5)
    assert list(rows.parents[0]) == ["customer_id", "plan", "age"] and {*rows.children[0]} == {
        "customer_id",
        "day",
        "amount",
    }
    found, true = groups(rows), groups(real)
    assert len(found) == 1000 and not {*found} & {r["customer_id"] for r in simulate(600).parents}
    plans = {row["customer_id"]: row["plan"] for row in rows.parents}
    for plan, mean in MEAN.items():  # counts given the parent, zero among them
        counts = np.array([len(found[key]) for key in found if plans[key] == plan])
        assert abs(counts.mean() - mean) < 0.15 * mean + 0.15
        assert abs((counts == 0).mean() - np.exp(-mean)) < 0.06
    firsts = {p: [c[0]["amount"] for k, c in found.items() if c and plans[k] == p] for p in MEAN}
    assert abs(np.median(firsts["gold"]) - 100) < 4 and abs(np.median(firsts["basic"]) - 20) < 4

    def steps(groups: dict[str, list[dict]]) -> np.ndarray:
        pairs = [p for g in groups.values() for p in itertools.pairwise(g)]
        days = [
            datetime.date.fromisoformat(b["day"]) - datetime.date.fromisoformat(a["day"]) for a, b in pairs
        ]
        return np.array([[b["amount"] - a["amount"], d.days] for (a, b), d in zip(pairs, days, strict=True)])

    ours, theirs = steps(found), steps(true)
    assert ours[:, 1].min() >= 7 and ours[:, 1].max() <= 14
    assert np.median(abs(ours[:, 0])) < 1.7 * np.median(
        abs(theirs[:, 0])
    )  # without the child before it is 20 times that
    assert all(round(c["amount"], 1) == c["amount"] for c in rows.children)


def test_sample_of_a_seed(trained):
    model, _ = trained
    whole, part = model.sample(6, seed=3), model.sample(2, seed=3, start=4)
    assert part.parents == whole.parents[4:]
    keys = {row["customer_id"] for row in part.parents}
    assert part.children == [c for c in whole.children if c["customer_id"] in keys]
    gold = model.sample([{"plan": "gold"}] * 20, seed=0)
    assert {row["plan"] for row in gold.parents} == {"gold"}


def test_saved(trained, tmp_path):
    model, _ = trained
    model.save(tmp_path / "run")
    assert ParentChild.load(tmp_path / "run").sample(5, seed=2) == model.sample(5, seed=2)


def test_split_by_parent(trained):
    _, tables = trained
    sides = []
    for part in ("train", "test"):
        rows = getattr(tables.parents, part).row_numbers()
        number = sum(len(tables.rows[i]) for i in rows)
        assert len(getattr(tables.children, part)) == number
        sides.append(number)
    assert min(sides) > 0


PARENTS = [{"id": f"{k}", "x": k % 3} for k in range(20)]
CHILDREN = [{"id": f"{k % 10}", "y": k / 2} for k in range(40)]


@pytest.mark.parametrize(
    ("parents", "children", "key", "message"),
    [
        (PARENTS, CHILDREN, "ids", "unknown column 'ids': did you mean 'id'"),
        (PARENTS, [{"y": 1.5}, {"y": 2.5}], "id", "the children: unknown column 'id'"),
        ([*PARENTS, {"id": "3", "x": 0}], CHILDREN, "id", "row 20, id: '3' is the key of row 3 too"),
        (PARENTS, [*CHILDREN, {"id": "77", "y": 0.0}], "id", "row 40, id: there is no parent '77'"),
        ([*PARENTS, {"id": None, "x": 0}], CHILDREN, "id", "row 20, id: the key is missing"),
        (PARENTS, [{"id": None, "y": 0.0}, *CHILDREN], "id", "row 0, id: the key is missing"),
        (PARENTS, [{"id": "99", "y": 0.0}] * 3, "id", "there is no parent '99'"),
    ],
)
def test_errors(parents, children, key, message):
    kinds = {"id": "id"}
    tables = [Table.from_rows(rows, kinds if "id" in rows[0] else {}) for rows in (parents, children)]
    with pytest.raises(TableError, match=message):
        join_tables(*tables, key)


def test_rows_that_are_skipped_are_counted():
    notes: list[str] = []
    tables = [
        Table.from_rows(rows, {"id": "id"})
        for rows in (
            [*PARENTS, {"id": "3", "x": 0}],
            [*CHILDREN, {"id": "77", "y": 0.0}, {"id": None, "y": 1.0}],
        )
    ]
    with receive_warnings(notes.append):
        joined = join_tables(*tables, "id", skip_bad=True)
    assert len(joined.parents) == 20 and len(joined.children) == 40
    assert "1 of 21 rows of parents" in notes[0] and "2 of 42 rows of children" in notes[1]


def test_keys_of_other_types():
    assert key_text(7) == key_text(7.0) == key_text("7") and key_text(float("inf")) == "inf"
