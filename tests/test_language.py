"""Language: documents as windows, prompts and stops, streams, bits a byte."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from likewise import reading, stream
from likewise.cli import main
from likewise.evaluation.language import bits_per_byte, held_out_rows
from likewise.layout import Context
from likewise.modalities import Document
from likewise.modalities.document import passages
from likewise.model import Model
from likewise.reading import TableError
from likewise.stream import Stream
from likewise.table import Table
from likewise.writing import windows

SMALL: dict[str, Any] = {"width": 64, "depth": 2}
VERSE = "".join(f"{n} green bottles hanging on the wall,\nand if {n % 7} of them should fall\n\n" for n in range(120, 0, -1))
PROSE = "".join(f"Chapter {n}. It was the {n}th day, naïve as ever: " + "so it goes. " * (n % 9) + "\n" for n in range(160))


@pytest.fixture(scope="module")
def table() -> Table:
    """Two documents, the last tenth of each held out."""
    return Table.from_rows([{"text": VERSE}, {"text": PROSE}], options={"length": 32, "vocabulary": 300})


@pytest.fixture(scope="module")
def model(table: Table) -> Model:
    return toy.trained(Model("text", table.columns, **SMALL), table, 150, batch=32)


# ---- reading


def test_passages_are_the_document_again(table: Table) -> None:
    for text in (VERSE, PROSE, "a" * 5000, " \n" * 2000, "one\n" + " " * 1500 + "two"):
        parts = list(passages(text))
        assert "".join(parts) == text and max(map(len, parts)) <= 800
    assert len(table) > 20 and set(table.kinds) == {"text"} and table.kinds["text"] == "document"
    whole = [row["text"] for row in table.documents("text")]
    assert whole == [VERSE, PROSE]
    parts = [[row["text"] for row in part.documents("text")] for part in (table.train, table.test)]
    assert [a + b for a, b in zip(*parts, strict=True)] == [VERSE, PROSE]     # the last passages of each are held out
    assert all(0.02 < len(b) / len(text) < 0.2 for b, text in zip(parts[1], (VERSE, PROSE), strict=True))


def test_many_documents_are_held_out_whole() -> None:
    texts = [f"document {n}: " + VERSE for n in range(25)]
    table = Table.from_rows([{"text": text, "title": f"a title {n}"} for n, text in enumerate(texts)])
    held = [row["text"] for row in table.test.documents("text")]
    assert held and all(text in texts for text in held)
    assert not set(held) & {row["text"] for row in table.train.documents("text")}
    assert {row["title"] for row in table.test.documents("text")} == {f"a title {texts.index(text)}" for text in held}


def test_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_bytes(PROSE.replace("\n", "\r\n").encode())
    book = Table.open(tmp_path / "book.txt")
    assert book.kinds == {"text": "document"} and book.documents("text")[0]["text"] == PROSE
    for name in ("sea", "land"):
        (tmp_path / "poems" / name).mkdir(parents=True)
        for n in range(6):
            (tmp_path / "poems" / name / f"{n}.txt").write_text(f"{name} poem {n}")
    poems = Table.open(tmp_path / "poems")
    assert poems.kinds == {"text": "text", "label": "label"} and len(poems) == 12
    (tmp_path / "poems" / "sea" / "long.md").write_text(VERSE)
    poems = Table.open(tmp_path / "poems", holdout=0)
    assert poems.kinds == {"text": "document", "label": "label"} and len(poems) > 12
    assert [row["label"] for row in poems.documents("text") if row["text"] == VERSE] == ["sea"]


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    latin, empty = tmp_path / "latin.txt", tmp_path / "empty.txt"
    latin.write_bytes("ni\xf1o".encode("latin-1") + b" " + VERSE.encode())
    empty.write_text(" \n")
    with pytest.raises(TableError, match=r"latin.txt is not UTF-8: byte 2 is 0xf1; .*--encoding latin-1"):
        Table.open(latin)
    with pytest.raises(TableError, match=r"no encoding 'latin-nine'"):
        Table.open(latin, encoding="latin-nine")
    with pytest.raises(TableError, match=r"empty.txt is empty"):
        Table.open(empty)
    with pytest.raises(TableError, match="more than 4,096 characters"):
        Table.open(latin, encoding="latin-1", kinds={"text": "text"})
    with pytest.raises(TableError, match="are documents, and rows can be passages of one only"):
        Table.from_rows([{"text": VERSE, "more": PROSE}])
    table = Table.open(latin, encoding="latin-1")
    assert table.documents("text")[0]["text"].startswith("niño")
    assert Table.open(**table.reopen_args()).fingerprint == table.fingerprint
    assert main(["data", str(latin)]) == 1 and "--encoding" in capsys.readouterr().err


# ---- windows


def test_windows_begin_anywhere_and_end_with_their_document(table: Table) -> None:
    column = table.columns["text"]
    whole = [column.ids(row["text"]).tolist() for row in table.train.documents("text")]
    texts = [column.letters(ids) for ids in whole]
    seen = []
    for batch in itertools.islice(table.train.batches(["text"], 16, seed=1), 20):
        for ids in batch["text"].tolist():
            used = ids[: ids.index(0)] if 0 in ids else ids
            assert set(ids[len(used) :]) <= {0}
            at = [text.find(column.letters(used)) for text in texts]
            assert max(at) >= 0
            if len(used) < len(ids):        # only where the document ends
                assert any(text.endswith(column.letters(used)) for text in texts)
            seen.append(max(at))
    assert len(set(seen)) > 200
    again = next(iter(table.train.batches(["text"], 16, seed=1)))["text"]
    assert torch.equal(again, next(iter(table.train.batches(["text"], 16, seed=1)))["text"])


def test_a_mapped_file_gives_the_same_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    values, places = list(passages(VERSE)), list(range(len(list(passages(VERSE)))))
    column = Document.fit(values, length=16)
    plain = Stream.of(column, values, places)
    monkeypatch.setattr(stream, "IN_MEMORY", 1000)
    monkeypatch.setattr(stream, "AT_ONCE", 2)
    mapped = Stream.of(column, values, places)
    rows, shares = list(range(len(values))), [i / len(values) for i in range(len(values))]
    assert type(mapped.ids).__name__ == "memmap" and type(plain.ids).__name__ != "memmap"
    assert torch.equal(plain.windows(rows, shares), mapped.windows(rows, shares))
    assert plain.windows([0], [0.0])[0].tolist() == column.ids(VERSE)[:16].tolist()


def test_every_id_is_new_once() -> None:
    for n, length in ((1, 8), (8, 8), (9, 8), (12, 8), (50, 7)):
        ids = torch.arange(1, n + 1)
        parts = list(windows(ids, length))
        assert torch.cat([window[fresh] for window, fresh in parts]).tolist() == ids.tolist()
        assert all(int(fresh.nonzero()[0]) >= length // 2 for _, fresh in parts[1:])


# ---- writing


def test_a_text_is_learned_and_goes_on(model: Model, table: Table) -> None:
    assert model.family_name == "autoregressive"
    line = bits_per_byte(model, held_out_rows(table, "text"), table.train.column("text"))
    assert line.value.value < 1.6 and line.name == "held-out bits/byte"
    [row] = model.sample([{}], prompts=["77 green bottles"], temperature=0, tokens=12)
    assert row["text"].startswith("77 green bottles hanging on the wall")


def test_prompts_of_any_length_are_drawn_together(model: Model) -> None:
    """What is written after a prompt does not depend on the prompts beside it."""
    prompts = ["", "9", "It was", "77 green bottles hanging", "so it goes. so it"]
    together = model.sample([{}] * 5, prompts=prompts, tokens=20)
    for i, prompt in enumerate(prompts):
        [alone] = model.sample([{}], prompts=[prompt], indices=[i], tokens=20)
        assert alone["text"] == together[i]["text"] and alone["text"].startswith(prompt)


@pytest.mark.parametrize("grams", [0, 64])
def test_what_is_fed_at_once_is_what_training_sees(table: Table, grams: int) -> None:
    """The most likely id after a prompt, by the cache and by one pass over all of it."""
    torch.manual_seed(0)
    model = Model("text", table.columns, grams=grams, **SMALL).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape))
        model.family.heads[0].out.bias[0] = -20     # it does not end
    column = model.columns["text"]
    prompt = column.ids("and if 3 of them should")
    drawn = model.family.sample(Context({}, torch.zeros(1, 0, dtype=torch.bool)), known=None, temperature=0, tokens=6,
                                rng=toy_rng(), prompt={"text": prompt[None]})["text"]
    assert drawn.shape[1] == len(prompt) + 6
    for n in range(len(prompt), drawn.shape[1]):
        options = drawn[:, :n].repeat(column.spec.classes, 1)
        options = torch.cat([options, torch.arange(column.spec.classes)[:, None]], dim=1)
        options = torch.nn.functional.pad(options, (0, column.length - n - 1))
        with torch.no_grad():
            told = model.family.token_log_prob({"text": options}, Context({}, torch.zeros(len(options), 0, dtype=torch.bool)))
        assert int(told["text"][:, n].argmax()) == int(drawn[0, n])


def toy_rng() -> Any:
    from likewise.rng import Rng

    return Rng([0], "sample", 0)


def test_a_text_may_be_longer_than_a_window(model: Model) -> None:
    [row] = model.sample([{}], prompts=["99 green bottles"], tokens=150, temperature=0.2)
    assert len(model.columns["text"].ids(row["text"])) > 4 * 32
    assert row["text"].count("green bottles") >= 2


def test_a_stop_is_left_out_and_does_not_count_in_the_prompt(model: Model) -> None:
    rows = model.sample([{}] * 4, prompts=["99 green bottles\n", "5 green"] * 2, stop=["fall", "\n"], tokens=60, temperature=0.5)
    for prompt, row in zip(["99 green bottles\n", "5 green"] * 2, rows, strict=True):
        rest = row["text"].removeprefix(prompt)
        assert row["text"].startswith(prompt) and "\n" not in rest and "fall" not in rest
    free = model.sample([{}] * 4, prompts=["99 green bottles\n", "5 green"] * 2, tokens=60, temperature=0.5)
    assert all(a["text"].startswith(b["text"]) and a != b for a, b in zip(free, rows, strict=True))


def test_a_stream_is_the_sample(model: Model) -> None:
    for stop in ((), ("the wall",)):
        pieces = list(model.stream(prompt="12 green", stop=stop, tokens=40, seed=3))
        [row] = model.sample([{}], prompts=["12 green"], stop=stop, tokens=40, seed=3)
        assert "12 green" + "".join(pieces) == row["text"] and len(pieces) > 3
    first = model.stream(prompt="12 green", tokens=10**6)
    next(first)
    first.close()       # and nothing goes on in the background
    with pytest.raises(ValueError, match="temperatur"):
        next(model.stream(prompt="x", temperatur=1))


def test_what_was_drawn_can_be_made_less_likely(model: Model) -> None:
    def repeats(**knobs: float) -> float:
        rows = model.sample([{}] * 8, tokens=60, temperature=0.3, **knobs)
        ids = [model.columns["text"].ids(row["text"]).tolist() for row in rows]
        return sum(len(i) / len(set(i)) for i in ids)

    assert repeats(frequency=2.0) < repeats(presence=2.0) < repeats()


def test_what_a_prompt_cannot_be_is_said(model: Model) -> None:
    with pytest.raises(ValueError, match=r"the prompt has \d+ tokens, and the model sees 32 at once"):
        model.sample([{}], prompts=[VERSE])
    with pytest.raises(ValueError, match="an empty stop"):
        model.sample([{}], stop=[""])
    with pytest.raises(ValueError, match="tokens must be at least 1"):
        model.sample([{}], tokens=0)
    other = Model("label", toy.table(16).columns, "autoregressive", **SMALL)
    with pytest.raises(ValueError, match="one target is a text, and this one draws label"):
        other.sample([{}], prompts=["a"])
    with pytest.raises(ValueError, match="cannot go on from a beginning; those that can: autoregressive"):
        Model("label", toy.table(16).columns, **SMALL).sample([{}], prompts=["a"])


# ---- scores


def test_a_document_of_any_length_has_a_probability(table: Table) -> None:
    """A model that only knows how often each id comes."""
    model = Model("text", table.columns, **SMALL)
    head = model.family.heads[0]
    with torch.no_grad():
        head.out.weight.zero_()
        head.out.bias.normal_(generator=torch.Generator().manual_seed(0))
    column = model.columns["text"]
    rows = [{"text": text} for text in (VERSE, "naïve", "x" * 33)]
    score = model.log_prob(rows, batch=7)
    logits = head.out.bias.detach().log_softmax(0)
    expected = torch.stack([logits[column.ids(row["text"])].sum() for row in rows])
    assert score.nats == pytest.approx(expected.numpy(), rel=1e-4)
    assert score.dims.tolist() == [len(row["text"].encode()) for row in rows]
    assert score.bits_per_dim[2] == pytest.approx(float(-expected[2] / (33 * math.log(2))), rel=1e-4)


def test_a_trained_model_beats_the_compressor_it_is_shown_beside(model: Model, table: Table) -> None:
    report = toy_report(model, table)
    line = report["held-out bits/byte"]
    assert 0 < line.baseline < 8 and line.value.low < line.value.value < line.value.high


def toy_report(model: Model, table: Table) -> Any:
    from likewise.evaluation import evaluate

    return evaluate(model, table, n=20)


def test_the_command_writes(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.save(tmp_path / "run", data={"source": None}, plan={}, step=1)
    assert main(["sample", str(tmp_path / "run"), "12 green", "-n", "1", "--tokens", "20"]) == 0
    alone = capsys.readouterr().out
    assert alone.startswith("12 green") and alone.endswith("\n")
    assert main(["sample", str(tmp_path / "run"), "12 green", "7", "-n", "2", "--tokens", "20"]) == 0
    assert capsys.readouterr().out.startswith(alone.rstrip("\n"))
    out = tmp_path / "texts.jsonl"
    assert main(["sample", str(tmp_path / "run"), "12 green", "-n", "2", "--out", str(out)]) == 0
    assert [line.count('"prompt": "12 green"') for line in out.read_text().splitlines()] == [1, 1]


def test_long_cells_are_documents_and_short_ones_are_not() -> None:
    rows = [{"text": f"word {n}"} for n in range(12)]
    assert Table.from_rows(rows).kinds == {"text": "text"}
    assert Table.from_rows([*rows, {"text": "x" * (reading.LONG + 1)}]).kinds == {"text": "document"}
    assert Table.from_rows(rows, {"text": "document"}).kinds == {"text": "document"}


def test_rows_are_scored(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model.save(tmp_path / "run", data={"source": None}, plan={}, step=1)
    (tmp_path / "verse.txt").write_text(VERSE)
    (tmp_path / "noise.txt").write_text("".join(chr(33 + (7 * i * i + i) % 90) for i in range(9000)))
    found = {}
    for name in ("verse", "noise"):
        out = tmp_path / f"{name}.jsonl"
        assert main(["score", str(tmp_path / "run"), str(tmp_path / f"{name}.txt"), "--out", str(out)]) == 0
        [found[name]] = [json.loads(line) for line in out.read_text().splitlines()]
        assert "bits/byte on average (exact)" in capsys.readouterr().out
    assert found["verse"]["bits/byte"] < 1.6 < 4 < found["noise"]["bits/byte"]
    nats = -found["verse"]["log p"]
    assert found["verse"]["perplexity"] == pytest.approx(math.exp(nats / len(model.columns["text"].ids(VERSE))))
    assert main(["score", str(tmp_path / "run"), str(tmp_path / "verse.txt"), "--out", "x.png"]) == 1
    assert main(["score", str(tmp_path / "run"), "digits"]) == 1
    assert "has no column 'text'" in capsys.readouterr().err


def test_odd_rows_of_a_table_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"number": 1.0 + i % 7 / 10} for i in range(60)]
    table = Table.from_rows(rows)
    toy.trained(Model("number", table.columns, "mixture"), table, 3).save(tmp_path / "run", data={}, plan={}, step=1)
    (tmp_path / "t.csv").write_text("number\n" + "1.2\n" * 20 + "9.5\n" + "1.3\n" * 20)
    assert main(["score", str(tmp_path / "run"), str(tmp_path / "t.csv")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "bits/dim" in printed[0] and printed[4].split()[0] == "20" and printed[4].split()[-1] == "9.5"
