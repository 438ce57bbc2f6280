"""VAE: bounds against densities that are known, priors and likelihoods against formulas, conditioning on known parts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributions as D
from torch import Tensor

from likewise.core.batch import Batch, Context
from likewise.core.known import KnownParts
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.families.vae import VAE, KLOptions
from likewise.generation.latents.decoder_likelihood import (
    LIMIT,
    MIN_LOG_VAR,
    RATE,
    DecoderLikelihood,
    bounded_mean,
    log_normaliser,
)
from likewise.generation.latents.priors import Gaussians, Prior, kl_normal
from likewise.nets.conditioning import EncodedContext
from likewise.testing import check_family

SMALL = {"width": 32, "depth": 1, "latent_dim": 2}


def nothing(rows: int) -> Context:
    return Context({}, torch.ones(rows, 0, dtype=torch.bool))


def unread(rows: int) -> EncodedContext:
    return EncodedContext(torch.zeros(rows, 0, 32), torch.zeros(rows, 0), torch.zeros(rows, 32))


# ---- a model whose density has a formula: x = W z + b + s e, columns of W orthogonal, so that q can be exact

W = torch.tensor([[1.0, 0.5], [-0.5, 1.0], [1.0, -0.5], [0.5, 1.0]])
SHIFT = torch.tensor([0.3, -0.2, 0.1, 0.0])
S2 = 0.2
TRUTH = D.MultivariateNormal(SHIFT, W @ W.T + S2 * torch.eye(4))


def linear(too_wide: float = 1.0) -> VAE:
    """The family with linear maps in place of its networks; sigma of q is `too_wide` times the exact one."""
    torch.manual_seed(0)
    vae = VAE({"a": Spec((1,), width=3), "b": Spec((1,))}, {}, prior="standard", infill=0.0, **SMALL)
    with torch.no_grad():
        vae.likelihood.raw_log_var.fill_(
            (math.log(math.expm1(math.log(S2) - MIN_LOG_VAR)) + MIN_LOG_VAR) / RATE
        )
    assert abs(float(vae.likelihood.log_var("a").detach()) - math.log(S2)) < 1e-5

    def says(z: Tensor, reading: EncodedContext) -> Batch:
        x = z @ W.T + SHIFT
        return {"a": x[:, None, :3], "b": x[:, None, 3:]}

    def q(floats: Batch, present: Batch, reading: EncodedContext) -> Gaussians:
        x = torch.cat([floats["a"], floats["b"]], dim=-1) - SHIFT
        precision = 1 + W.square().sum(0) / S2
        log_var = (-precision.log() + 2 * math.log(too_wide)).expand(len(x), 1, -1)
        return Gaussians(torch.zeros(len(x), 1), x @ W / S2 / precision, log_var)

    vae._decode, vae._q = says, q
    return vae


def drawn(rows: int) -> tuple[Tensor, Batch]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        x = TRUTH.sample((rows,))
    return x, {"a": x[:, None, :3], "b": x[:, None, 3:]}


def nats(vae: VAE, x: Batch, samples: int, **more: Any) -> Tensor:
    rows = len(x["a"])
    with torch.no_grad():
        return vae.log_prob(x, nothing(rows), rng=Rng(range(rows), "score"), samples=samples, **more).nats


@pytest.mark.parametrize("samples", [1, 7])
def test_with_the_exact_posterior_every_draw_gives_the_density(samples: int) -> None:
    rows, x = drawn(20)
    assert torch.allclose(nats(linear(), x, samples), TRUTH.log_prob(rows), atol=1e-4)


def test_more_samples_tighten_the_bound_from_below() -> None:
    rows, x = drawn(400)
    truth = float(TRUTH.log_prob(rows).mean())
    found = [float(nats(linear(too_wide=2.0), x, k).mean()) for k in (1, 8, 512)]
    assert found[0] < found[1] - 0.05 < found[2] - 0.05
    assert found[2] < truth + 0.02 and truth - found[2] < 0.05
    gap = 2 * (0.5 * (4.0 - 1) - math.log(2))  # KL(N(m, 4 s^2) || N(m, s^2)) of two numbers
    assert abs((truth - found[0]) - gap) < 0.2


def test_the_loss_is_the_bound_of_one_sample() -> None:
    rows, x = drawn(800)
    vae = linear()
    with torch.no_grad():
        loss = vae.loss(x, nothing(800), "model", Rng(range(800), "loss"))
    assert vae.dims == 4 and abs(float(-4 * loss.mean()) - float(TRUTH.log_prob(rows).mean())) < 0.15
    both = vae.loss_terms["reconstruction"] - vae.loss_terms["kl"]
    assert torch.allclose(both, -4 * loss.mean(), atol=1e-4)


def test_the_density_of_a_part() -> None:
    rows, x = drawn(50)
    seen = {"a": torch.ones(50, 1, dtype=torch.bool)}
    part = D.MultivariateNormal(SHIFT[:3], (W @ W.T)[:3, :3] + S2 * torch.eye(3)).log_prob(rows[:, :3])
    found = nats(linear(), x, 4096, observed=seen)
    assert float((found - part).abs().mean()) < 0.1


def test_a_known_part_is_conditioned_on() -> None:
    """a known: b is drawn around E[b | a], with its deviation, by weighing draws of the prior."""
    a = torch.tensor([1.2, -0.6, 1.0])
    rest = W @ W.T + S2 * torch.eye(4)
    gain = rest[3, :3] @ rest[:3, :3].inverse()
    mean, std = float(SHIFT[3] + gain @ (a - SHIFT[:3])), float((rest[3, 3] - gain @ rest[:3, 3]).sqrt())
    known = KnownParts({"a": a.expand(1500, 1, 3)}, {"a": torch.ones(1500, 1, dtype=torch.bool)})
    x = linear().sample(nothing(1500), known=known, rng=Rng(range(1500), "known"), candidates=256)
    assert abs(float(x["b"].mean()) - mean) < 0.06 and abs(float(x["b"].std()) - std) < 0.06
    assert torch.equal(x["a"], known.values["a"])


# ---- training: warm-up, free bits


def test_the_kl_term_is_warmed_up_and_has_free_bits() -> None:
    _, x = drawn(30)

    def loss(vae: VAE) -> Tensor:
        return vae.loss(x, nothing(30), "model", Rng(range(30), "loss"))

    vae = linear()
    full, kl, said = loss(vae).mean(), vae.loss_terms["kl"], vae.loss_terms["reconstruction"]
    vae.kl_options, vae.progress = KLOptions(kl_warmup=0.4), 0.0
    assert torch.allclose(loss(vae).mean(), -said / 4)
    vae.progress = 0.2
    assert torch.allclose(loss(vae).mean(), (-said + kl / 2) / 4, atol=1e-5)
    vae.kl_options, vae.progress = KLOptions(free_bits=100.0), 1.0
    assert torch.allclose(loss(vae).mean(), (-said + 200) / 4, atol=1e-4) and full < loss(vae).mean()
    assert torch.equal(vae.loss_terms["kl"], kl)  # what is logged is the true one


# ---- a density in two dimensions


@pytest.mark.full
@pytest.mark.parametrize("prior", ["learned", "mixture"])
def test_a_trained_bound_lies_below_the_truth_and_integrates_to_at_most_one(prior: str) -> None:
    truth = D.MixtureSameFamily(
        D.Categorical(torch.tensor([0.3, 0.7])),
        D.MultivariateNormal(torch.tensor([[-1.0, 0.0], [0.8, 0.5]]), 0.09 * torch.eye(2)),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = VAE({"x": Spec((1,), width=2)}, {}, prior=prior, components=4, **SMALL)
        data = truth.sample((4000,))
    steps = 250
    optimiser = torch.optim.AdamW(vae.parameters(), lr=3e-3, weight_decay=0.0)
    for step in range(steps):
        vae.progress = step / steps
        rows = {"x": data[(torch.arange(64) + 64 * step) % 3000][:, None]}
        vae.loss(rows, nothing(64), "model", Rng(range(64), "train", step)).mean().backward()
        optimiser.step(), optimiser.zero_grad()
    test = data[3000:]
    with torch.no_grad():
        score = vae.log_prob({"x": test[:, None]}, nothing(1000), rng=Rng(range(1000)), samples=16)
        edge = torch.linspace(-3.5, 3.5, 57)
        grid = torch.cartesian_prod(edge, edge)[:, None]
        bounds = [
            vae.log_prob({"x": grid}, nothing(len(grid)), rng=Rng(range(len(grid)), i), samples=32)
            for i in range(4)
        ]  # their mean is at most log p of the model, which integrates to one
        bound = torch.stack([b.nats for b in bounds]).double().mean(0)
    assert score.kind == "bound" and score.dims == 2
    short = float((truth.log_prob(test) - score.nats).mean())
    assert -0.03 < short < 0.5, f"the bound is {short:.3f} nats below the truth"
    mass = float(bound.exp().sum()) * (7 / 56) ** 2
    assert 0.5 < mass < 1.02, f"the bound integrates to {mass:.3f}"


# ---- priors


def gaussians(rows: int, k: int, size: int) -> Gaussians:
    draw = torch.Generator().manual_seed(0)
    return Gaussians(
        torch.randn(rows, k, generator=draw).log_softmax(1),
        torch.randn(rows, k, size, generator=draw),
        torch.randn(rows, k, size, generator=draw),
    )


def test_the_divergence_of_gaussians() -> None:
    q, p = gaussians(5, 1, 3), gaussians(5, 1, 3)
    p = Gaussians(p.log_weight, p.mean.flip(0), p.log_var.flip(0))
    a, b = (D.Normal(g.mean[:, 0], (0.5 * g.log_var[:, 0]).exp()) for g in (q, p))
    exact = D.kl_divergence(a, b)
    assert torch.allclose(kl_normal(q, p), exact, atol=1e-5)
    draws = [q.sample(Rng(range(5), "kl", i)) for i in range(4000)]
    sampled = torch.stack([q.log_prob(z) - p.log_prob(z) for z in draws]).mean(0)
    assert torch.allclose(sampled, exact.sum(1), rtol=0.1, atol=0.1)


def test_a_mixture_has_its_density_and_its_draws() -> None:
    g = gaussians(1, 3, 2)
    g = Gaussians(g.log_weight.expand(4000, -1), g.mean.expand(4000, -1, -1), g.log_var.expand(4000, -1, -1))
    parts = D.Independent(D.Normal(g.mean[0], (0.5 * g.log_var[0]).exp()), 1)
    exact = D.MixtureSameFamily(D.Categorical(logits=g.log_weight[0]), parts)
    z = g.sample(Rng(range(4000), "draw"))
    assert torch.allclose(g.log_prob(z), exact.log_prob(z), atol=1e-4)
    assert torch.allclose(z.mean(0), exact.mean, atol=0.12)
    assert torch.allclose(z.var(0), exact.variance, rtol=0.12)
    cold = g.sample(Rng(range(4000), "draw"), temperature=0.0)
    assert (cold[:, None] - g.mean).abs().amin(1).max() < 1e-6  # the deviation of a component is scaled


@pytest.mark.parametrize("kind", ["standard", "learned", "mixture"])
def test_a_prior_is_a_density(kind: str) -> None:
    torch.manual_seed(0)
    prior = Prior(kind, 1, 5, 32)
    z = torch.linspace(-12, 12, 2001)[:, None]
    p = prior(unread(len(z)), len(z)).log_prob(z).exp().sum() * 24 / 2000
    assert abs(float(p.detach()) - 1) < 1e-3


def test_vamp_begins_with_rows_of_the_data() -> None:
    vae = VAE(
        {"x": Spec((4, 4), axes=IMAGE), "y": Spec((1,), classes=3)}, {}, prior="vamp", components=5, **SMALL
    )
    x = {"x": torch.randn(3, 16, 1), "y": torch.tensor([[0], [1], [2]])}
    vae.init_from_data(x, nothing(3), Rng(range(3)))
    with torch.no_grad():
        p, (mean, log_var) = vae._p(nothing(2), vae.context_encoder(nothing(2))), vae.encode(x, nothing(3))
    assert p.mean.shape == (2, 5, 2)
    turns = torch.arange(5) % 3
    assert torch.allclose(p.mean[0], mean[turns], atol=1e-5)
    assert torch.allclose(p.log_var[1], log_var[turns], atol=1e-5)


# ---- likelihoods


def test_the_continuous_bernoulli() -> None:
    y = torch.linspace(0, 1, 20001, dtype=torch.float64)[:-1] + 0.5 / 20000
    for a in (-9.0, -0.5, -0.09, 0.0, 0.05, 0.11, 3.0):
        logit = torch.tensor(a, dtype=torch.float64)
        density = (y * logit - torch.nn.functional.softplus(logit) + log_normaliser(logit)).exp()
        assert abs(float(density.mean()) - 1) < 1e-4, a
        assert abs(float((y * density).mean()) - float(bounded_mean(logit))) < 1e-4, a
        law = D.ContinuousBernoulli(logits=logit.float())
        assert abs(float(law.log_prob(torch.tensor(0.3))) - float(density[6000].log())) < 2e-3, a


def test_a_picture_of_the_continuous_bernoulli() -> None:
    own = DecoderLikelihood({"x": Spec((1, 4), axes=IMAGE), "n": Spec((1,))}, "bernoulli")
    assert own.gaussian == ["n"]  # a number has no bounds
    out = {"x": torch.tensor([-4.0, 0.0, 1.0, 6.0])[None, :, None].expand(6000, -1, -1)}
    x = own.sample(out, Rng(range(6000)))["x"]
    assert float(x.abs().max()) <= LIMIT
    assert torch.allclose(x.mean(0), own.mode(out)["x"][0], atol=0.03)
    density = own.token_log_probs(
        {"x": torch.full((1, 4, 1), LIMIT), "n": torch.zeros(1, 1, 1)},
        {"x": out["x"][:1], "n": torch.zeros(1, 1, 1)},
    )["x"]
    assert torch.allclose(density[0, 1], torch.tensor(-math.log(2 * LIMIT)))  # uniform at logit 0


def test_numbers_are_gaussian_and_ids_have_all_of_the_mass() -> None:
    own = DecoderLikelihood({"x": Spec((2,), width=3), "k": Spec((1,), classes=4)})
    x, out = torch.randn(5, 2, 3), {"x": torch.randn(5, 2, 3), "k": torch.randn(5, 1, 4)}
    all_ids = [own.token_log_probs({"x": x, "k": torch.full((5, 1), k)}, out) for k in range(4)]
    assert torch.allclose(sum(n["k"].exp() for n in all_ids), torch.ones(5, 1), atol=1e-6)
    law = D.Normal(out["x"], (0.5 * own.log_var("x")).exp())
    assert torch.allclose(all_ids[0]["x"], law.log_prob(x).sum(-1), atol=1e-4)
    many = {n: v[:1].expand(5000, -1, -1) for n, v in out.items()}
    drawn = own.sample(many, Rng(range(5000)))
    share = torch.bincount(drawn["k"].flatten(), minlength=4) / 5000
    assert torch.allclose(share, out["k"][0, 0].softmax(0), atol=0.03)
    assert abs(float(drawn["x"].std(0).mean() / law.stddev.mean()) - 1) < 0.05
    shown = own.sample(many, Rng(range(5000)), noise=False)
    assert torch.equal(shown["x"], many["x"]) and shown["k"].unique().numel() > 1


# ---- the contract with other options


@pytest.mark.parametrize(
    ("options", "case"),
    [
        ({"prior": "standard", "infill": 0.0}, "grey_of_all"),
        pytest.param({"prior": "mixture", "components": 4}, "several_of_all", marks=pytest.mark.full),
        ({"prior": "mixture", "components": 4}, "number_of_label"),
        pytest.param({"prior": "vamp", "components": 4}, "grey_of_all", marks=pytest.mark.full),
        ({"prior": "vamp", "components": 3, "free_bits": 0.1}, "several"),
        ({"decoder": "bernoulli", "stem": "patch", "latent_dim": 2}, "several"),
        ({"max_grid": 8, "beta": 0.5}, "colour"),
    ],
    ids=str,
)
def test_options(options: dict[str, Any], case: str) -> None:
    check_family(VAE, cases=[case], **options)


def test_a_map_of_two_numbers() -> None:
    """decode takes any z, a source or none beside it: what a latent map, a traversal and an interpolation need."""
    vae = VAE({"x": Spec((12, 12), axes=IMAGE)}, {"y": Spec((1,), classes=3)}, **SMALL)
    z = torch.cartesian_prod(*2 * [torch.linspace(-2, 2, 4)])
    c = Context({"y": torch.zeros(16, 1, dtype=torch.int64)}, torch.ones(16, 1, dtype=torch.bool))
    with torch.no_grad():
        x = vae.decode(z, c)
        mean, log_var = vae.encode(x, c.unconditional())
    assert x["x"].shape == (16, 144, 1) and mean.shape == log_var.shape == (16, 2)
    assert np.isfinite(mean.numpy()).all() and float(log_var.max()) <= 4 and float(log_var.min()) >= -8
