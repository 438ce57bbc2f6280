"""Language: documents as windows, prompts and stops, streams, bits a byte."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from likewise.cli.main import main
from likewise.cli.tables import add_views
from likewise.core.batch import Context
from likewise.core.formula import Formula
from likewise.data import spool, token_stream
from likewise.data.arrow import TableError
from likewise.data.readers import text_files
from likewise.data.table import Table
from likewise.data.token_stream import TokenStream
from likewise.evaluation.metrics import bits_per_byte as bits_module
from likewise.evaluation.metrics.bits_per_byte import bits_per_byte, held_out_rows
from likewise.generation.controls import Step
from likewise.modalities.document import MIN_DOCUMENT, Document, split_passages
from likewise.modalities.text import Text
from likewise.models.model import Model
from likewise.models.scoring import windows
from likewise.models.text_prompt import TextPrompts
from likewise.models.text_stream import stream_text

SMALL: dict[str, Any] = {"width": 64, "depth": 2}
VERSE = "".join(
    f"{n} green bottles hanging on the wall,\nand if {n % 7} of them should fall\n\n"
    for n in range(120, 0, -1)
)
PROSE = "".join(
    f"Chapter {n}. It was the {n}th day, naïve as ever: " + "so it goes. " * (n % 9) + "\n"
    for n in range(160)
)


@pytest.fixture(scope="module")
def table() -> Table:
    """Two documents, the last tenth of each held out."""
    return Table.from_rows([{"text": VERSE}, {"text": PROSE}], options={"length": 32, "vocabulary": 300})


@pytest.fixture(scope="module")
def model(table: Table) -> Model:
    return toy.trained(Model("text", table.columns, **SMALL), table, 200, batch=32)


# ---- reading


def test_passages_are_the_document_again(table: Table) -> None:
    for text in (VERSE, PROSE, "a" * 5000, " \n" * 2000, "one\n" + " " * 1500 + "two"):
        parts = list(split_passages(text))
        assert "".join(parts) == text and max(map(len, parts)) <= 800
    assert len(table) > 20 and set(table.kinds) == {"text"} and table.kinds["text"] == "document"
    whole = [row["text"] for row in table.documents("text")]
    assert whole == [VERSE, PROSE]
    parts = [[row["text"] for row in part.documents("text")] for part in (table.train, table.test)]
    assert [a + b for a, b in zip(*parts, strict=True)] == [
        VERSE,
        PROSE,
    ]  # the last passages of each are held out
    assert all(0.02 < len(b) / len(text) < 0.2 for b, text in zip(parts[1], (VERSE, PROSE), strict=True))


def test_many_documents_are_held_out_whole() -> None:
    texts = [f"document {n}: " + VERSE for n in range(25)]
    table = Table.from_rows([{"text": text, "title": f"a title {n}"} for n, text in enumerate(texts)])
    held = [row["text"] for row in table.test.documents("text")]
    assert held and all(text in texts for text in held)
    assert not set(held) & {row["text"] for row in table.train.documents("text")}
    assert {row["title"] for row in table.test.documents("text")} == {
        f"a title {texts.index(text)}" for text in held
    }


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
    with pytest.raises(
        TableError, match=r"latin.txt is not UTF-8: byte 2 is 0xf1; .*--encoding cp1252, cp1251,"
    ):
        Table.open(latin)
    with pytest.raises(TableError, match=r"no encoding 'latin-nine'"):
        Table.open(latin, encoding="latin-nine")
    with pytest.raises(TableError, match=r"empty.txt is empty"):
        Table.open(empty)
    with pytest.raises(TableError, match="more than 4,096 bytes"):
        Table.open(latin, encoding="latin-1", kinds={"text": "text"})
    with pytest.raises(TableError, match="are documents, and rows can be passages of one only"):
        Table.from_rows([{"text": VERSE, "more": PROSE}])
    table = Table.open(latin, encoding="latin-1")
    assert table.documents("text")[0]["text"].startswith("niño")
    assert Table.open(**table.reopen_args()).fingerprint == table.fingerprint
    assert main(["data", str(latin)]) == 1 and "--encoding" in capsys.readouterr().err


def test_copies_of_a_document_are_on_one_side() -> None:
    texts = [f"document {n % 30}: " + VERSE[:4200] for n in range(90)]
    table = Table.from_rows([{"text": text} for text in texts])
    parts = [{row["text"] for row in part.documents("text")} for part in (table.train, table.test)]
    assert parts[1] and not parts[0] & parts[1]
    copies = Table.from_rows([{"text": PROSE}] * 3)  # few: the same end of each
    held = [row["text"] for row in copies.test.documents("text")]
    assert len(set(held)) == 1 and len(held) == 3


def test_something_is_held_out_of_short_documents() -> None:
    table = Table.from_rows([{"text": f"{n}" + "word " * 500} for n in range(15)], {"text": "document"})
    assert len(table) == 60 and len(table.test) == 6
    assert all(len(part.documents("text")) == n for part, n in ((table.train, 15), (table.test, 6)))


def test_files_as_they_come(tmp_path: Path) -> None:
    text = "na\u00efve\0 \U0001f600\n" + VERSE
    (tmp_path / "mark.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (tmp_path / "wide.txt").write_bytes(text.encode("utf-16"))
    for name, encoding in (("mark", None), ("mark", "utf-8"), ("wide", "utf-16")):
        assert Table.open(tmp_path / f"{name}.txt", encoding=encoding).documents("text")[0]["text"] == text
    with pytest.raises(TableError, match="--encoding utf-16"):
        Table.open(tmp_path / "wide.txt")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "long.py").write_text(VERSE)
    (tmp_path / "code" / "__init__.py").write_text("")
    with pytest.raises(TableError, match=r"row 0, text: empty \(in __init__.py\)"):
        Table.open(tmp_path / "code")
    assert [row["text"] for row in Table.open(tmp_path / "code", skip_bad=True).documents("text")] == [VERSE]
    (tmp_path / "names.csv").write_bytes("name,x\nni\xf1o,1\n\xe9t\xe9,2\n".encode("latin-1"))
    names = Table.open(tmp_path / "names.csv", kinds={"name": "text"}, encoding="latin-1")
    assert names.column("name") == ["ni\u00f1o", "\u00e9t\u00e9"]
    with pytest.raises(TableError, match="leave --encoding out"):
        Table.open("digits", encoding="latin-1")


def test_large_folders_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sea", "land"):
        (tmp_path / name).mkdir()
        for n in range(3):
            (tmp_path / name / f"{n}.txt").write_text(f"{name} {n}\n" + (VERSE if n else ""))
    plain = Table.open(tmp_path)
    monkeypatch.setattr(text_files, "MAX_CHARS_IN_MEMORY", 10_000)
    mapped_tables = []

    def memory_map(batches: Iterable[Any], schema: Any) -> Any:
        mapped_tables.append(schema)
        return spool.memory_map(batches, schema)

    monkeypatch.setattr(text_files, "memory_map", memory_map)
    mapped = Table.open(tmp_path)
    assert len(mapped_tables) > 1
    assert mapped.fingerprint == plain.fingerprint and mapped.documents("text") == plain.documents("text")


def test_what_holds_documents_out_is_not_left_out() -> None:
    rows = [{"text": VERSE, "label": "a"}, {"text": PROSE, "label": "b"}]
    with pytest.raises(TableError, match="no pair can be held out"):
        Table.from_rows(rows, pairs="label")


# ---- windows


def test_processes_draw_the_windows_that_one_would(table: Table) -> None:
    alone = table.train.batches(["text"], 8, seed=3, start=5)
    shared = [table.train.batches(["text"], 8, seed=3, start=5, rank=rank, world=2) for rank in range(2)]
    for batch in itertools.islice(alone, 3):
        parts = [next(one)["text"] for one in shared]
        assert torch.equal(torch.stack(parts, 1).flatten(0, 1), batch["text"])
    later = next(table.train.batches(["text"], 8, seed=3, start=7))["text"]  # as a resumed run
    assert torch.equal(later, batch["text"])


def test_a_window_ends_with_its_document_and_not_where_it_was_cut() -> None:
    values = list(split_passages(VERSE))
    places = list(reversed(range(len(values))))
    column = Document.fit(values, length=48)
    rows, shares = list(range(len(values) - 2)), [0.999] * (len(values) - 2)
    assert (TokenStream.build(column, values[:-2], places[:-2]).windows(rows, shares) != 0).all()
    assert (TokenStream.build(column, values[2:], places[2:]).windows(rows, shares)[-1] == 0).any()
    lone = TokenStream.build(column, ["short"], [3]).windows([0], [0.5])[0]  # there is no more of it
    assert lone.tolist() == [*column.ids("short").tolist(), *[0] * 43]


def test_windows_begin_anywhere_and_end_with_their_document(table: Table) -> None:
    column = table.columns["text"]
    whole = [column.ids(row["text"]).tolist() for row in table.train.documents("text")]
    texts = [
        column.vocabulary.decode(ids) for ids in whole
    ]  # of which the last tenths are held out, so none ends here
    seen = []
    for batch in itertools.islice(table.train.batches(["text"], 16, seed=1), 20):
        for ids in batch["text"].tolist():
            used = ids[: ids.index(0)] if 0 in ids else ids
            assert set(ids[len(used) :]) <= {0}
            at = [text.find(column.vocabulary.decode(used)) for text in texts]
            assert max(at) >= 0
            assert len(used) == len(ids)
            seen.append(max(at))
    assert len(set(seen)) > 200
    again = next(iter(table.train.batches(["text"], 16, seed=1)))["text"]
    assert torch.equal(again, next(iter(table.train.batches(["text"], 16, seed=1)))["text"])


def test_a_mapped_file_gives_the_same_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    values, places = list(split_passages(VERSE)), list(reversed(range(len(list(split_passages(VERSE))))))
    column = Document.fit(values, length=16)
    plain = TokenStream.build(column, values, places)
    monkeypatch.setattr(token_stream, "MAX_BYTES_IN_MEMORY", 1000)
    monkeypatch.setattr(token_stream, "CHUNK", 2)
    mapped = TokenStream.build(column, values, places)
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


# ---- learning


@pytest.mark.parametrize(("dropout", "again"), [(None, True), (0.0, False), (0.3, True)])
def test_holes_are_read_from_the_second_pass_on(table: Table, dropout: float | None, again: bool) -> None:
    """In training, and where none are asked for never; a share that is asked for is that from the beginning."""
    from likewise.core.rng import Rng

    torch.manual_seed(0)
    family = Model("text", table.columns, dropout=dropout, **SMALL).family
    with torch.no_grad():
        for p in family.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    x = {"text": table.train.encoded("text", range(4))}
    none = Context({}, torch.zeros(4, 0, dtype=torch.bool))

    def loss(passes: float, learns: bool) -> torch.Tensor:
        family.train(learns).epochs = passes
        return family.loss(x, none, "model", Rng(range(4), "train", 0)).detach()

    whole = loss(0, False)
    assert torch.equal(loss(20, False), whole)
    assert torch.equal(loss(1, True), whole) is not bool(dropout)
    assert torch.equal(loss(20, True), whole) is not again


# ---- writing


def test_a_text_is_learned_and_goes_on(model: Model, table: Table) -> None:
    assert model.family_name == "autoregressive"
    line = bits_per_byte(model, held_out_rows(table, "text"), table.train.column("text"))
    assert line.value.value < 1.6 and line.name == "held-out bits/byte"
    [row] = model.sample([{}], prompts=["77 green bottles"], temperature=0, tokens=12)
    assert row["text"].startswith("77 green bottles hanging on the wall")


def test_a_prompt_may_end_anywhere(model: Model) -> None:
    """After a space or within a word: unhealed, every second of these goes on with another word."""
    lines = (
        "77 green bottles hanging on the wall,\n",
        "Chapter 99. It was the 99th day, naïve as ever: so it goes. ",
    )
    cuts = [(line, k) for line in lines for k in range(9, 36)]
    rows = model.sample([{}] * len(cuts), prompts=[line[:k] for line, k in cuts], temperature=0, tokens=6)
    assert all(row["text"].startswith(line[:k]) for row, (line, k) in zip(rows, cuts, strict=True))
    assert (
        sum(row["text"][k:][:4] == line[k:][:4] for row, (line, k) in zip(rows, cuts, strict=True))
        / len(cuts)
        > 0.8
    )


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
    model = Model("text", table.columns, hashed_ngrams=grams, **SMALL).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape))
        model.family.heads[0].out.bias[0] = -20  # it does not end
    column = model.columns["text"]
    prompt = column.ids("and if 3 of them should")
    drawn = model.family.sample(
        Context({}, torch.zeros(1, 0, dtype=torch.bool)),
        known=None,
        temperature=0,
        tokens=6,
        rng=toy_rng(),
        prompt={"text": prompt[None]},
    )["text"]
    assert drawn.shape[1] == len(prompt) + 6
    for n in range(len(prompt), drawn.shape[1]):
        options = drawn[:, :n].repeat(column.spec.classes, 1)
        options = torch.cat([options, torch.arange(column.spec.classes)[:, None]], dim=1)
        options = torch.nn.functional.pad(options, (0, column.length - n - 1))
        with torch.no_grad():
            told = model.family.token_log_prob(
                {"text": options}, Context({}, torch.zeros(len(options), 0, dtype=torch.bool))
            )
        assert int(told["text"][:, n].argmax()) == int(drawn[0, n])


def toy_rng() -> Any:
    from likewise.core.rng import Rng

    return Rng([0], "sample", 0)


def test_a_text_may_be_longer_than_a_window(model: Model) -> None:
    [row] = model.sample([{}], prompts=["99 green bottles"], tokens=150, temperature=0.2)
    assert len(model.columns["text"].ids(row["text"])) > 4 * 32
    assert row["text"].count("green bottles") >= 2


def test_what_is_drawn_is_told_from_what_log_prob_tells_it_from(table: Table) -> None:
    """Of a text of three windows, the most likely id each time."""
    torch.manual_seed(0)
    model = Model("text", table.columns, hashed_ngrams=64, width=32, depth=2).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn(p.shape))
        model.family.heads[0].out.bias[0] = -20
    none = Context({}, torch.zeros(1, 0, dtype=torch.bool))
    [ids] = model.family.sample(none, known=None, temperature=0, tokens=90, rng=toy_rng())["text"]
    assert len(ids) == 90 and len(ids.unique()) > 5
    classes = model.columns["text"].spec.classes
    for n in (31, 32, 33, 47, 48, 60, 64, 89):
        at = 0 if n < 32 else 16 * ((n - 32) // 16 + 1)
        options = torch.cat([ids[at:n].repeat(classes, 1), torch.arange(classes)[:, None]], dim=1)
        options = torch.nn.functional.pad(options, (0, 32 - options.shape[1]))
        with torch.no_grad():
            told = model.family.token_log_prob(
                {"text": options}, Context({}, none.present.expand(classes, 0))
            )["text"]
        assert int(told[:, n - at].argmax()) == int(ids[n])


def step(ids: torch.Tensor) -> Step:
    """The report of a sampler that has come to these ids, (B, n)."""
    return Step(ids.shape[1], ids.shape[1], lambda: {"text": ids})


def test_a_stream_is_whole_letters_whatever_the_pairs() -> None:
    """Pairs that begin within a letter and end within the next."""
    value = "\u20ac\u4f60\U0001f600\u597dna\u00efve" * 50
    column = Document.fit([value], vocabulary=290)
    assert any(
        piece and piece.decode(errors="replace")[-1] == "\ufffd" and len(piece) > 1
        for piece in column.vocabulary.token_bytes
    )
    for text in (value, "x\u20ac\u20ac"):
        ids = column.ids(text)

        def draw(on_step: Any, ids: torch.Tensor = ids) -> None:
            for n in range(1, len(ids) + 1):
                on_step(step(ids[None, :n]))

        assert "".join(stream_text(TextPrompts({"text": column}, [""]), draw)) == text
    spelled = b"\xf0\x9f\xe2\x82\xaca\xe2"  # no letter, a letter, another, and the beginning of one
    ids = torch.tensor([[column.vocabulary.token_bytes.index(bytes([b])) for b in spelled]])
    pieces = stream_text(
        TextPrompts({"text": column}, [""]),
        lambda on_step: [on_step(step(ids[:, :n])) for n in range(1, 8)],
    )
    assert "".join(pieces) == column.vocabulary.decode(ids[0].tolist()) == "\ufffd\u20aca\ufffd"


def test_a_stream_that_is_left_alone_ends() -> None:
    column, drawn = Document.fit(["abc"]), []

    def draw(on_step: Any) -> None:
        ids = column.ids("abc" * 1000)[None]
        for n in range(1, ids.shape[1] + 1):
            drawn.append(n)
            if on_step(step(ids[:, :n])).all():
                return

    before = threading.active_count()
    unread = stream_text(TextPrompts({"text": column}, [""]), draw)
    assert threading.active_count() == before and not drawn
    del unread
    pieces = stream_text(TextPrompts({"text": column}, [""], ["b"]), draw)
    assert list(pieces) == ["a"]
    assert threading.active_count() <= before


def test_a_stop_may_begin_with_the_blank_before_a_text() -> None:
    """Texts have a blank before them that no one wrote: it is no stop."""
    table = Table.from_rows([{"text": f"red circle {n}"} for n in range(20)])
    column = table.columns["text"]
    writing = TextPrompts({"text": column}, None, [" "])
    ids = column.ids("red circle")[None]
    ends = [bool(writing.stopped(ids[:, :n])) for n in range(1, ids.shape[1] + 1)]
    assert True in ends and column.vocabulary.decode(
        ids[0, : ends.index(True) + 1].tolist()
    ).lstrip().startswith("red ")


def test_a_stop_is_left_out_and_does_not_count_in_the_prompt(model: Model) -> None:
    rows = model.sample(
        [{}] * 4,
        prompts=["99 green bottles\n", "5 green"] * 2,
        stop=["fall", "\n"],
        tokens=60,
        temperature=0.5,
    )
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
    first.close()  # and nothing goes on in the background
    with pytest.raises(ValueError, match="temperatur"):
        next(model.stream(prompt="x", temperatur=1))


def test_what_was_drawn_can_be_made_less_likely(model: Model) -> None:
    def repeats(**sampling_options: float) -> float:
        rows = model.sample([{}] * 8, tokens=60, temperature=0.3, **sampling_options)
        ids = [model.columns["text"].ids(row["text"]).tolist() for row in rows]
        return sum(len(i) / len(set(i)) for i in ids)

    assert repeats(frequency=2.0) < repeats(presence=2.0) < repeats()


def test_what_a_prompt_cannot_be_is_said(model: Model) -> None:
    with pytest.raises(ValueError, match=r"the prompt has \d+ tokens, and the model sees 32 at once"):
        model.sample([{}], prompts=[VERSE])
    with pytest.raises(ValueError, match="an empty stop"):
        model.sample([{}], stop=[""])
    with pytest.raises(ValueError, match="an empty stop"):
        model.stream(stop=[""])
    with pytest.raises(ValueError, match=r"stop is a list of texts; write \['ab'\]"):
        model.sample([{}], stop="ab")
    for prompts in ("a", ["a", "b"]):
        with pytest.raises(ValueError, match="a list, one for each of the 1 rows"):
            model.sample([{}], prompts=prompts)
    with pytest.raises(ValueError, match="no density of a part"):
        model.log_prob([{"text": "a"}], observed={"text": [True]})
    with pytest.raises(ValueError, match="option of log_prob"):
        model.log_prob([{"text": "a"}], steps=3)
    with pytest.raises(ValueError, match="tokens must be a whole number from 1"):
        model.sample([{}], tokens=0)
    other = Model("label", toy.table(16).columns, "autoregressive", **SMALL)
    with pytest.raises(ValueError, match="one target is a text, and this one samples label"):
        other.sample([{}], prompts=["a"])
    with pytest.raises(ValueError, match="cannot continue a prompt; those that can: autoregressive"):
        Model("label", toy.table(16).columns, **SMALL).sample([{}], prompts=["a"])


def test_other_families_say_that_they_cannot(table: Table) -> None:
    for family in ("flow", "contrastive", "vae"):
        with pytest.raises(ValueError, match=f"the family {family} cannot learn a document"):
            Model("text", table.columns, family, **SMALL)


# ---- scores


def test_parts_that_are_scored_are_at_most_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bits_module, "MAX_SCORED", 2000)
    table = Table.from_rows([{"text": f"{n} {VERSE}"} for n in range(40)], holdout=0.5)
    rows = held_out_rows(table, "text")
    assert len(rows) > 5 and 1900 <= sum(len(row["text"]) for row in rows) <= 2000


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
    assert 0 < line.baseline.value < 8 and line.value.low < line.value.value < line.value.high


def toy_report(model: Model, table: Table) -> Any:
    from likewise.evaluation.evaluator import evaluate

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
    assert Table.from_rows([*rows, {"text": "x" * (MIN_DOCUMENT + 1)}]).kinds == {"text": "document"}
    assert Table.from_rows(rows, {"text": "document"}).kinds == {"text": "document"}


def test_a_source_of_which_a_part_is_read_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table.from_rows(
        [{"text": VERSE, "label": "a"}, {"text": PROSE, "label": "b"}], options={"length": 32}
    )
    add_views(table, Formula.parse("text | label"), [])
    assert not capsys.readouterr().err
    add_views(table, Formula.parse("label | text"), [])
    said = capsys.readouterr().err
    assert (
        said.count("note:") == 1
        and "text is a document" in said
        and "32 tokens" in said
        and "--length" in said
    )


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
    assert found["verse"]["perplexity"] == pytest.approx(
        math.exp(nats / len(model.columns["text"].ids(VERSE)))
    )
    assert main(["score", str(tmp_path / "run"), str(tmp_path / "verse.txt"), "--out", "x.png"]) == 1
    assert main(["score", str(tmp_path / "run"), "digits"]) == 1
    assert "digits has no column 'text'" in capsys.readouterr().err


def test_a_short_text_is_scored_by_a_model_of_documents(table: Table, tmp_path: Path) -> None:
    Model("text", table.columns, **SMALL).save(tmp_path / "run", data={"source": None}, plan={}, step=1)
    (tmp_path / "note.txt").write_text("7 green bottles")
    assert main(["score", str(tmp_path / "run"), str(tmp_path / "note.txt")]) == 0


def test_views_are_scored_as_the_model_sees_them(tmp_path: Path) -> None:
    rows = [{"text": f"{'red' if n % 2 else 'blue'} thing {n}", "label": "ab"[n % 2]} for n in range(40)]
    (tmp_path / "t.csv").write_text(
        "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in rows)
    )
    table = Table.open(tmp_path / "t.csv").add_views("label | text[length=20]")
    model = Model("label | text[length=20]", table.columns, "autoregressive", **SMALL)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    model.save(tmp_path / "run", data={"source": None}, plan={}, step=1)
    assert (
        main(["score", str(tmp_path / "run"), str(tmp_path / "t.csv"), "--out", str(tmp_path / "o.jsonl")])
        == 0
    )
    found = [json.loads(line)["log p"] for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert found == pytest.approx(model.log_prob([table[i] for i in range(40)]).nats.tolist(), rel=1e-4)
    assert len({round(p, 4) for p in found}) > 2  # it knows the texts


def test_a_text_with_a_text_source_has_a_beginning_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"doc": f"the number {n} here", "text": f"n{n}"} for n in range(60)]
    table = Table.from_rows(rows, {"text": "text", "doc": "text"}, options={"length": 30})
    run, out = str(tmp_path / "run"), tmp_path / "o.jsonl"
    Model("text | doc", table.columns, **SMALL).save(run, data={"source": None}, plan={}, step=1)
    asked = ["sample", run, "the number 7", "the number 8", "-n", "3", "--out", str(out)]
    assert main([*asked, "--prompt", "n7", "--stop", "a", "--stop", "e"]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(found) == 6 and {row["likewise"]["prompt"] for row in found} == {"n7"}
    assert found[0]["likewise"]["stop"] == ["a", "e"]
    assert all(row["text"].startswith("n7") and not set("ae") & set(row["text"]) for row in found)
    assert len({row["text"] for row in found}) > 1
    Model("text", table.columns, **SMALL).save(tmp_path / "alone", data={"source": None}, plan={}, step=1)
    assert main(["sample", str(tmp_path / "alone"), "--prompt", "n7"]) == 1
    assert "write it as a word" in capsys.readouterr().err


def test_odd_rows_of_a_table_come_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"number": 1.0 + i % 7 / 10} for i in range(60)]
    table = Table.from_rows(rows)
    toy.trained(Model("number", table.columns, "mixture"), table, 3).save(
        tmp_path / "run", data={}, plan={}, step=1
    )
    (tmp_path / "t.csv").write_text("number\n" + "1.2\n" * 20 + "9.5\n" + "1.3\n" * 20)
    assert main(["score", str(tmp_path / "run"), str(tmp_path / "t.csv")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "bits/dim" in printed[0] and printed[4].split()[0] == "20" and printed[4].split()[-1] == "9.5"


def test_rows_that_are_scored_keep_their_numbers_and_what_they_lack_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"number": 1.0 + i % 7 / 10, "label": "ab"[i % 2]} for i in range(60)]
    table = Table.from_rows(rows)
    model = toy.trained(Model("number | label", table.columns, "mixture"), table, 3)
    model.save(tmp_path / "run", data={}, plan={}, step=1)
    (tmp_path / "t.csv").write_text("number,other\n" + ",1\n" * 3 + "1.2,1\n" * 20 + "9.5,1\n")
    assert (
        main(
            [
                "score",
                str(tmp_path / "run"),
                str(tmp_path / "t.csv"),
                "--skip-bad",
                "--out",
                str(tmp_path / "o.jsonl"),
            ]
        )
        == 0
    )
    printed = capsys.readouterr()
    assert printed.out.splitlines()[4].split()[0] == "23" and "has no column 'label'" in printed.err
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(24))
    assert [line["row"] for line in lines if line.get("skipped") == "it has no value of number"] == [
        0,
        1,
        2,
    ]


def test_columns_are_taken_for_what_the_model_took_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However few rows there are."""
    table = Table.from_rows(
        [{"number": 1.0 + i % 7 / 10, "label": i % 2, "name": "ab"[i % 2]} for i in range(60)]
    )
    assert table.kinds == {"number": "number", "label": "label", "name": "label"}
    toy.trained(Model("number | label, name", table.columns, "mixture"), table, 3).save(
        tmp_path / "run", data={}, plan={}, step=1
    )
    (tmp_path / "t.csv").write_text("number,label,name,more\n1.2,1,b,\n1.3,0,a,\n")
    assert main(["score", str(tmp_path / "run"), str(tmp_path / "t.csv")]) == 0
    printed = capsys.readouterr()
    assert "2 rows" in printed.out and "column 'more' is left out: it has no value" in printed.err


def test_who_has_read_enough_gets_no_error(tmp_path: Path) -> None:
    table = Table.from_rows([{"number": 1.0 + i % 7 / 10} for i in range(60)])
    toy.trained(Model("number", table.columns, "mixture"), table, 3).save(
        tmp_path / "run", data={}, plan={}, step=1
    )
    (tmp_path / "t.csv").write_text("number\n" + "".join(f"1.{i}\n" for i in range(10, 30)))
    line = [sys.executable, "-m", "likewise", "score", str(tmp_path / "run"), str(tmp_path / "t.csv")]
    asked = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    asked.stdout.close()  # before anything is written
    assert (asked.stderr.read(), asked.wait()) == (b"", 0)


def test_a_table_of_one_column(tmp_path: Path) -> None:
    """pandas and Arrow have several types of strings, so that a column has to be read anew."""
    (tmp_path / "names.csv").write_text("name\n" + "".join(f"name {i}\n" for i in range(20)))
    found = Table.open(tmp_path / "names.csv")
    assert len(found) == 20 and found.columns["name"].kind == "text"


def test_classes_of_documents_stay_in_training_and_hidden_folders_out(tmp_path: Path) -> None:
    for i in range(24):
        folder = tmp_path / f"author{i}"
        folder.mkdir()
        (folder / "a.txt").write_text(" ".join(f"{i} and {k}" for k in range(900)))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "b.txt").write_text("not this")
    (tmp_path / ".hidden" / "c.png").write_bytes(b"nor this")
    found = Table.open(tmp_path)
    assert len(found.columns["label"].classes) == 24 and not found.report.skipped
    assert 0 < len(found.test) < 0.2 * len(found)  # of each its end, as each is the last of its class


def test_knobs_have_ranges(model: Model) -> None:
    for option in ({"temperature": -1.0}, {"temperature": float("nan")}, {"top_p": 0.0}, {"min_p": 2.0}):
        with pytest.raises(ValueError, match=f"^{next(iter(option))} must be"):
            model.sample([{}], tokens=2, **option)
    with pytest.raises(ValueError, match="cannot be known"):
        model.sample([{}], known={"text": ("so it goes", [True] * 32)})
    with pytest.raises(ValueError, match="length must be a whole number from 2"):
        Document.fit(["so it goes"], length=1)


def test_no_guidance_at_all_forgets_the_source() -> None:
    columns = {"text": Text.fit(["ab", "ba"], length=6), "kind": toy.table(16).columns["label"]}
    model = Model("text | kind", columns, **SMALL).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape))
    rows = [{"kind": columns["kind"].classes[0]}] * 8
    drawn = {w: [row["text"] for row in model.sample(rows, guidance=w)] for w in (0.0, 1.0)}
    assert drawn[0.0] == [row["text"] for row in model.sample([{}] * 8)] != drawn[1.0]
