"""A folder is read as it is meant, or what was done otherwise is said: layouts, links, outputs, tables, endings."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import PIL.Image
import pytest

from likewise.cli.main import main
from likewise.core.provenance import provenance
from likewise.data.arrow import TableError
from likewise.data.table import Table
from likewise.modalities.picture_files import write


@pytest.fixture(autouse=True)
def _no_files_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "arrow")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def picture(seed: int, size: tuple[int, int] = (8, 6)) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels)


def add(folder: Path, *names: str) -> None:
    """Write a picture of its own under each name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(sum(map(ord, str(path.relative_to(folder.parent))))).convert("RGB").save(path)


def add_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def unused(table: Table) -> str:
    return "\n".join(table.report.account.unused)


def read(table: Table) -> str:
    return "\n".join(table.report.account.read)


# ---- parts


@pytest.mark.parametrize("held", ["test", "Val", "validation", "valid", "dev"])
def test_parts_are_the_split_and_no_label(root: Path, held: str) -> None:
    add(root, *(f"train/{kind}/{i}.png" for kind in ("cat", "dog") for i in range(4)))
    add(root, *(f"{held}/{kind}/{i}.png" for kind in ("cat", "dog") for i in range(2)))
    table = Table.open(root)
    assert table.columns["label"].classes == ("cat", "dog")
    assert (len(table.train), len(table.test)) == (8, 4)
    assert f"{held} held out, train for training" in read(table)
    assert table.report.heldout == f"the part {held.lower()} of the data"
    assert Table.open(**table.reopen_args()).fingerprint == table.fingerprint


def test_parts_without_folders_of_classes_have_no_label(root: Path) -> None:
    add(root, *(f"{part}/{i}.png" for part in ("train", "test", "val") for i in range(3)))
    table = Table.open(root)
    assert list(table.kinds) == ["image"]
    assert (len(table.train), len(table.test)) == (3, 6)
    assert "test and val held out" in read(table)


def test_one_part_is_neither_a_split_nor_a_label(root: Path) -> None:
    add(root, *(f"train/{i}.png" for i in range(12)))
    table = Table.open(root)
    assert list(table.kinds) == ["image"] and len(table.test) == 1
    assert "train is a part of a split, and no label" in read(table)


def test_parts_may_lie_deeper(root: Path) -> None:
    add(root, *(f"images/{part}/{kind}/0.png" for part in ("train", "test") for kind in ("a", "b")))
    table = Table.open(root)
    assert table.columns["label"].classes == ("a", "b") and len(table.test) == 2


def test_a_class_may_be_called_train(root: Path) -> None:
    add(root, *(f"{kind}/{i}.png" for kind in ("car", "plane", "train") for i in range(4)))
    assert Table.open(root).columns["label"].classes == ("car", "plane", "train")


def test_parts_beside_other_folders_are_an_error(root: Path) -> None:
    add(root, "train/0.png", "test/0.png", "extra/0.png")
    with pytest.raises(TableError, match="the parts train, test beside extra; move the others elsewhere"):
        Table.open(root)


def test_a_table_in_each_part(root: Path) -> None:
    for part, count in (("train", 6), ("test", 3)):
        names = [f"{i}.png" for i in range(count)]
        add(root / part, *names)
        add_table(
            root / part / "metadata.csv", [{"file_name": n, "caption": f"a {part} {n[0]}"} for n in names]
        )
    table = Table.open(root)
    assert list(table.kinds) == ["image", "caption"]
    assert table.train.column("caption") == [f"a train {i}" for i in range(6)]
    assert table.test.column("caption") == [f"a test {i}" for i in range(3)]
    assert {"train/metadata.csv: 6 rows", "test/metadata.csv: 3 rows"} <= {*table.report.account.read}


def test_a_bad_row_of_a_part_is_named_by_its_table_and_line(root: Path) -> None:
    for part in ("train", "test"):
        add(root / part, *(f"{i}.png" for i in range(3)))
        add_table(
            root / part / "metadata.csv", [{"file_name": f"{i}.png", "caption": f"{i}"} for i in range(3)]
        )
    (root / "test" / "1.png").write_bytes(b"no picture")
    with pytest.raises(
        TableError, match=r"1 of 6 rows .*\n  row 4 \(line 3\), image: .*\(in test/metadata.csv\)"
    ):
        Table.open(root)
    skipped = Table.open(root, skip_bad=True)
    assert (len(skipped.train), len(skipped.test)) == (3, 2)


def test_parts_whose_tables_do_not_fit_are_an_error(root: Path) -> None:
    add(root, "train/0.png", "test/0.png")
    add_table(root / "train" / "metadata.csv", [{"file_name": "0.png", "caption": "x"}])
    with pytest.raises(TableError, match="test has no table of its files"):
        Table.open(root)
    add_table(root / "test" / "metadata.csv", [{"file_name": "0.png"}])
    with pytest.raises(TableError, match=r"test/metadata.csv has no column 'caption'"):
        Table.open(root)


def test_one_table_for_all_parts(root: Path) -> None:
    names = [f"{part}/{i}.png" for part, count in (("train", 6), ("test", 2)) for i in range(count)]
    add(root, *names)
    add_table(
        root / "metadata.csv", [{"file_name": n, "caption": f"picture {i}"} for i, n in enumerate(names)]
    )
    table = Table.open(root)
    assert table.test.column("caption") == ["picture 6", "picture 7"]


def test_tables_alone_may_be_parts(root: Path) -> None:
    for part, count in (("train", 6), ("test", 2)):
        add_table(root / f"{part}.csv", [{"x": i + 0.5, "y": count + 0.5} for i in range(count)])
    table = Table.open(root)
    assert (len(table.train), len(table.test)) == (6, 2) and table.test.column("y") == [2.5, 2.5]


def test_shards_of_parts_are_put_together(root: Path) -> None:
    """As data sets lie on the hub."""
    (root / "data").mkdir()
    (root / "README.md").write_text("# about the data")
    for name in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        rows = {"x": [i + 0.5 for i in range(4)], "name": [name] * 4}
        datasets.Dataset.from_dict(rows).to_parquet(root / "data" / f"{name}.parquet")
    table = Table.open(root, kinds={"name": "text"})
    assert (len(table.train), len(table.test)) == (8, 4) and {*table.test.column("name")} == {
        "test-00000-of-00001"
    }


def test_texts_have_parts_too(root: Path) -> None:
    for part in ("train", "test"):
        for kind in ("good", "bad"):
            (root / part / kind).mkdir(parents=True)
            for i in range(3):
                (root / part / kind / f"{i}.txt").write_text(f"a {kind} text number {i} of {part}")
    table = Table.open(root)
    assert table.columns["label"].classes == ("bad", "good")
    assert len(table.test) == 6 and all("of test" in text for text in table.test.column("text"))


def test_options_of_the_split_override_parts_and_this_is_said(root: Path) -> None:
    add(root, *(f"train/{i}.png" for i in range(10)), *(f"test/{i}.png" for i in range(10)))
    table = Table.open(root, holdout=0.2)
    assert len(table.test) == 4
    assert "anew by holdout, and not as the parts of the data say (test)" in table.report.findings[0]
    assert len(Table.open(root, holdout=0.0).test) == 0


def test_a_file_that_moves_to_the_other_part_is_noticed(root: Path) -> None:
    add(root, "test/0.png", "train/1.png", "train/2.png")
    before = Table.open(root).fingerprint
    (root / "train" / "1.png").rename(root / "test" / "1.png")
    assert Table.open(root).fingerprint != before


def test_copies_in_both_parts_are_counted(root: Path) -> None:
    add(root, *(f"train/{i}.png" for i in range(4)), *(f"test/{i}.png" for i in range(2)))
    picture(1, (32, 32)).save(root / "train" / "same.png")
    picture(1, (32, 32)).save(root / "test" / "same.jpg", quality=90)
    (root / "test" / "copy.png").write_bytes((root / "train" / "0.png").read_bytes())
    said = "\n".join(Table.open(root).report.findings)
    assert "1 of 4 held-out rows are copies of training rows" in said
    assert "of them are held out while another is a training row" in said


# ---- labels


def test_the_label_is_the_folder_of_a_file_and_this_is_said(root: Path) -> None:
    add(
        root,
        *(f"{year}/{kind}/{i}.png" for year in ("2020", "2021") for kind in ("cat", "dog") for i in range(2)),
    )
    table = Table.open(root)
    assert table.columns["label"].classes == ("cat", "dog")
    assert "label: the folder in which a file lies, such as cat of 2020/cat/0.png" in read(table)


def test_a_stray_picture_is_named_and_labels_stay(root: Path) -> None:
    add(root, *(f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(4)), "stray.png")
    table = Table.open(root)
    assert len(table) == 8 and table.columns["label"].classes == ("cat", "dog")
    assert "stray.png: in no folder that is a label; not used" in unused(table)


def test_a_few_files_in_a_folder_make_no_label(root: Path) -> None:
    add(root, *(f"{i}.png" for i in range(8)), "old/8.png")
    table = Table.open(root)
    assert list(table.kinds) == ["image"] and len(table) == 9
    assert "old/8.png are not read as labels, as 8 of 9 files lie beside them" in unused(table)


def test_hundreds_of_folders(root: Path) -> None:
    one = write(picture(0))
    for i in range(300):
        (root / f"{i:04d}").mkdir()
        (root / f"{i:04d}" / "x.png").write_bytes(one)
    assert len(Table.open(root, kinds={"label": "label"}, near_copies=False).columns["label"].classes) == 300


# ---- what is read


def test_all_formats_of_pillow_are_read_and_the_rest_is_counted(root: Path) -> None:
    add(root, "a.png", "b.jfif", "c.tga", "d.PNG", "e.jp2", "f.qoi", "g.ico", "h.PPM")
    for name in ("x.pdf", "y.pdf", "z", "w.heic", ".DS_Store", "Thumbs.db"):
        (root / name).write_bytes(b"?")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._a.png").write_bytes(b"?")
    table = Table.open(root)
    assert len(table) == 8
    assert read(table).splitlines()[0] == (
        "8 files of the kind image: 2 .png, 1 .ico, 1 .jfif, 1 .jp2, 1 .ppm, 1 .qoi, 1 .tga"
    )
    assert "3 hidden files or folders passed over" in read(table)
    assert table.report.account.unused[:2] == [
        "2 .pdf, 1 without an ending: not used",
        "1 .heic: pictures that cannot be read here; convert them to .png",
    ]


def test_svg_is_rendered_and_one_that_needs_other_files_is_a_bad_row(root: Path) -> None:
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 12">'
    (root / "a.svg").write_text(f'<?xml version="1.0"?><!-- x -->{head}<rect width="12" height="12"/></svg>')
    (root / "b.svg").write_text(f'{head}<image href="secret.png" width="24" height="12"/></svg>')
    with pytest.raises(TableError, match=r"refers to 'secret.png', and other files are not read"):
        Table.open(root)
    table = Table.open(root, skip_bad=True, options={"fit": "stretch", "size": 8, "channels": 1})
    pixels = table.columns["image"].encode(table[0]["image"]).reshape(8, 8)
    assert pixels[:, :3].max() < -0.9 and pixels[:, 5:].min() > 0.9


def test_what_is_no_picture_is_a_bad_row_by_its_name(root: Path) -> None:
    add(root, "a.png", "b.png", "c.png", "d.jpg")
    (root / "a.png").write_text("<!doctype html><html></html>")
    (root / "b.png").write_bytes(b"")
    (root / "d.jpg").write_bytes((root / "d.jpg").read_bytes()[:-60])
    picture(5).save(root / "e.png", "JPEG")  # a wrong ending does no harm
    (root / "f.png").mkdir()  # a folder
    add(root, "f.png/g.png")
    with pytest.raises(TableError) as told:
        Table.open(root)
    assert "3 of 5 rows" in str(told.value) or "3 of 6 rows" in str(told.value)
    for name in ("a.png", "b.png", "d.jpg"):
        assert f"(in {name})" in str(told.value)


def test_names_of_all_kinds(root: Path) -> None:
    names = ["a\nb.png", "ü 北京 😀.png", "x" * 200 + ".png", "-dash.png", "a,b;c'd\".png", "two..dots.png"]
    add(root, *names)
    table = Table.open(root)
    assert len(table) == len(names)
    (root / "a\nb.png").write_bytes(b"?")
    with pytest.raises(TableError, match=r"\(in a\\nb\.png\)"):
        Table.open(root)
    (root / "a\nb.png").unlink()
    (root / "notes\n.pdf").write_bytes(b"?")
    assert "1 .pdf: not used" in unused(Table.open(root))


@pytest.mark.skipif(os.name != "posix", reason="names are bytes only there")
def test_a_name_that_is_not_utf8_is_named(root: Path) -> None:
    add(root, "a.png", "b.png")
    os.rename(bytes(root / "b.png"), bytes(root) + b"/caf\xe9.png")
    table = Table.open(root)
    assert len(
        table
    ) == 1 and r"caf\udce9.png: a link that leads nowhere, or a name that is not UTF-8" in unused(table)


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(root: Path) -> None:
    add(root, "a/a.png", "b/b.png")
    (root / "a" / "a.png").chmod(0)
    with pytest.raises(TableError, match="Permission denied"):
        Table.open(root)
    (root / "b").chmod(0)
    with pytest.raises(TableError, match="cannot read the folder .*b: permission denied"):
        Table.open(root)


def test_a_folder_of_other_files_says_what_it_has(root: Path) -> None:
    (root / "a.mp4").write_bytes(b"?")
    with pytest.raises(TableError, match=r"no pictures, no texts and no table to read; it has 1 \.mp4\."):
        Table.open(root)


# ---- links


def test_links_are_followed_once(root: Path, tmp_path: Path) -> None:
    add(tmp_path / "store", *(f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(3)))
    for kind in ("cat", "dog"):
        (root / kind).symlink_to(tmp_path / "store" / kind)
    (root / "kitty").symlink_to(root / "cat")
    (root / "cat" / "again").symlink_to(root)  # a circle
    (root / "gone.png").symlink_to(tmp_path / "nowhere.png")
    table = Table.open(root)
    assert len(table) == 6 and table.columns["label"].classes == ("cat", "dog")
    assert "kitty is a link to" in unused(table) and "cat/again is a link to" in unused(table)
    assert "gone.png: a link that leads nowhere" in unused(table)


def test_a_folder_is_entered_by_its_own_name_rather_than_by_a_link(root: Path) -> None:
    add(root, "z/0.png", "z/1.png", "b/2.png")
    (root / "a").symlink_to(root / "z")
    assert Table.open(root).columns["label"].classes == ("b", "z")


def test_a_file_that_is_there_twice_through_a_link_is_named(root: Path) -> None:
    add(root, "a/0.png", "b/1.png")
    (root / "b" / "0.png").symlink_to(root / "a" / "0.png")
    table = Table.open(root)
    assert len(table) == 3 and "b/0.png: links to files that are read as well" in unused(table)


# ---- outputs


def test_runs_and_outputs_below_a_folder_are_no_data(root: Path) -> None:
    add(root, *(f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(3)))
    before = Table.open(root).fingerprint
    run = root / "runs" / "a"
    add(run, "samples.png", "deeper/x.png")
    (run / "model.json").write_text('{"format": 2, "formula": "image", "columns": {}}')
    (root / "preview.png").write_bytes(write(picture(9), provenance(seed=0)))
    (root / "report.json").write_text('{"likewise": {"version": "1"}, "metrics": []}')
    table = Table.open(root)
    assert table.fingerprint == before
    assert "runs/a is a run of likewise; not read" in unused(table)
    assert "preview.png, report.json: written by likewise; not read" in unused(table)
    with pytest.raises(TableError, match="is a run of likewise, which holds no data"):
        Table.open(run)


def test_a_model_json_of_something_else_does_not_hide_pictures(root: Path) -> None:
    add(root, "a/0.png", "b/1.png")
    (root / "a" / "model.json").write_text('{"name": "a camera"}')
    assert len(Table.open(root)) == 2


def test_a_folder_of_outputs_alone_says_so(root: Path) -> None:
    (root / "0.png").write_bytes(write(picture(9), provenance(seed=0)))
    with pytest.raises(TableError, match=r"0\.png: written by likewise"):
        Table.open(root)


# ---- tables of files


@pytest.mark.parametrize("name", ["captions.csv", "Metadata.csv", "METADATA.CSV", "labels.tsv", "data.jsonl"])
def test_a_table_with_names_of_the_files_is_read(root: Path, name: str) -> None:
    add(root, *(f"{i}.png" for i in range(12)))
    rows = [{"file_name": f"{i}.png", "caption": f"picture {i}"} for i in range(12)]
    if name.endswith("jsonl"):
        datasets.Dataset.from_list(rows).to_json(root / name)
    else:
        add_table(root / name, rows)
        if name.endswith("tsv"):
            (root / name).write_text((root / name).read_text().replace(",", "\t"))
    table = Table.open(root)
    assert list(table.kinds) == ["image", "caption"] and name in read(table)


def test_names_may_lack_their_ending_and_be_numbers(root: Path) -> None:
    add(root, *(f"{i}.png" for i in range(12)))
    add_table(root / "labels.csv", [{"id": i, "kind": "ab"[i % 2]} for i in range(12)])
    table = Table.open(root)
    assert table.kinds == {"id": "image", "kind": "label"}
    assert table[7]["id"].tobytes() == PIL.Image.open(root / "7.png").tobytes()


def test_tables_that_are_about_something_else_are_named(root: Path) -> None:
    add(root, *(f"{i}.png" for i in range(4)))
    add_table(root / "prices.csv", [{"thing": "tea", "price": i} for i in range(3)])
    (root / "0.json").write_text('{"camera": "x"}')  # beside a picture
    (root / "info.json").write_text("no json")
    table = Table.open(root)
    assert list(table.kinds) == ["image"]
    assert "prices.csv: not used; no column names files in the folder" in unused(table)
    assert "info.json: not used; " in unused(table) and "cannot read" in unused(table)
    assert "1 .json: not used" in unused(table)


def test_two_tables_that_could_be_meant_are_an_error(root: Path) -> None:
    add(root, "0.png", "1.png")
    for name in ("a.csv", "b.csv"):
        add_table(root / name, [{"file_name": f"{i}.png", "caption": f"{name} {i}"} for i in range(2)])
    with pytest.raises(
        TableError, match=r"a\.csv and b\.csv could be the table; give one by its name, such as"
    ):
        Table.open(root)
    assert list(Table.open(root / "b.csv").kinds) == ["image", "caption"]
    add_table(root / "metadata.csv", [{"file_name": f"{i}.png", "x": i / 2} for i in range(2)])
    table = Table.open(root)
    assert list(table.kinds) == ["image", "x"] and "a.csv, b.csv: not used, beside metadata.csv" in unused(
        table
    )
    add_table(root / "metadata.tsv", [{"x": 1}])
    with pytest.raises(TableError, match=r"metadata\.csv and metadata\.tsv could be the table"):
        Table.open(root)


def test_files_that_no_table_lists_and_names_without_a_file(root: Path) -> None:
    add(root, *(f"{i}.png" for i in range(9)))
    names = ["0.png", "1.png", "2.png", "lost.png"]
    add_table(root / "metadata.csv", [{"file_name": n, "caption": f"picture {n[0]}"} for n in names])
    with pytest.raises(
        TableError, match=r"1 of 4 rows .*\n  row 3 \(line 5\), image: cannot open the file .*lost\.png"
    ):
        Table.open(root)
    table = Table.open(root, skip_bad=True)
    assert len(table) == 3
    assert "6 of 9 files are not in metadata.csv, and are not used: 3.png, 4.png, 5.png and 3 more" in unused(
        table
    )


def test_a_readme_beside_a_table_is_no_text(root: Path) -> None:
    (root / "README.md").write_text("# about the data")
    add_table(root / "data" / "rows.csv", [{"x": i / 2, "y": i} for i in range(12)])
    table = Table.open(root)
    assert list(table.kinds) == ["x", "y"] and "1 .md: not used" in unused(table)


# ---- captions and texts


def test_captions_and_pictures_without_each_other_are_named(root: Path) -> None:
    add(root, "a.png", "b.png", "c.png")
    for name, data in {"a.txt": b"\xef\xbb\xbfa caption", "B.TXT": b"no", "x.txt": b"alone"}.items():
        (root / name).write_bytes(data)
    table = Table.open(root)
    assert table.column("text") == ["a caption", None, None]
    assert "text: the .txt beside 1 of 3 files" in read(table)
    assert "B.TXT, x.txt: beside no file of the kind image; not used" in unused(table)
    assert "missing of 3 values: text 2" in table.report.notes()


def test_a_caption_in_another_encoding_says_what_to_do(root: Path) -> None:
    add(root, "a.png")
    (root / "a.txt").write_bytes("Köln".encode("latin-1"))
    with pytest.raises(TableError, match=r"a\.txt is not UTF-8: byte 1 is 0xf6; give its encoding"):
        Table.open(root)
    assert Table.open(root, encoding="latin-1").column("text") == ["Köln"]


def test_endings_that_are_no_texts_are_counted(root: Path) -> None:
    for i in range(3):
        (root / f"{i}.txt").write_text(f"text {i}")
    (root / "a.docx").write_bytes(b"?")
    (root / ".hidden.txt").write_text("x")
    table = Table.open(root)
    assert len(table) == 3 and unused(table) == "1 .docx: not used"
    assert "3 texts: 3 .txt" in read(table) and "1 hidden files" in read(table)


@pytest.mark.parametrize("new", [["owl"], ["owl", "yak"]])
def test_a_class_of_held_out_rows_only_is_kept_and_said(
    tmp_path: Path, new: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for part, classes, count in (("train", ["cat", "dog"], 12), ("test", ["dog", *new], 3)):
        for k, name in enumerate(classes):
            (tmp_path / "set" / part / name).mkdir(parents=True)
            for i in range(count):
                colour = (40 * k, 20 * i, 200 if part == "test" else 0)
                PIL.Image.new("RGB", (8, 8), colour).save(tmp_path / "set" / part / name / f"{i}.png")
    table = Table.open(tmp_path / "set")
    assert table.columns["label"].describe() == f"{2 + len(new)} classes: {', '.join(['cat', 'dog', *new])}"
    assert (len(table.train), len(table.test), table.skipped) == (24, 3 + 3 * len(new), [])
    of = "class owl" if len(new) == 1 else "2 classes owl, yak"
    assert (
        f"label: no training row has the {of}, which {3 * len(new)} held-out rows have"
        in table.report.findings
    )
    run = ["--steps", "1", "--width", "16", "--depth", "1", "--out", str(tmp_path / "r")]
    assert main(["train", str(tmp_path / "set"), "image | label", *run]) == 0, capsys.readouterr().err
    assert f"no training row has the {of}" in capsys.readouterr().err
    fewer = Table.open(tmp_path / "set", holdout=0.2)
    assert len(fewer.train) + len(fewer.test) == len(table)


@pytest.mark.parametrize("ending", [".txt", ".TXT", ".caption", ".Caption"])
def test_captions_may_have_any_of_their_endings(root: Path, ending: str) -> None:
    add(root, *(f"{i}.png" for i in range(6)))
    for i in range(6):
        (root / f"{i}{ending}").write_text(f"a thing {i % 3}\n")
    table = Table.open(root, kinds={"text": "text"})
    assert table.column("text")[4] == "a thing 1" and not unused(table)
    assert f"text: the {ending.lower()} beside 6 of 6 files" in read(table)


def test_of_two_captions_the_txt_is_read_and_the_other_is_counted(root: Path) -> None:
    add(root, *(f"{i}.png" for i in range(6)))
    for i in range(6):
        (root / f"{i}.txt").write_text(f"a thing {i % 3}")
        (root / f"{i}.caption").write_text("other")
    table = Table.open(root, kinds={"text": "text"})
    assert table.column("text")[4] == "a thing 1" and "6 .caption: not used" in unused(table)


def test_a_table_that_is_called_a_text_is_named(root: Path) -> None:
    add(root, *(f"{i}.png" for i in range(6)))
    (root / "captions.txt").write_text("image,caption\n" + "".join(f"{i}.png,a thing\n" for i in range(6)))
    assert (
        "captions.txt: beside no file of the kind image; not used (if it is a table, name it .csv"
        in unused(Table.open(root))
    )
