"""Infilling as it is measured: on fills whose quality is known."""

from __future__ import annotations

import numpy as np
import pytest
import toy

from likewise.data.table import Table
from likewise.evaluation.tasks.inpainting import InpaintingTask, hole_ranks, hole_rmse, known_pixels_equal


@pytest.fixture(scope="module")
def table() -> Table:
    rows = [
        {**row, "text": f"{row['text']} {'abcdefg'[i // 4 % 7]}"}
        for i, row in enumerate(toy.rows(200, size=16))
    ]
    return Table.from_rows([{n: row[n] for n in ("image", "text")} for row in rows], holdout=0.3)


@pytest.mark.parametrize("kind", ["box", "random"])
def test_holes_depend_on_the_row_and_the_seed_alone(table: Table, kind: str) -> None:
    many, few, again = (
        InpaintingTask(table, 40, kind),
        InpaintingTask(table, 40, kind, candidates=5),
        InpaintingTask(table, 40, kind, seed=1),
    )
    assert (many.holes == few.holes).all()
    assert 0.05 < many.holes.mean() < 0.95
    assert (many.holes == again.holes).all() == (kind == "box")
    assert all(a != b for a, b in zip(many.texts, many.other_texts, strict=True))


def test_the_box_is_half_the_sides_in_the_middle(table: Table) -> None:
    hole = InpaintingTask(table, 4).holes[0]
    assert hole.sum() == 64 and hole[4:12, 4:12].all()


def test_the_truth_is_the_best_fill_and_a_grey_hole_is_not(table: Table) -> None:
    task = InpaintingTask(table, 40, "box", candidates=10)
    true, other = [row["image"] for row in task.rows], [task.rows[i]["image"] for i in task.other]
    found = task.metrics(true, true)
    assert found["known pixels equal"].value == 1
    assert found["RMSE, own text"].value == 0
    assert found["rank of own, own text"].value == 1
    assert found["rank of other, own text"].value > 2
    copied = task.metrics(true, other)
    assert copied["known pixels equal"].value < 1
    assert copied["RMSE, other text"].value > 0.05


def test_only_the_hole_is_looked_at() -> None:
    rng = np.random.default_rng(0)
    pool = rng.uniform(-1, 1, (9, 8, 8, 1))
    given, asked, holes = pool[:2], pool[2:4], np.zeros((2, 8, 8), bool)
    holes[:, :4] = True
    filled = np.where(holes[..., None], asked, given)
    candidates = np.array([[4, 5, 6], [6, 7, 8]])
    assert (hole_ranks(filled, given, asked, pool, candidates, holes) == 1).all()
    changed = np.where(holes[..., None], asked, 0.0)
    assert hole_rmse(filled, asked, holes, rng=rng).value == 0
    assert hole_rmse(changed, asked, holes, rng=rng).value == 0
    assert known_pixels_equal(filled, given, holes).value == 1
    assert known_pixels_equal(changed, given, holes).value == 0


def test_too_few_rows_and_rows_of_one_thing_are_refused(table: Table) -> None:
    with pytest.raises(ValueError, match="at least 4"):
        InpaintingTask(table, 3)
    with pytest.raises(ValueError, match="all 20 are of one same"):
        InpaintingTask(
            Table.from_rows(
                [{**table[i], "same": "x" if i > 19 else "y"} for i in range(60)],
                kinds={"same": "text"},
                holdout=0.3,
                by="same",
            ),
            20,
            concept="same",
        )
