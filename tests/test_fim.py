"""Filling in the middle: rearranged rows, their loss, what is drawn between two parts, and what is said to mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from likewise.cli.main import main
from likewise.core.batch import Context
from likewise.core.rng import Rng
from likewise.data.table import Table
from likewise.generation.sequence.constraints import Constraint
from likewise.generation.sequence.fim import PRE, SENTINELS, from_psm, psm_prompt, to_psm
from likewise.models.model import Model

SMALL: dict[str, Any] = {"width": 64, "depth": 2}
LOOP = "abcdefgh"
WHEEL = LOOP * 700
PAIRS = [("abc", "gha"), ("", "cde"), ("fghab", ""), ("bcd", "habcd")]


@pytest.fixture(scope="module")
def table() -> Table:
    return Table.from_rows([{"text": WHEEL}], options={"length": 16, "vocabulary": 257}, holdout=0)


@pytest.fixture(scope="module")
def model(table: Table) -> Model:
    return toy.trained(Model("text", table.columns, fim=0.8, **SMALL), table, 60, batch=32)


def words() -> Table:
    rows = [
        {"text": f"{a} {b} {a}", "label": b} for a in ("one", "four", "eleven") for b in ("up", "down")
    ] * 4
    return Table.from_rows(rows, {"text": "text", "label": "label"}, holdout=0)


def nothing(rows: int) -> Context:
    return Context({}, torch.zeros(rows, 0, dtype=torch.bool))


def shaken(model: Model) -> Model:
    """Its weights moved, so that what it says depends on all that it reads."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
        model.family.heads[0].out.weight.add_(
            0.5 * torch.randn(model.family.heads[0].out.weight.shape, generator=generator)
        )
    return model.eval()


# ---- rows


def test_what_is_rearranged_can_be_restored() -> None:
    classes, seen = 10, set()
    ids = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0], [8, 0, 0, 0, 0], [0, 0, 0, 0, 0]]).repeat(200, 1)
    told = to_psm(ids, Rng(range(len(ids)), "cuts", 0).uniform(2), classes)
    assert told.shape == (len(ids), ids.shape[1] + SENTINELS) and torch.equal(
        from_psm(told, classes)[:, :5], ids
    )
    for row, line in zip(told.tolist(), ids.tolist(), strict=True):
        used = [i for i in line if i]
        first, second = row.index(11), row.index(12)
        prefix, suffix, middle = row[:first], row[first + 1 : second], row[second + 1 : len(used) + 2]
        assert prefix + middle + suffix == used and row[len(used) + 2 :] == [0] * (6 - len(used))
        begun = psm_prompt(*(torch.tensor([[*part, 0]]) for part in (prefix, suffix)), classes)[0]
        assert [i for i in begun.tolist() if i] == row[: second + 1]
        if len(used) == 5:
            seen.add((len(prefix), len(middle)))
    assert len(seen) == 21  # every pair of cuts
    assert torch.equal(told[0], to_psm(ids[:1], Rng([0], "cuts", 0).uniform(2), classes)[0])


def test_windows_are_shortened() -> None:
    """Else the lengths of prefix and suffix would tell that of the middle."""
    ids = torch.tensor([[1, 2, 3, 4, 5]]).repeat(300, 1)
    back = from_psm(to_psm(ids, Rng(range(300), "cuts", 0).uniform(3), 10), 10)[:, :5]
    lengths = (back != 0).sum(1)
    assert lengths.unique().tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(back, ids * (torch.arange(5) < lengths[:, None]))


def test_what_ends_nowhere_is_restored_too() -> None:
    told = torch.tensor([[1, 11, 4, 5, 12, 2, 3], [11, 12, 0, 0, 0, 0, 0]])
    assert from_psm(told, 10).tolist() == [[1, 2, 3, 4, 5, 0, 0], [0] * 7]


# ---- the loss


@pytest.mark.parametrize("kind", ["document", "text"])
def test_the_loss_counts_every_token_once_and_no_mark(table: Table, kind: str) -> None:
    """Of a model that only knows how often each id comes: all of a row, in any order, and the end of the middle."""
    own = table if kind == "document" else words()
    model = Model(
        "text", {"text": own.columns["text"]}, infill=None if kind == "document" else 0.0, fim=1.0, **SMALL
    )
    head, column = model.family.heads[0], model.columns["text"]
    with torch.no_grad():
        head.out.weight.zero_()
        head.out.bias.normal_(generator=torch.Generator().manual_seed(0))
    ids = torch.stack(
        [
            column.encode(text)
            for text in (["the quick", WHEEL] if kind == "document" else ["one up one", "four down four"])
        ]
    )
    nats = head.out.bias.detach().log_softmax(0)
    rng = Rng(range(2), "train", 0)
    if kind == "document":  # what is left of it after the third cut
        told = from_psm(to_psm(ids, rng.uniform(4)[:, 1:], column.spec.classes), column.spec.classes)
    else:
        told = ids
    expected = [float(-(nats[row[row != 0]].sum() + nats[0]) / column.length) for row in told]
    loss = model.family.loss({"text": ids}, nothing(2), "model", Rng(range(2), "train", 0))
    assert loss.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", ["document", "text"])
def test_rows_that_are_not_rearranged_are_as_before(table: Table, kind: str) -> None:
    own = table if kind == "document" else words()
    columns = {"text": own.columns["text"]}
    infill = None if kind == "document" else 0.0
    plain = shaken(Model("text", columns, infill=infill, **SMALL))
    weights = plain.family.state_dict()
    assert set(weights) == set(Model("text", columns, infill=infill, fim=0.0, **SMALL).family.state_dict())
    ids = own.columns["text"].encode_all(
        [row["text"][:20] for row in own][:6] if kind == "text" else [WHEEL, "the quick"]
    )
    losses = {}
    for fim in (0.0, 1e-9, 1.0):
        model = Model("text", columns, infill=infill, fim=fim, **SMALL)
        model.family.load_state_dict(weights, strict=False)
        losses[fim] = model.family.loss(
            {"text": ids}, nothing(len(ids)), "model", Rng(range(len(ids)), "train", 0)
        ).tolist()
        score = model.log_prob([{"text": "one up"}]).nats
        assert score == pytest.approx(plain.log_prob([{"text": "one up"}]).nats, rel=1e-5)
    assert losses[1e-9] == pytest.approx(losses[0.0], rel=1e-5) and losses[1.0] != pytest.approx(
        losses[0.0], rel=1e-3
    )


def test_every_weight_learns_even_if_no_row_is_rearranged(table: Table) -> None:
    """Processes that train together wait for all gradients."""
    model = Model("text", {"text": words().columns["text"]}, fim=1e-9, **SMALL)
    ids = model.columns["text"].encode_all(["one up one"])
    model.family.loss({"text": ids}, nothing(1), "model", Rng([0], "train", 0)).sum().backward()
    assert {n for n, p in model.family.named_parameters() if p.grad is None} <= {
        n for n, p in model.family.named_parameters() if n.startswith("context_encoder.")
    }


# ---- drawing


@pytest.mark.parametrize(("kind", "grams"), [("document", 0), ("document", 64), ("text", 0)])
def test_what_is_drawn_is_what_training_sees(table: Table, kind: str, grams: int) -> None:
    """The most likely ids of a middle, by the cache and by one pass over the rearranged row."""
    column = (table if kind == "document" else words()).columns["text"]
    model = shaken(Model("text", {"text": column}, fim=0.5, hashed_ngrams=grams, **SMALL))
    family, classes = model.family, column.spec.classes
    with torch.no_grad():
        family.heads[0].out.bias[0] = -20  # it does not end
    parts = [column.ids("four")[None], column.encode_continuation("r")[None]]
    drawn = family.sample(
        nothing(1),
        known=None,
        temperature=0,
        tokens=4,
        rng=Rng([0], "sample", 0),
        prompt={"text": parts[0]},
        suffix={"text": parts[1]},
    )["text"]
    n = parts[0].shape[1]
    drawn = drawn[:, : int((drawn != 0).sum())]
    assert (
        drawn.shape[1] == n + 4 + 1
        and torch.equal(drawn[:, :n], parts[0])
        and int(drawn[0, -1]) == int(parts[1][0, 0])
    )
    told = torch.cat([psm_prompt(*parts, classes), drawn[:, n : n + 4]], dim=1)
    with torch.no_grad():
        masks = {"text": torch.zeros(1, column.length, dtype=torch.bool)}
        reading = family._encode_context(
            nothing(1), {"text": torch.zeros(1, column.length, dtype=torch.int64)}, masks
        )
        [h] = family.causal(
            [family.likelihood.embed(0, told)],
            told != 0,
            reading,
            family.embeddings[0].sentinels[PRE].expand(1, 1, -1),
        )
        assert torch.equal(family.heads[0](h).argmax(-1)[:, -4:], told[:, -4:])


def test_a_middle_is_what_stands_between() -> None:
    """Six letters of the wheel, from anywhere in it: what stands before and after a gap says what is in it."""
    texts = [WHEEL[k : k + 6] for k in range(8)]
    own = Table.from_rows([{"text": text} for text in texts * 8], {"text": "text"}, holdout=0)
    model = toy.trained(Model("text", own.columns, fim=0.8, infill=0.0, **SMALL), own, 250, batch=32)
    cuts = [(text, a, b) for text in texts for a in range(5) for b in range(a + 1, 6)]
    rows = model.sample([{}] * len(cuts), prompts=[(text[:a], text[b:]) for text, a, b in cuts])
    assert sum(row["text"] == text for row, (text, _, _) in zip(rows, cuts, strict=True)) / len(cuts) > 0.8
    told = model.log_prob([{"text": text} for text in texts]).nats.exp()  # and from left to right, 1 / 8 each
    assert 0.7 < told.sum() <= 1.0001 and told.min() > 0.04


def test_middles_of_any_length_are_drawn_together(model: Model) -> None:
    together = model.sample([{}] * 4, prompts=PAIRS, temperature=1.5)
    for i, pair in enumerate(PAIRS):
        [alone] = model.sample([{}], prompts=[pair], indices=[i], temperature=1.5)
        assert alone["text"] == together[i]["text"]


def test_stops_tokens_and_streams_are_of_the_middle(model: Model) -> None:
    pair = ("fgh", "gha")
    sampling_options: dict[str, Any] = {"temperature": 1.2, "seed": 3}
    [free] = model.sample([{}], prompts=[pair], **sampling_options)
    assert pair[0] + "".join(model.stream(prompt=pair, **sampling_options)) + pair[1] == free["text"]
    [few] = model.sample([{}], prompts=[pair], tokens=1, **sampling_options)
    assert len(few["text"]) <= len("".join(pair)) + 1
    for stop in ("c", "ef"):
        [row] = model.sample([{}], prompts=[pair], stop=[stop], **sampling_options)
        middle = row["text"][len(pair[0]) : len(row["text"]) - len(pair[1])]
        assert row["text"] == pair[0] + middle + pair[1] and stop not in middle
        assert (
            pair[0] + "".join(model.stream(prompt=pair, stop=[stop], **sampling_options)) + pair[1]
            == row["text"]
        )


@pytest.mark.full
def test_a_source_says_what_is_in_the_middle() -> None:
    texts = [(f"{a}{word}{a}", label, a) for a in "xyz" for word, label in (("up", "u"), ("in", "i"))]
    own = Table.from_rows(
        [{"text": text, "label": label} for text, label, _ in texts] * 8,
        {"text": "text", "label": "label"},
        holdout=0,
    )
    model = toy.trained(Model("text | label", own.columns, fim=0.8, infill=0.0, **SMALL), own, 200, batch=32)
    rows = model.sample(
        [{"label": label} for _, label, _ in texts], prompts=[(a, a) for _, _, a in texts], temperature=0
    )
    assert [row["text"] for row in rows] == [text for text, _, _ in texts]
    [row] = model.sample([{"label": "u"}], prompts=[("", "upx")], temperature=0)
    assert row["text"] == "xupx"  # without the blank that stands before every text


# ---- runs, commands, mistakes


def test_a_run_without_fim_is_trained_on_with_it(table: Table, tmp_path: Path) -> None:
    shaken(Model("text", table.columns, **SMALL)).save(tmp_path / "run", data={}, plan={}, step=1)
    plain, more = Model.load(tmp_path / "run"), Model.load(tmp_path / "run", fim=0.5)
    rows = [{"text": WHEEL[:100]}]
    assert more.log_prob(rows).nats == pytest.approx(plain.log_prob(rows).nats)
    assert len(more.sample([{}], prompts=[PAIRS[0]])) == 1


def test_the_command_fills_a_text(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.save(tmp_path / "run", data={"source": None}, plan={}, step=1)
    words = ["infill", str(tmp_path / "run"), "--prefix", "abc", "--suffix", "gha"]
    assert main([*words, "-n", "1"]) == 0
    alone = capsys.readouterr().out
    assert alone.startswith("abc") and alone.endswith("gha\n")
    assert main([*words, "-n", "2", "--stop", "zz"]) == 0
    assert capsys.readouterr().out.startswith(alone.rstrip("\n"))
    assert main([*words, "-n", "2", "--out", str(tmp_path / "texts.jsonl")]) == 0
    lines = [json.loads(line) for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    assert [line["likewise"]["prompt"] for line in lines] == [["abc", "gha"]] * 2 and lines[0][
        "text"
    ] + "\n" == alone
    capsys.readouterr()
    for wrong, said in (
        (["--box", "0,0,1,1"], "--box cannot be used with"),
        (["red"], "unexpected argument 'red' beside"),
    ):
        assert main([*words, *wrong]) == 1 and said in capsys.readouterr().err
    assert main([*words[:2], "--stop", "x"]) == 1 and "give the text around it" in capsys.readouterr().err


def test_what_cannot_be_filled_is_said(
    model: Model, table: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = Model("text", table.columns, **SMALL)
    with pytest.raises(ValueError, match=r"trained without fim; train one with --fim 0.5"):
        plain.sample([{}], prompts=[PAIRS[0]])
    with pytest.raises(ValueError, match="trained without fim"):
        list(plain.stream(prompt=PAIRS[0]))
    mixed: list[Any] = ["the", ("the", "fox")]
    alone = [model.sample([{}], prompts=[prompt], indices=[i])[0] for i, prompt in enumerate(mixed)]
    assert model.sample([{}] * 2, prompts=mixed) == alone
    with pytest.raises(ValueError, match=r"prompts are texts, or all of them pairs"):
        model.sample([{}], prompts=[("a", "b", "c")])
    with pytest.raises(
        ValueError, match=r"the prompt has 16 tokens, and the model sees 16 at once.*give less of it"
    ):
        model.sample([{}], prompts=[("x" * 8, "y" * 8)])
    with pytest.raises(ValueError, match="fim must be a number from 0 to 1, not 2"):
        Model("text", table.columns, fim=2.0, **SMALL)
    with pytest.raises(ValueError, match="has no sentinel tokens; leave fim out"):
        Model("text", table.columns, fim=0.5, compat="llama", **SMALL)
    with pytest.raises(ValueError, match=r"fim=0.5 is for one target that is a text"):
        Model("number", toy.table(16).columns, "autoregressive", fim=0.5, **SMALL)
    own = words()
    short = Model("text", own.columns, fim=0.5, **SMALL)
    with pytest.raises(ValueError, match="two ways to fill in a text"):
        short.sample([{}], prompts=[("one", "one")], known={"text": "one up one"})
    with pytest.raises(ValueError, match="leave prompts, stop and tokens out"):
        short.sample([{}], prompts=[("one", "one")], constraint={"text": Constraint.regex("a+")})
    Model("label", own.columns, "autoregressive", **SMALL).save(tmp_path / "run", data={}, plan={}, step=1)
    assert main(["infill", str(tmp_path / "run"), "--prefix", "a"]) == 1
    assert "--prefix and --suffix are for a model whose one target is a text" in capsys.readouterr().err


def test_marks_are_read_whatever_is_dropped(table: Table) -> None:
    """With next to no letter read, the loss still depends on all three marks, and on no letter."""
    family = shaken(Model("text", table.columns, fim=1.0, dropout=0.9999, **SMALL)).family.train()
    x = {"text": table.train.encoded("text", range(6))}
    family.loss(x, nothing(6), "model", Rng(range(6), "train", 0)).sum().backward()
    assert (family.embeddings[0].sentinels.grad.abs().amax(1) > 0).all()
    assert not family.embeddings[0].weight.grad.any()
