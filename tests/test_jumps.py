"""Jumps: mean velocities are what they should be, and draw in one step; training goes on from a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from torch import Tensor

from likewise.cli.main import main
from likewise.core.formula import Formula
from likewise.core.rng import Rng
from likewise.data.arrow import TableError
from likewise.data.table import Table
from likewise.generation.denoising import meanflow
from likewise.generation.denoising.guidance import classifier_free_guidance
from likewise.generation.denoising.meanflow import StepCondition
from likewise.modalities.number import Number
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

MEAN, STD = 0.7, 0.3


def true_hat(x_t: Tensor, t: Tensor, jump: StepCondition) -> Tensor:
    """x^ of the flow of N(MEAN, STD^2), whose points keep their number of deviations."""
    r = t - jump.span
    z = (x_t - (1 - t) * MEAN) / deviation(t)
    x_r = (1 - r) * MEAN + deviation(r) * z
    v = (x_t - (MEAN + (1 - t) * STD**2 / deviation(t) ** 2 * (x_t - (1 - t) * MEAN))) / t
    u = torch.where(jump.span > 0, (x_t - x_r) / jump.span.clamp(min=1e-9), v)
    return x_t - t * u


def deviation(t: Tensor) -> Tensor:
    return ((1 - t) ** 2 * STD**2 + t**2).sqrt()


def missed(progress: float) -> float:
    """How far `aim` is from the true x^, where the network is right already."""
    t = torch.linspace(0.2, 1, 50)[:, None]
    x_t = (1 - t) * MEAN + deviation(t) * torch.randn(50, 1, generator=torch.Generator().manual_seed(0))
    jump = StepCondition(0.9 * t, torch.ones_like(t))
    found = meanflow.meanflow_target(
        x_t, t, jump, true_hat, true_hat, torch.zeros(50, 1, dtype=torch.bool), progress
    )
    return float((found - true_hat(x_t, t, jump)).abs().mean())


def test_a_right_network_stays_right_as_a_falls() -> None:
    """Equation (3): at a = 1 the mean velocity is taken for the velocity at t, and the less a is, the less that matters."""
    assert missed(0.0) > 0.1
    assert missed(1.0) < 0.15 * missed(0.0)


def test_the_aim_is_guided_below_the_time_where_guidance_ends() -> None:
    """Where the flow is straight, the aim is the guided point itself: 1 + 2 (1 - 0.5) of the way from 0.5."""
    t = torch.tensor([[0.5], [0.95]])
    jump = StepCondition(t / 2, torch.full_like(t, 3.0))
    x_t, none = torch.tensor([[0.3], [0.3]]), torch.zeros(2, 1, dtype=torch.bool)
    found = meanflow.meanflow_target(
        x_t,
        t,
        jump,
        lambda x, t, jump: torch.ones_like(x),
        lambda x, t, jump: torch.full_like(x, 0.5),
        none,
        0.0,
    )
    guided = classifier_free_guidance(
        x_t, torch.ones(2, 1), torch.full((2, 1), 0.5), torch.tensor(3.0), zero_star=True
    )
    assert found[:, 0].tolist() == pytest.approx([guided[0].item(), 1.0], abs=1e-5)


def test_half_of_the_rows_jump_within_their_times() -> None:
    rng = Rng(range(4000), "test", 0)
    other = torch.sigmoid(rng.normal(2))
    t, jump = meanflow.sample_intervals(other[:, 1:], other, rng)
    assert abs((jump.span > 0).float().mean() - 0.5) < 0.03
    assert ((t - jump.span) >= -1e-6).all() and (t <= 1).all()
    still = jump.span.squeeze(1) == 0
    assert torch.equal(t[still], other[:, 1:][still]) and (jump.guidance[still] == 1).all()
    assert jump.guidance.min() >= 1 and jump.guidance.max() <= meanflow.MAX_GUIDANCE


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Table, Path]:
    """A flow of numbers near -1 and 1, and then its jumps, each in its folder."""
    folder, rng = tmp_path_factory.mktemp("runs"), np.random.default_rng(0)
    rows = [{"x": float(side + 0.1 * rng.normal()), "label": str(side)} for side in rng.choice([-1, 1], 600)]
    table = Table.from_rows(rows, {"x": "number", "label": "label"})
    plan = {"batch": 128, "precision": "float32"}
    plain = Model("x | label", table.columns, "flow", width=64, depth=1)
    for _ in train(plain, table, Plan(steps=250, **plan), folder / "plain"):
        pass
    model = Model.load(folder / "plain", few_step=True)
    for _ in train(model, table, Plan(steps=500, **plan), folder / "quick"):
        pass
    return model.eval(), table, folder


def error(model: Model, **sampling_options: object) -> float:
    """How far draws are from where data are, without a label, so that both are possible: a mean of both is 1 away."""
    drawn = (row["x"] for row in model.sample([{}] * 256, batch=256, **sampling_options))
    return float(np.mean([min(abs(x - 1), abs(x + 1)) for x in drawn]))


def test_one_jump_draws_where_one_step_gives_the_mean(quick: tuple[Model, Table, Path]) -> None:
    model = quick[0]
    assert error(model, steps=1, sampler="euler") > 0.5
    assert error(model, steps=1) < 0.25
    assert error(model, steps=2) < 0.25


def test_the_model_is_still_a_flow(quick: tuple[Model, Table, Path]) -> None:
    model, _, folder = quick
    assert error(model, steps=20, sampler="ab2") < error(Model.load(folder / "plain"), steps=20) + 0.06


def test_a_jump_keeps_what_is_known() -> None:
    table = Table.from_rows(toy.rows(40))
    model = Model("image | label", table.columns, width=32, depth=1, few_step=True)
    value, mask = table[0]["image"], torch.zeros(10, 10, dtype=torch.bool)
    mask[:, :5] = True
    row = model.given(label="3").sample(1, known={"image": (value, mask)}, steps=1)[0]
    assert np.array_equal(np.asarray(row["image"])[:, :5], np.asarray(value)[:, :5])


def test_a_negative_is_drawn_by_the_flow(quick: tuple[Model, Table, Path]) -> None:
    """Jumps know no negative: auto takes the sampler that does, and jump says so."""
    model = quick[0]
    negative = {"negative": {"label": "-1"}, "guidance": 2.0}
    auto = model.sample([{"label": "1"}], **negative, steps=3)
    assert auto == model.sample([{"label": "1"}], **negative, sampler="dpmpp_2m", steps=3)
    with pytest.raises(ValueError, match="without a negative"):
        model.sample([{"label": "1"}], **negative, sampler="jump")
    with pytest.raises(ValueError, match="guidance from 1 to 4"):
        model.sample([{"label": "1"}], guidance=9.0, sampler="jump")


def test_who_has_not_learned_to_jump_says_so(quick: tuple[Model, Table, Path]) -> None:
    with pytest.raises(ValueError, match="--few-step"):
        Model.load(quick[2] / "plain").sample([{"label": "1"}], sampler="jump")


def test_jumps_are_of_numbers() -> None:
    with pytest.raises(ValueError, match="'label' is categorical"):
        Model("label", Table.from_rows(toy.rows(40)).columns, "flow", few_step=True)


# ---- training from a run


def test_from_a_run_begins_with_its_weights(quick: tuple[Model, Table, Path]) -> None:
    """The jump's own weights begin anew, at no effect; all others are those of the run."""
    folder = quick[2]
    plain, begun = Model.load(folder / "plain"), Model.load(folder / "plain", few_step=True)
    old, new = plain.family.state_dict(), begun.family.state_dict()
    assert all(torch.equal(v, new[n]) for n, v in old.items())
    assert new.keys() - old.keys() and all(".extra_conditions." in n for n in new.keys() - old.keys())
    asked = {"sampler": "ab2", "steps": 3}
    a, b = (m.sample([{"label": "1"}], **asked)[0]["x"] for m in (plain, begun))
    assert a == pytest.approx(b, abs=1e-5)


def test_from_a_run_with_another_width_is_refused(quick: tuple[Model, Table, Path]) -> None:
    with pytest.raises(RunError, match="size mismatch"):
        Model.load(quick[2] / "plain", width=32)


def test_a_table_is_written_as_the_model_does() -> None:
    """Training goes on with the model's own scale and classes, not with those of the new data."""
    rows = [{"price": float(i), "kind": "ab"[i % 2]} for i in range(20)]
    columns = {"price": Number.fit([0.0, 100.0, 200.0])}
    table = Table.from_rows(rows, kinds={"price": "number", "kind": "label"})
    seen = table.with_views(columns, Formula.parse("price"))
    assert seen.columns["price"] == columns["price"] and table.columns["price"] != columns["price"]
    assert torch.equal(seen.encoded("price"), columns["price"].encode_all(table.column("price")))
    few = Table.from_rows(rows[:1] * 10, kinds={"price": "number", "kind": "label"})
    with pytest.raises(
        TableError, match="10 of 20 rows cannot be encoded by the model.*\\n  row 1, kind: unknown class 'b'"
    ):
        table.with_views({"kind": few.columns["kind"]}, Formula.parse("kind"))


def test_the_command_begins_from_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.csv"
    data.write_text("price,kind\n" + "".join(f"{i % 7 + 0.25},{'ab'[i % 2]}\n" for i in range(60)))
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    small = ["--family", "flow", "--width", "32", "--depth", "1", "--batch", "16"]
    assert main(["train", str(data), "price | kind", *small, "--steps", "3", "--out", first]) == 0
    assert (
        main(["train", "--from", first, "--few-step", "--steps", "3", "--batch", "16", "--out", second]) == 0
    )
    state = json.loads((Path(second) / "model.json").read_text())
    assert (
        state["options"]["few_step"]
        and state["options"]["width"] == 32
        and state["data"]["source"] == str(data)
    )
    assert main(["sample", second, "--given", "kind=a", "--steps", "1", "-n", "1"]) == 0
    capsys.readouterr()
    for argv, words in (
        (["--from", first], "--out"),
        (["--from", first, "--holdout", "0.5", "--out", f"{second}2"], "name it before"),
        ([str(data), "--from", first, "--length", "9", "--out", f"{second}2"], "'length'. There are: none"),
        ([str(data), "kind | prize", "--from", first, "--out", f"{second}2"], "did you mean 'price'"),
        (["--resume", "--from", first, "--out", second], "leave --from out"),
    ):
        assert main(["train", *argv, "--steps", "3"]) == 1
        assert words in capsys.readouterr().err
