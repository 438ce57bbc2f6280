"""Guidance: its default depends on the targets, is stored with a run, and keeps the distribution of a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch import Tensor

import likewise
from likewise.core.batch import Context
from likewise.core.errors import RequestWarning
from likewise.core.options import RowValues
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.data.table import Table
from likewise.families.diffusion import Diffusion
from likewise.families.flow import Flow
from likewise.generation.denoising.guidance import Guidance, default_scales
from likewise.models.model import Model
from likewise.nets.conditioning import EncodedContext

ROWS = 2000
STD = 0.4  # of a group
GAP = 1.6  # between the means of the two groups


def exact(family: Flow | Diffusion) -> Flow | Diffusion:
    """The family with E[x_0 | x_t] of two groups N(-GAP / 2, STD^2) and N(GAP / 2, STD^2) for its network."""

    means = torch.tensor([-GAP / 2, GAP / 2])

    def mean(x_t: Tensor, t: float, known: Tensor, context: EncodedContext, step: None = None) -> Tensor:
        group, present = context.tokens[:, 0].long(), context.tokens[:, 1:] > 0  # (B, 1)
        own = means[group][:, None]
        variance = (1 - t) ** 2 * STD**2 + t**2
        gain = (1 - t) * STD**2 / variance
        each = means[:, None, None] + gain * (x_t - (1 - t) * means[:, None, None])  # (2, B, N)
        nats = -0.5 * (x_t - (1 - t) * means[:, None, None]).square().sum(2, keepdim=True) / variance
        mixed = (nats.softmax(0) * each).sum(0)
        return torch.where(present, own + gain * (x_t - (1 - t) * own), mixed)

    def encode(c: Context) -> EncodedContext:
        tokens = torch.cat([c.values["group"], c.present], dim=1).float()  # as they are
        return EncodedContext(tokens, tokens, tokens)

    family.denoiser.mean = mean  # type: ignore[method-assign, assignment]
    family.denoiser.net.encode_sources = encode  # type: ignore[method-assign, assignment]
    return family


def gap(family: Flow | Diffusion, **options: Any) -> float:
    """The difference of the means of the groups in samples, in the first column."""
    group = torch.arange(ROWS)[:, None] % 2
    c = Context.full({"group": group}, ROWS)
    x = family.sample(c, known=None, rng=Rng(range(ROWS), "gap"), **options)["score"].flatten()
    return float(x[1::2].mean() - x[::2].mean())


@pytest.mark.parametrize("family", [Flow, Diffusion])
@pytest.mark.parametrize("numbers", [1, 2, 5])
def test_groups_are_as_far_apart_as_in_the_data(family: type[Flow | Diffusion], numbers: int) -> None:
    names = ["score", *(f"x{i}" for i in range(1, numbers))]
    model = exact(family({n: Spec((1,)) for n in names}, {"group": Spec((1,), classes=2)}, width=16, depth=1))
    error = 4 * STD * (4 / ROWS) ** 0.5  # four standard errors of the gap
    plain = gap(model, steps=30)
    assert abs(plain - GAP) < error
    assert gap(model, steps=30, guidance=3.0) > plain + 0.04, "guidance that is given has an effect"
    assert gap(model, steps=30, guidance=0.0) < 0.5 * GAP, "and so has less of it"


def test_the_default_depends_on_the_target() -> None:
    specs = {
        "image": Spec((16, 16), width=3, axes=IMAGE),
        "codes": Spec((4, 4, 2), classes=100, axes=(*IMAGE, "codebook")),
        "series": Spec((40,), axes=("time",)),
        "price": Spec((1,)),
        "kind": Spec((1,), classes=3),
        "text": Spec((20,), classes=50, padded=True, axes=("token",)),
        "embedding": Spec((1,), width=64),
    }
    signals = {"image", "codes", "series"}
    assert default_scales(specs, 2.0) == {n: 2.0 if n in signals else 1.0 for n in specs}
    columns = {"image": 2.0, "price": 1.0}
    for guidance, scales in (
        (None, [[2.0, 1.0]] * 2),
        (3.0, [[3.0, 3.0]] * 2),
        (RowValues((None, 3.0)), [[2.0, 1.0], [3.0, 3.0]]),
    ):
        assert Guidance(guidance).for_columns(columns, 2, torch.device("cpu")).scales.tolist() == scales


DEFAULTS = [
    ("flow", "image | label", 2.0),
    ("flow", "number | label", 1.0),
    ("flow", "image, number | label", {"image": 2.0, "number": 1.0}),
    ("diffusion", "image | label", 3.0),
    ("diffusion", "number, label | text", 1.0),
    ("autoencoder", "image | label", 1.5),
    ("autoencoder", "image, number | label", 1.0),
    ("autoencoder", "number | label", 1.0),
    ("autoregressive", "image | label", 2.0),
    ("autoregressive", "label, text | number", 1.0),
]


@pytest.mark.parametrize(("family", "formula", "default"), DEFAULTS)
def test_the_default_is_stored(world: Table, tmp_path: Path, family: str, formula: str, default: Any) -> None:
    model = Model(formula, world.columns, family, width=16, depth=1)
    assert model.sampling_options()["guidance"].default == default
    model.save(tmp_path)
    stored = json.loads((tmp_path / "model.json").read_text())["default_guidance"]
    assert stored == (default if isinstance(default, dict) else dict.fromkeys(model.targets, default))
    state = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(
        json.dumps({**state, "default_guidance": dict.fromkeys(stored, 4.0)})
    )
    with pytest.warns(RequestWarning, match="whose default guidance is kept for it: 4 of"):
        assert likewise.load(tmp_path).sampling_options()["guidance"].default == 4


def test_a_picture_is_guided_and_the_number_beside_it_is_not(world: Table) -> None:
    """What the number of a row is read as depends on the picture, so one step from the same noise is compared."""
    model = Model("image, number | label", world.columns, "flow", width=16, depth=1)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    given = model.given(label="2")
    default, plain, three = (
        given.sample(1, steps=1, guidance_to=1.0, **g)[0] for g in ({}, {"guidance": 1.0}, {"guidance": 3.0})
    )
    assert default["number"] == pytest.approx(plain["number"]) and default["number"] != pytest.approx(
        three["number"]
    )
    assert default["image"].tobytes() != plain["image"].tobytes()


def test_a_run_of_before_keeps_its_default() -> None:
    run = Path(__file__).parent / "runs_v1" / "diffusion"
    with pytest.warns(
        RequestWarning, match="3 of image, 3 of number; of a new run it is 3 of image, 1 of number"
    ):
        model = likewise.load(run)
    row = {"label": toy.rows(1)[0]["label"]}
    assert model.sample([row]) == model.sample([row], guidance=3.0)
