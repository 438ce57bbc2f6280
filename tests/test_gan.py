"""The game of a GAN: its formulas at points where they are known, its penalty, and that it learns distributions that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import toy
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.known import no_masks
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.data.table import Table
from likewise.families.gan import GAN, critic_loss, generator_loss, gradient_norms
from likewise.models.model import Model
from likewise.nets.adversarial import augment
from likewise.training.loss import heldout_loss
from likewise.training.plan import Plan
from likewise.training.trainer import train

GAMES = ("minimax", "nonsaturating", "hinge", "relativistic")
SMALL = {"width": 32, "depth": 1}
PLANE = {"number": Spec((1,)), "price": Spec((1,))}
NOTHING = Context.full({}, 8)


def rows(count: int = 8, seed: int = 0) -> Rng:
    return Rng(range(count), "gan", seed)


def plane(seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    return {n: torch.randn(8, 1, 1, generator=draw) for n in PLANE}


class Linear(nn.Module):
    """A critic whose gradient is known: f(x, c) = <slope, x> + shift, everywhere."""

    def __init__(self, slope: Tensor, shift: float = 0.0) -> None:
        super().__init__()
        self.slope, self.shift = nn.Parameter(slope), shift

    def projection(self, c: Context) -> Tensor:
        return torch.zeros(len(c.present), 1)

    def forward(self, x: Batch, asked: Tensor) -> Tensor:
        return torch.cat([v.flatten(1) for v in x.values()], dim=1) @ self.slope + self.shift


# ---- the formulas


def test_minimax_is_the_value_of_the_game() -> None:
    """V = E ln D(x) + E ln(1 - D(G(z))): the critic pays -V, the generator the part of V that is its own."""
    real, drawn = torch.randn(2, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    d_real, d_drawn = real.sigmoid(), drawn.sigmoid()
    value = d_real.log() + (1 - d_drawn).log()
    assert torch.allclose(critic_loss("minimax", real, drawn), -value)
    assert torch.allclose(generator_loss("minimax", real, drawn), (1 - d_drawn).log())
    assert torch.allclose(critic_loss("nonsaturating", real, drawn), -value)
    assert torch.allclose(generator_loss("nonsaturating", real, drawn), -d_drawn.log())


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_at_the_best_critic_minimax_is_a_divergence(share: float) -> None:
    """Over five points: at D = p / (p + q) the value is -ln 4 + 2 JSD(p, q), and no other D has a higher one."""
    p = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05], dtype=torch.float64)
    q = share * p + (1 - share) * p.flip(0)
    best, middle = (p / q).log(), (p + q) / 2

    def value(f: Tensor) -> float:
        none = torch.full_like(f, -800.0)  # softplus(-800) = 0: the other half of the loss is left out
        return -float(
            (p * critic_loss("minimax", f, none)).sum() + (q * critic_loss("minimax", -none, f)).sum()
        )

    divergence = float((p * (p / middle).log() + q * (q / middle).log()).sum()) / 2
    assert value(best) == pytest.approx(-math.log(4) + 2 * divergence, abs=1e-12)
    draw = torch.Generator().manual_seed(1)
    for _ in range(20):
        assert value(best + 0.3 * torch.randn(5, generator=draw, dtype=torch.float64)) < value(best)


def test_a_pair_is_compared_and_a_hinge_ends() -> None:
    real, drawn = torch.tensor([3.0, -2.0, 0.5]), torch.tensor([-3.0, 1.0, 0.5])
    pairs = critic_loss("relativistic", real, drawn)
    assert torch.allclose(pairs, -(real - drawn).sigmoid().log(), atol=1e-6)
    assert torch.allclose(pairs, critic_loss("relativistic", real + 7, drawn + 7))  # only differences count
    assert torch.allclose(
        generator_loss("relativistic", real, drawn), -(drawn - real).sigmoid().log(), atol=1e-6
    )
    assert critic_loss("hinge", real, drawn).tolist() == [0.0, 5.0, 2.0]
    assert generator_loss("hinge", real, drawn).tolist() == [3.0, -1.0, -0.5]


def test_minimax_saturates_and_the_others_do_not() -> None:
    """Where the critic is sure of what is drawn, minimax gives the generator no gradient (Goodfellow et al., 2014, section 3)."""
    slopes = {}
    for game in GAMES:
        f_drawn = torch.tensor(-25.0, requires_grad=True)
        generator_loss(game, torch.tensor(0.0), f_drawn).backward()
        slopes[game] = float(f_drawn.grad)
    assert -1e-10 < slopes.pop("minimax") < 0
    assert all(slope == pytest.approx(-1.0, abs=1e-6) for slope in slopes.values())
    steepest = {}
    for game in ("minimax", "nonsaturating"):
        torch.manual_seed(0)
        family = GAN(PLANE, {}, loss=game, **SMALL)
        family.critic = Linear(torch.tensor([1.0, -1.0]), shift=-25.0)
        family.loss(plane(), NOTHING, "generator", rows()).mean().backward()
        steepest[game] = max(
            float(p.grad.abs().max()) for p in family.generator.parameters() if p.grad is not None
        )
    assert steepest["minimax"] < 1e-8 and steepest["nonsaturating"] > 1e-2


# ---- the penalty


def test_the_gradient_of_a_linear_critic_is_its_slope() -> None:
    slope = torch.tensor([0.5, -2.0])
    critic = Linear(slope)
    norms = gradient_norms(critic, plane(), torch.zeros(8, 1))
    assert torch.allclose(norms, torch.full((8,), 4.25))
    norms.sum().backward()
    assert torch.allclose(critic.slope.grad, 8 * 2 * slope)  # and it is differentiated in turn


@pytest.mark.parametrize("penalty_fraction", [1.0, 0.25])
def test_the_penalty_is_gamma_halves_of_both_gradients(penalty_fraction: float) -> None:
    """On a share of the rows it is the same on average: |w|^2 gamma for a linear critic."""
    count = 2000 if penalty_fraction < 1 else 8
    x = {n: torch.zeros(count, 1, 1) for n in PLANE}
    losses = []
    for gamma in (0.0, 3.0):
        torch.manual_seed(0)
        family = GAN(PLANE, {}, penalty=gamma, penalty_fraction=penalty_fraction, **SMALL)
        family.critic = Linear(torch.tensor([0.5, -2.0]))
        losses.append(family.loss(x, Context.full({}, count), "critic", rows(count)))
    more = (losses[1] - losses[0]).detach()
    assert set(more.round(decimals=3).unique().tolist()) <= {0.0, round(3.0 * 4.25 / penalty_fraction, 3)}
    assert float(more.mean()) == pytest.approx(3.0 * 4.25, rel=0.1)


def test_a_share_of_rows_is_above_zero() -> None:
    with pytest.raises(ValueError, match="penalty_fraction must be a number above 0 and at most 1, not 0"):
        GAN(PLANE, {}, penalty_fraction=0.0)


@pytest.mark.parametrize("game", GAMES)
def test_without_gradients_a_loss_is_the_same_less_its_penalty(game: str) -> None:
    family = GAN(PLANE, {}, loss=game, penalty=5.0, **SMALL)
    with torch.no_grad():
        quiet = {phase: family.loss(plane(), NOTHING, phase, rows()) for phase in family.phases}
    family.penalty = 0.0
    assert torch.allclose(quiet["critic"], family.loss(plane(), NOTHING, "critic", rows()).detach())
    assert torch.allclose(quiet["generator"], family.loss(plane(), NOTHING, "generator", rows()).detach())


@pytest.mark.parametrize("phase", ["critic", "generator"])
def test_a_phase_moves_its_own_network(phase: str) -> None:
    family = GAN(PLANE, {}, **SMALL)
    family.loss(plane(), NOTHING, phase, rows()).mean().backward()
    moved = {n.split(".")[0] for n, p in family.named_parameters() if p.grad is not None}
    assert moved == {phase} and all(p.requires_grad for p in family.critic.parameters())


# ---- what the critic sees


def test_the_critic_sees_what_is_known() -> None:
    """Known numbers stand as they are in what is drawn, and a categorical token is one of the codes."""
    targets = {"image": Spec((9, 13), width=3, axes=IMAGE), "label": Spec((1,), classes=4)}
    family = GAN(targets, {}, **SMALL)
    x = {"image": torch.randn(8, 117, 3), "label": torch.arange(8)[:, None] % 4}
    real, masks = family.column_codes.encode(x), no_masks(targets, 8, torch.device("cpu"))
    masks["image"][:, ::3] = True
    masks["label"][:4] = True
    drawn = family.generate(rows().normal(family.latent_dim), NOTHING, real, masks)
    assert torch.equal(drawn["image"][masks["image"]], real["image"][masks["image"]])
    assert not (drawn["image"] == real["image"])[~masks["image"]].any()
    assert torch.equal(drawn["label"][:4], real["label"][:4])
    near = (drawn["label"] - family.column_codes.codes("label")).norm(dim=-1).amin(1)
    assert near.max() < 1e-5
    drawn["label"][4:].sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in family.generator.parameters())


def test_both_pictures_of_a_pair_are_changed_alike() -> None:
    specs = {"image": Spec((12, 10), axes=IMAGE), "label": Spec((1,), width=4)}
    batch = {"image": torch.rand(64, 120, 1) + 1, "label": torch.randn(64, 1, 4)}
    assert augment(specs, [batch], 0.0, rows(64))[0] is batch
    one, two = augment(specs, [batch, batch], 1.0, rows(64))
    assert torch.equal(one["image"], two["image"]) and torch.equal(one["label"], batch["label"])
    cut = (one["image"] == 0).flatten(1).float().mean(1)
    assert cut.min() > 0.05 and cut.max() <= 0.31  # at most half of the side each way, less at the border
    some = augment(specs, [batch], 0.3, rows(64))[0]["image"]
    untouched = (some == batch["image"]).flatten(1).all(1).float().mean()
    assert 0.15 < untouched < 0.55  # 0.7 ** 3 = 0.34
    alone = augment(specs, [{n: v[5:6] for n, v in batch.items()}], 1.0, Rng([5], "gan", 0))[0]["image"]
    assert torch.equal(alone, one["image"][5:6])


def test_a_moved_picture_repeats_its_edge() -> None:
    """Moved by whole pixels, at most an eighth of the side and half a pixel, all of it from the picture itself."""
    picture = (torch.arange(16.0)[:, None] * 16 + torch.arange(16.0)).view(1, 256, 1).repeat(200, 1, 1)
    u = augment({"image": Spec((16, 16), axes=IMAGE)}, [{"image": picture + 1000}], 1.0, rows(200))[0][
        "image"
    ].view(200, 16, 16)
    middle = u[:, 4:12, 4:12]
    kept = (middle != 0).flatten(1).float().mean(1) > 0.99
    moves = middle[kept] - (1000 + picture[0].view(16, 16)[4:12, 4:12])
    offset = moves.flatten(1).round()
    assert kept.sum() > 3 and (offset == offset[:, :1]).all()
    down = (offset[:, 0] / 16).round()
    assert (
        down.abs().max() <= 2
        and (offset[:, 0] - 16 * down).abs().max() <= 2
        and offset[:, 0].unique().numel() > 2
    )


# ---- learning


@pytest.mark.full
def test_all_of_eight_gaussians_are_drawn() -> None:
    """On a circle, of deviation 0.1: none is left out, and nearly nothing lies between them."""
    rng, angles = np.random.default_rng(0), np.arange(8) * np.pi / 4
    centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = centres[np.arange(2048) % 8] + 0.1 * rng.normal(size=(2048, 2))
    table = Table.from_rows(
        [{"x": float(x), "y": float(y)} for x, y in points], {"x": "number", "y": "number"}, holdout=0.1
    )
    model = Model("x, y", table.columns, "gan", width=64, depth=2, infill=0.0, penalty=0.1)
    for step in train(model, table, Plan(steps=700, batch=64, lr=4e-3, warmup=20)):
        assert {"f real", "f fake", "gradients"} <= step.loss_terms.keys()
    assert math.isfinite(heldout_loss(model, table))
    drawn = np.array([[row["x"], row["y"]] for row in model.given().sample(800, batch=400)])
    away = np.linalg.norm(drawn[:, None] - centres, axis=2)
    near = away.min(1) < 0.4
    counts = np.bincount(away.argmin(1)[near], minlength=8)
    assert near.mean() > 0.9, f"{1 - near.mean():.2f} lie between the Gaussians"
    assert counts.min() > 40 and counts.max() < 200, f"of 100 each: {counts}"


@pytest.fixture(scope="module")  # of tests that are all marked full
def joint(world: Table) -> Model:
    model = Model("image, label | text", world.columns, "gan", width=64, depth=1)
    for _ in train(
        model, world, Plan(steps=450, batch=32, source_dropout=0.5, lr=4e-3, warmup=20, precision="float32")
    ):
        pass
    return model.eval()


THINGS = [i % 4 for i in range(80)]


@pytest.mark.full
def test_what_is_drawn_agrees_with_its_source(joint: Model) -> None:
    drawn = joint.sample([{"text": toy.WORDS[thing]} for thing in THINGS], batch=80)
    for column in ("image", "label"):
        found = toy.agreement(THINGS, column, drawn)
        assert found > 0.9, f"text -> {column}: {found:.2f}"


@pytest.mark.full
def test_draws_differ_and_all_things_are_drawn(joint: Model) -> None:
    drawn = joint.given(text=toy.WORDS[1]).sample(40)
    pictures = np.stack([np.asarray(row["image"], dtype=float) for row in drawn])
    real = np.stack([np.asarray(row["image"], dtype=float) for row in toy.rows(160) if row["label"] == "1"])
    assert 0.4 < pictures.std(0).mean() / real.std(0).mean() < 1.5
    drawn = joint.given().sample(80)
    for column in ("image", "label"):
        counts = np.bincount([toy.thing(column, row[column]) for row in drawn], minlength=4)
        assert counts.min() >= 4, f"{column}: the four things are drawn {counts} times of 80"
    assert toy.agreement([int(row["label"]) for row in drawn], "image", drawn) > 0.7  # chance is 0.25


@pytest.mark.full
def test_what_is_known_decides_the_rest(joint: Model) -> None:
    """A known label is a condition although no source says it, and truncation makes draws alike."""
    drawn = [
        joint.given().sample(1, seed=i, known={"label": str(thing)})[0] for i, thing in enumerate(THINGS[:40])
    ]
    found = toy.agreement(THINGS[:40], "image", drawn)
    assert found > 0.9, f"label known -> image: {found:.2f}"
    spread = [
        np.stack(
            [np.asarray(r["image"], dtype=float) for r in joint.given(text="x").sample(30, truncation=t)]
        )
        .std(0)
        .mean()
        for t in (0.2, 1.0)
    ]
    assert spread[0] < 0.7 * spread[1]
