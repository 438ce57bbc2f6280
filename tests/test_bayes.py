"""Bayes' rule against posteriors that are known, its noise, and generative against discriminative in the toy world."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pytest
import torch
import toy
from torch import Tensor, nn

import likewise.models.model
from likewise.core.batch import Batch, Context
from likewise.core.known import KnownParts
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.data.table import Table
from likewise.evaluation.comparison.classifier_plan import ClassifierPlan
from likewise.evaluation.comparison.classifier_results import ClassifierComparison
from likewise.evaluation.comparison.classifiers import _subsets, compare_classifiers
from likewise.evaluation.metrics.calibration import ece, ece_estimate, ece_reference, log_loss, reliability
from likewise.families.base import Family
from likewise.modalities.base import Row
from likewise.modalities.label import Label
from likewise.modalities.linear_number import LinearNumber
from likewise.models.bayes import Bayes
from likewise.models.checkpoint import RunError
from likewise.models.class_posterior import Likelihoods, fit_temperature, log_posterior
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

CLASSES = tuple("abcdefgh")
MEANS = np.linspace(-2, 2, len(CLASSES))


class Gaussians(Family):
    """X | Y=k ~ N(mean_k, 1) for every column of one number, known exactly; `noise` makes scores noisy.

    Of noisy scores `shared` has no class in it, and is the same for rows that share their noise; `own` has.
    """

    def __init__(
        self,
        targets: Mapping[str, Any],
        sources: Mapping[str, Any],
        *,
        shared: float = 0.0,
        own: float = 0.0,
        kind: Literal["exact", "bound"] = "exact",
    ) -> None:
        super().__init__(targets, sources)
        self.shared, self.own, self.kind = shared, own, kind
        self.means = nn.Parameter(torch.tensor(MEANS, dtype=torch.float32))
        self.calls: list[tuple[int, int]] = []

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        raise NotImplementedError

    def sample(self, c: Context, *, known: KnownParts | None, rng: Rng) -> Batch:
        """Columns are independent given the class, so what is missing is drawn from the class that is known."""
        value, mask = (known.values, known.masks)
        names = list(self.targets)
        seen = sum(
            (torch.where(mask[n], -0.5 * (value[n][:, 0] - self.means) ** 2, 0.0) for n in names),
            torch.zeros(len(rng), len(MEANS)),
        )
        pick = (seen.softmax(1).cumsum(1) < rng.uniform(1)).sum(1).clamp(max=len(MEANS) - 1)
        drawn = self.means[pick][:, None] + rng.normal(len(names))
        return {
            n: torch.where(mask[n][..., None], value[n], drawn[:, i, None, None]) for i, n in enumerate(names)
        }

    def log_prob(self, x: Batch, c: Context, *, rng: Rng, draws: int = 1) -> Score:
        self.calls.append((len(rng), draws))
        mean = self.means[c.values["y"][:, 0]]
        nats = sum(-0.5 * (v[:, 0, 0] - mean) ** 2 - 0.5 * math.log(2 * math.pi) for v in x.values())
        if self.kind == "bound":
            common, swing = rng.normal(draws), rng.normal(draws)
            nats = nats + self.shared * common.mean(1) + self.own * (swing.mean(1) * torch.sin(5 * mean))
        return Score(nats, self.kind, len(x))


class Partial(Gaussians):
    """The same with marginals."""

    def log_prob(
        self, x: Batch, c: Context, *, rng: Rng, draws: int = 1, observed: Mapping[str, Tensor] | None = None
    ) -> Score:
        mean = self.means[c.values["y"][:, 0]]
        masks = {n: observed[n][:, 0] if observed and n in observed else torch.ones(len(mean)) for n in x}
        nats = sum(
            (-0.5 * (v[:, 0, 0] - mean) ** 2 - 0.5 * math.log(2 * math.pi)) * masks[n] for n, v in x.items()
        )
        return Score(nats, "exact", len(x))


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Families that a model finds by name."""
    ours = {"gaussians": Gaussians, "partial": Partial}
    monkeypatch.setattr(likewise.models.model, "family_class", ours.__getitem__)
    yield


def model(formula: str = "x | y", family: str = "gaussians", **options: Any) -> Model:
    """Values of a number are its floats: mean 0, deviation 1."""
    number = LinearNumber(0.0, 1.0, False, -3.0, 3.0)
    assert float(number.encode(0.5)) == pytest.approx(0.5)
    return Model(formula, {"x": number, "z": number, "y": Label(CLASSES)}, family, **options)


def rows(count: int = 40, columns: tuple[str, ...] = ("x",), seed: int = 0) -> tuple[list[Row], np.ndarray]:
    rng = np.random.default_rng(seed)
    k = rng.integers(len(CLASSES), size=count)
    return [{"y": CLASSES[c], **{n: MEANS[c] + rng.normal() for n in columns}} for c in k], k


def truth(
    data: list[Row], prior: np.ndarray, columns: tuple[str, ...] = ("x",), t: float = 1.0
) -> np.ndarray:
    """(1) in closed form, (N, K)."""
    x = np.array([[row[n] for n in columns] for row in data])
    logs = -0.5 * ((x[:, None, :] - MEANS[None, :, None]) ** 2).sum(-1) / t + np.log(prior)
    return np.exp(logs) / np.exp(logs).sum(1, keepdims=True)


# ---- the rule


@pytest.mark.usefixtures("stubs")
class TestRule:
    def test_the_posterior_is_the_analytic_one(self) -> None:
        data, _ = rows()
        even = np.full(len(CLASSES), 1 / len(CLASSES))
        assert np.allclose(Bayes(model()).probabilities(data), truth(data, even), atol=1e-5)
        skew = np.arange(1.0, 1 + len(CLASSES))
        bayes = Bayes(model(), dict(zip(CLASSES, skew, strict=True)))
        assert np.allclose(bayes.probabilities(data), truth(data, skew / skew.sum()), atol=1e-5)
        found = bayes.given(x=0.3).log_prob(y="c")
        right = truth([{"x": 0.3}], skew / skew.sum())[0, 2]
        assert found.kind == "exact" and float(found.nats.exp()) == pytest.approx(right, abs=1e-5)

    def test_exact_scores_are_worked_out_once(self) -> None:
        it = model()
        Bayes(it).probabilities(rows(5)[0])
        assert it.family.calls == [(5 * len(CLASSES), 4)]

    def test_the_class_of_a_row_is_not_looked_at(self) -> None:
        data, _ = rows(6)
        blind = [{"x": row["x"]} for row in data]
        assert np.array_equal(Bayes(model()).probabilities(data), Bayes(model()).probabilities(blind))

    def test_labels_tell_the_prior_and_none_is_impossible(self) -> None:
        bayes = Bayes.from_labels(model(), ["a"] * 7 + ["b"])
        expected = np.array([8, 2, 1, 1, 1, 1, 1, 1]) / 16
        assert np.allclose(bayes.log_prior.exp(), expected)

    def test_draws_follow_the_posterior_and_the_row(self) -> None:
        bayes = Bayes(model())
        drawn = [row["y"] for row in bayes.given(x=-0.4).sample(4000, seed=1)]
        often = np.array([drawn.count(name) for name in CLASSES]) / len(drawn)
        assert np.abs(often - bayes.probabilities([{"x": -0.4}])[0]).max() < 0.03
        data, _ = rows(10)
        whole = bayes.sample(data, seed=3)
        assert bayes.sample(data[4:6], seed=3, indices=[4, 5]) == whole[4:6]

    def test_a_class_that_cannot_be_is_never_drawn(self) -> None:
        chances = Bayes(model(), dict(zip(CLASSES, [1, 0, 1, 1, 1, 1, 1, 1], strict=True))).probabilities(
            rows()[0]
        )
        assert (chances[:, 1] == 0).all() and np.allclose(chances.sum(1), 1)

    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (lambda: Bayes(model("x")), "has none"),
            (lambda: Bayes(model(), labels="x"), "did you mean|There are: y"),
            (lambda: Bayes(model(), {"a": 1.0}), "every class"),
            (lambda: Bayes(model(), {"q": 1.0}), "unknown class 'q'"),
            (lambda: Bayes(model("x, y"), dict.fromkeys(CLASSES, 1)), "its own prior"),
            (lambda: Bayes(model()).given(z=1.0), "unknown column 'z'"),
            (lambda: Bayes(model()).probabilities([{"y": "a"}]), "a value of 'x'"),
            (lambda: Bayes(model()).probabilities([{"x": 1.0}], drwas=3), "did you mean 'draws'"),
            (lambda: Bayes(model()).log_prob([{"x": 1.0}]), "missing"),
            (lambda: Bayes(model()).probabilities([{"x": 1.0}], draws=0), "draws must be"),
        ],
    )
    def test_what_is_wrong_is_said(self, make: Any, says: str) -> None:
        with pytest.raises(ValueError, match=says):
            make()


@pytest.mark.usefixtures("stubs")
class TestMissing:
    """Two numbers of one class, the second of which is missing: what counts is the first."""

    EVEN = np.full(len(CLASSES), 1 / len(CLASSES))

    def test_a_family_with_marginals_gives_them(self) -> None:
        data, _ = rows(20, ("x", "z"))
        found = Bayes(model("x, z | y", "partial")).probabilities(data, observed={"z": [False]})
        assert np.allclose(found, truth(data, self.EVEN, ("x",)), atol=1e-5)

    def test_any_other_completes_what_is_missing(self) -> None:
        data, _ = rows(8, ("x", "z"), seed=1)
        other = [{**row, "z": 0.0} for row in data]  # what stands in the missing place does not matter
        bayes = Bayes(model("x, z | y"))
        found = bayes.probabilities(data, observed={"z": [False]}, completions=400)
        assert np.array_equal(found, bayes.probabilities(other, observed={"z": [False]}, completions=400))
        assert np.abs(found - truth(data, self.EVEN, ("x",))).max() < 0.07
        apart = np.abs(found - truth(data, self.EVEN, ("x", "z"))).max()
        assert apart > 2 * np.abs(found - truth(data, self.EVEN, ("x",))).max()


# ---- noise


@pytest.mark.usefixtures("stubs")
class TestNoise:
    def test_rows_that_share_an_index_share_their_noise(self) -> None:
        it = model(shared=30.0, kind="bound")
        pair = [{"x": 0.1, "y": "a"}, {"x": 0.1, "y": "e"}]

        def gaps(paired: bool) -> np.ndarray:
            found = [it.log_prob(pair, seed=s, indices=[7, 7] if paired else [7, 8]).nats for s in range(200)]
            return np.array([float(a - b) for a, b in found])

        assert gaps(True).var() < 1e-6 < 100 < gaps(False).var()
        # Other draws of one seed and index are the same: what a row is worth does not depend on its batch.
        assert torch.equal(
            it.log_prob(pair, indices=[3, 4]).nats[1:], it.log_prob(pair[1:], indices=[4]).nats
        )

    def test_halving_finds_what_all_draws_would_for_less(self) -> None:
        data, _ = rows(60)
        exact = Bayes(model()).probabilities(data)
        it = model(shared=100.0, own=3.0, kind="bound")
        halved = Bayes(it).probabilities(data, draws=16)
        evaluations = sum(count * draws for count, draws in it.family.calls)
        it.family.calls.clear()
        full = Bayes(it).probabilities(data, draws=16, keep=len(CLASSES))
        sure = np.sort(exact, 1)[:, -1] - np.sort(exact, 1)[:, -2] > 0.1
        assert (halved.argmax(1) == exact.argmax(1))[sure].mean() > 0.9
        assert (full.argmax(1) == exact.argmax(1))[sure].mean() > 0.9
        assert evaluations < 0.5 * sum(count * draws for count, draws in it.family.calls)
        assert np.abs(halved - exact).mean() < 0.05

    def test_noise_that_is_shared_stays_out_of_the_posterior(self) -> None:
        data, _ = rows(30)
        exact = Bayes(model()).probabilities(data)
        noisy = Bayes(model(shared=1000.0, kind="bound")).probabilities(data)
        assert np.abs(noisy - exact).max() < 1e-3  # also of classes that were dropped in other rounds

    def test_a_row_is_the_same_in_any_company(self) -> None:
        data, _ = rows(9)
        bayes = Bayes(model(shared=5.0, own=2.0, kind="bound"))
        whole = bayes.probabilities(data, seed=2)
        alone = bayes.probabilities(data[5:7], seed=2, indices=[5, 6], batch=3)
        assert np.allclose(alone, whole[5:7], atol=1e-5)
        assert not np.allclose(bayes.probabilities(data, seed=3), whole)


# ---- the temperature


def test_a_known_temperature_is_found() -> None:
    rng = np.random.default_rng(0)
    logits = torch.tensor(rng.normal(0, 3, (4000, 1, 5)))
    prior = torch.log_softmax(torch.tensor(rng.normal(0, 1, 5)), 0)
    chances = log_posterior(logits, prior, 1.0).exp().numpy()
    classes = torch.tensor([rng.choice(5, p=p / p.sum()) for p in chances])
    for t in (0.25, 1.0, 8.0, 500.0):
        found = fit_temperature(Likelihoods(t * logits, "bound"), prior, classes)
        assert found == pytest.approx(t, rel=0.12), f"{found:.3g} instead of {t}"


@pytest.mark.parametrize("lead", [0.3, 9.0, 2000.0])
def test_rows_that_are_all_right_do_not_ask_for_certainty(lead: float) -> None:
    """Of N rows that all lead by as much, N + 1 with the one that counts as wrong, N are right."""
    logits, truth = lead * torch.eye(2, dtype=torch.float64).repeat(25, 1)[:, None], torch.arange(50) % 2
    t = fit_temperature(Likelihoods(logits, "exact"), torch.zeros(2), truth)
    assert float(log_posterior(logits, torch.zeros(2), t).exp().max()) == pytest.approx(50 / 51, abs=1e-3)


@pytest.mark.usefixtures("stubs")
def test_calibrated_on_held_out_rows_it_is_another_one_with_less_loss() -> None:
    data, _ = rows(400)
    spoilt = [{**row, "x": 3 * row["x"]} for row in data]  # as if deviations were far smaller than they are
    bayes = Bayes(model())
    better = bayes.calibrate(spoilt)
    assert bayes.temperature == 1 and better.temperature > 1.5
    fresh, _ = rows(400, seed=5)
    fresh = [{**row, "x": 3 * row["x"]} for row in fresh]
    assert -better.log_prob(fresh).nats.mean() < -bayes.log_prob(fresh).nats.mean()


# ---- how well it is calibrated


def drawn(count: int, sharpen: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities (N, 4), and classes drawn from them; `sharpen` is how much surer they say they are."""
    rng = np.random.default_rng(seed)
    logits = torch.tensor(rng.normal(0, 1.5, (count, 4)))
    chances = logits.softmax(1).numpy()
    classes = (chances.cumsum(1) < rng.random((count, 1))).sum(1).clip(max=3)
    return (sharpen * logits).log_softmax(1).numpy(), classes


def test_who_says_the_truth_has_no_calibration_error() -> None:
    logs, classes = drawn(40_000, 1.0)
    assert ece(logs, classes) < 0.01
    assert ece(*drawn(40_000, 3.0)) > 0.1
    certain = np.log(np.full((100, 2), [1.0, 1e-30]))
    assert ece(certain, np.arange(100) % 2) == pytest.approx(0.5)
    assert log_loss(logs, classes) < log_loss(*drawn(40_000, 3.0))


def test_the_reference_is_the_error_of_a_calibrated_classifier() -> None:
    found = [ece(*drawn(100, 1.0, seed)) for seed in range(100)]
    reference = ece_reference(drawn(100, 1.0)[0], rng=np.random.default_rng(1))
    assert reference == pytest.approx(np.mean(found), rel=0.2) and reference > 0.03
    for seed in range(10):
        found = ece_estimate(*drawn(100, 1.0, seed), rng=np.random.default_rng(seed))
        assert found.value == ece(*drawn(100, 1.0, seed)) and found.low < found.value < found.high


def test_bins_hold_equally_many_rows() -> None:
    bins = reliability(*drawn(1000, 1.0))
    assert len(bins) == 15 and {n for *_, n in bins} == {66, 67}
    assert [c for c, *_ in bins] == sorted(c for c, *_ in bins)
    assert all(abs(confidence - right) < 0.2 for confidence, right, _ in bins)


# ---- the toy world


@pytest.fixture(scope="module")
def drawer(world: Table) -> Model:
    """P(image | label), briefly trained."""
    made = Model("image | label", world.columns, width=64, depth=2)
    plan = Plan(steps=100, batch=64, lr=4e-3, muon_lr=0.03, warmup=20, precision="float32")
    for _ in train(made, world, plan):
        pass
    return made.eval()


def test_a_flow_classifies_by_its_bound(drawer: Model) -> None:
    data = toy.rows(48, seed=9)
    bayes = Bayes(drawer)
    chances = bayes.probabilities(data, draws=2, floor=0.2)
    right = np.array([int(row["label"]) for row in data])
    assert (chances.argmax(1) == right).mean() > 0.9
    assert np.array_equal(bayes.probabilities(data[:2], draws=2, floor=0.2).argmax(1), chances[:2].argmax(1))
    posterior = bayes.given(image=data[1]["image"])
    assert posterior.sample(3, draws=2)[0]["label"] == "1"
    assert float(posterior.log_prob(label="1", draws=2).nats) > -0.7


def test_a_flow_classifies_what_it_sees_half_of(drawer: Model) -> None:
    """Things 0 and 2 lie on the left, so that the left half of a picture shows which of them it is."""
    data = [row for row in toy.rows(32, seed=9) if row["label"] in "02"]
    mask = np.zeros((toy.SIZE, toy.SIZE), dtype=bool)
    mask[:, : toy.SIZE // 2] = True
    chances = Bayes(drawer).probabilities(data, draws=2, floor=0.2, observed={"image": mask})
    assert (chances.argmax(1) == [int(row["label"]) for row in data]).mean() > 0.85


def test_a_joint_model_says_why_it_is_no_classifier(world: Table) -> None:
    bayes = Bayes(Model("image, label", world.columns, width=32, depth=1))
    with pytest.raises(ValueError, match="categorical"):
        bayes.probabilities(toy.rows(1))


# ---- generative against discriminative


def split() -> Table:
    """The toy world, about 67 rows to learn from and 29 held out."""
    kinds = {"image": "image", "label": "label", "text": "text", "number": "number"}
    return Table.from_rows(toy.rows(96), kinds, holdout=0.3, by="number")


def compared(folder: Any, messages: list[str] | None = None, **options: Any) -> ClassifierComparison:
    table = split()
    how = {"minutes": 0.005, "sizes": (4, 10), "n": 18, "calibration": 8, "draws": 1, "completions": 1}
    how |= {"methods": ["flow"], "options": {"flow": {"width": 32, "depth": 1, "stem": "patch"}}}
    plan, on_message = ClassifierPlan(**{**how, **options}), (messages if messages is not None else []).append
    return compare_classifiers("label | image", table, plan, folder, on_message=on_message)


def test_a_comparison_is_a_table_a_picture_and_a_page(tmp_path: Any) -> None:
    messages: list[str] = []
    report = compared(tmp_path, messages)
    assert report.methods == ["Bayes: flow", "baseline: SVM"] and len(messages) == 4
    assert report.conditions == ["clean", "corrupted", "left half missing"]
    assert len(report.results) == 2 * 2 * 3
    assert [r.rows for r in report.of("Bayes: flow", "clean")] == [16, 40]
    svm = report.of("baseline: SVM", "clean")[-1]
    assert svm.accuracy.value > 0.8 and svm.accuracy.low < svm.accuracy.value <= svm.accuracy.high
    assert set(report.of("Bayes: flow", "corrupted")[0].parts) == {"noise", "rotation", "contrast"}
    for result in report.results:
        assert result.log_loss.value > 0 and 0 <= result.ece.value <= 1 and result.temperature > 0
    text = str(report)
    assert "accuracy, left half missing" in text and "rows per class  4" in text
    assert max(map(len, text.splitlines())) <= 120
    page = (tmp_path / "report.html").read_text()
    assert "data:image/png;base64," in page and toy.outside_links(page) == []
    assert (tmp_path / "report.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / "report.json").read_text())["results"][0]["method"] == "Bayes: flow"
    again = compared(tmp_path)
    assert again.of("Bayes: flow", "clean") == report.of(
        "Bayes: flow", "clean"
    )  # seconds too: nothing was made again
    with pytest.raises(RunError, match="another comparison"):
        compared(tmp_path, seed=1)


@pytest.mark.parametrize(
    ("formula", "options", "says"),
    [
        ("image | label", {}, "is not a classifier"),
        ("label", {}, "is not a classifier"),
        ("label | image", {"methods": ["gan"]}, "unknown family to compare 'gan'"),
        ("label | image", {"sizes": (1,)}, "each of sizes must be a whole number from 2"),
    ],
)
def test_what_cannot_be_compared_is_said(formula: str, options: Any, says: str, tmp_path: Any) -> None:
    with pytest.raises(ValueError, match=says):
        compare_classifiers(formula, split(), ClassifierPlan(minutes=0.01, **options), tmp_path)


def test_without_a_density_a_method_is_left_out(tmp_path: Any) -> None:
    plan = ClassifierPlan(minutes=0.01, sizes=(4,), n=12, methods=["flow"])
    report = compare_classifiers("label | text", split(), plan, tmp_path)
    assert report.methods == ["baseline: SVM"] and report.conditions == ["clean"]
    assert any(note.startswith("flow is left out") and "categorical" in note for note in report.notes)


def test_subsets_are_nested_and_even() -> None:
    table = split()
    few = list(_subsets(table, "label", (3, 6, 1000), 0))
    for part, size in zip(few, (3, 6), strict=False):
        assert sorted(part.train.column("label")) == sorted("0123" * size)
        assert part.columns == table.columns and len(part.test) == len(table.test)
    assert len(few[-1].train) == len(table.train)
    numbers = [set(part.train.column("number")) for part in few]
    assert numbers[0] < numbers[1] < numbers[2] == set(table.train.column("number"))
    assert len({part.fingerprint for part in few}) == 3
