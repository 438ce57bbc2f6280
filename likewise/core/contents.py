"""What a file is by its first bytes, where its name says otherwise: a web page, an archive, a pointer to a file."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

LENGTH = 512  # bytes that tell


@dataclass(frozen=True)
class Content:
    """What a file is.

    pattern  that its first bytes match
    name     such as "a web page"
    advice   what to do where another file is meant
    endings  of files that are such a thing
    """

    pattern: bytes
    name: str
    advice: str
    endings: Collection[str] = ()

    def __str__(self) -> str:
        return f"it is {self.name}; {self.advice}"


CONTENTS = (
    Content(
        rb"(\xef\xbb\xbf)?\s*(?i:<!doctype html|<html)",
        "a web page",
        "download the file itself",
        (".html", ".htm"),
    ),
    Content(
        rb"version https://git-lfs\.github\.com/spec/", "a pointer of Git LFS", "fetch the file: git lfs pull"
    ),
    Content(
        rb"(\xef\xbb\xbf)?\s*(\[\s*\{|\{\s*\")",
        "JSON",
        "name it .json or .jsonl",
        (".json", ".jsonl", ".ndjson"),
    ),
    Content(rb"PK\x03\x04", "a .zip or .xlsx file", "give it that ending", (".zip", ".xlsx", ".xlsm")),
    Content(rb"\xd0\xcf\x11\xe0", "an old Excel file or one with a password", "save it as .xlsx without one"),
    Content(rb"PAR1", "a .parquet file", "give it that ending", (".parquet",)),
    Content(rb"ARROW1\0", "an .arrow file", "give it that ending", (".arrow", ".feather")),
    Content(rb"\x1f\x8b", "a .gz file", "give it that ending", (".gz",)),
    Content(rb"BZh[1-9]|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!", "an archive", "unpack it"),
    Content(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP", "a picture", "give it the ending of its format"),
    Content(rb"%PDF", "a PDF", "save what it holds as a table or a text"),
    Content(rb"SQLite format 3\0", "a database", "export a table of it as .csv"),
)


def find_content(start: bytes) -> Content | None:
    """What a file is that begins with these bytes; None if that does not tell.

    >>> find_content(b"<!DOCTYPE html><html>").name, find_content(b"age,city")
    ('a web page', None)
    """
    return next((c for c in CONTENTS if re.match(c.pattern, start[:LENGTH], re.DOTALL)), None)
