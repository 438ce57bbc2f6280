"""Folders of files: with a metadata file, with a .txt each, in class folders; or of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from likewise.data.arrow import FILE, TableError, file_feature_of
from likewise.data.readers.base import FileFormat, Reading, decode_text
from likewise.data.readers.table_file import TABLES, read_table_file
from likewise.data.readers.text_files import TEXTS, read_texts
from likewise.modalities import KINDS, Modality


def read_folder(path: Path, fmt: FileFormat, kinds: Mapping[str, str]) -> Reading:
    """A metadata file with a column file_name; else files of a kind, with a .txt each or in class folders; else texts."""
    from datasets import Dataset, Features, Value

    for metadata in (path / f"metadata{suffix}" for suffix in TABLES):
        if metadata.is_file():
            return read_table_file(metadata, fmt, kinds)
    kind, files = _value_files(path)
    texts = _files(path, TEXTS)
    if kind is None:
        if texts:
            return Reading(read_texts(texts, path, fmt.encoding), [f"{len(texts):,} texts"])
        raise TableError(
            f"the folder {str(path)!r} has no pictures, no texts and no metadata.csv, .jsonl or "
            ".parquet; put some in, or give a table file by its name"
        )
    columns: dict[str, list[Any]] = {
        kind.kind: [{"bytes": None, "path": str(p)} for p in files],
        FILE: [str(p.relative_to(path)) for p in files],
    }
    captions = [p.with_suffix(".txt") for p in files]
    if len(unpaired := {*texts} - {*captions}) > len(files):
        raise TableError(
            f"the folder {str(path)!r} has more texts that belong to no {kind.kind} "
            f"({len(unpaired)}, such as {min(unpaired).name}) than files of that kind ({len(files)}); move one "
            "of the two elsewhere"
        )
    if any(p.is_file() for p in captions):
        columns["text"] = [decode_text(p, fmt.encoding).strip() if p.is_file() else None for p in captions]
    if all(p.parent != path for p in files):
        columns["label"] = [p.parent.name for p in files]
    features = {name: file_feature_of(kind) if name == kind.kind else Value("string") for name in columns}
    return Reading(
        Dataset.from_dict(columns, features=Features(features)),
        [f"{len(files):,} files of the kind {kind.kind}"],
    )


def _value_files(folder: Path) -> tuple[type[Modality] | None, list[Path]]:
    """The kind whose values are files in a folder, and these files. Raises TableError for several kinds."""
    files_of = {kind: _files(folder, kind.file_suffixes) for kind in KINDS.values() if kind.file_suffixes}
    files_of = {kind: files for kind, files in files_of.items() if files}
    if len(files_of) > 1:
        counts = " and ".join(f"{len(files)} of the kind {kind.kind}" for kind, files in files_of.items())
        raise TableError(
            f"the folder {str(folder)!r} has files of several kinds, {counts}; give each a folder of its own"
        )
    return next(iter(files_of.items()), (None, []))


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files with these suffixes in a folder and its subfolders, without hidden ones."""
    return sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in suffixes
        and p.is_file()
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )
