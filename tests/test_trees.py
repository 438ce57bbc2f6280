"""The family trees: known distributions, what is known of later columns, densities, gaps, and how it is trained and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from likewise.core.batch import Batch, Context, EncodedRows
from likewise.core.known import KnownParts
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.data.table import Table
from likewise.evaluation.comparison.families import compare
from likewise.families.trees import Trees
from likewise.generation.trees.fitting import fit_tree
from likewise.models.checkpoint import RunError
from likewise.models.model import Model
from likewise.training.plan import Plan
from likewise.training.trainer import train

N = 4000
LABELS = {"a": Spec((1,), classes=2), "b": Spec((1,), classes=3)}
JOINT = torch.tensor([[0.1, 0.2, 0.3], [0.25, 0.1, 0.05]])  # P(a, b)
NUMBERS = {"x": Spec((1,)), "y": Spec((1,))}


def label_rows(joint: Tensor = JOINT, rows: int = N) -> Batch:
    """Rows of a and b with these frequencies exactly."""
    counts = (joint.flatten() * rows).round().long()
    place = torch.arange(joint.numel()).repeat_interleave(counts)
    return {"a": (place // 3)[:, None], "b": (place % 3)[:, None]}


def number_rows(rows: int = N, seed: int = 0) -> Batch:
    """x normal, y = x + 0.3 e."""
    e = torch.randn(2, rows, generator=torch.Generator().manual_seed(seed))
    return {"x": e[0][:, None, None], "y": (e[0] + 0.3 * e[1])[:, None, None]}


def fitted(x: Batch, targets: dict[str, Spec], c: Context | None = None, **more: Any) -> Trees:
    rows = len(next(iter(x.values())))
    family = Trees(targets, more.pop("sources", {}), **more)
    family.init_from_data(x, c or Context.full({}, rows), Rng(range(rows), "begin"))
    return family


def nothing(rows: int) -> Context:
    return Context.full({}, rows)


def draw(family: Trees, rows: int, known: Batch | None = None, seed: int = 0, **options: Any) -> Batch:
    values = {n: v.expand(rows, *v.shape[1:]) for n, v in (known or {}).items()}
    masks = {n: torch.ones(rows, 1, dtype=torch.bool) for n in values}
    parts = KnownParts(values, masks) if values else None
    return family.sample(nothing(rows), known=parts, rng=Rng(range(rows), "draw", seed), **options)


def frequencies(ids: Tensor, classes: int) -> Tensor:
    return torch.bincount(ids.flatten(), minlength=classes) / len(ids)


# ---- distributions that are known


@pytest.mark.parametrize("targets", [LABELS, dict(reversed(LABELS.items()))])
def test_classes_have_their_joint_distribution(targets: dict[str, Spec]) -> None:
    samples = draw(fitted(label_rows(), targets), N)
    found = frequencies(samples["a"] * 3 + samples["b"], 6).view(2, 3)
    assert (found - JOINT).abs().max() < 0.025


@pytest.mark.parametrize(("name", "value"), [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2)])
def test_a_known_class_conditions_the_other_whichever_comes_first(name: str, value: int) -> None:
    """P(a | b) is sampled by particles, P(b | a) directly: both by Bayes' rule."""
    other = "b" if name == "a" else "a"
    right = JOINT[value] if name == "a" else JOINT[:, value]
    samples = draw(fitted(label_rows(), LABELS), 2000, {name: torch.tensor([[value]])}, particles=50)
    assert (samples[name] == value).all()
    found = frequencies(samples[other], LABELS[other].classes)
    assert (found - right / right.sum()).abs().max() < 0.04


def test_a_known_number_conditions_those_before() -> None:
    """E[x | y] = y / 1.09, and its deviation is 0.29."""
    family = fitted(number_rows(), NUMBERS)
    for y in (-1.2, 0.0, 1.5):
        x = draw(family, 300, {"y": torch.tensor([[[y]]])}, particles=200)["x"]
        assert float(x.mean()) == pytest.approx(y / 1.09, abs=0.1)
        assert 0.2 < float(x.std()) < 0.45


def test_numbers_depend_on_one_another() -> None:
    samples = draw(fitted(number_rows(), NUMBERS), N)
    x, y = samples["x"].flatten(), samples["y"].flatten()
    assert float(x.mean()) == pytest.approx(0, abs=0.06) and float(x.std()) == pytest.approx(1, abs=0.05)
    assert float((y - x).std()) == pytest.approx(0.3, abs=0.05)


def test_an_absent_source_is_marginalised() -> None:
    """Without its source a is as frequent as it is, and with what is known of b the source is inferred."""
    x = label_rows()
    source = Context.full({"s": x["a"]}, N)
    family = fitted({"b": x["b"]}, {"b": LABELS["b"]}, source, sources={"s": LABELS["a"]})
    absent = Context({"s": torch.zeros(N, 1, dtype=torch.int64)}, torch.zeros(N, 1, dtype=torch.bool))
    found = family.sample(absent, known=None, rng=Rng(range(N), "draw"))["b"]
    assert (frequencies(found, 3) - JOINT.sum(0)).abs().max() < 0.03
    row = Context({"s": absent.values["s"][:1]}, absent.present[:1])
    for b in range(3):
        score = family.log_prob({"b": torch.tensor([[b]])}, row, rng=Rng([0], "score"), particles=5000)
        assert score.kind == "estimate"
        assert float(score.nats.exp()) == pytest.approx(float(JOINT[:, b].sum()), abs=0.02)


# ---- values


def test_no_number_of_one_row_is_copied_and_all_are_within_the_range() -> None:
    x = number_rows()
    samples = draw(fitted(x, NUMBERS), 1000)
    for name in NUMBERS:
        assert not set(samples[name].flatten().tolist()) & set(x[name].flatten().tolist())
        assert samples[name].min() >= x[name].min() and samples[name].max() <= x[name].max()


def test_values_that_repeat_come_back_as_they_are() -> None:
    """Zero inflation: three of four are 0, the others are no training value."""
    x = torch.zeros(400, 1, 1)
    x[::4] = 1 + torch.rand(100, 1, 1, generator=torch.Generator().manual_seed(0))
    found = draw(fitted({"x": x}, {"x": NUMBERS["x"]}), 2000)["x"].flatten()
    assert float((found == 0).float().mean()) == pytest.approx(0.75, abs=0.03)
    assert not set(found[found != 0].tolist()) & set(x.flatten().tolist())


def test_a_sample_is_the_same_in_any_batch_also_beside_rows_that_need_particles() -> None:
    family = fitted(number_rows(), NUMBERS)
    rows, y = 6, torch.linspace(-1, 1, 6)[:, None, None]
    some = torch.tensor([[True], [False]] * 3)
    together = family.sample(
        nothing(rows), known=KnownParts({"y": y}, {"y": some}), rng=Rng(range(rows), "draw", 0)
    )
    for i in range(rows):
        known = KnownParts({"y": y[i : i + 1]}, {"y": some[i : i + 1]})
        alone = family.sample(nothing(1), known=known, rng=Rng([i], "draw", 0))
        assert all(torch.equal(alone[n][0], together[n][i]) for n in NUMBERS)
    plain = draw(family, rows)
    assert torch.equal(plain["x"][1::2], together["x"][1::2])


# ---- densities


def test_densities_are_exact_frequencies_of_classes() -> None:
    family = fitted(label_rows(), LABELS, pseudocount=1e-6)
    pairs = {"a": torch.tensor([0, 0, 0, 1, 1, 1])[:, None], "b": torch.tensor([0, 1, 2] * 2)[:, None]}
    score = family.log_prob(pairs, nothing(6), rng=Rng(range(6), "score"))
    assert score.kind == "exact" and score.dims == 2
    assert torch.allclose(score.nats.exp().view(2, 3), JOINT, atol=1e-4)


@pytest.mark.parametrize("smoothing", [0.01, 15.0])
def test_a_density_integrates_to_one(smoothing: float) -> None:
    """That of x, and that of y given x = 0.3, with values that repeat among them."""
    x = number_rows(600)
    x["y"][::3] = x["y"][::3].round()
    trees = fitted(x, NUMBERS, smoothing=smoothing).trees
    for j in range(2):
        edges = torch.cat([torch.linspace(-60, 60, 12001).double(), trees.edges(j)]).unique()
        places = ((edges[1:] + edges[:-1]) / 2).float()
        leaf = trees.leaves(j, torch.full((len(places), 2), 0.3))
        total = (trees.log_density(j, leaf, places).exp() * edges.diff()).sum()
        assert float(total) == pytest.approx(1, abs=0.001)


def test_a_density_is_near_the_truth_and_finite_far_from_it() -> None:
    x, fresh = number_rows(), number_rows(1000, seed=1)
    family = fitted(x, NUMBERS)
    nats = family.log_prob(fresh, nothing(1000), rng=Rng(range(1000), "score")).nats
    e = (fresh["y"] - fresh["x"]).flatten() / 0.3
    truth = -0.5 * (fresh["x"].flatten() ** 2 + e**2) - np.log(2 * np.pi * 0.3)
    assert -0.02 < float((truth - nats).mean()) < 0.25
    far = {n: torch.tensor([[[1e6]], [[-50.0]]]) for n in NUMBERS}
    assert family.log_prob(far, nothing(2), rng=Rng(range(2), "score")).nats.isfinite().all()


def test_a_class_that_no_row_has_is_possible() -> None:
    family = fitted({"b": torch.zeros(50, 1, dtype=torch.int64)}, {"b": LABELS["b"]})
    score = family.log_prob({"b": torch.tensor([[2]])}, nothing(1), rng=Rng([0], "score"))
    assert score.nats.isfinite().all() and float(score.nats) < -4


def test_a_part_of_the_targets_has_its_marginal_density() -> None:
    """P(b), a summed out by particles; P(a), the first column, is exact."""
    family = fitted(label_rows(), LABELS)
    for name, kind in (("a", "exact"), ("b", "estimate")):
        ids = torch.arange(LABELS[name].classes)[:, None]
        other = "b" if name == "a" else "a"
        rows = {name: ids, other: torch.zeros_like(ids)}
        observed = {n: torch.full((len(ids), 1), n == name) for n in LABELS}
        rng = Rng(range(len(ids)), "score")
        score = family.log_prob(rows, nothing(len(ids)), rng=rng, observed=observed, particles=5000)
        right = JOINT.sum(1 if name == "a" else 0)
        assert score.kind == kind and (score.nats.exp() - right).abs().max() < 0.02


# ---- gaps


def test_rows_are_learned_in_part() -> None:
    """What stands for missing values has no effect, and their rows still teach the other columns."""
    x, gone = number_rows(), torch.arange(N) % 2 == 0
    families = []
    for junk in (0.0, 99.0):
        rows = {n: v.clone() for n, v in x.items()}
        rows["x"][gone] = junk
        families.append(fitted(EncodedRows(rows, {"x": ~gone}), NUMBERS))
    first, second = (draw(family, 1000) for family in families)
    assert all(torch.equal(first[n], second[n]) for n in NUMBERS)
    assert float((first["y"] - first["x"]).std()) < 0.6 and float(first["y"].std()) == pytest.approx(
        1.04, abs=0.1
    )


def test_a_column_without_any_value_is_learned_as_nothing() -> None:
    x = EncodedRows(number_rows(50), {"y": torch.zeros(50, dtype=torch.bool)})
    assert draw(fitted(x, NUMBERS), 5)["y"].isfinite().all()


# ---- trees


def test_a_leaf_is_that_of_scikit_learn() -> None:
    """Also of features that are neighbouring float32 numbers."""
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(0)
    grid = np.float32(1) + np.arange(40, dtype=np.float32) * np.finfo(np.float32).eps
    columns = np.stack([rng.choice(grid, 500), rng.normal(size=500).astype(np.float32)], 1)
    columns = np.concatenate([columns, (columns[:, :1] > grid[20]) + rng.normal(size=(500, 1))], 1)
    columns = columns.astype(np.float32)
    family = Trees({n: Spec((1,)) for n in "abc"}, {}, min_leaf=5)
    family.trees.set_trees([fit_tree(columns[:, : j + 1], [0] * (j + 1), 5, seed=j) for j in range(3)])
    theirs = DecisionTreeRegressor(min_samples_leaf=5, random_state=2).fit(columns[:, :2], columns[:, 2])
    ours = family.trees.leaves(2, torch.from_numpy(columns)) - family.trees.first_node[2]
    assert (ours.numpy() == theirs.apply(columns[:, :2])).all()


def test_levels_without_an_order_are_split_by_what_they_predict() -> None:
    """Odd and even of 20 levels: one split of sorted means, where ids would need ten."""
    ids = np.arange(2000) % 20
    columns = np.stack([ids, ids % 2 + 0.01 * np.random.default_rng(0).normal(size=2000)], 1)
    tree = fit_tree(columns.astype(np.float32), [20, 0], 600, seed=0)
    assert len(tree.feature) == 3


def test_many_classes_are_learned() -> None:
    """100 classes, by their codes: each follows x."""
    ids = torch.arange(4000) % 100
    specs = {"x": Spec((1,)), "k": Spec((1,), classes=100)}
    family = fitted({"x": ids[:, None, None] / 50.0, "k": ids[:, None]}, specs)
    samples = draw(family, 500)
    assert float((samples["x"].flatten() * 50 - samples["k"].flatten()).abs().mean()) < 3


@pytest.mark.parametrize(
    "spec", [Spec((4, 4), axes=IMAGE), Spec((6,), classes=9, padded=True), Spec((1,), width=3)]
)
def test_columns_of_several_tokens_are_refused(spec: Spec) -> None:
    for columns in (({"odd": spec}, {}), (NUMBERS, {"odd": spec})):
        with pytest.raises(
            ValueError, match="the family trees learns numbers and labels, and 'odd' is neither"
        ):
            Trees(*columns)


# ---- through a model


def table(rows: int = 300) -> Table:
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, rows)
    income = np.round(500 * age * rng.lognormal(sigma=0.3, size=rows), 2)
    return Table.from_rows(
        [
            {"age": int(a), "income": float(i), "city": "Oslo" if a > 50 else "Rome"}
            for a, i in zip(age, income, strict=True)
        ],
        {"age": "number", "income": "number", "city": "label"},
    )


def test_training_is_one_step_that_is_saved_loaded_and_resumed(tmp_path: Path) -> None:
    data, folder = table(), tmp_path / "run"
    model = Model("age, income, city", data.columns, "trees", min_leaf=5)
    steps = list(train(model, data, Plan(minutes=5), folder))
    assert len(steps) == 1 and steps[0].progress == 1 and steps[0].heldout is not None
    again = Model.load(folder)
    assert again.sample([{}] * 20, seed=1) == model.sample([{}] * 20, seed=1)
    known = [{"city": "Oslo"}] * 20
    assert again.sample(known, seed=1) == model.sample(known, seed=1)
    rows = list(data.train)[:5]
    assert torch.equal(again.log_prob(rows).nats, model.log_prob(rows).nats)
    assert list(train(Model.load(folder), data, Plan(minutes=5), folder, resume=True)) == []
    assert json.loads((folder / "model.json").read_text())["step"] == 1


def test_rows_are_what_the_data_say() -> None:
    data = table()
    model = Model("age, income, city", data.columns, "trees")
    for _ in train(model, data, Plan(steps=1)):
        pass
    for row in model.sample([{}] * 100, seed=0):
        assert isinstance(row["age"], int) and 18 <= row["age"] < 80
        assert row["city"] == ("Oslo" if row["age"] > 50 else "Rome")
        assert row["income"] == round(row["income"], 2)


def test_it_is_fitted_anew_rather_than_fine_tuned() -> None:
    data = table()
    model = Model("age, city", data.columns, "trees")
    for _ in train(model, data, Plan(steps=1)):
        pass
    with pytest.raises(RunError, match="fitted anew.*begin without the trained model"):
        model.adapt(data)


def test_rows_limits_what_trees_are_fitted_to() -> None:
    data = table()
    model = Model("age, income", data.columns, "trees", rows=50)
    for _ in train(model, data, Plan(steps=1)):
        pass
    assert len(model.family.trees.values) == 2 * 50


@pytest.mark.full
def test_compare_shows_it(tmp_path: Path) -> None:
    for _ in range(2):  # then from its folder
        result = compare(
            "age, income, city",
            table(),
            ["trees"],
            minutes=0.01,
            folder=tmp_path / "c",
            n=30,
            likelihood_rows=20,
        )
        [entry] = result.entries
        assert entry.family == "trees" and not entry.reason and entry.steps == (1,)
