"""Tables of many columns: one token for all columns of one token, so that the blocks cost as much as for one column."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch.utils.flop_counter import FlopCounterMode

from likewise.cli import progress
from likewise.core.batch import Batch, Context
from likewise.core.known import KnownParts
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.families.base import Family
from likewise.families.registry import FAMILIES, family_class, sampling_families
from likewise.models.model import Model
from likewise.nets.stems.columns import group_columns
from likewise.training.plan import Plan

PACKED = [n for n in FAMILIES if "pack_columns" in family_class(n).options() and n != "autoregressive"]
COLUMNS = [
    n for n in sampling_families() if n not in ("mixture", "trees")
]  # these multiply no matrices in training
ROWS = 8


def specs_of(columns: int) -> dict[str, Spec]:
    """Numbers and labels in turn."""
    return {f"c{i}": Spec((1,), classes=4) if i % 2 else Spec((1,)) for i in range(columns)}


def rows_of(specs: dict[str, Spec]) -> Batch:
    draw = torch.Generator().manual_seed(0)
    return {
        n: torch.randint(s.classes, (ROWS, s.tokens), generator=draw)
        if s.categorical
        else torch.randn(ROWS, s.tokens, s.width, generator=draw)
        for n, s in specs.items()
    }


def family_of(name: str, specs: dict[str, Spec], **options: Any) -> Family:
    small = {n: v for n, v in {"width": 32, "depth": 2}.items() if n in family_class(name).options()}
    torch.manual_seed(0)
    return family_class(name)(specs, {}, **small, **options)


def operations(family: Family, specs: dict[str, Spec]) -> int:
    """Floating-point operations of the losses of a batch."""
    c = Context.full({}, ROWS)
    with (
        torch.set_grad_enabled(family.phases != ("critic", "generator")),
        FlopCounterMode(display=False) as counter,
    ):
        for phase in family.phases:
            family.loss(rows_of(specs), c, phase, Rng(range(ROWS), "loss"))
    return counter.get_total_flops()


@pytest.mark.parametrize("name", COLUMNS)
def test_the_cost_of_training_is_about_linear_in_the_columns(name: str) -> None:
    counts = [
        operations(family_of(name, specs), specs) for specs in (specs_of(20), specs_of(40), specs_of(80))
    ]
    for few, many in itertools.pairwise(counts):
        assert many < 2.6 * few, (
            counts
        )  # attention is a small part of the networks that have a token a column
    if name in PACKED:
        assert counts[-1] < 2 * counts[0], "blocks do not see the number of columns"


@pytest.mark.parametrize("name", PACKED)
def test_packed_columns_cost_a_fraction(name: str) -> None:
    specs = specs_of(30)
    packed, apart = (operations(family_of(name, specs, pack_columns=pack), specs) for pack in (True, False))
    assert packed < apart / 5


def test_columns_of_one_token_share_a_stem() -> None:
    specs = {
        "a": Spec((1,)),
        "image": Spec((8, 8), axes=IMAGE),
        "b": Spec((1,), classes=3),
        "text": Spec((6,), classes=9, padded=True),
        "pixel": Spec((1, 1), axes=IMAGE),
    }
    assert group_columns(specs, pack=True) == [("a", "b"), ("image",), ("text",), ("pixel",)]
    assert group_columns(specs, pack=False) == [(n,) for n in specs]


@pytest.mark.parametrize("name", PACKED)
def test_a_single_column_is_the_same_either_way(name: str) -> None:
    """So runs of one target of one token are what they were."""
    specs = {"image": Spec((6, 6), axes=IMAGE), "price": Spec((1,))}
    states = [family_of(name, specs, pack_columns=pack).state_dict() for pack in (True, False)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])


@pytest.mark.parametrize("name", PACKED)
def test_what_is_known_of_a_packed_row_is_kept(name: str) -> None:
    """Any of the columns, each row with others than the next."""
    specs = specs_of(6)
    x, family = rows_of(specs), family_of(name, specs)
    with torch.no_grad():
        for p in family.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    masks = {n: torch.arange(ROWS)[:, None] % len(specs) == i for i, n in enumerate(specs)}
    c = Context.full({}, ROWS)
    samples = family.sample(c, known=KnownParts(x, masks), rng=Rng(range(ROWS), "s"))  # type: ignore[operator]
    plain = family.sample(c, known=None, rng=Rng(range(ROWS), "s"))  # type: ignore[operator]
    for n in specs:
        known = masks[n][:, 0]
        assert torch.equal(samples[n][known], x[n][known])
    assert any(not torch.equal(samples[n], plain[n]) for n in specs)


# ---- the cost is said


@pytest.mark.parametrize(
    ("plan", "rate", "rows", "text"),
    [
        (
            {"minutes": 10.0},
            3.0,
            75_000,
            "3.0 steps/s: 10 minutes are about 1,800 steps of 96 rows, 2.3 passes through 75,000 rows",
        ),
        (
            {"steps": 100},
            0.25,
            200,
            "4.0 s/step: 100 steps of 96 rows take 6:40, 48.0 passes through 200 rows",
        ),
        (
            {"minutes": 1.0, "batch": 10},
            1.0,
            6000,
            "1.0 steps/s: 1 minutes are about 60 steps of 10 rows, 0.1 passes through 6,000 rows; for all rows to be seen give more "
            "time or a smaller --width",
        ),
    ],
)
def test_the_cost_of_a_step_in_words(plan: dict[str, Any], rate: float, rows: int, text: str) -> None:
    family = family_of("flow", {"image": Spec((4, 4), axes=IMAGE)})
    assert progress.describe_cost(Plan(**plan), rate, family, rows) == text


def test_the_cost_is_printed_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As soon as it has been measured, and not for runs that are over before."""
    table = toy.table(32)
    for measured, lines in ((0.0, 1), (60.0, 0)):
        monkeypatch.setattr(progress, "MEASURED", measured)
        model = Model("number, label", table.columns, "flow", width=16, depth=1)
        plan = Plan(steps=4, batch=8, save_seconds=1e9)
        progress.train_with_progress(model, table, plan, tmp_path / str(lines))
        assert (
            len(re.findall(r"steps? of 8 rows take .* 1\.0 passes through 32 rows", capsys.readouterr().err))
            == lines
        )
