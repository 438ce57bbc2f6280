"""Probabilities of tokens, one by one: they are those of log_prob, and of what is sampled."""

from __future__ import annotations

import pytest
import torch

from likewise.core.batch import Context
from likewise.core.rng import Rng
from likewise.data.table import Table
from likewise.models.model import Model
from likewise.models.token_scores import score_ids, text_column


def shaken(model: Model) -> Model:
    """The model with random weights all over, so that its probabilities differ."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.family.parameters():
            weight += 0.2 * torch.randn(weight.shape, generator=generator)
    return model


@pytest.fixture(scope="module")
def documents() -> Model:
    """A model of a document, in windows of 32 bytes."""
    text = " ".join(f"{n} green bottles" for n in range(99, 40, -1))
    table = Table.from_rows([{"text": text}], {"text": "document"}, holdout=0.0)
    columns = {"text": table.columns["text"].refit([], length=32)}
    return shaken(Model("text", columns, width=32, depth=1))


@pytest.mark.parametrize("length", [0, 1, 5, 31, 32, 33, 48, 100])
def test_tokens_of_a_document_add_up_to_its_log_prob(documents: Model, length: int) -> None:
    text = ("99 green bottles hanging on the wall, é and so on " * 3)[:length]
    [scores] = score_ids(documents, [{}], [text_column(documents)[1].ids(text)], alternatives=3)
    assert len(scores.log_probs) == len(scores.ids) and len(scores.top_ids) == len(scores.ids) + 1
    if text:
        assert float(scores.log_probs.sum()) == pytest.approx(
            float(documents.log_prob([{"text": text}]).nats), abs=1e-3
        )
    assert scores.after is not None and float(scores.after.exp().sum()) == pytest.approx(1, abs=1e-5)


def test_tokens_of_texts_and_their_ends_add_up_to_their_log_prob(world: Table) -> None:
    model = shaken(Model("text | label", world.columns, width=16, depth=1))
    _, column = text_column(model)
    rows = [{"label": "0"}, {"label": "3"}, {}]
    texts = ["a disc", "x", "ring"]
    scores = score_ids(model, rows, [column.ids(text) for text in texts])
    sums = [float(s.log_probs.sum() + (0 if s.after is None else s.after[0])) for s in scores]
    density = model.log_prob([{**row, "text": text} for row, text in zip(rows, texts, strict=True)]).nats
    assert sums == pytest.approx(density.tolist(), abs=1e-4)
    assert scores[0].after is None or len(column.ids("a disc")) < column.length
    with pytest.raises(ValueError, match="tokens, and there is room for"):
        score_ids(model, [{}], [column.ids("a disc, a box, a ring")])


def test_the_most_likely_alternative_is_what_is_sampled_at_temperature_0(documents: Model) -> None:
    none = Context({}, torch.zeros(1, 0, dtype=torch.bool))
    rng = Rng([0], "sample", 0)
    [ids] = documents.family.sample(none, known=None, temperature=0, tokens=60, rng=rng)["text"]  # type: ignore[attr-defined]
    ids = ids[: int((ids != 0).sum())]
    [scores] = score_ids(documents, [{}], [ids], alternatives=2)
    assert scores.top_ids[: len(ids), 0].tolist() == ids.tolist()
    assert torch.equal(scores.top_log_probs[: len(ids), 0], scores.log_probs)
    assert (scores.top_log_probs[:, 0] >= scores.top_log_probs[:, 1]).all()


def test_a_model_of_more_than_a_text_has_no_tokens(world: Table) -> None:
    with pytest.raises(ValueError, match="does not sample one text alone"):
        score_ids(Model("text, label", world.columns, width=16, depth=1), [{}], [torch.zeros(0)])
