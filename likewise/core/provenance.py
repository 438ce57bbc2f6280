"""Provenance: how a file was made, written into the file, by which files of likewise are known from data.

    .png           text chunks `likewise:NAME`
    .gif           a comment of JSON {"likewise": {...}}
    .json, .jsonl  the key "likewise", first in the object, in .jsonl of every line
    .html, .md     the line HTML_MARK
    others         a text, a number: samples.jsonl in the same folder lists them

Only the head of a file is read, and neither Pillow nor PyTorch is imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from likewise._version import __version__

KEY = "likewise"
MANIFEST = "samples.jsonl"  # in a folder of samples: a line of provenance for each file
HTML_MARK = f'<meta name="generator" content="likewise {__version__}">'
PNG_PREFIX = f"{KEY}:"  # of the keywords of text chunks
RUN_FILES = (  # that a run folder may hold; those written by earlier versions have no mark of their own
    "model.json",
    "chain.json",
    "tables.json",
    "forecast.json",
    "weights.safetensors",
    "resume.safetensors",
    "metrics.jsonl",
    "samples.png",
    "curve.png",
    "report.json",
)

_HEAD = 4096  # bytes that are read of a file
_MAX_CHUNKS = 4 * 2**20  # bytes of the texts of a PNG
_JSON = re.compile(rb'\s*\{\s*"likewise":\s*\{\s*"version":')
_METRICS = re.compile(rb'\{"step": \d+, "progress": ')
_HTML = re.compile(rb'<meta name="generator" content="likewise ')


def provenance(**details: Any) -> dict[str, Any]:
    """The value of the key "likewise": the version, which comes first, and how the file was made."""
    return {"version": __version__, **details}


def png_chunks(about: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The text chunks of a PNG, by keyword: the version and `about`, whose values are JSON unless they are strings."""
    values = provenance(**(about or {}))
    return {
        f"{PNG_PREFIX}{name}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in values.items()
    }


def is_output(path: str | Path) -> bool:
    """Whether a file was written by likewise. False for one that cannot be read."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            if head.startswith(b"\x89PNG\r\n\x1a\n"):
                marked = _is_marked_png(file)
            elif head.startswith((b"GIF87a", b"GIF89a")):
                marked = b'{"likewise": {"version":' in head
            elif path.suffix.lower() in (".html", ".htm", ".md"):
                marked = _HTML.search(head) is not None
            else:
                marked = bool(_JSON.match(head) or (path.name == "metrics.jsonl" and _METRICS.match(head)))
        return (
            marked
            or (path.name in RUN_FILES and is_run_folder(path.parent))
            or path.name in files_in_manifest(path.parent)
        )
    except OSError:
        return False


def is_run_folder(folder: str | Path) -> bool:
    """Whether a folder holds a model that likewise wrote: a run, a pipeline, or an export.

    A folder that has a model.json of something else is none. Nothing in such a folder or below it is data.
    """
    folder = Path(folder)
    keys = {
        "model.json": {"format", "formula", "columns"},
        "chain.json": {"format", "formula", "links"},
        "tables.json": {"format", "key", "layout"},
        "forecast.json": {"format", "formula", "horizon"},
    }
    for name, required in keys.items():
        try:
            state = json.loads((folder / name).read_bytes())
        except OSError:
            continue
        except ValueError:  # damaged
            if (folder / "weights.safetensors").exists():
                return True
            continue
        if isinstance(state, Mapping) and required <= state.keys():
            return True
    return (folder / "config.json").is_file() and is_output(folder / "README.md")


def files_in_manifest(folder: Path) -> frozenset[str]:
    """The names of the files that samples.jsonl in a folder lists; none if there is no such file of ours."""
    path = folder / MANIFEST
    try:
        state = path.stat()
    except OSError:
        return frozenset()
    return _files_in_manifest(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _files_in_manifest(path: Path, _modified: int, _size: int) -> frozenset[str]:
    try:
        return frozenset(name for name, _ in manifest_lines(path.parent))
    except OSError:
        return frozenset()


def manifest_lines(folder: Path) -> list[tuple[str, str]]:
    """The lines of samples.jsonl in a folder that describe a file, with its name; none without it. Raises OSError."""
    pairs: list[tuple[str, str]] = []
    path = folder / MANIFEST
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else []:
        if _JSON.match(line):
            with suppress(ValueError):  # a line that was cut short
                about = json.loads(line)[KEY]
                if isinstance(about.get("file"), str):
                    pairs.append((about["file"], line.decode().rstrip("\n") + "\n"))
    return pairs


def _is_marked_png(file: IO[bytes]) -> bool:
    """Whether a text chunk before the pixels has a keyword of likewise."""
    file.seek(8)
    while len(header := file.read(8)) == 8:
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        if kind in (b"IDAT", b"IEND"):
            return False
        start = file.read(min(length, 80)) if kind in (b"tEXt", b"zTXt", b"iTXt") else b""
        if start.startswith(PNG_PREFIX.encode()):
            return True
        file.seek(length + 4 - len(start), 1)
    return False


def read_png_chunks(data: bytes, longest: int = _MAX_CHUNKS) -> dict[str, str]:
    """The inverse of `png_chunks`, from the bytes of a PNG file; {} for any other file.

    Compressed texts are not read, so none can expand, nor are more than `longest` bytes of texts.
    """
    values: dict[str, str] = {}
    start, room = 8, longest
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return values
    while start + 8 <= len(data):
        length, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        content = data[start + 8 : start + 8 + length] if kind in (b"tEXt", b"iTXt") else b""
        keyword, _, text = content.partition(b"\0")
        if keyword.startswith(PNG_PREFIX.encode()) and (room := room - len(text)) >= 0:
            encoding = "latin-1"
            if kind == b"iTXt":
                compressed, text = text[:1] != b"\0", text[2:].split(b"\0", 2)[-1]
                encoding = "utf-8"
                text = b"" if compressed else text
            name = keyword.decode("latin-1").removeprefix(PNG_PREFIX)
            values[name] = text.decode(encoding, errors="replace")
        start += 12 + length
    return values
