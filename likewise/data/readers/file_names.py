"""Columns of names of files: each name becomes the file, of the kind that has such files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from likewise.data.arrow import file_feature_of, replace_column
from likewise.data.readers.base import Reading, bad_cells
from likewise.modalities import KINDS, Modality
from likewise.modalities.files import may_read

FILE_COLUMNS = (
    "file_name",
    "filename",
    "file",
    "path",
)  # columns that hold names of files, with an ending or not
MOST = 0.95  # of the names have an ending of the kind; the others are bad cells
SAMPLE = 1000  # different cells from which a column of other texts is told
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://", re.ASCII)


def with_files(reading: Reading, folder: Path, kinds: Mapping[str, str]) -> Reading:
    """The same with files in place of their names, which are relative to a folder.

    kinds  column -> kind; columns of kinds without files are left as they are

    A column whose name promises files, and none of which is there, is left out: it is no text.
    """
    for name, feature in list(reading.rows.features.items()):
        wanted = KINDS.get(kinds.get(name, ""))
        if getattr(feature, "dtype", "").endswith("string") and (wanted is None or wanted.file_suffixes):
            reading = _Names(reading, name, folder, wanted).read()
    return reading


@dataclass(frozen=True)
class _Names:
    """A column of texts that may be names of files.

    wanted  the kind that it is to be read as, None for any
    """

    reading: Reading
    name: str
    folder: Path
    wanted: type[Modality] | None

    @cached_property
    def cells(self) -> list[str]:
        """The different cells, of which a sample of a column of other texts."""
        import pyarrow.compute as pc

        values = pc.unique(self.reading.rows.data.column(self.name)).drop_null()
        if len(values) > 2 * SAMPLE and not self._promised:
            some = values.take(list(range(0, len(values), len(values) // SAMPLE))).to_pylist()
            if not any(_kind_of([cell]) for cell in some):
                return some
        return values.to_pylist()

    @property
    def _promised(self) -> type[Modality] | None:
        """The kind of the files that the name of the column promises; the first one for a name of any files."""
        of_files = [kind for kind in KINDS.values() if kind.file_suffixes]
        named = (
            KINDS.get(self.name) if self.name in KINDS else of_files[0] if self.name in FILE_COLUMNS else None
        )
        return self.wanted or (named if named in of_files else None)

    def read(self) -> Reading:
        """The reading with the files of the column, if it has any."""
        if not self.cells:
            return self.reading
        if urls := [cell for cell in self.cells if URL.match(cell)]:
            return (
                self._leave(f"addresses such as {urls[0]} are not fetched: they are texts")
                if _kind_of(urls)
                else self.reading
            )
        if (kind := _kind_of(self.cells)) is not None and self.wanted in (None, kind):
            return self._with_paths(
                kind, {cell: self.folder / _as_posix(cell, self.folder) for cell in self.cells}
            )
        if (kind := self._promised) is None:
            return self.reading
        return self._with_endings(kind)

    def _with_endings(self, kind: type[Modality]) -> Reading:
        """Names without an ending, and the files that they mean: those beside the table with one ending."""
        beside = _files_by_stem(self.folder, self.cells, kind)
        found = {cell: files for cell in self.cells if (files := beside.get(_as_posix(cell, self.folder)))}
        if not found:
            reason = f"no file of the kind {kind.kind} has a name such as {self.cells[0]!r}"
            if self.name not in KINDS and self.wanted is None:
                return self._leave(f"{reason}, so they are texts")
            rows = self.reading.rows.remove_columns(self.name)
            return replace(self.reading, rows=rows, left_out={**self.reading.left_out, self.name: reason})
        several = {cell: files for cell, files in found.items() if len(files) > 1}
        paths = {cell: files[0] for cell, files in found.items() if len(files) == 1}
        reasons = {
            cell: f"{cell!r} may be {' or '.join(f.name for f in files)}" for cell, files in several.items()
        }
        return self._with_paths(kind, paths, reasons)

    def _with_paths(
        self, kind: type[Modality], paths: Mapping[str, Path], reasons: Mapping[str, str] | None = None
    ) -> Reading:
        """The reading with the files of these paths; a cell with a reason why it has none is bad."""
        rows, reasons = self.reading.rows, reasons or {}
        cells = rows[self.name][:]
        bad = {i: reasons[cell] for i, cell in enumerate(cells) if cell in reasons}
        values = [
            None
            if cell is None or cell in reasons
            else {"bytes": None, "path": str(paths.get(cell, self.folder / cell))}
            for cell in cells
        ]
        data = replace_column(rows, self.name, values, file_feature_of(kind))
        endings = Counter(Path(str(paths.get(cell, cell))).suffix.lower() for cell in self.cells)
        most = ", ".join(ending for ending, _ in endings.most_common(3))
        name = self.name
        if name == FILE_COLUMNS[0] and kind.kind not in data.column_names:
            data, name = data.rename_column(name, kind.kind), kind.kind
        found = f"the column {self.name} names {most} files" + (
            f": the column {name}" if name != self.name else ""
        )
        return replace(
            self.reading,
            rows=data,
            read=[*self.reading.read, found],
            bad=[*self.reading.bad, *bad_cells(rows, name, bad)],
            reasons={**self.reading.reasons, name: f"names of {most} files"},
        )

    def _leave(self, note: str) -> Reading:
        return replace(self.reading, notes=[*self.reading.notes, f"{self.name}: {note}"])


def _kind_of(names: Sequence[str]) -> type[Modality] | None:
    """The kind whose `file_suffixes` nearly all names have, None without one or without names."""
    suffixes = Counter(Path(name).suffix.lower() for name in names)
    for kind in KINDS.values():
        count = sum(suffixes[suffix] for suffix in kind.file_suffixes)
        if count and count >= MOST * len(names):
            return kind
    return None


def _as_posix(name: str, folder: Path) -> str:
    """A name with the separators of this system, unless there is a file with a backslash in its name."""
    return name if "\\" not in name or (folder / name).exists() else name.replace("\\", "/")


def _files_by_stem(folder: Path, names: Iterable[str], kind: type[Modality]) -> dict[str, list[Path]]:
    """Names without an ending -> the files of a kind that they may mean, in the folders of the names."""
    parents = {Path(_as_posix(name, folder)).parent for name in names}
    files: dict[str, list[Path]] = {}
    for parent in parents:
        readable = may_read(folder / parent) and (folder / parent).is_dir()
        for file in sorted((folder / parent).glob("*")) if readable else ():
            if file.suffix.lower() in kind.file_suffixes:
                files.setdefault(str(parent / file.stem), []).append(file)
    return files
