"""Known answers: samplers, guidance and densities against distributions whose formulas are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from likewise.core.score import Score
from likewise.data.table import Table
from likewise.generation.denoising.guidance import classifier_free_guidance
from likewise.generation.denoising.paths import add_noise, predicted_noise, velocity
from likewise.generation.denoising.samplers import SAMPLERS, Denoise, follow, log_snr_grid, time_grid
from likewise.modalities.image import Image
from likewise.modalities.label import Label
from likewise.modalities.linear_number import LinearNumber
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

# ---- samplers on a Gaussian


def gaussian(mean: float, std: float) -> Denoise:
    """E[x_0 | x_t] where x_0 ~ N(mean, std^2): Bayes' rule on x_t = (1 - t) x_0 + t e."""

    def denoise(x_t: Tensor, t: float) -> Tensor:
        gain = (1 - t) * std**2 / ((1 - t) ** 2 * std**2 + t**2)
        return mean + gain * (x_t - (1 - t) * mean)

    return denoise


def flowed(x_1: Tensor, t: float, mean: float, std: float) -> Tensor:
    """Where the flow carries x_1: the only increasing map from N(0, 1) to the law of x_t."""
    return (1 - t) * mean + math.sqrt((1 - t) ** 2 * std**2 + t**2) * x_1


def no_noise() -> Tensor:
    raise AssertionError("a deterministic sampler asks for noise")


X_1 = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]


def error(
    sampler: str,
    steps: int,
    mean: float,
    std: float,
    end: float = 0.0,
    shift: float = 1.0,
    grid: Callable[..., list[float]] = time_grid,
) -> float:
    """How far a sampler ends from the truth, from t = 1 to t = end."""
    times = [end + (1 - end) * t for t in grid(steps, shift)]
    eta, noise = (0.0, lambda: torch.zeros_like(X_1)) if sampler == "stochastic" else (1.0, no_noise)
    x = follow(SAMPLERS[sampler], gaussian(mean, std), X_1, times, noise, eta)
    return float((x - flowed(X_1, end, mean, std)).abs().max())


@pytest.mark.parametrize("end", [0.0, 0.2])
@pytest.mark.parametrize("std", [1.0, 0.5])
@pytest.mark.parametrize(
    ("sampler", "order"), [("euler", 1), ("stochastic", 1), ("heun", 2), ("ab2", 2), ("dpmpp_2m", 2)]
)
def test_order_of_convergence(sampler: str, order: int, std: float, end: float) -> None:
    """Twice the steps, half the error, or a quarter of it: the slope of log error over log steps."""
    steps = [40, 80, 160]
    errors = [error(sampler, n, 0.7, std, end) for n in steps]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order - (0.1 if order == 1 else 0.35) < slope < order + 0.35, (
        f"{sampler}: order {slope:.2f}, errors {errors}"
    )


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("grid", [time_grid, log_snr_grid])
def test_many_steps_end_at_the_truth(sampler: str, shift: float, grid: Callable[..., list[float]]) -> None:
    assert error(sampler, 500, -0.4, 0.3, shift=shift, grid=grid) < (
        0.01 if sampler in ("euler", "stochastic") else 2e-3
    )


def test_second_order_pays_at_few_steps() -> None:
    """At eight evaluations the second-order ones are closer, dpmpp_2m by far: the reason that it is the default."""
    for std in (1.0, 0.5):
        euler = error("euler", 8, 0.7, std)
        assert error("dpmpp_2m", 8, 0.7, std) < euler / 5 and error("ab2", 8, 0.7, std) < euler / 2


def test_times_even_in_log_snr_pay_where_data_are_fine() -> None:
    """Of narrow data the last steps matter: the reason that times are as they are."""
    assert error("dpmpp_2m", 8, 0.7, 0.1, grid=log_snr_grid) < error("dpmpp_2m", 8, 0.7, 0.1) / 5


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_stochastic_draws_the_gaussian(eta: float) -> None:
    """Whatever the share of fresh noise, the draws have the mean and the deviation of the data."""
    draw = torch.Generator().manual_seed(0)
    x_1 = torch.randn(20_000, 1, generator=draw, dtype=torch.float64)

    def fresh() -> Tensor:
        return torch.randn(x_1.shape, generator=draw, dtype=torch.float64)

    x = follow(SAMPLERS["stochastic"], gaussian(0.7, 0.5), x_1, time_grid(200), fresh, eta)
    assert abs(float(x.mean()) - 0.7) < 0.02
    assert abs(float(x.std()) - 0.5) < 0.02
    moved = float(torch.corrcoef(torch.stack([x[:, 0], x_1[:, 0]]))[0, 1])
    assert moved > 0.99 if eta == 0 else moved < 0.9  # with fresh noise the draw forgets where it began


def test_stochastic_without_fresh_noise_is_euler() -> None:
    """DDIM is Euler's rule along the rectified path (Song et al., 2021)."""
    times = time_grid(7)
    a = follow(SAMPLERS["stochastic"], gaussian(0.7, 0.5), X_1, times, lambda: torch.randn_like(X_1), 0.0)
    b = follow(SAMPLERS["euler"], gaussian(0.7, 0.5), X_1, times, no_noise, 0.0)
    assert torch.allclose(a, b)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_never_ask_at_t_zero(sampler: str) -> None:
    asked: list[float] = []

    def denoise(x_t: Tensor, t: float) -> Tensor:
        asked.append(t)
        return x_t * 0.5

    follow(SAMPLERS[sampler], denoise, X_1, time_grid(5), lambda: X_1, 1.0)
    assert asked[0] == 1.0 and min(asked) > 0 and len(asked) == (9 if sampler == "heun" else 5)


@pytest.mark.parametrize("grid", [time_grid, log_snr_grid])
def test_time_grid(grid: Callable[..., list[float]]) -> None:
    for shift in (0.5, 1.0, 4.0):
        times = grid(9, shift)
        assert times[0] == 1 and times[-1] == 0 and len(times) == 10 and times == sorted(times, reverse=True)
    assert grid(9, 4.0)[5] > grid(9)[5] > grid(9, 0.5)[5]
    for wrong, reason in (((0, 1.0), "steps must be"), ((3, 0.0), "shift must be")):
        with pytest.raises(ValueError, match=reason):
            grid(*wrong)


def test_path() -> None:
    x_0, e, t = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([[0.1], [0.5], [1.0]])
    x_t = add_noise(x_0, e, t)
    assert torch.equal(add_noise(x_0, e, torch.zeros(3, 1)), x_0) and torch.allclose(x_t[2], e[2])
    assert torch.allclose(velocity(x_t, x_0, t), e - x_0, atol=1e-5)
    assert torch.allclose(predicted_noise(x_t[1], x_0[1], 0.5), e[1], atol=1e-5)


# ---- guidance and clamping


def test_guidance() -> None:
    draw = torch.Generator().manual_seed(0)
    x_t, x_0, without = (torch.randn(5, 8, generator=draw) for _ in range(3))
    for zero_star in (False, True):
        assert torch.allclose(classifier_free_guidance(x_t, x_0, without, 1.0, zero_star), x_0, atol=1e-6), (
            "scale 1 is the model as it is"
        )
        assert torch.allclose(classifier_free_guidance(x_t, x_0, x_0, 3.0, zero_star), x_0, atol=1e-5), (
            "sources that change nothing guide nowhere"
        )
    assert torch.allclose(classifier_free_guidance(x_t, x_0, without, 0.0, False), without, atol=1e-6)
    assert torch.allclose(
        classifier_free_guidance(x_t, x_0, without, 3.0, False), x_0 + 2 * (x_0 - without), atol=1e-5
    )


def test_zero_star_fits_before_it_guides() -> None:
    """What is left of the direction with the sources is at right angles to the one without; a mere change of size guides nowhere."""
    draw = torch.Generator().manual_seed(0)
    x_t, x_0, without = (torch.randn(5, 8, generator=draw) for _ in range(3))
    fitted = x_t - classifier_free_guidance(
        x_t, x_0, without, 0.0, True
    )  # the multiple of (x_t - without) nearest to (x_t - x_0)
    d, d_without = x_t - x_0, x_t - without
    assert ((d - fitted) * d_without).sum(1).abs().max() < 1e-4
    assert torch.allclose(fitted / d_without, (fitted / d_without)[:, :1].expand(-1, 8), atol=1e-4)
    scaled = x_t - 0.4 * d
    assert torch.allclose(classifier_free_guidance(x_t, x_0, scaled, 5.0, True), x_0, atol=1e-4)


def test_guidance_sharpens_a_gaussian() -> None:
    """Two classes N(-1, 1) and N(1, 1): guided draws of one have a larger mean than the class itself."""
    classes, mixed = gaussian(1.0, 1.0), gaussian(0.0, math.sqrt(2.0))
    means = [
        float(
            follow(
                SAMPLERS["ab2"],
                lambda x, t, w=w: classifier_free_guidance(x, classes(x, t), mixed(x, t), w, False),
                X_1,
                time_grid(20),
                no_noise,
                0.0,
            ).mean()
        )
        for w in (1.0, 2.0, 4.0)
    ]
    assert abs(means[0] - 1) < 0.02 and means[0] < means[1] < means[2]


# ---- densities: the solver, with a denoiser that is right


def oracle(model: Model, mean: float, std: float) -> Model:
    """The same model, its network replaced by the denoiser of independent N(mean, std^2) in the units of tokens."""
    model.family.denoiser.denoise = lambda c, known: gaussian(mean, std)
    return model


def normal_nats(x: Tensor, mean: float, std: float) -> Tensor:
    return (-0.5 * ((x - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)


@pytest.mark.parametrize("std", [1.0, 0.3, 0.05])
def test_log_prob_of_a_gaussian(std: float) -> None:
    """Equation (4) with the right denoiser gives the right density."""
    model = oracle(
        Model("x", {"x": LinearNumber(0.0, 1.0, False, -1.0, 1.0)}, "flow", width=32, depth=1), 0.2, std
    )
    values = [0.2 + std * z for z in (-2.0, -1.0, 0.0, 0.5, 1.5)]
    score = model.log_prob([{"x": v} for v in values])
    truth = normal_nats(torch.tensor(values)[:, None], 0.2, std)
    assert score.kind == "exact" and score.dims == 1
    assert (score.nats - truth).abs().max() < 0.02, f"{score.nats} is not {truth}"


def test_log_prob_of_pictures_adds_up_to_one() -> None:
    """A picture of one pixel has 256 values; their probabilities, averaged over the dequantising noise, add up to 1."""
    model = oracle(Model("image", {"image": Image(1, 1, 1)}, "flow", width=32, depth=1), -0.1, 0.2)
    import PIL.Image

    rows = [{"image": PIL.Image.new("L", (1, 1), level)} for level in range(256)]
    assert abs(sum(float(model.log_prob(rows, seed=s).nats.exp().sum()) for s in range(4)) / 4 - 1) < 0.03


def test_log_prob_of_whole_numbers_adds_up_to_one() -> None:
    """A whole number has a probability, not a density, in any unit."""
    for unit in (1, 10):
        column = LinearNumber.fit([unit * v for v in (-3, -1, 0, 2, 4)])
        model = oracle(Model("n", {"n": column}, "flow", width=32, depth=1), 0.1, 0.8)
        reach = round(6 * column.std)
        rows = [{"n": v} for v in range(-reach, reach + 1)]
        total = sum(float(model.log_prob(rows, seed=s, batch=512).nats.exp().sum()) for s in range(8)) / 8
        assert abs(total - 1) < 0.03, f"unit {unit}: the probabilities add up to {total:.3f}"


FAR_VALUES = {
    "log-normal and a far value": np.append(np.exp(np.random.default_rng(0).normal(10, 0.5, 500)), 1e11),
    "cauchy": np.random.default_rng(0).standard_cauchy(500),
    "half zeros": np.arange(500) % 2 * np.arange(500.0),
    "tiny": 1e-30 * np.random.default_rng(0).random(500),
}


@pytest.mark.parametrize("name", FAR_VALUES)
def test_the_density_of_far_values_adds_up_to_one(name: str) -> None:
    """Half of the mass lies where the column is logarithmic, so its Jacobian differs from value to value."""
    column = LinearNumber.fit(FAR_VALUES[name])
    column = replace(column, limit=min(column.limit, 10.0))
    model = oracle(Model("x", {"x": column}, "flow", width=32, depth=1), 8.0, 3.0)
    tokens = torch.linspace(-6.0, 22.0, 1200)
    values = np.array([column.decode(token) for token in tokens], float)
    density = model.log_prob([{"x": v} for v in values], batch=1200).nats.double().exp().numpy()
    assert abs(np.trapezoid(density, values) - 1) < 0.02


def test_the_probabilities_of_far_whole_numbers_add_up_to_one() -> None:
    column = replace(LinearNumber.fit([-1, 0, 0, 1, 2]), limit=1.0)
    model = oracle(Model("n", {"n": column}, "flow", width=32, depth=1), 1.5, 0.8)
    rows = [{"n": n} for n in range(-60, 61)]
    total = sum(float(model.log_prob(rows, seed=s, batch=512).nats.exp().sum()) for s in range(24)) / 24
    assert abs(total - 1) < 0.03, f"the probabilities add up to {total:.3f}"


def test_a_known_number_keeps_all_its_digits() -> None:
    column = LinearNumber.fit([10**15, 2 * 10**15, 3 * 10**15])
    model = Model("n", {"n": column}, "flow", width=32, depth=1)
    assert model.given().sample(2, known={"n": 1234567890123456})[1]["n"] == 1234567890123456


def test_other_units_shift_the_density_by_their_logarithm() -> None:
    metres, millimetres = (
        LinearNumber(2.0, 0.5, False, 0.0, 4.0),
        LinearNumber(2000.0, 500.0, False, 0.0, 4000.0),
    )
    scores = [
        Model("x", {"x": column}, "flow", width=32, depth=1).log_prob(
            [{"x": x * unit} for x in (1.0, 2.0, 3.0)]
        )
        for column, unit in ((metres, 1), (millimetres, 1000))
    ]
    assert torch.allclose(scores[1].nats, scores[0].nats - math.log(1000), atol=1e-4)


def test_bits_per_dim() -> None:
    assert torch.allclose(
        Score(torch.tensor([-4 * math.log(2)]), "exact", 2).bits_per_dim, torch.tensor([2.0])
    )


def test_a_class_has_no_density() -> None:
    with pytest.raises(ValueError, match="'kind' is categorical"):
        Model("kind", {"kind": Label(("a", "b"))}, "flow", width=32, depth=1).given().log_prob(kind="a")


# ---- densities: the whole, trained for a few seconds

MEANS, SPREADS = {"a": (-2.0, 1.0), "b": (2.0, 2.0)}, {"a": (0.4, 0.6), "b": (0.5, 0.5)}
UNITS = 10.0  # so that a model which forgets the change of units is far off


def line_density(x: np.ndarray, kind: str) -> np.ndarray:
    """p(x | kind): two bumps of equal weight for a, one for b."""
    bumps = [
        np.exp(-0.5 * ((x / UNITS - m) / s) ** 2) / (s * math.sqrt(2 * math.pi) * UNITS)
        for m, s in zip(MEANS[kind], SPREADS[kind], strict=True)
    ]
    return sum(bumps) / 2


def line_rows(count: int) -> list[dict]:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        kind, bump = "ab"[i % 2], int(rng.integers(2))
        rows.append({"x": UNITS * float(rng.normal(MEANS[kind][bump], SPREADS[kind][bump])), "kind": kind})
    return rows


def learn(
    formula: str, rows: list[dict], kinds: dict[str, str], steps: int, seed: int = 0, family: str = "flow"
) -> Model:
    table = Table.from_rows(rows, kinds, holdout=0.0)
    options = {"infill": 0.4} if family == "flow" else {}
    model = Model(formula, table.columns, family, width=64, depth=2, **options)
    for _ in train(
        model,
        table,
        Plan(
            steps=steps,
            seed=seed,
            batch=128,
            lr=5e-3,
            muon_lr=0.01,
            source_dropout=0.25,
            precision="float32",
            warmup=20,
        ),
    ):
        pass
    return model.eval()


@pytest.fixture(scope="module", params=["flow", "any_order"])
def line(request: pytest.FixtureRequest) -> Model:
    kinds = {"x": "number", "kind": "label"}
    return learn("x | kind", line_rows(4000), kinds, 500, seed=1, family=request.param)


GRID = np.linspace(-6, 6, 241) * UNITS


@pytest.mark.parametrize("kind", ["a", "b", None])
def test_a_learned_density_on_a_line(line: Model, kind: str | None) -> None:
    """It integrates to 1 and is near the truth; without the source it is the mixture over the sources."""
    truth = line_density(GRID, kind) if kind else (line_density(GRID, "a") + line_density(GRID, "b")) / 2
    nats = (
        line.log_prob([{"x": float(x), **({"kind": kind} if kind else {})} for x in GRID], batch=256)
        .nats.double()
        .numpy()
    )
    width = GRID[1] - GRID[0]
    assert abs(np.exp(nats).sum() * width - 1) < 0.03
    divergence = float((truth * (np.log(truth + 1e-30) - nats)).sum() * width)
    assert -0.01 < divergence < 0.12, f"KL {divergence:.3f} nats"


def test_draws_follow_the_density_they_are_scored_with(line: Model) -> None:
    """Kolmogorov-Smirnov: the draws' distribution function against the integral of exp(log_prob)."""
    for kind in "ab":
        drawn = np.sort(
            [row["x"] for row in line.given(kind=kind).sample(1000, batch=1000, **options_of(line, 20))]
        )
        density = np.exp(line.log_prob([{"x": float(x), "kind": kind} for x in GRID], batch=256).nats.numpy())
        expected = np.interp(drawn, GRID, np.cumsum(density) * (GRID[1] - GRID[0]))
        assert np.abs(expected - np.arange(1000) / 1000).max() < 0.06


def options_of(model: Model, steps: int) -> dict:
    """Sampling options of a model."""
    return {"guidance": 1.0, "steps": steps} if model.family_name == "flow" else {}


def ring_density(x: Tensor, y: Tensor) -> Tensor:
    """A correlated Gaussian half the time, a narrow one beside it the other half."""
    one = torch.distributions.MultivariateNormal(
        torch.tensor([-1.0, 0.0]), torch.tensor([[0.5, 0.4], [0.4, 0.5]])
    )
    two = torch.distributions.MultivariateNormal(
        torch.tensor([1.5, -1.0]), torch.tensor([[0.1, 0.0], [0.0, 0.4]])
    )
    at = torch.stack([x, y], dim=-1)
    return torch.logaddexp(one.log_prob(at), two.log_prob(at)) - math.log(2)


@pytest.fixture(scope="module", params=["flow", "any_order"])
def plane(request: pytest.FixtureRequest) -> Model:
    draw = np.random.default_rng(0)
    one = draw.multivariate_normal([-1, 0], [[0.5, 0.4], [0.4, 0.5]], 2000)
    two = draw.multivariate_normal([1.5, -1], [[0.1, 0], [0, 0.4]], 2000)
    rows = [{"x": float(x), "y": float(y)} for pair in zip(one, two, strict=True) for x, y in pair]
    kind = "number"
    return learn("x, y", rows, {"x": kind, "y": kind}, 600, family=request.param)


def plane_rows() -> tuple[Tensor, Tensor, float]:
    side = torch.linspace(-4, 4, 41)
    x, y = torch.meshgrid(side, side, indexing="ij")
    return x.flatten(), y.flatten(), float(side[1] - side[0])


def test_a_learned_density_on_a_plane(plane: Model) -> None:
    x, y, width = plane_rows()
    score = plane.log_prob(
        [{"x": float(a), "y": float(b)} for a, b in zip(x, y, strict=True)],
        batch=1700,
        **({"steps": 40} if plane.family_name == "flow" else {}),
    )
    truth = ring_density(x, y)
    assert score.kind == "exact" and score.dims == 2
    assert abs(float(score.nats.exp().sum()) * width**2 - 1) < 0.04
    divergence = float((truth.exp() * (truth - score.nats)).sum()) * width**2
    assert -0.02 < divergence < 0.15, f"KL {divergence:.3f} nats"


def test_the_estimate_agrees_with_the_exact_density(plane: Model) -> None:
    """Hutchinson's estimate is unbiased: the mean difference is within its error, and more probes make it smaller."""
    if plane.family_name != "flow":
        pytest.skip("an exact density needs no estimate")
    x, y, _ = plane_rows()
    pick = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:300]
    rows = [{"x": float(x[i]), "y": float(y[i])} for i in pick]
    exact = plane.log_prob(rows, batch=300, steps=20).nats
    spreads = []
    for probes in (1, 8):
        score = plane.log_prob(rows, batch=300, steps=20, exact=0, probes=probes)
        apart = score.nats - exact
        assert score.kind == "estimate"
        assert abs(float(apart.mean())) < 4 * float(apart.std()) / math.sqrt(len(rows)) + 1e-3
        spreads.append(float(apart.std()))
    assert 0 < spreads[1] < 0.6 * spreads[0]


def test_known_part_of_a_plane(plane: Model) -> None:
    """P(y | x) out of the joint model: given x = -1 + 0.7 z on the slope, y follows it."""
    for x, mean in ((-1.7, -0.56), (-0.3, 0.56), (1.5, -1.0)):
        drawn = [row["y"] for row in plane.sample([{}] * 300, known={"x": x}, batch=300)]
        assert abs(np.mean(drawn) - mean) < 0.25, f"E[y | x = {x}] is {np.mean(drawn):.2f}, not {mean}"
