"""Tables in a folder: metadata.csv and others whose cells name the files there, also one for each part of a split."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from likewise.data.arrow import FILE, HIDDEN, LINE, PART, ROW, TableError, file_type_of
from likewise.data.readers.base import FileFormat, Reading
from likewise.data.readers.layout import Layout
from likewise.data.readers.listing import Listing
from likewise.data.readers.table_file import is_table, read_table_file
from likewise.data.split import HELDOUT_PARTS, TRAINING_PARTS

if TYPE_CHECKING:
    from datasets import Dataset

METADATA = "metadata"  # the stem of a table that belongs to a folder, in any case
MIN_NAMES = 0.5  # of the cells of a column name files in the folder, so that the table is about them
_ID = re.compile(r"(.*_)?(id|ids|image|img|picture|photo|file|filename|name|no|number|index)", re.IGNORECASE)
_SHARD = re.compile(r"-\d+-of-\d+$")


@dataclass(frozen=True)
class FolderTable:
    """A table that is read, and the part of a split that its rows are in."""

    file: Path
    reading: Reading
    part: str | None = None


@dataclass(frozen=True)
class FoundTables:
    """The tables to read, and others that could not be read, with the reason."""

    tables: Sequence[FolderTable] = ()
    unreadable: Mapping[Path, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Values:
    """The files of a folder that hold a value each, and their kind; None without any."""

    kind: str | None
    files: Sequence[Path]


def is_folder_table(file: Path, values: Collection[Path]) -> bool:
    """Whether a file is a table that may describe others; not one about a single file, beside it."""
    if not is_table(file) or file.suffix.lower() == ".zip":
        return False
    return not any(v.parent == file.parent and file.stem in (v.stem, v.name) for v in values)


def find_tables(
    layout: Layout,
    listing: Listing,
    tables: Sequence[Path],
    values: Values,
    fmt: FileFormat,
    kinds: Mapping[str, str],
) -> FoundTables:
    """The tables to read: one of the folder, or one of each part; none if none has names of files.

    Raises TableError where two tables could be meant, or only some parts have one.
    """
    search = _Search(listing, tables, values, fmt, kinds, {})
    return FoundTables(_find(search, layout), search.unreadable)


def _find(search: _Search, layout: Layout) -> list[FolderTable]:
    if found := search.find(search.listing.folder):
        return found
    if layout.parts:
        in_parts = {root: search.find(root) for root in layout.roots}
        missing = [root for root, found in in_parts.items() if not found]
        if 0 < len(missing) < len(in_parts):
            raise TableError(
                f"{', '.join(map(search.listing.name, missing))} has no table of its files, and the other parts of "
                f"{str(layout.base)!r} have one; add one, or remove the others"
            )
        if not missing:
            return [replace(t, part=layout.parts[r.name]) for r, found in in_parts.items() for t in found]
    below = {t.parent for t in search.tables if not search.values.files or t.stem.lower() == METADATA}
    return [table for folder in sorted(below) for table in search.find(folder)]


def read_tables(
    found: Sequence[FolderTable], layout: Layout, listing: Listing, files: Sequence[Path]
) -> tuple[Reading, set[Path]]:
    """The rows of the tables, one after the other, and the files that were used, or named as not used."""
    tables = [_with_part(table, layout) for table in found]
    reading = tables[0].reading if len(tables) == 1 else _concatenate(tables, listing)
    read, unused = list(reading.read), list(reading.unused)
    if layout.parts or any(table.part for table in tables):
        read.append(layout.describe() if layout.parts else _describe_parts(tables))
    named = {path for table in tables for path in _paths(table.reading)}
    if unlisted := [file for file in files if os.path.normpath(file) not in named]:
        names = ", ".join(listing.name(table.file) for table in tables)
        unused.append(
            f"{len(unlisted):,} of {len(files):,} files are not in {names}, and are not used: {listing.names(unlisted)}"
        )
    return replace(reading, read=read, unused=unused), {*(table.file for table in tables), *files}


@dataclass(frozen=True)
class _Search:
    """Looks for the table of a folder. The fields are the arguments of `find_tables`, and why tables were no use."""

    listing: Listing
    tables: Sequence[Path]
    values: Values
    fmt: FileFormat
    kinds: Mapping[str, str]
    unreadable: dict[Path, str]

    def find(self, folder: Path) -> list[FolderTable]:
        """The table of the files in a folder, or tables for each part. Raises TableError for several others."""
        here = [table for table in self.tables if table.parent == folder]
        own = [table for table in here if table.stem.lower() == METADATA]
        if len(own) == 1:
            return [FolderTable(own[0], self._read(own[0]))]
        if not own and self.values.files:
            found = [FolderTable(table, reading) for table in here if (reading := self._about_files(table))]
        elif not own and (parts := _parts_of(here)):
            return [FolderTable(table, self._read(table), part) for table, part in parts.items()]
        else:
            found = [FolderTable(table, self._read(table)) for table in here] if len(here) == 1 else []
            own = own or here
        if len(found) > 1 or len(own) > 1:
            names = " and ".join(self.listing.name(t) for t in own or [table.file for table in found])
            raise TableError(
                f"in the folder {str(self.listing.folder)!r} {names} could be the table; give one by its name, such as "
                f"{(own or [found[0].file])[0]}, or move the others elsewhere"
            )
        return found

    def _read(self, table: Path) -> Reading:
        return read_table_file(table, self.fmt, self.kinds)

    def _about_files(self, table: Path) -> Reading | None:
        """The rows of a table if one of its columns has names of files, with an ending or not; else None."""
        try:
            reading = self._read(table)
            files = {os.path.normpath(file) for file in self.values.files}
            if any(_share(_paths(reading, name), files) >= MIN_NAMES for name in _file_columns(reading.rows)):
                return reading
            if (name := self._column_of_stems(table, reading.rows)) is not None:
                return read_table_file(table, self.fmt, {**self.kinds, name: self.values.kind or ""})
        except TableError as error:
            self.unreadable[table] = str(error)
        return None

    def _column_of_stems(self, table: Path, rows: Dataset) -> str | None:
        """A column of different names, or numbers, most of which are those of the files beside a table."""
        stems = {file.stem for file in self.values.files if file.parent == table.parent}
        for name in filter(_ID.fullmatch, rows.column_names if stems else ()):
            cells = [str(cell) for cell in rows.data.column(name).to_pylist()]
            unique = len({*cells}) == len(cells)
            if unique and name not in self.kinds and _share(cells, stems) >= MIN_NAMES:
                return name
        return None


def _parts_of(tables: Sequence[Path]) -> dict[Path, str]:
    """The part of each table if their names are those of parts: train.csv, test-00000-of-00001.parquet."""
    stems = {table: _SHARD.sub("", table.name.partition(".")[0]).lower() for table in tables}
    parts = {*stems.values()}
    known = parts <= TRAINING_PARTS | HELDOUT_PARTS
    return stems if known and parts & TRAINING_PARTS and (len(tables) > 1) else {}


def _file_columns(rows: Dataset) -> list[str]:
    return [name for name, feature in rows.features.items() if file_type_of(feature) is not None]


def _paths(reading: Reading, column: str | None = None) -> list[str]:
    """The paths of the files in a column, or in all."""
    import pyarrow.compute as pc

    columns = _file_columns(reading.rows) if column is None else [column]
    paths = (pc.struct_field(reading.rows.data.column(name), "path").to_pylist() for name in columns)
    return [os.path.normpath(path) for column in paths for path in column if path]


def _share(cells: Sequence[str], known: Collection[str]) -> float:
    return sum(cell in known for cell in cells) / len(cells) if cells else 0.0


def _with_part(table: FolderTable, layout: Layout) -> FolderTable:
    """The table with the hidden column PART, from its place or from that of the files in it."""
    rows = table.reading.rows
    columns = _file_columns(rows)
    if table.part is not None:
        parts = [table.part] * len(rows)
    elif layout.parts and columns:
        cells = rows.data.column(columns[0]).to_pylist()
        parts = [layout.part(Path(os.path.normpath(cell["path"]))) or "" if cell else "" for cell in cells]
    else:
        return table
    return replace(table, reading=replace(table.reading, rows=rows.add_column(PART, parts)))


def _describe_parts(tables: Sequence[FolderTable]) -> str:
    held = [table.file.name for table in tables if table.part in HELDOUT_PARTS]
    rest = [table.file.name for table in tables if table.part not in HELDOUT_PARTS]
    return f"{' and '.join(held) or 'no table'} held out, {' and '.join(rest)} for training"


def _concatenate(tables: Sequence[FolderTable], listing: Listing) -> Reading:
    """The rows of several tables, with the table of each in FILE. Raises TableError unless columns are the same."""
    from datasets import concatenate_datasets

    visible = {
        table.file: [n for n in table.reading.rows.column_names if n not in HIDDEN] for table in tables
    }
    first = tables[0].file
    for file, names in visible.items():
        if difference := {*names} ^ {*visible[first]}:
            name = min(difference)
            lacking, having = (file, first) if name in visible[first] else (first, file)
            raise TableError(
                f"{listing.name(lacking)} has no column {name!r}, and {listing.name(having)} has one; make their "
                "columns the same, or give one table by its name"
            )
    lines = all(LINE in table.reading.rows.column_names for table in tables)
    parts, bad, start = [], [], 0
    for table in tables:
        rows, name = table.reading.rows, listing.name(table.file)
        numbers = rows[ROW][:] if ROW in rows.column_names else list(range(len(rows)))
        hidden = {ROW: [start + n for n in numbers], FILE: [name] * len(rows)}
        rows = rows.remove_columns(
            [n for n in (ROW, FILE, *(() if lines else (LINE,))) if n in rows.column_names]
        )
        for column, cells in hidden.items():
            rows = rows.add_column(column, cells)
        parts.append(rows)
        bad += [replace(b, row=start + b.row, file=name) for b in table.reading.bad]
        start += 1 + max([*numbers, *(b.row for b in table.reading.bad)], default=-1)
    readings = [table.reading for table in tables]
    return Reading(
        concatenate_datasets(_same_types(parts, [listing.name(table.file) for table in tables])),
        read=[f"{listing.name(t.file)}: {len(t.reading.rows):,} rows" for t in tables],
        unused=[line for reading in readings for line in reading.unused],
        notes=[f"{listing.name(table.file)}: {note}" for table in tables for note in table.reading.notes],
        bad=bad,
        reasons=readings[0].reasons,
        styles=readings[0].styles,
        left_out={name: reason for reading in readings for name, reason in reading.left_out.items()},
    )


def _same_types(parts: Sequence[Dataset], names: Sequence[str]) -> list[Dataset]:
    """The data sets with columns of the same types: whole numbers become floats where others are."""
    from datasets import Value

    result = list(parts)
    for column in parts[0].column_names:
        types = [getattr(part.features[column], "dtype", str(part.features[column])) for part in result]
        if len({*types}) == 1:
            continue
        if all(t.startswith(("int", "uint", "float")) for t in types):
            result = [part.cast_column(column, Value("float64")) for part in result]
        else:
            other = next(i for i, t in enumerate(types) if t != types[0])
            raise TableError(
                f"the column {column!r} holds {types[0]} in {names[0]} and {types[other]} in {names[other]}; write its "
                "cells in one form"
            )
    return result
