"""The contrastive family and what is measured of it: truth in the toy world, losses by hand, metrics beside scikit-learn's."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from sklearn.metrics import accuracy_score, coverage_error, top_k_accuracy_score
from torch import Tensor

from likewise.cli.main import main
from likewise.core.batch import Context
from likewise.core.formula import Formula
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.data.table import Table
from likewise.evaluation.evaluator import evaluate
from likewise.evaluation.evaluators.embedding import ClipScores, overlap_notes
from likewise.evaluation.metrics import retrieval
from likewise.evaluation.reference import ReferenceSet
from likewise.families.contrastive import Contrastive, equal, info_nce, siglip
from likewise.models.model import Model
from likewise.training.loss import heldout_loss
from likewise.training.plan import Plan
from likewise.training.trainer import train

REAL = toy.rows(80, seed=9)  # rows that no model has seen
THINGS = np.array([i % 4 for i in range(80)])
TINY = {"width": 32, "depth": 1, "embed_dim": 16}
PLAN = {"batch": 64, "lr": 4e-3, "muon_lr": 0.03, "warmup": 10, "precision": "float32"}
KINDS = {"image": "image", "label": "label", "text": "text", "number": "number"}
CACHE: dict[tuple[str, str], Model] = {}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def held() -> Table:
    """The toy world with rows held out."""
    return Table.from_rows(toy.rows(320), KINDS, holdout=0.25, by="number")


def learned(table: Table, formula: str, objective: str = "infonce", steps: int = 120) -> Model:
    """A model of the toy world, trained once for all tests that ask it."""
    if (formula, objective) not in CACHE:
        model = Model(formula, table.columns, "contrastive", objective=objective, **TINY)
        for _ in train(model, table, Plan(steps=steps, **PLAN)):
            pass
        CACHE[formula, objective] = model.eval()
    return CACHE[formula, objective]


def units(*shape: int, seed: int = 0) -> np.ndarray:
    x = rng(seed).normal(size=shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# ---- what it learns


@pytest.mark.parametrize("objective", ["infonce", pytest.param("siglip", marks=pytest.mark.full)])
def test_words_and_pictures_find_each_other(held: Table, objective: str) -> None:
    model = learned(held, "image, text", objective)
    words, pictures = model.embed("text", toy.WORDS), model.embed("image", [r["image"] for r in REAL])
    assert words.shape == (4, 16) and pictures.shape == (80, 16) and pictures.dtype == torch.float32
    near = (pictures @ words.T).numpy()
    assert (near.argmax(1) == THINGS).mean() > 0.9
    assert (THINGS[near.argmax(0)] == np.arange(4)).all()


@pytest.mark.full
def test_three_columns_are_aligned_at_once(held: Table) -> None:
    model = learned(held, "image, label, number", steps=200)
    u = {c: model.embed(c, [row[c] for row in REAL]).numpy() for c in model.targets}
    right = np.equal.outer(THINGS, THINGS)
    for a, b in itertools.permutations(u, 2):
        assert (retrieval.ranks(u[a], u[b], right) <= 1).mean() > 0.9, (a, b)


def test_the_parts_of_the_loss_are_logged_and_it_falls(held: Table) -> None:
    model = Model("image, text", held.columns, "contrastive", **TINY)
    before = heldout_loss(model, held)
    steps = list(train(model, held, Plan(steps=60, **PLAN)))
    assert set(steps[-1].loss_terms) == {"accuracy", "scale"}
    assert steps[-1].loss_terms["accuracy"] > steps[0].loss_terms["accuracy"]
    assert heldout_loss(model, held) < before / 2


# ---- the losses


def test_info_nce_is_that_of_the_paper_where_no_rows_are_alike() -> None:
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    own = torch.arange(6)
    cross = torch.nn.functional.cross_entropy
    expected = (cross(logits, own, reduction="none") + cross(logits.T, own, reduction="none")) / 2
    torch.testing.assert_close(info_nce(logits, ~torch.eye(6, dtype=torch.bool)), expected)


def test_siglip_is_that_of_the_paper_where_no_rows_are_alike() -> None:
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).double()
    sign = 2 * torch.eye(6) - 1
    expected = -torch.nn.functional.logsigmoid(sign * logits).sum() / 6  # Algorithm 1 of Zhai et al.
    torch.testing.assert_close(siglip(logits, ~torch.eye(6, dtype=torch.bool)).mean(), expected)


@pytest.mark.parametrize("loss", [info_nce, siglip])
def test_duplicates_are_no_wrong_answers(loss) -> None:
    """The loss of a row is as if the other rows of its value were not there."""
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    same = torch.eye(5, dtype=torch.bool)
    same[0, 3] = same[3, 0] = True
    whole = loss(logits, ~same)
    rest = [0, 1, 2, 4]
    alone = loss(logits[rest][:, rest], ~torch.eye(4, dtype=torch.bool))
    torch.testing.assert_close(whole[0], alone[0])
    assert not torch.isclose(whole[1], alone[1])
    slope = torch.autograd.grad(whole.sum(), logits)[0]
    assert slope[0, 3] == slope[3, 0] == 0 and (slope[~same] != 0).all()


def batch(rows: int, seed: int = 0) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "image": torch.rand(rows, 100, 1, generator=draw) * 2 - 1,
        "text": torch.randint(1, 9, (rows, 5), generator=draw),
    }


def family(objective: str = "infonce") -> Contrastive:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        specs = {"image": Spec((10, 10), axes=IMAGE), "text": Spec((5,), classes=9, padded=True)}
        made = Contrastive(specs, {}, objective=objective, **TINY)
        with torch.no_grad():  # blocks start as nothing: that would hide what flows through them
            for p in made.parameters():
                p.add_(0.1 * torch.randn_like(p))
    return made


def loss_of(f: Contrastive, x: dict[str, Tensor]) -> Tensor:
    rows = len(x["text"])
    return f.loss(x, Context.full({}, rows), "model", Rng(range(rows), "test"))


def test_rows_of_one_caption_do_not_push_each_other_away() -> None:
    f, x = family(), batch(6)
    assert loss_of(f, x).min().item() > 0.1
    x["text"] = x["text"][:1].expand(6, -1)
    assert loss_of(f, x).abs().max() < 1e-5  # one caption: there is no wrong answer
    x = batch(6)
    x["image"] = x["image"][:1].expand(6, -1, -1)
    assert loss_of(f, x).abs().max() < 1e-5
    assert equal(torch.tensor([[1, 2], [1, 3], [1, 2]])).tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]


def test_the_padding_of_a_text_counts_nowhere() -> None:
    """A short text has one embedding, alone and beside a long one."""
    f = family().eval()
    x = torch.tensor([[3, 4, 0, 0, 0], [1, 2, 3, 4, 5]])
    with torch.no_grad():
        torch.testing.assert_close(f.embed("text", x[:1]), f.embed("text", x)[:1])
        assert not torch.allclose(f.embed("text", x[:1]), f.embed("text", x[1:]))


def test_an_embedding_depends_on_its_value_alone(held: Table, tmp_path: Path) -> None:
    model = learned(held, "image, text")
    pictures = [row["image"] for row in REAL]
    whole = model.embed("image", pictures)
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(80))
    for size in (1, 7):
        torch.testing.assert_close(model.embed("image", pictures, batch=size), whole, atol=1e-5, rtol=1e-4)
    model.save(tmp_path)
    assert torch.equal(Model.load(tmp_path).embed("image", pictures), whole)


def test_a_resumed_run_is_the_same(held: Table, tmp_path: Path) -> None:
    def losses(folder: Path, stop: int | None = None, resume: bool = False) -> list[float]:
        model = Model("image, text", held.columns, "contrastive", **TINY)
        run = train(model, held, Plan(steps=8, **{**PLAN, "batch": 8}), folder, resume=resume)
        found = []
        for step in run:
            found.append(step.loss)
            if step.step == stop:
                run.close()
        return found

    whole = losses(tmp_path / "a")
    assert losses(tmp_path / "b", stop=4) + losses(tmp_path / "b", resume=True) == whole


# ---- errors


def test_what_it_cannot_do_is_said(held: Table) -> None:
    flow = Model("image | text", held.columns, width=32, depth=1)
    model = Model("image, text", held.columns, "contrastive", **TINY)
    wrong = [
        (
            lambda: Model("image | text", held.columns, "contrastive"),
            "write 'image, text' in place of 'image | text'",
        ),
        (lambda: Model("image", held.columns, "contrastive"), "two columns or more"),
        (
            lambda: Model("image, text", held.columns, "contrastive", objective="clip"),
            "infonce, siglip, not 'clip'",
        ),
        (lambda: model.sample([{}]), "the family contrastive draws nothing"),
        (lambda: model.given().sample(), "the family contrastive draws nothing"),
        (lambda: model.log_prob([{}]), "no density"),
        (lambda: model.embed("imgae", []), "unknown target 'imgae': did you mean 'image'"),
        (lambda: model.embed("text", [3]), "text: int is not a text"),
        (lambda: flow.embed("image", []), "the family flow has no embedding"),
        (
            lambda: evaluate(model, held, draws=2),
            "does not sample, so it is measured with n, seed and concept",
        ),
        (lambda: evaluate(model, held, steps=2), "leave the other options out"),
        (
            lambda: evaluate(flow, held, clip=Model("text, label", held.columns, "contrastive")),
            "align a target",
        ),
    ]
    for call, says in wrong:
        with pytest.raises(ValueError, match=says):
            call()


# ---- metrics


def test_ranks_and_recall_are_those_of_scikit_learn() -> None:
    queries, candidates = units(40, 6), units(40, 6, seed=1)
    near, own = queries @ candidates.T, np.eye(40, dtype=bool)
    found = retrieval.ranks(queries, candidates, own)
    assert found.mean() == pytest.approx(coverage_error(own, near))
    summary = retrieval.summarise(found, np.arange(40), rng=rng())
    for k in retrieval.TOPS:
        expected = top_k_accuracy_score(np.arange(40), near, k=k, labels=np.arange(40))
        assert summary[f"recall@{k}"].value == pytest.approx(expected)
        assert summary[f"recall@{k}"].low <= expected <= summary[f"recall@{k}"].high
    assert summary["mean rank"].value == pytest.approx(found.mean()) and summary["mean rank"].n == 40
    said = retrieval.nearest_class(queries, candidates[:5])
    assert accuracy_score(near[:, :5].argmax(1), said) == 1


def test_several_right_answers_do_not_stand_in_each_others_way() -> None:
    candidates = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
    query = np.array([[1.0, 0.0]])
    cases = [([1, 0, 0, 0], 1), ([0, 1, 1, 0], 2), ([0, 0, 0, 1], 4), ([1, 1, 1, 1], 1)]
    for right, rank in cases:
        assert retrieval.ranks(query, candidates, np.array([right], bool)) == rank
    twins = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert retrieval.ranks(query, twins, np.array([[True, False]])) == 1.5
    with pytest.raises(ValueError, match="needs a relevant candidate"):
        retrieval.ranks(query, candidates, np.zeros((1, 4), bool))


def test_chance_is_what_blind_vectors_score() -> None:
    right = np.zeros((60, 24), bool)
    for i, row in enumerate(right):
        row[rng(i).permutation(24)[: 1 + i % 5]] = True
    found = np.concatenate(
        [retrieval.ranks(units(60, 8, seed=s), units(24, 8, seed=900 + s), right) for s in range(100)]
    )
    blind = retrieval.chance(right)
    error = 3 * found.std() / math.sqrt(24 * 100)
    assert abs(found.mean() - blind["mean rank"]) < error
    assert abs(np.median(found) - blind["median rank"]) <= 1
    for k in retrieval.TOPS:
        assert abs((found <= k).mean() - blind[f"recall@{k}"]) < 0.03


def test_an_interval_knows_that_rows_of_a_group_are_no_news() -> None:
    hits = np.repeat(rng().random(30) < 0.5, 20)
    plain, grouped = (retrieval.accuracy(hits, g, rng=rng()) for g in (np.arange(600), np.arange(600) // 20))
    assert plain.value == grouped.value and plain.n == grouped.n == 600
    assert grouped.high - grouped.low > 3 * (plain.high - plain.low)
    sure = retrieval.accuracy(np.ones(600, bool), np.arange(600) // 20, rng=rng())
    assert sure.high == 1 and 0.8 < sure.low < 0.95


def test_clip_score_and_its_floor() -> None:
    a, b = np.eye(3), np.array([[1.0, 0, 0], [0, 0.6, 0.8], [0, 0, 1.0]])
    assert retrieval.clip_score(a, b, np.arange(3), rng=rng()).value == pytest.approx(2.6 / 3)
    assert retrieval.clip_score_chance(a, b, np.eye(3, dtype=bool)) == pytest.approx(0.8 / 6)


# ---- reports


def test_the_report_of_a_run(held: Table) -> None:
    report = evaluate(learned(held, "image, label, number", steps=100), held, n=60)
    assert report.n == 60 and report["label from image: accuracy"].value.value > 0.9
    assert 0.2 < report["label from image: accuracy"].chance < 0.4
    line = report["image from number: recall@10"]
    assert line.value.value > line.chance and line.better == "higher" and line.value.n == 60
    assert report["image, label: cosine"].value.value > report["image, label: cosine"].chance + 0.3
    assert "held-out loss" in str(report) and json.loads(json.dumps(report.to_json()))["n"] == 60
    words = evaluate(learned(held, "image, text"), held, n=60)
    assert words["text from image: recall@1"].value.value > 0.9
    assert words["text from image: recall@1"].chance == pytest.approx(0.25)  # of four words, each once
    assert words["image from text: recall@1"].value.n == 4


def test_clip_scores_tell_right_samples_from_wrong(held: Table) -> None:
    reference = ReferenceSet.choose(held, Formula.parse("image | text"), 40, 1, 0)
    scores = ClipScores(learned(held, "image, text"), reference)
    texts = reference.test_values("text")
    drawn = [
        {"text": text, "image": toy.rows(4, seed=i)[toy.WORDS.index(text)]["image"]}
        for i, text in enumerate(texts)
    ]
    other = [
        {"text": text, "image": row["image"]} for text, row in zip(texts, drawn[1:] + drawn[:1], strict=True)
    ]
    (right,), (wrong,) = scores.results(drawn), scores.results(other)
    assert right.name == "image, text: CLIP score" and right.value.low < right.real.value + 0.1
    assert right.value.value > right.chance + 0.3
    assert wrong.value.value < right.value.value - 0.2 and wrong.real == right.real
    seen = held.add_views("image[size=7] | text")
    small = ClipScores(
        scores.clip, ReferenceSet.choose(seen, Formula.parse("image[size=7] | text"), 40, 1, 0)
    )
    resized = [{"text": row["text"], "image[size=7]": row["image"].resize((7, 7))} for row in drawn]
    (line,) = small.results(resized)
    assert line.name == "image[size=7], text: CLIP score" and line.value.value > line.chance + 0.3
    assert line.real.value != right.real.value  # real pictures are as small


def test_a_clip_model_that_may_have_seen_what_is_held_out_is_said(held: Table) -> None:
    own = {"source": None, "fingerprint": held.fingerprint}
    assert overlap_notes(own, held) == []
    assert (
        "trained with fingerprint abc and the rows here have"
        in overlap_notes({**own, "fingerprint": "abc"}, held)[0]
    )


def test_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "things").mkdir()
    lines = []
    for i, row in enumerate(toy.rows(40)):
        row["image"].save(f"things/{i}.png")
        lines.append(
            json.dumps({"file_name": f"{i}.png", "text": f"{row['text']} {i % 5}", "label": row["label"]})
        )
    Path("things/metadata.jsonl").write_text("\n".join(lines))
    tiny = ["--width", "32", "--depth", "1", "--batch", "8", "--steps", "2", "--objective", "siglip"]
    args = ["things", "image, text, label", "--family", "contrastive", "--out", "run", "--holdout", "0.2"]
    assert main(["train", *args, *tiny]) == 0
    assert "likewise evaluate run" in capsys.readouterr().out and not Path("run/samples.png").exists()
    assert main(["evaluate", "run", "--n", "20"]) == 0
    out = capsys.readouterr().out
    assert "text from image: recall@5" in out and "label from image: accuracy" in out
    names = [line["name"] for line in json.loads(Path("run/report.json").read_text())["results"]]
    assert "image from text: mean rank" in names
    for command in (
        ["sample", "run"],
        ["evaluate", "run", "--sweep", "guidance"],
        ["compare", "things", "image, text", "--families", "contrastive"],
    ):
        assert main(command) == 1
        assert "the family contrastive draws nothing" in capsys.readouterr().err
