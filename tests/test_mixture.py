"""The mixture against what is known: its density, its conditionals, its draws, and EM."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import toy
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal

from likewise.core.batch import Batch, Context
from likewise.core.known import KnownParts
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.families.mixture import Mixture
from likewise.generation.mixtures.em import EMFit, Rows, kmeans
from likewise.generation.mixtures.gaussians import Components, gaussian
from likewise.models.model import Model
from likewise.testing import check_family
from likewise.training.plan import Plan
from likewise.training.trainer import train

NUMBER = Spec((1,))
COVARIANCES = ("diagonal", "low_rank", "full")


def made(targets: dict[str, Spec], sources: dict[str, Spec] | None = None, **options: Any) -> Mixture:
    """A mixture with weights from one seed, components well apart, and units that are not 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        family = Mixture(targets, sources or {}, **{"components": 3, "rank": 1, **options})
        with torch.no_grad():
            for p in (family.logits, family.mean, family.log_std, *family.class_logits):
                p.add_(0.7 * torch.randn_like(p))
            family.loadings.add_(0.5 * torch.randn_like(family.loadings))
            family.centre.add_(0.3)
            family.log_scale.add_(-0.4)
    return family.eval()


def scored(family: Mixture, x: Batch, c: Context | None = None) -> Tensor:
    rows = len(next(iter(x.values())))
    with torch.no_grad():
        return family.log_prob(x, c or Context.full({}, rows), rng=Rng([])).nats.double()


def begun(x: Tensor, **options: Any) -> Mixture:
    """A mixture of rows (n, N), fitted by EM alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        family = Mixture({"x": Spec((x.shape[1],))}, {}, **options)
    family.init_from_data({"x": x.float()[..., None]}, Context.full({}, len(x)), Rng(range(len(x)), "begin"))
    return family


def line(low: float, high: float, count: int) -> tuple[Tensor, float]:
    grid = torch.linspace(low, high, count)
    return grid, float(grid[1] - grid[0])


# ---- the contract


@pytest.mark.parametrize(
    "options", [{"rank": 2}, {"covariance": "diagonal"}, {"method": "gradient", "components": 5}], ids=str
)
def test_contract(options: dict[str, Any]) -> None:
    check_family(Mixture, cases=["several_of_all", "number_of_number", "text"], **options)


def test_wrong_options() -> None:
    for name in ("components", "rank", "min_std", "pseudocount"):
        with pytest.raises(ValueError, match=name):
            Mixture({"x": NUMBER}, {}, **{name: 0})


# ---- the density


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_density_integrates_to_one(covariance: str) -> None:
    grid, width = line(-12, 12, 2001)
    one = scored(made({"x": NUMBER}, covariance=covariance), {"x": grid[:, None, None]})
    assert abs(float(one.exp().sum()) * width - 1) < 1e-3
    grid, width = line(-9, 9, 201)
    x, y = (v.reshape(-1, 1, 1) for v in torch.meshgrid(grid, grid, indexing="ij"))
    two = scored(made({"x": NUMBER, "y": NUMBER}, covariance=covariance), {"x": x, "y": y})
    assert abs(float(two.exp().sum()) * width**2 - 1) < 1e-3


def test_classes_and_numbers_together_add_up_to_one() -> None:
    grid, width = line(-12, 12, 1001)
    family = made({"x": NUMBER, "a": Spec((1,), classes=3), "text": Spec((2,), classes=2, padded=True)})
    total = 0.0
    for a in range(3):
        for text in ([0, 0], [0, 1], [1, 0], [1, 1]):
            x = {
                "x": grid[:, None, None],
                "a": torch.full((1001, 1), a),
                "text": torch.tensor([text]).expand(1001, -1),
            }
            total += float(scored(family, x).exp().sum()) * width
    assert abs(total - 1) < 1e-3


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_a_conditional_is_a_ratio_of_marginals(covariance: str) -> None:
    """p(y | x, a), with and without x and a, by adding up the joint over a grid."""
    a, columns = Spec((1,), classes=3), {"x": NUMBER, "y": NUMBER}
    joint = made({"y": NUMBER}, {"x": NUMBER, "a": a}, covariance=covariance)
    both = Mixture(columns | {"a": a}, {}, components=3, rank=1, covariance=covariance)
    state = joint.state_dict()
    for name in (
        "mean",
        "loadings",
        "log_std",
        "centre",
        "log_scale",
        "log_min_std",
    ):  # columns in another order
        turned = state[name].flip(1 if name in ("mean", "loadings", "log_std") else 0)
        state[name] = turned
    both.load_state_dict(state)
    y, width = line(-10, 10, 301)
    x, label = torch.full((301, 1, 1), 0.4), torch.full((301, 1), 2)
    given = {"x": x, "a": label}
    for present in ([True, True], [True, False], [False, True], [False, False]):
        found = scored(
            joint, {"y": y[:, None, None]}, Context(given, torch.tensor([present]).expand(301, -1))
        )
        assert abs(float(found.exp().sum()) * width - 1) < 1e-3
        labels = [2] if present[1] else range(3)
        places = [0.4] if present[0] else line(-8, 8, 65)[0].tolist()
        total = torch.zeros(301, dtype=torch.float64)
        for k in labels:
            for place in places:
                row = {"x": torch.full_like(x, place), "y": y[:, None, None], "a": torch.full_like(label, k)}
                total += scored(both, row).exp()
        truth = total / (total.sum() * width)
        assert (found.exp() - truth).abs().max() < 2e-3


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_the_likelihood_is_that_of_scikit_learn(kind: str) -> None:
    draw = np.random.default_rng(0)
    x = np.concatenate(
        [draw.normal(-1, 0.5, (200, 4)), draw.normal(1, 1, (200, 4)) @ draw.normal(size=(4, 4))]
    )
    theirs = GaussianMixture(3, covariance_type=kind, random_state=0).fit(x)
    covariance = torch.tensor(theirs.covariances_)
    if kind == "full":
        noise = torch.full((3, 4), float(torch.linalg.eigvalsh(covariance).min()) / 2, dtype=torch.float64)
        factor = torch.linalg.cholesky(covariance - noise.diag_embed())
    else:
        noise, factor = covariance, torch.zeros(3, 4, 0, dtype=torch.float64)
    parts = Components(torch.tensor(theirs.weights_).log(), [], torch.tensor(theirs.means_), factor, noise)
    ours = (parts.weight + gaussian(torch.tensor(x), parts)).logsumexp(1)
    assert np.abs(ours.numpy() - theirs.score_samples(x)).max() < 1e-8


def test_the_low_rank_density_is_that_of_torch() -> None:
    family = made({"image": Spec((5, 8), axes=IMAGE)}, covariance="low_rank", rank=3)
    parts, unit = family.components(), family.log_scale.double().exp()
    truth = LowRankMultivariateNormal(
        family.centre.double() + unit * parts.mean, unit[:, None] * parts.factor, unit**2 * parts.noise
    )
    x = torch.randn(20, 40, 1, generator=torch.Generator().manual_seed(0))
    expected = (parts.weight + truth.log_prob(x.double()[:, None, :, 0])).logsumexp(1)
    assert (scored(family, {"image": x}) - expected).abs().max() < 1e-4


# ---- drawing


@pytest.mark.parametrize("covariance", ["low_rank", "full"])
def test_draws_have_the_moments_of_the_conditional(covariance: str) -> None:
    """Where the known numbers differ between rows, and where a class is a source."""
    family = made({"x": Spec((4,))}, {"a": Spec((1,), classes=3)}, covariance=covariance, rank=2)
    parts, unit, centre = family.components(), family.log_scale.double().exp(), family.centre.double()
    n, x, mask = 40_000, torch.tensor([0.5, -1.0, 2.0, 0.1]), torch.zeros(2, 4, dtype=torch.bool)
    mask[0, 0], mask[1, 1:3] = True, True
    known = KnownParts({"x": x[:, None].expand(n, 4, 1)}, {"x": mask.repeat(n // 2, 1)})
    drawn = family.sample(
        Context.full({"a": torch.ones(n, 1, dtype=torch.int64)}, n), known=known, rng=Rng(range(n), "draw")
    )["x"][..., 0]
    covariances = parts.factor @ parts.factor.mT + parts.noise.diag_embed()
    z = (x.double() - centre) / unit
    for i in range(2):
        o, u = mask[i].nonzero()[:, 0], (~mask[i]).nonzero()[:, 0]
        inner = covariances[:, o][:, :, o]
        gain = covariances[:, u][:, :, o] @ torch.linalg.inv(inner)  # (K, u, o)
        means = parts.mean[:, u] + (gain @ (z[o] - parts.mean[:, o])[..., None])[..., 0]
        spread = covariances[:, u][:, :, u] - gain @ covariances[:, o][:, :, u]
        evidence = MultivariateNormal(parts.mean[:, o], inner).log_prob(z[o])
        weight = (parts.weight + parts.tables[0][:, 0, 1] + evidence).softmax(0)
        mean = weight @ means
        second = (weight[:, None, None] * (spread + means[:, :, None] * means[:, None])).sum(0)
        expected = (second - torch.outer(mean, mean)) * torch.outer(unit[u], unit[u])
        rows = drawn[i::2].double()
        assert torch.equal(rows[:, o].float(), x[o].expand(len(rows), -1))
        assert (rows[:, u].mean(0) - centre[u] - unit[u] * mean).abs().max() < 0.03
        assert (rows[:, u].T.cov() - expected).abs().max() < 0.05


def test_knobs_of_drawing() -> None:
    """Without deviation the draws of a component are its mean; without noise they are mean + W z."""
    family, rng = made({"x": Spec((50,))}, components=1, rank=2), Rng(range(200), "draw")
    c = Context.full({}, 200)
    still = family.sample(c, known=None, rng=rng, temperature=0.0)["x"][..., 0]
    assert (still - (family.centre + family.log_scale.exp() * family.mean[0])).abs().max() < 1e-5
    smooth = family.sample(c, known=None, rng=rng, noise=False)["x"][..., 0]
    assert int(torch.linalg.matrix_rank(smooth - still, atol=1e-3)) == 2


# ---- EM


def fit(x: Tensor, ids: Tensor, used: int, full: bool, missing: float = 0.0) -> EMFit:
    rng = Rng(range(len(x)), "fit")
    draw = rng.normal(x.shape[1] if full else 2).double()
    seen, ids_seen = (Rng(range(len(x)), "seen").uniform(n) >= missing for n in (x.shape[1], 1))
    data = Rows(x * seen, seen, {"a": ids}, {"a": ids_seen}, x * seen, seen, rng.uniform(1)[:, 0], draw)
    floor = torch.full((x.shape[1],), 1e-4, dtype=torch.float64)
    return EMFit(data, {"a": Spec((1,), classes=3)}, used, floor, full=full, shrinkage=2.0, pseudocount=0.1)


@pytest.mark.parametrize(("full", "missing"), [(True, 0.0), (False, 0.0), (True, 0.3), (False, 0.3)])
def test_em_never_falls(full: bool, missing: float) -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(300, 6, generator=draw, dtype=torch.float64)
    x[150:] = 0.3 * x[150:] @ torch.randn(6, 6, generator=draw, dtype=torch.float64) + 1
    em = fit(x, torch.randint(3, (300, 1), generator=draw), 8, full, missing)
    values = np.array([em.em_step() for _ in range(40)])
    assert np.diff(values).min() > -1e-6, "the posterior density falls"
    assert values[-1] > values[0] + 0.05


def two_dimensional(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three components, and the logarithm of their density."""
    means = torch.tensor([[-2.0, 0.0], [1.0, 1.5], [1.0, -1.5]])
    covariances = torch.tensor(
        [[[0.5, 0.4], [0.4, 0.5]], [[0.1, 0.0], [0.0, 0.4]], [[0.3, -0.2], [-0.2, 0.3]]]
    )
    weights = torch.tensor([0.5, 0.3, 0.2])
    truth = MultivariateNormal(means, covariances)
    draw = torch.Generator().manual_seed(seed)
    k = torch.multinomial(weights, count, replacement=True, generator=draw)
    noise = torch.randn(count, 2, 1, generator=draw)
    x = means[k] + (torch.linalg.cholesky(covariances)[k] @ noise)[..., 0]
    return x, (weights.log() + truth.log_prob(x[:, None])).logsumexp(1)


def test_em_recovers_a_known_mixture() -> None:
    x, _ = two_dimensional(4000, 0)
    family = begun(x, components=3)
    order = torch.tensor([[-2.0, 0.0], [1.0, 1.5], [1.0, -1.5]])
    means = family.centre + family.log_scale.exp() * family.mean
    k = torch.cdist(order, means).argmin(1)
    assert (family.logits.softmax(0)[k] - torch.tensor([0.5, 0.3, 0.2])).abs().max() < 0.03
    assert (means[k] - order).abs().max() < 0.08


def test_held_out_rows_score_almost_as_under_the_truth() -> None:
    """Not above it, within noise, nor much below it: a hundred components may be used, and few are."""
    x, _ = two_dimensional(3000, 0)
    new, truth = two_dimensional(3000, 1)
    family = begun(x)
    apart = truth - scored(family, {"x": new[..., None]})
    error = float(apart.std()) / math.sqrt(len(apart))
    assert -3 * error < float(apart.mean()) < 0.05
    assert int((family.logits > -20).sum()) < 30


def test_numbers_that_never_vary_are_safe() -> None:
    """Constant pixels, grey levels, fewer rows than components: finite, and one level is one level wide."""
    draw = torch.Generator().manual_seed(0)
    x = torch.full((60, 49), -1.0)
    x[:, 10:20] = torch.randint(0, 256, (60, 10), generator=draw) / 127.5 - 1
    family = begun(x, components=100)
    parts, unit = family.components(), family.log_scale.exp()
    assert all(p.isfinite().all() for p in family.parameters())
    assert scored(family, {"x": x[..., None]}).isfinite().all()
    assert (parts.noise.sqrt() * unit).min() > 1 / 127.5 / math.sqrt(12) * 0.999
    drawn = family.sample(Context.full({}, 50), known=None, rng=Rng(range(50)))["x"][..., 0]
    assert (drawn[:, :10] + 1).abs().max() < 0.1
    constant = begun(torch.zeros(40, 3))
    assert scored(constant, {"x": torch.zeros(2, 3, 1)}).isfinite().all()


def test_rows_that_lack_a_source_are_left_out() -> None:
    x, present = torch.randn(100, 1, 1), torch.arange(100)[:, None] % 2 == 0
    junk = torch.where(present[..., None], x, torch.nan)
    family = Mixture({"y": NUMBER}, {"x": NUMBER}, components=4)
    family.init_from_data({"y": x}, Context({"x": junk}, present), Rng(range(100), "begin"))
    assert all(p.isfinite().all() for p in family.parameters())


def test_grouping_finds_groups() -> None:
    draw = torch.Generator().manual_seed(0)
    truth = torch.arange(200) % 4
    x = 10 * torch.eye(4)[truth] + torch.randn(200, 4, generator=draw)
    group = kmeans(x, torch.ones_like(x, dtype=torch.bool), 4, torch.rand(200, generator=draw))
    assert len({(int(a), int(b)) for a, b in zip(group, truth, strict=True)}) == 4


# ---- the toy world


@pytest.fixture(scope="module")
def world() -> Model:
    data = toy.table()
    model = Model("image, label, number | text", data.columns, "mixture", components=12)
    for _ in train(model, data, Plan(steps=30, batch=32, warmup=5)):
        pass
    return model.eval()


THINGS = [i % 4 for i in range(80)]
REAL = toy.rows(80, seed=9)


@pytest.mark.parametrize("target", ["image", "label", "number"])
def test_targets_agree_with_their_source(world: Model, target: str) -> None:
    drawn = world.sample([{"text": row["text"]} for row in REAL], batch=80)
    assert toy.agreement(THINGS, target, drawn) > 0.9


@pytest.mark.parametrize(
    ("known", "target"), [("image", "label"), ("image", "number"), ("label", "image"), ("number", "image")]
)
def test_known_targets_say_the_others(world: Model, known: str, target: str) -> None:
    drawn = [world.given().sample(1, seed=i, known={known: row[known]})[0] for i, row in enumerate(REAL[:40])]
    assert toy.agreement(THINGS[:40], target, drawn) > 0.9


def test_training_goes_on_where_em_ended(world: Model) -> None:
    """Steps of gradient do not spoil what rows that were not seen score."""
    data = toy.table()
    alone = Model("image, label, number | text", data.columns, "mixture", components=12)
    for _ in train(alone, data, Plan(steps=1, batch=32, lr=1e-9)):
        pass
    before, after = alone.log_prob(REAL).nats.mean(), world.log_prob(REAL).nats.mean()
    assert float(after - before) > -1.0, f"{float(before):.2f} nats a row, then {float(after):.2f}"
