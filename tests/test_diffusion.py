"""Diffusion: its chain, its bound as a VAE with a fixed encoder, and that flow is the same network drawn otherwise."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
import toy
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from likewise.core.batch import Context
from likewise.core.rng import Rng
from likewise.core.spec import Spec
from likewise.data.table import Table
from likewise.families.diffusion import Diffusion
from likewise.generation.denoising import paths
from likewise.generation.denoising.samplers import SAMPLERS, Denoise, follow
from likewise.models.model import Model
from likewise.testing import check_family
from likewise.training.plan import Plan
from likewise.training.trainer import train

MEAN, STD, ROWS = 0.2, 0.3, 400


@pytest.mark.parametrize("predict", ["v", "noise", "x"])
@pytest.mark.parametrize("weighting", ["velocity", "simple", "min_snr", "bound"])
def test_contract(predict: str, weighting: str) -> None:
    check_family(
        Diffusion,
        cases=["number_of_label", "several"],
        checks=["losses", "gradients", "samples", "scores"],
        predict=predict,
        weighting=weighting,
    )


# ---- schedules


@pytest.mark.parametrize("schedule", paths.SCHEDULES)
def test_a_schedule_goes_from_data_to_noise(schedule: str) -> None:
    u = torch.linspace(0, 1, 101)
    t = paths.scheduled(schedule, u)
    assert (t.diff() >= 0).all() and t[0] < 0.002 and t[-1] > 0.99


def test_known_schedules() -> None:
    """alpha = cos(pi u / 2); and the product of Ho et al.'s 1 - beta, from 1e-4 to 0.02 in 1000 steps."""
    u = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    alpha2 = torch.sigmoid(paths.SCHEDULES["cosine"](u))  # SNR = alpha^2 / (1 - alpha^2)
    assert torch.allclose(alpha2, torch.cos(math.pi / 2 * u) ** 2)
    kept = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)[[99, 499, 899]]
    assert torch.allclose(torch.sigmoid(paths.SCHEDULES["linear"](u)).log(), kept.log(), rtol=0.02)


def test_a_grid_ends_at_data() -> None:
    family = Diffusion({"x": Spec((1,))}, {}, width=32, depth=1)
    times = family.grid(7)
    assert len(times) == 8 and times[-1] == 0 and times == sorted(times, reverse=True) and 0.99 < times[0] < 1
    with pytest.raises(ValueError, match="steps must be a whole number from 1"):
        family.grid(0)


# ---- the bound, with a denoiser that is right


def gaussian(x_t: Tensor, t: float | Tensor) -> Tensor:
    """E[x_0 | x_t] of independent N(MEAN, STD^2)."""
    gain = (1 - t) * STD**2 / ((1 - t) ** 2 * STD**2 + t**2)
    return MEAN + gain * (x_t - (1 - t) * MEAN)


def oracle(numbers: int = 3, denoise: Denoise = gaussian) -> Diffusion:
    """A family of vectors whose network is replaced by `denoise`."""
    family = Diffusion({"x": Spec((numbers,))}, {}, width=32, depth=1)
    family.denoiser.denoise = lambda c, known: denoise
    return family


def vectors(rows: int = ROWS, numbers: int = 3) -> Tensor:
    return MEAN + STD * torch.randn(rows, numbers, generator=torch.Generator().manual_seed(0))


def nats(family: Diffusion, x: Tensor, **sampling_options: Any) -> Tensor:
    score = family.log_prob(
        {"x": x[..., None]},
        Context.full({}, len(x)),
        rng=Rng(range(len(x)), "t"),
        method="bound",
        **sampling_options,
    )
    assert score.kind == "bound" and score.dims == x.shape[1]
    return score.nats


def test_each_kl_is_that_of_two_normals() -> None:
    """1/2 (SNR(s) - SNR(t)) |x_0 - x^_0|^2 against q and p as the ancestral sampler draws them."""
    draw = torch.Generator().manual_seed(0)
    x0, guess, x_t = (torch.randn(5, 3, generator=draw, dtype=torch.float64) for _ in range(3))

    def step(clean: Tensor, t: float, s: float) -> Normal:
        """The law of x_s given x_t, where the clean value is `clean`: the sampler's step is linear in its noise."""
        zero, one = (
            follow(
                SAMPLERS["stochastic"],
                lambda x, at: clean,
                x_t,
                [t, s],
                lambda z=z: torch.full_like(x_t, z),
                1.0,
            )
            for z in (0.0, 1.0)
        )
        return Normal(zero, one - zero)

    for t, s in itertools.pairwise((0.99, 0.9, 0.5, 0.2, 0.01)):
        gain = ((1 - s) / s) ** 2 - ((1 - t) / t) ** 2
        closed = 0.5 * gain * (x0 - guess).square().sum(1)
        assert torch.allclose(kl_divergence(step(x0, t, s), step(guess, t, s)).sum(1), closed)


def test_the_bound_is_the_sum_of_its_kl_terms() -> None:
    """log_prob of T steps, level by level: T KL terms, the prior's KL and the decoder, each from torch.distributions."""
    steps, floor, x0 = 12, 0.01, vectors(6).double()
    low, high = (2 * math.log((1 - t) / t) for t in (0.999, floor))
    times = [1 / (1 + math.exp((low + (high - low) * i / steps) / 2)) for i in range(steps + 1)]
    rng = Rng(range(6), "t")
    rng.uniform(1)  # log_prob's offset, which does not matter where there are as many draws as steps
    total = torch.zeros(6, dtype=torch.float64)
    for t, s in itertools.pairwise(times):
        x_t = paths.add_noise(x0, rng.normal(3), t)
        rho = (1 - t) * s / ((1 - s) * t)  # e of x_t goes over into x_s by this share
        q, p = (
            Normal((1 - s) * x + s * rho * paths.predicted_noise(x_t, x, t), s * math.sqrt(1 - rho**2))
            for x in (x0, gaussian(x_t, t))
        )
        total += kl_divergence(q, p).sum(1)
    t = times[0]
    scale = math.hypot(t, 1 - t)
    total += kl_divergence(Normal((1 - t) * x0, t), Normal(torch.zeros_like(x0), scale)).sum(1)
    total += 3 * Normal(0.0, floor / (1 - floor)).entropy()
    found = nats(oracle(), x0.float(), steps=steps, draws=steps, floor=floor)
    assert torch.allclose(found.double(), -total, atol=1e-3), (found, -total)


def test_more_steps_come_to_the_integral() -> None:
    """The sum over T levels lies below the integral by about 1 / T, on the same draws."""
    x, family = vectors(), oracle()
    limit = nats(family, x, draws=256).mean()
    gaps = [float(limit - nats(family, x, draws=256, steps=steps).mean()) for steps in (32, 64, 128, 256)]
    assert all(gap > 0 for gap in gaps) and gaps[-1] < 1.5
    assert all(1.8 < a / b < 2.5 for a, b in itertools.pairwise(gaps)), gaps


def test_the_bound_is_below_the_truth_and_tight() -> None:
    x = vectors()
    truth = Normal(MEAN, STD).log_prob(x).sum(1)
    apart = truth - nats(oracle(), x, draws=256)
    error = float(apart.std()) / math.sqrt(ROWS)
    assert abs(float(apart.mean())) < 3 * error + 0.01 and error < 0.06, f"{apart.mean():.3f} +- {error:.3f}"
    apart = truth - nats(oracle(), x, draws=256, steps=20)
    assert float(apart.mean()) > 0.1, "twenty steps cost something"


def test_a_wrong_denoiser_has_a_lower_bound() -> None:
    x = vectors()
    wrong = nats(oracle(denoise=lambda x_t, t: gaussian(x_t, t) + 0.2 * t), x)
    assert float((nats(oracle(), x) - wrong).mean()) > 0.1


# ---- one marginal, two ways to draw


def test_chain_and_ode_reach_the_same_marginal() -> None:
    """Down the family's own grid: fresh noise in each step, or none; both end at N(MEAN, STD^2)."""
    family, draw = oracle(), torch.Generator().manual_seed(0)
    times = family.grid(500)
    x_1 = torch.randn(20_000, 1, generator=draw)

    def fresh() -> Tensor:
        return torch.randn(x_1.shape, generator=draw)

    chain = follow(SAMPLERS["stochastic"], gaussian, x_1, times, fresh, 1.0)
    ode = follow(SAMPLERS["heun"], gaussian, x_1, times, fresh, 0.0)
    for x in (chain, ode):
        assert abs(float(x.mean()) - MEAN) < 0.01 and abs(float(x.std()) - STD) < 0.015
    quantiles = torch.linspace(0.05, 0.95, 19)
    assert (chain.quantile(quantiles) - ode.quantile(quantiles)).abs().max() < 0.02
    together = [float(torch.corrcoef(torch.cat([x, x_1], dim=1).T)[0, 1]) for x in (chain, ode)]
    assert together[0] < 0.2 and together[1] > 0.99  # the chain has forgotten where it began


# ---- learned

THINGS = [i % 4 for i in range(80)]
REAL = toy.rows(80, seed=9)


def learned(world: Table, family: str, formula: str, steps: int, **options: Any) -> Model:
    model = Model(formula, world.columns, family, width=64, depth=2, **options)
    for _ in train(
        model, world, Plan(steps=steps, batch=64, lr=4e-3, muon_lr=0.03, warmup=20, precision="float32")
    ):
        pass
    return model.eval()


@pytest.fixture(scope="module")
def numbers() -> Model:
    """Of numbers on a linear scale, on which the density is a Gaussian."""
    return learned(toy.table(), "diffusion", "number | label", 250)


def test_a_number_has_the_deviation_of_its_source(numbers: Model) -> None:
    for row, mean in zip(REAL[:4], toy.MEANS, strict=True):
        drawn = np.array(
            [r["number"] for r in numbers.given(label=row["label"]).sample(200, batch=200, guidance=1.0)]
        )
        assert abs(drawn.mean() - mean) < 0.3 and 0.15 < drawn.std() < 0.6, (
            f"{drawn.mean():.2f} +- {drawn.std():.2f}"
        )


def test_the_bound_of_numbers_is_close_to_the_exact_density(numbers: Model) -> None:
    bound, exact = (
        numbers.log_prob(REAL, method=method, batch=80, **sampling_options)
        for method, sampling_options in (("bound", {"draws": 128}), ("ode", {}))
    )
    assert bound.kind == "bound" and exact.kind == "exact"
    truth = np.mean(
        [
            Normal(m, toy.SPREAD).log_prob(torch.tensor(r["number"])).item()
            for m, r in zip(toy.MEANS * 20, REAL, strict=True)
        ]
    )
    apart = exact.nats - bound.nats
    assert -0.05 < float(apart.mean()) < 0.3, f"exact {exact.nats.mean():.3f}, bound {bound.nats.mean():.3f}"
    assert abs(float(exact.nats.mean()) - truth) < 0.3, f"exact {exact.nats.mean():.3f}, truth {truth:.3f}"


@pytest.mark.full  # by default what a flow does is checked in test_learning
def test_a_known_column_conditions_the_rest(world: Table) -> None:
    model = learned(world, "diffusion", "label, number", 250, infill=1.0)
    drawn = [
        model.given().sample(1, seed=i, known={"label": row["label"]})[0] for i, row in enumerate(REAL[:32])
    ]
    assert toy.agreement(THINGS[:32], "number", drawn) > 0.9


def test_a_class_has_no_density(world: Table) -> None:
    with pytest.raises(ValueError, match="'label' is categorical"):
        Model("label", world.columns, "diffusion", width=32, depth=1).log_prob(REAL[:1])
