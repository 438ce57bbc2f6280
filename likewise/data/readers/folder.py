"""Folders of files: with a table, with a .txt each, in folders that are labels; of texts; in parts of a split."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from likewise.data.arrow import FILE, PART, TableError, file_feature_of
from likewise.data.readers.base import FileFormat, Reading, decode_text
from likewise.data.readers.folder_tables import FoundTables, Values, find_tables, is_folder_table, read_tables
from likewise.data.readers.layout import Layout, find_labels, find_layout
from likewise.data.readers.listing import Listing, count_endings, list_folder
from likewise.data.readers.text_files import TEXTS, read_texts
from likewise.modalities import KINDS, Modality

CAPTIONS = (".caption", ".txt")  # of the file beside a picture; the last one counts if there are several
_ABOUT = re.compile(r"(readme|license|licence|copying|notice|changelog|citation)\b", re.IGNORECASE)
_OTHER_PICTURES = (
    ".heic",
    ".heif",
    ".jxl",
    ".avif",
    ".dng",
    ".cr2",
    ".nef",
    ".arw",
    ".eps",
    ".emf",
    ".wmf",
    ".psb",
)


def read_folder(path: Path, fmt: FileFormat, kinds: Mapping[str, str]) -> Reading:
    """A table of file names; else files of a kind, with a .txt each or in folders that are labels; else texts.

    What is in the folder and not in the rows is counted in `unused`. Raises TableError.
    """
    listing = list_folder(path)
    kind, files = _value_files(listing)
    tables = [file for file in listing.files if is_folder_table(file, files)]
    endings = {*TEXTS, *CAPTIONS} if files else {*TEXTS}
    texts = [file for file in listing.files if file.suffix.lower() in endings]
    if files or tables:
        texts = [file for file in texts if not _ABOUT.match(file.name)]
    layout = find_layout(path, [*files, *tables] if files else texts or tables)
    values = Values(kind.kind if kind else None, files)
    found = FoundTables() if texts and not files else find_tables(layout, listing, tables, values, fmt, kinds)
    if found.tables:
        reading, used = read_tables(found.tables, layout, listing, files)
    elif kind is not None:
        reading, used = _read_values(kind, files, texts, layout, listing, fmt)
    elif texts:
        reading, used = _read_texts(texts, layout, listing, fmt)
    else:
        raise TableError(_nothing(listing))
    rest = [file for file in listing.files if file not in used]
    idle = [file for file in tables if file in rest]
    hidden = f"{listing.hidden:,} hidden files or folders passed over"
    return replace(
        reading,
        read=[*reading.read, *([hidden] if listing.hidden else [])],
        unused=[
            *reading.unused,
            *_idle_lines(idle, found, listing),
            *_rest_lines([file for file in rest if file not in idle]),
            *listing.unused(),
        ],
    )


def _idle_lines(tables: Sequence[Path], found: FoundTables, listing: Listing) -> list[str]:
    """Why tables are not used."""
    lines = [
        f"{listing.name(file)}: not used; {found.unreadable[file]}"
        for file in tables
        if file in found.unreadable
    ]
    others = [file for file in tables if file not in found.unreadable]
    if others and found.tables:
        used = ", ".join(listing.name(table.file) for table in found.tables)
        lines.append(f"{listing.names(others)}: not used, beside {used}")
    elif others:
        lines.append(f"{listing.names(others)}: not used; no column names files in the folder")
    return lines


def _read_values(
    kind: type[Modality],
    files: Sequence[Path],
    texts: Sequence[Path],
    layout: Layout,
    listing: Listing,
    fmt: FileFormat,
) -> tuple[Reading, set[Path]]:
    """Files of a kind as rows, and the files that were used, or named as not used."""
    from datasets import Dataset, Features, Value

    captions = {
        file.with_suffix(""): file for ending in CAPTIONS for file in texts if file.suffix.lower() == ending
    }
    stems = {file.with_suffix("") for file in files}
    unpaired = [
        file for file in texts if file.suffix.lower() not in CAPTIONS or file.with_suffix("") not in stems
    ]
    if len(unpaired) > len(files):
        raise TableError(
            f"the folder {str(listing.folder)!r} has more texts that belong to no {kind.kind} "
            f"({len(unpaired)}, such as {listing.name(min(unpaired))}) than files of that kind ({len(files)}); move one "
            "of the two elsewhere"
        )
    labels = find_labels(layout, files, listing)
    strays = set(labels.strays)
    rows = [file for file in files if file not in strays]
    columns: dict[str, list[Any]] = {
        kind.kind: [{"bytes": None, "path": str(file)} for file in rows],
        FILE: [listing.name(file) for file in rows],
    }
    read = [f"{len(rows):,} files of the kind {kind.kind}: {count_endings(rows)}", *labels.read]
    unused = list(labels.unused)
    if paired := [file for file in rows if file.with_suffix("") in captions]:
        columns["text"] = [_caption(captions.get(file.with_suffix("")), fmt) for file in rows]
        beside = " or ".join(sorted({captions[file.with_suffix("")].suffix.lower() for file in paired}))
        read.append(f"text: the {beside} beside {len(paired):,} of {len(rows):,} files")
    alone = [file for file in unpaired if file.suffix.lower() in CAPTIONS]
    if alone:
        unused.append(
            f"{listing.names(alone)}: beside no file of the kind {kind.kind}; not used (if it is a table, name it .csv or .tsv)"
        )
    if labels.of:
        columns["label"] = [labels.of[file] for file in rows]
    if layout.parts:
        columns[PART] = [layout.part(file) for file in rows]
        read.append(layout.describe())
    features = {name: file_feature_of(kind) if name == kind.kind else Value("string") for name in columns}
    reasons = {kind.kind: "files", "text": "the text beside each", "label": "the folder of each"}
    data = Dataset.from_dict(columns, features=Features(features))
    reading = Reading(
        data, read, unused, reasons={name: reason for name, reason in reasons.items() if name in columns}
    )
    return reading, {*files, *captions.values()}


def _caption(file: Path | None, fmt: FileFormat) -> str | None:
    return None if file is None else decode_text(file, fmt.encoding).strip()


def _read_texts(
    texts: Sequence[Path], layout: Layout, listing: Listing, fmt: FileFormat
) -> tuple[Reading, set[Path]]:
    """Texts as rows, and the files that were used, or named as not used."""
    labels = find_labels(layout, texts, listing)
    strays = set(labels.strays)
    files = [file for file in texts if file not in strays]
    columns = {"label": [labels.of[file] for file in files]} if labels.of else {}
    if layout.parts:
        columns[PART] = [layout.part(file) or "" for file in files]
    read = [f"{len(files):,} texts: {count_endings(files)}", *labels.read]
    if layout.parts:
        read.append(layout.describe())
    return Reading(read_texts(files, listing.folder, fmt.encoding, columns), read, list(labels.unused)), set(
        texts
    )


def _value_files(listing: Listing) -> tuple[type[Modality] | None, list[Path]]:
    """The kind whose values are files in a folder, and these files. Raises TableError for several kinds."""
    files_of = {
        kind: [file for file in listing.files if file.suffix.lower() in kind.file_suffixes]
        for kind in KINDS.values()
    }
    files_of = {kind: files for kind, files in files_of.items() if files}
    if len(files_of) > 1:
        counts = " and ".join(f"{len(files)} of the kind {kind.kind}" for kind, files in files_of.items())
        raise TableError(
            f"the folder {str(listing.folder)!r} has files of several kinds, {counts}; give each a folder of its own"
        )
    return next(iter(files_of.items()), (None, []))


def _rest_lines(rest: Sequence[Path]) -> list[str]:
    """What of the files was not used, by ending."""
    others = [file for file in rest if file.suffix.lower() in _OTHER_PICTURES]
    lines = (
        [f"{count_endings(others)}: pictures that cannot be read here; convert them to .png"]
        if others
        else []
    )
    if rest := [file for file in rest if file not in others]:
        lines.insert(0, f"{count_endings(rest)}: not used")
    return lines


def _nothing(listing: Listing) -> str:
    """Why there is nothing to read in a folder."""
    there = [count_endings(listing.files)] if listing.files else []
    there += listing.unused()
    found = f"; it has {'; '.join(there)}" if there else ""
    return (
        f"the folder {str(listing.folder)!r} has no pictures, no texts and no table to read{found}. Put some in, or give "
        "a table file by its name"
    )
