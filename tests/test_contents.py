"""Files that are not what their names say, and files that are no data: an error that says what they are and what to do."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import PIL.Image
import pytest

from likewise.data.arrow import TableError
from likewise.data.table import Table

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>404</title></head></html>\n"
BYTES = bytes(range(128, 256)) * 8
CONTENTS = {
    "a web page; download the file itself": PAGE,
    "a pointer of Git LFS; fetch the file: git lfs pull": POINTER,
    "an old Excel file or one with a password; save it as .xlsx without one": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    + BYTES,
    "an archive; unpack it": b"BZh9" + BYTES,
    "a PDF; save what it holds": b"%PDF-1.4" + BYTES,
    "a database; export a table": b"SQLite format 3\0" + BYTES,
    "a picture; give it the ending": b"\x89PNG\r\n\x1a\n" + BYTES,
}
NAMED = {
    "JSON; name it .json": (b' [{"a": 1}, {"a": 2}]', {".json", ".jsonl"}),
    "a .zip or .xlsx file; give it that ending": (b"PK\x03\x04" + BYTES, {".xlsx"}),
    "a .parquet file; give it that ending": (b"PAR1" + BYTES, {".parquet"}),
    "a .gz file; give it that ending": (gzip.compress(b"a,b\n1,2\n"), set()),
}
ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".xlsx", ".parquet", ".arrow")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_table_that_is_something_else(tmp_path: Path, ending: str) -> None:
    """Also with an encoding that takes any bytes, and where it is compressed."""
    path = tmp_path / f"t{ending}"
    other = [(what, content) for what, (content, endings) in NAMED.items() if ending not in endings]
    for what, content in [*CONTENTS.items(), *other]:
        path.write_bytes(content)
        with pytest.raises(TableError, match=rf"cannot read '.*t{ending}': it is {what}"):
            Table.open(path)
        if ending == ".csv":
            with pytest.raises(TableError, match=f"it is {what}"):
                Table.open(path, encoding="latin-1")
            (tmp_path / "t.csv.gz").write_bytes(gzip.compress(content))
            with pytest.raises(TableError, match=f"t.csv.gz': it is {what}"):
                Table.open(tmp_path / "t.csv.gz")


def test_texts_that_begin_like_these_are_read(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes(PAGE)
    assert Table.open(tmp_path / "page.html", kinds={"text": "text"})[0]["text"].startswith("\n<!DOCTYPE")
    (tmp_path / "t.csv").write_text("html,n\n<p>,1\n<br>,2\n")
    assert len(Table.open(tmp_path / "t.csv", holdout=0)) == 2


def test_a_caption_that_was_not_fetched(tmp_path: Path) -> None:
    """A pointer of Git LFS would be a caption of its own."""
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(POINTER)
    with pytest.raises(
        TableError, match=r"cannot read '.*a.txt': it is a pointer of Git LFS; fetch the file"
    ):
        Table.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (PAGE, "it is a web page; download the file itself"),
        (POINTER, "it is a pointer of Git LFS; fetch the file: git lfs pull"),
        (b"%PDF-1.4", "it is a PDF"),
        (b"hello", "not of a known picture format"),
    ],
)
def test_a_picture_that_is_something_else(tmp_path: Path, content: bytes, reason: str) -> None:
    for i in range(10):
        PIL.Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "5.png").write_bytes(content)
    with pytest.raises(TableError, match=f"row 5, image: unreadable picture: {reason}"):
        Table.open(tmp_path)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.pkl", "pickles are not loaded, as they may run any program"),
        ("a.PT", "pickles are not loaded"),
        ("a.npz", "save pictures as files, and numbers as .parquet"),
        ("a.h5", "save pictures as files"),
        ("a.sqlite", "export a table"),
        ("a.ods", "save it as .xlsx or .csv"),
        ("a.docx", "save its text as .txt"),
        ("a.csv.xz", "unpack it"),
        ("a.tar", "unpack it"),
        ("a.dat", "if it is one of these give it the ending"),
        ("people", "if it is one of these give it the ending"),
    ],
)
def test_files_that_are_not_read(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(TableError, match=advice):
        Table.open(tmp_path / name)


def test_an_encoding_that_cannot_be_told_is_no_guess(tmp_path: Path) -> None:
    """Latin-1 would take any bytes for letters, so it is not what is advised."""
    for encoding, city in (("shift_jis", "東京"), ("cp1251", "Москва"), ("mac_roman", "Köln")):
        path = tmp_path / "t.csv"
        path.write_text(f"city,n\n{city},1\n{city},2\n", encoding=encoding)
        with pytest.raises(
            TableError, match="line 2: the byte .* is not UTF-8; .* --encoding cp1252, cp1251, shift_jis"
        ):
            Table.open(path)
        assert Table.open(path, encoding=encoding, holdout=0)[0]["city"] == city


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("t.csv", PAGE)
    with pytest.raises(TableError, match="it is a web page"):
        Table.open(tmp_path / "t.zip")
