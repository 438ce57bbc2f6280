"""Metrics on data whose truth is known, and `evaluate` on models that are known to be good or bad."""

from __future__ import annotations

import functools
import json

import numpy as np
import PIL.Image
import pytest
import torch

from likewise.core.formula import Formula
from likewise.core.progress import Progress, receive_progress
from likewise.core.score import Score
from likewise.data.table import Table
from likewise.evaluation.evaluator import evaluate
from likewise.evaluation.evaluators.table import TableMetrics
from likewise.evaluation.features.image import edge_features, pixel_features, random_conv_features
from likewise.evaluation.features.reduce import Reduced
from likewise.evaluation.features.values import features_of
from likewise.evaluation.metrics import agreement
from likewise.evaluation.metrics.c2st import c2st
from likewise.evaluation.metrics.density_coverage import density_coverage, radii, spread
from likewise.evaluation.metrics.estimate import bootstrap, share
from likewise.evaluation.metrics.frechet import fd_infinity, frechet
from likewise.evaluation.metrics.kid import kid, kid_reference
from likewise.evaluation.metrics.memorization import copies, nearest
from likewise.evaluation.reference import ReferenceSet
from likewise.modalities.base import Row
from likewise.modalities.label import Label
from likewise.modalities.linear_number import LinearNumber
from likewise.modalities.number import Number
from likewise.modalities.text import Text
from likewise.models.model import Model


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- estimates


def test_intervals_cover_the_truth():
    covered = [e.low <= 0.3 <= e.high for s in range(200) for e in [share(rng(s).random(80) < 0.3)]]
    assert 0.9 < np.mean(covered) < 0.99
    found = [bootstrap(np.mean, rng(s).normal(2, 1, 80), rng=rng(s)) for s in range(200)]
    covered = [e.low <= 2 <= e.high for e in found]
    assert 0.9 < np.mean(covered) < 0.99
    assert share(np.zeros(50, bool)).low == 0 < share(np.zeros(50, bool)).high


# ---- fidelity


def naive_kid(x: np.ndarray, y: np.ndarray, degree: int = 3, coef0: float = 1.0) -> float:
    """The unbiased estimate as torch-fidelity writes it (`mmd2`, gamma = 1 / F), pair by pair."""

    def k(u: np.ndarray, v: np.ndarray) -> float:
        return (sum(p * q for p, q in zip(u, v, strict=True)) / len(u) + coef0) ** degree

    m = len(x)
    within = sum(k(s[i], s[j]) for s in (x, y) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within - 2 * sum(k(u, v) for u in x for v in y) / (m * m)


def test_kid_equals_a_naive_reference():
    a, b = rng(0).normal(size=(12, 5)), rng(1).normal(0.5, 1.5, size=(12, 5))
    assert kid(a, b, rng=rng()).value == pytest.approx(naive_kid(a, b), rel=1e-12)


def test_kid_is_unbiased_on_known_gaussians_and_its_interval_covers():
    # (xy + 1)^3 has the features sqrt(3) x, sqrt(3) x^2, x^3: the distance is that of the first three moments
    def moments(mean: float, sd: float) -> np.ndarray:
        return np.array([mean, mean**2 + sd**2, mean**3 + 3 * mean * sd**2])

    truth = float(np.array([3, 3, 1]) @ (moments(0, 1) - moments(0.4, 1.2)) ** 2)
    found = [
        kid(rng(s).normal(size=(150, 1)), rng(900 + s).normal(0.4, 1.2, (150, 1)), rng=rng(s))
        for s in range(100)
    ]
    values = np.array([e.value for e in found])
    assert abs(values.mean() - truth) < 3 * values.std() / 10
    assert np.mean([e.low <= truth <= e.high for e in found]) > 0.85
    alike = ((rng(s).normal(size=(60, 3)), rng(900 + s).normal(size=(60, 3))) for s in range(200))
    null = np.array([kid(a, b, rng=rng(), repeats=2).value for a, b in alike])
    assert abs(null.mean()) < 3 * null.std() / 200**0.5


def test_paired_rows_do_not_lower_kid():
    plain, paired = [], []
    for s in range(100):
        shared = rng(s).normal(size=(40, 2))  # what row i of both sets has from its sources
        a, b = (shared + 0.3 * rng(1000 * k + s).normal(size=shared.shape) for k in (1, 2))
        plain.append(kid(a, b, rng=rng(), repeats=2).value)
        paired.append(kid(a, b, rng=rng(), repeats=2, paired=True).value)
    assert abs(np.mean(paired)) < 3 * np.std(paired) / 10
    assert np.mean(plain) < -3 * np.std(plain) / 10


def test_the_reference_is_near_zero_and_shapes_are_checked():
    x = rng().normal(size=(400, 4))
    reference = kid_reference(x[:300], x[300:], 100, rng=rng())
    assert reference.n == 100 and reference.low < 0 < reference.high
    with pytest.raises(ValueError, match="at least 2 rows"):
        kid(x[:1], x, rng=rng())
    with pytest.raises(ValueError, match="one feature space"):
        kid(x, x[:, :2], rng=rng())


# ---- Frechet distance


def test_frechet_is_the_closed_form_and_takes_singular_covariances():
    scipy = pytest.importorskip("scipy.linalg")
    a, b = rng(0).normal(size=(60, 4)) @ rng(1).normal(size=(4, 4)), rng(2).normal(1, 2, size=(90, 4))
    ca, cb = np.cov(a.T), np.cov(b.T)
    slow = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(ca + cb - 2 * np.real(scipy.sqrtm(ca @ cb)))
    assert frechet(a, b) == pytest.approx(float(slow), rel=1e-6)
    twice = np.concatenate([a, a], 1)  # of rank 4 in 8 dimensions
    assert frechet(twice, np.concatenate([b, b], 1)) == pytest.approx(2 * slow, rel=1e-6)
    line = rng(3).normal(size=(200_000, 1))
    assert frechet(2 * line + 3, line) == pytest.approx(3**2 + (2 - 1) ** 2, rel=0.02)
    with pytest.raises(ValueError, match="at least 2 rows in one feature space"):
        frechet(a, b[:, :2])


def test_fd_infinity_is_nearly_free_of_the_bias_and_its_interval_covers():
    scale = 1 / np.arange(1, 25) ** 0.5  # a spectrum such as that of pictures
    real = rng(99).normal(size=(4000, 24)) * scale
    real -= real.mean(0)
    for shift in (0.0, 0.3):
        truth = shift**2 * float(np.sum(scale**2))
        sets = [(rng(s).normal(size=(300, 24)) + shift) * scale for s in range(60)]
        plain = np.mean([frechet(a, real) for a in sets]) - truth
        values = np.array([fd_infinity(a, real, rng=rng(s), repeats=1).value for s, a in enumerate(sets)])
        assert abs(values.mean() - truth) < 3 * values.std() / 60**0.5 + 0.15 * plain
        found = [fd_infinity(a, real, rng=rng(s), repeats=20) for s, a in enumerate(sets[:20])]
        assert np.mean([e.low <= truth <= e.high for e in found]) > 0.75
    assert np.isfinite(fd_infinity(real[:2], real, rng=rng()).value)


# ---- density and coverage


def naive_density_coverage(samples: np.ndarray, real: np.ndarray, k: int) -> tuple[float, float]:
    """Equations 5 and 6, row by row."""
    ball = [sorted(np.linalg.norm(r - o) for o in real)[k] for r in real]
    inside = [[np.linalg.norm(r - s) < radius for s in samples] for r, radius in zip(real, ball, strict=True)]
    return np.sum(inside) / (k * len(samples)), float(np.mean([any(row) for row in inside]))


def test_density_and_coverage_equal_a_naive_reference():
    real, samples = rng(0).normal(size=(40, 3)), 0.7 * rng(1).normal(size=(50, 3))
    density, coverage = density_coverage(samples, real, rng=rng(), k=4)
    assert (density.value, coverage.value) == pytest.approx(naive_density_coverage(samples, real, 4))
    near = sorted(np.linalg.norm(real - real[7], axis=1))
    assert radii(real, 4)[7] == pytest.approx(near[4])


def test_density_and_coverage_equal_prdc():
    prdc = pytest.importorskip("prdc")
    real, samples = rng(0).normal(size=(200, 8)), 0.8 * rng(1).normal(size=(200, 8))
    theirs = prdc.compute_prdc(real, samples, nearest_k=5)
    density, coverage = density_coverage(samples, real, rng=rng())
    assert (density.value, coverage.value) == pytest.approx((theirs["density"], theirs["coverage"]))


def test_density_and_coverage_of_what_is_known():
    def both(samples: np.ndarray, real: np.ndarray, **more: bool) -> tuple[float, float]:
        return tuple(e.value for e in density_coverage(samples, real, rng=rng(), repeats=2, **more))

    n, k = 200, 5
    alike = np.array([both(rng(s).normal(size=(n, 4)), rng(900 + s).normal(size=(n, 4))) for s in range(40)])
    expected = 1 - np.prod([(n - 1 - i) / (2 * n - 1 - i) for i in range(k)])
    assert abs(alike.mean(0) - (1, expected)).max() < 0.03
    # two clusters and samples of one: as dense as real rows are there, and half of them are not covered
    real = rng(1).normal(size=(n, 2)) + 20 * (np.arange(n) % 2)[:, None]
    density, coverage = both(rng(2).normal(size=(n, 2)), real)
    assert density > 0.8 and 0.4 < coverage <= 0.5
    assert both(100 + rng(2).normal(size=(n, 2)), real) == (0, 0)
    # what a sample has of its own row's sources does not raise it
    shared = [rng(s).normal(size=(n, 2)) for s in range(20)]
    pairs = [[x + 0.3 * rng(1000 * k + s).normal(size=x.shape) for k in (1, 2)] for s, x in enumerate(shared)]
    plain, paired = (np.mean([both(a, b, paired=p)[0] for a, b in pairs]) for p in (False, True))
    assert abs(paired - 1) < 0.05 and plain > paired


def test_spread_is_the_mean_distance():
    x = rng().normal(size=(30, 3))
    slow = np.mean([np.linalg.norm(x[i] - x[j]) for i in range(30) for j in range(30) if i != j])
    assert spread(x) == pytest.approx(slow) and spread(x[:1]) == 0


# ---- two-sample test


def test_c2st_is_half_for_alike_sets_and_one_for_apart_ones():
    found = [
        c2st(rng(s).normal(size=(100, 3)), rng(900 + s).normal(size=(100, 3)), rng=rng(s)) for s in range(12)
    ]
    values = np.array([e.value for e in found])
    assert abs(values.mean() - 0.5) < 0.05 and np.mean([e.low <= 0.5 <= e.high for e in found]) > 0.7
    apart = c2st(3 + rng(0).normal(size=(100, 3)), rng(1).normal(size=(100, 3)), rng=rng())
    assert apart.value > 0.97 and apart.n == 100
    with pytest.raises(ValueError, match="two-sample"):
        c2st(rng().normal(size=(5, 2)), rng().normal(size=(5, 3)), rng=rng())


def test_c2st_equals_sklearn_on_one_fold_of_two():
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    a, b = rng(0).normal(0.4, 1, size=(120, 3)), rng(1).normal(size=(100, 3))
    mine, theirs = (lambda r: (r.permutation(120) % 2, r.permutation(100) % 2))(rng(5))
    areas = []
    for fold in (0, 1):
        x = np.concatenate([a[mine != fold], b[theirs != fold]])
        y = np.r_[np.ones((mine != fold).sum()), np.zeros((theirs != fold).sum())]
        trees = HistGradientBoostingClassifier(max_leaf_nodes=15, early_stopping=False).fit(x, y)
        x = np.concatenate([a[mine == fold], b[theirs == fold]])
        y = np.r_[np.ones((mine == fold).sum()), np.zeros((theirs == fold).sum())]
        areas.append(roc_auc_score(y, trees.decision_function(x)))
    assert c2st(a, b, rng=rng(5), folds=2).value == pytest.approx(np.mean(areas))


def test_c2st_sees_what_single_columns_do_not_show_and_is_not_fooled_by_equal_sources():
    x = rng(0).normal(size=(300, 1))
    true, shuffled = (
        np.concatenate([x, np.sign(v) + 0.1 * rng(1).normal(size=v.shape)], 1) for v in (x, x[::-1])
    )
    assert c2st(shuffled, true, rng=rng(), paired=True).value > 0.65  # half of the rows show nothing
    sources = [rng(s).normal(size=(100, 4)) for s in range(8)]
    found = [c2st(v, v.copy(), rng=rng(), paired=True).value for v in sources]
    assert abs(np.mean(found) - 0.5) < 0.02


# ---- copies


def test_copies_are_told_from_new_samples():
    def rows(count: int, seed: int) -> np.ndarray:
        return rng(seed).normal(size=(count, 6)).astype(np.float32)

    train, test, new = rows(600, 0), rows(200, 1), rows(200, 2)
    fresh = copies(new, train, test, rng=rng())
    assert fresh.ratio.low < 1 < fresh.ratio.high and fresh.nearer.low < 0.5 < fresh.nearer.high
    assert fresh.closer.value < 0.05 and fresh.exact.value <= 0.01
    stolen = copies(train[:200], train, test, rng=rng())
    assert (stolen.ratio.value, stolen.exact.value, stolen.closer.value) == (0, 1, 1)
    assert stolen.nearer.low > 0.5
    half = copies(np.concatenate([train[:100], new[:100]]), train, test, rng=rng())
    assert half.exact.low < 0.5 < half.exact.high
    # drawn for the sources of test rows, and so near to them: that is no sign for or against copying
    near = test + 0.1 * rows(200, 3)
    plain, paired = (copies(near, train, test, rng=rng(), paired=p).nearer for p in (False, True))
    assert plain.value < 0.05 and paired.low < 0.5 < paired.high


def test_interval_of_nearer_covers():
    sets = ([rng(1000 * k + s).normal(size=(n, 3)) for k, n in enumerate((60, 90, 60))] for s in range(60))
    found = [copies(*three, rng=rng()).nearer for three in sets]
    assert np.mean([e.low <= 0.5 <= e.high for e in found]) > 0.85


def test_nearest_is_exact():
    a, b = (rng(s).normal(size=(300, 4)).astype(np.float32) for s in (0, 1))
    slow = np.sqrt(((a[:, None] - b[None]) ** 2).mean(-1))
    assert np.allclose(nearest(a, b), slow.min(1), atol=1e-5)
    assert (nearest(a, a) == 0).all()


# ---- features


def image_column():
    return Table.from_rows([{"image": picture_of("left top", i)} for i in range(4)]).columns["image"]


@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (2, 24, 24, 1), (2, 40, 70, 3)])
@pytest.mark.parametrize("space", [pixel_features, edge_features, random_conv_features])
def test_features_of_any_image(space, shape):
    images = rng().uniform(-1, 1, shape).astype(np.float32)
    found = space(images)
    assert found.dtype == np.float32 and len(found) == shape[0] and np.isfinite(found).all()
    assert np.array_equal(found, space(images)) and np.allclose(found[1:2], space(images[1:2]), atol=1e-5)
    assert np.isfinite(space(np.ones(shape))).all()


def test_features_refuse_what_is_no_batch_of_images():
    with pytest.raises(ValueError, match="N, H, W, C"):
        edge_features(np.zeros((8, 8)))


def test_edges_take_an_outline_for_its_shape_and_random_conv_sees_colour():
    disc, square = disc_at(12, 12), np.where(np.maximum(*np.abs(np.mgrid[:24, :24] - 12)) < 6, -1.0, 1.0)
    ring = np.where((disc < 0) & (disc_at(12, 12, 4) > 0), -1.0, 1.0)
    f = edge_features(np.stack([disc, ring, square, -disc])[..., None])
    assert np.linalg.norm(f[0] - f[1]) < np.linalg.norm(f[0] - f[2]) and np.allclose(f[0], f[3], atol=0.05)
    red, blue = np.full((2, 1, 16, 16, 3), -1.0)
    red[..., 0], blue[..., 2] = 1, 1
    assert np.abs(random_conv_features(red) - random_conv_features(blue)).max() > 0.1


def test_features_of_values():
    assert features_of(LinearNumber.fit([0.0, 2.0]), [0.0, 2.0]).tolist() == [[-1], [1]]
    low, high = features_of(Number.fit([0.0, 2.0]), [0.0, 2.0]).flatten().tolist()
    assert low == pytest.approx(-high) and low < 0
    assert features_of(Label.fit(["a", "b"]), ["b", "a"]).tolist() == [[0, 1], [1, 0]]
    words = features_of(Text.fit(["red disc", "blue box"]), ["red disc", "red dish", "blue box", ""])
    assert words.dtype == np.float32 and np.isfinite(words).all()
    assert np.linalg.norm(words[0] - words[1]) < np.linalg.norm(words[0] - words[2])
    assert features_of(image_column(), [picture_of("left top", 0)]).ndim == 2


def test_reduced_keeps_the_largest_directions():
    x = rng().normal(size=(200, 100)).astype(np.float32) * np.r_[[9.0] * 4, [0.1] * 96]
    few = Reduced(x, 4)(x)
    assert few.shape == (200, 4) and few.var(0).sum() > 0.99 * x.var(0).sum()
    assert Reduced(x[:, :3])(x[:, :3]) is not None and Reduced(x[:5])(x).shape == (200, 5)


# ---- agreement


def test_nearest_caption():
    captions = ["truck", "truck alert", "heart", "heart plus", "bell"]
    for by in ("jaccard", "tfidf"):
        found = agreement.nearest_caption(["truck alert outline", "plus heart"], captions, rng=rng(), by=by)
        assert found.tolist() == [1, 3]
    lost = {int(agreement.nearest_caption(["unheard"], captions, rng=rng(s))[0]) for s in range(40)}
    assert lost == set(range(5))  # no word in common: any of them
    tied = {int(agreement.nearest_caption(["a b"], ["a", "b", "c"], rng=rng(s))[0]) for s in range(20)}
    assert tied == {0, 1}


def test_candidates_are_never_forbidden_ones():
    forbidden = rng().random((20, 50)) < 0.3
    chosen = agreement.choose_candidates(forbidden, 10, rng=rng())
    assert chosen.shape == (20, 10) and not forbidden[np.arange(20)[:, None], chosen].any()
    assert all(len(set(row)) == 10 for row in chosen.tolist())
    assert agreement.choose_candidates(forbidden, 1000, rng=rng()).shape[1] == (~forbidden).sum(1).min()
    assert agreement.choose_candidates(np.ones((2, 3), bool), 5, rng=rng()).shape == (2, 0)


def test_ranks_of_perfect_and_of_blind_draws():
    pool, truth = (rng(s).normal(size=(n, 8)).astype(np.float32) for s, n in ((0, 500), (1, 300)))
    rivals = agreement.choose_candidates(np.zeros((300, 500), bool), 99, rng=rng())
    noise = rng(2).normal(size=(300, 1, 8)).astype(np.float32)
    assert (agreement.ranks(truth[:, None] + 0.01 * noise, truth, pool, rivals) == 1).all()
    blind = agreement.summarise(agreement.ranks(noise, truth, pool, rivals), rng=rng())
    for name, value in agreement.chance(99).items():
        assert blind[name].low <= value <= blind[name].high
    both = np.concatenate([noise, truth[:, None]], 1)  # one of two draws is right
    assert (agreement.ranks(both, truth, pool, rivals) == 1).all()
    same = agreement.ranks(noise[:2], 0 * truth[:2], 0 * pool, rivals[:2])
    assert (same == 50.5).all()  # all as far: the middle


def test_classifier_learns_repeats_itself_and_leaves_the_global_generator_alone():
    labels = rng().integers(3, size=240)
    images = np.stack([toy_image(int(k), 1, rng(i)) for i, k in enumerate(labels)]) / 127.5 - 1
    state = torch.get_rng_state()
    train, test = images[:160, ..., None], images[160:, ..., None]
    first, again = (agreement.Classifier(train, labels[:160], 3, steps=30) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(first(test), again(test)) and np.mean(first(test) == labels[160:]) > 0.95


# ---- evaluate


COLUMNS, PLACES = ["left", "middle", "right"], ["top", "centre", "low"]


def disc_at(y: float, x: float, radius: float = 6, size: int = 24) -> np.ndarray:
    down, right = np.mgrid[:size, :size]
    return np.where((down - y) ** 2 + (right - x) ** 2 < radius**2, -1.0, 1.0)


def toy_image(column: int, row: int, noise: np.random.Generator) -> np.ndarray:
    """A grey 12x12 picture with a block in one of 3 columns and 3 rows."""
    picture = noise.normal(200, 12, (12, 12))
    picture[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] -= 160
    return picture.clip(0, 255)


def picture_of(text: str, seed: int) -> PIL.Image.Image:
    column, place = text.split()[:2]
    pixels = toy_image(COLUMNS.index(column), PLACES.index(place), rng(seed))
    return PIL.Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def table() -> Table:
    texts = [f"{COLUMNS[i % 3]} {PLACES[i // 3 % 3]} number{i // 18}" for i in range(360)]
    rows = [
        {"image": picture_of(text, i), "text": text, "label": text.split()[0], "size": float(i)}
        for i, text in enumerate(texts)
    ]
    return Table.from_rows(rows, {"text": "text", "label": "label", "size": "number"}, holdout=0.2)


class Fake:
    """A model that draws what the text says, with new noise, or any training image."""

    def __init__(self, table: Table, formula: str, good: bool) -> None:
        self.table, self.formula, self.good = table, Formula.parse(formula), good

    def sample(self, rows: list[Row], *, seed: int = 0, steps: int = 8) -> list[Row]:
        kept = self.table.train.column("image")
        images = [
            picture_of(row["text"], 10_000 + i) if self.good else kept[int(rng(i).integers(len(kept)))]
            for i, row in enumerate(rows)
        ]
        return [{"size": 1.0, **row, "image": image} for row, image in zip(rows, images, strict=True)]


@pytest.fixture
def quick(monkeypatch, short_classifier):
    """Classifiers that are trained for a second."""
    monkeypatch.setattr(agreement, "Classifier", functools.partial(agreement.Classifier, steps=40))


def test_evaluate_tells_a_good_model_from_a_blind_one(table, quick):
    models = (Fake(table, "image | text, label", good) for good in (True, False))
    good, blind = (evaluate(model, table, n=60, candidates=50) for model in models)
    rank = "image ~ text: mean rank"
    assert good[rank].value.high < blind[rank].value.low
    assert blind[rank].value.low < blind[rank].chance < blind[rank].value.high
    label = "image ~ label: accuracy"
    assert good[label].value.value > 0.95 and good[label].real.value > 0.95 and blind[label].value.value < 0.6
    assert good["image: copies"].value.value == 0 and blind["image: copies"].value.value == 1
    assert blind["image: distance to train"].value.value == 0
    for space in ("edges", "random_conv"):
        line = good[f"image: KID of {space}"]
        assert line.value.low <= line.real.high


def test_evaluate_a_real_model(table, short_classifier):
    model = Model("image, label | text", table.columns, width=64, depth=1)
    report = evaluate(model, table, n=4, steps=2)
    assert np.isfinite(report["held-out loss"].value.value)
    assert {"image ~ text: mean rank", "image ~ label: accuracy"} <= {line.name for line in report.results}
    with pytest.raises(ValueError, match="guidance"):
        evaluate(model, table, n=4, guidnce=2)


def test_an_evaluation_reports_its_parts(table, quick):
    reports: list[Progress] = []
    model = Model("size | label", table.columns, "flow", width=16, depth=1)
    with receive_progress(reports.append):
        evaluate(model, table, n=8, likelihood_rows=2, steps=2)
    assert [report.stage for report in reports[:3]] == ["samples", "loss", "likelihood"]
    assert reports[0].steps is None and {report.stage for report in reports[3:]} == {"metrics"}
    assert [(report.step, report.steps) for report in reports[1:]] == [
        (i, len(reports) - 1) for i in range(len(reports) - 1)
    ]
    assert len(reports) > 3


def test_report_is_json_and_a_table_and_repeats_itself(table, quick):
    model = Fake(table, "image | text", True)
    first, again = (evaluate(model, table, n=30, draws=2, steps=3) for _ in range(2))
    assert first == again and first.n == 30 and first.sampling_options == {"steps": 3}
    assert (
        json.loads(json.dumps(first.to_json(), allow_nan=False))["results"][0]["name"]
        == "image: KID of edges"
    )
    lines = str(first).splitlines()
    assert lines[0] == "P(image | text): 30 held-out rows, draws 2, seed 0, steps 3"
    header = next(line for line in lines if "real rows" in line)
    places = [header.index(word) for word in ("model", "real rows", "baseline", "chance")]
    body = lines[lines.index(header) + 1 :][: len(first.results)]
    assert all(line[place - 1] == " " for line in body for place in places if len(line) > place)
    with pytest.raises(KeyError, match="there are: image: KID of edges"):
        first["no such thing"]


class Values:
    """A model of label, number and text given size: as in the data, or of any other row."""

    def __init__(self, formula: str, good: bool) -> None:
        self.formula, self.good = Formula.parse(formula), good

    def sample(self, rows: list[Row], *, seed: int = 0) -> list[Row]:
        sizes = [row["size"] if self.good else 10 * rng(i).random() for i, row in enumerate(rows)]
        return [
            {**value(size, 5000 + i), **row} for i, (size, row) in enumerate(zip(sizes, rows, strict=True))
        ]

    def log_prob(self, rows: list[Row], *, seed: int = 0) -> Score:
        if "number" not in str(self.formula):
            raise ValueError("labels and texts are categorical")
        nats = torch.tensor(
            [-((row["number"] - row["size"]) ** 2) / 0.02 - 0.5 * np.log(0.02 * np.pi) for row in rows]
        )
        return Score(nats, "exact", 1)


def value(size: float, seed: int) -> Row:
    label, draw = "large" if size > 5 else "small", rng(seed)
    words = " ".join(draw.choice(["a", "very", "quite", "that", "one"], 3))
    return {"label": label, "number": size + 0.1 * float(draw.normal()), "text": f"{words} {label}"}


@pytest.fixture(scope="module")
def numbers() -> Table:
    rows = [{**value(10 * i / 600, i), "size": 10 * i / 600} for i in range(600)]
    return Table.from_rows(
        rows, {"text": "text", "size": "number", "number": "number"}, holdout=0.3, by="size"
    )


@pytest.mark.parametrize("targets", ["number", "number, label", "text, number"])
def test_evaluate_values_and_what_they_were_drawn_for(numbers, targets):
    good, blind = (evaluate(Values(f"{targets} | size", g), numbers, n=150) for g in (True, False))
    for line in good.results:
        assert np.isfinite(line.value.value), line
    joint = f"{targets}, size: C2ST"
    assert good[joint].value.low < 0.6 and blind[joint].value.low > 0.65
    assert abs(good[joint].real.value - 0.5) < 0.1
    # each alone is drawn as often as it should be
    assert blind[f"{targets}: C2ST"].value.value < 0.75 and good[f"{targets}: coverage"].value.value > 0.9
    assert good[f"{targets}: FD-infinity"].value.value < 0.5
    heads = [line.heading for line in good.results if line.heading]
    assert len(heads) == len(set(heads)) and {"KID", "FD∞", "density", "coverage", "C2ST"} <= set(heads)


def test_likelihood_is_that_of_the_model_in_bits_or_there_is_a_reason(numbers, quick):
    report = evaluate(Values("number | size", True), numbers, n=150)
    line = report["held-out bits/dim"]
    truth = 0.5 * np.log2(2 * np.pi * np.e * 0.01)  # the entropy of N(size, 0.1^2)
    assert line.kind == "exact" and line.value.n == 100 and line.value.low < truth < line.value.high
    assert "exact" in str(report)
    lost = evaluate(Values("text | size", True), numbers, n=20)
    assert "no held-out likelihood: labels and texts are categorical" in lost.notes
    none = evaluate(Values("number | size", True), numbers, n=20, likelihood_rows=0)
    assert all(line.name != "held-out bits/dim" for line in none.results)


def test_a_text_is_a_copy_if_it_is_the_same():
    def texts(first: int, last: int) -> list[Row]:
        return [{"text": " ".join(rng(i).choice([*"abcdefgh"], 12))} for i in range(first, last)]

    own = Table.from_rows(texts(0, 100), {"text": "text"}, holdout=0.3)
    reference = ReferenceSet.choose(own, Formula.parse("text"), 30, 1, 0)
    metrics = TableMetrics(reference, ["text"], main=True, alone=True)
    for drawn, truth in ((texts(1000, 1030), 0), ([own.train[i] for i in range(30)], 1)):
        [line] = [line for line in metrics.results(drawn) if line.name == "text: copies"]
        assert line.value.value == truth and line.real.value == 0


def test_labels_alone_have_no_neighbourhoods_and_the_report_says_so(numbers, quick):
    report = evaluate(Values("label | size", True), numbers, n=60)
    assert "as most rows have duplicates" in str(report) and "label: KID" in [
        line.name for line in report.results
    ]
    assert all("density" not in line.name for line in report.results)


def test_a_model_that_cannot_sample_fails_before_metrics_are_prepared(table, quick, monkeypatch):
    monkeypatch.setattr(
        "likewise.evaluation.evaluator.metric_groups", lambda *_: pytest.fail("metrics were prepared")
    )
    with pytest.raises(TypeError, match="guidnce"):
        evaluate(Fake(table, "image | text", True), table, n=5, guidnce=2)


def test_what_is_not_measured_is_said(table, quick):
    assert "image with size" in str(evaluate(Fake(table, "image, size", False), table, n=20))


def test_evaluate_says_what_it_cannot_do(table, quick):
    with pytest.raises(ValueError, match="n must be a whole number from 2"):
        evaluate(Fake(table, "image | text", True), table, n=1)
    small = Table.from_rows([{"x": float(i), "label": "ab"[i % 2]} for i in range(8)])
    with pytest.raises(
        ValueError,
        match=r"holds out 1 of 8 rows and evaluation needs at least 2; open it with a holdout of 0.2",
    ):
        evaluate(Fake(small, "label | x", True), small)
    with pytest.raises(TypeError, match="guidnce"):
        evaluate(Fake(table, "image | text", True), table, n=5, guidnce=2)
