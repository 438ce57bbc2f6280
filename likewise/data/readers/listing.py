"""The files of a folder that may be data: links are followed, and what likewise wrote is passed over."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from likewise.core.provenance import is_output, is_run_folder
from likewise.data.arrow import TableError

SYSTEM = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information"}
NAMES_SHOWN = 3  # of files, in a message


@dataclass
class Listing:
    """The files of a folder and its subfolders, in order.

    folder    where they are
    files     those that may be data
    outputs   files that likewise wrote
    runs      folders with a model of likewise
    hidden    the number of hidden files and folders, and of those that systems add
    repeated  links to folders that are read already, and what they lead to
    broken    links that lead nowhere, and names that are not UTF-8
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)
    runs: list[Path] = field(default_factory=list)
    hidden: int = 0
    repeated: list[Path] = field(default_factory=list)
    broken: list[Path] = field(default_factory=list)
    linked: list[Path] = field(default_factory=list)

    def unused(self) -> list[str]:
        """A line for each reason why something is passed over."""
        lines = [f"{self.name(run)} is a run of likewise; not read" for run in self.runs]
        if self.outputs:
            lines.append(f"{self.names(self.outputs)}: written by likewise; not read")
        lines += [
            f"{self.name(link)} is a link to {link.resolve()}, which is read already; not read again"
            for link in self.repeated
        ]
        if self.broken:
            lines.append(
                f"{self.names(self.broken)}: a link that leads nowhere, or a name that is not UTF-8; not read"
            )
        if twice := self._read_twice():
            lines.append(
                f"{self.names(twice)}: links to files that are read as well, so these are there twice"
            )
        return lines

    def name(self, path: Path) -> str:
        """A path in a message: relative to the folder, without line breaks and the like."""
        return escape(str(path.relative_to(self.folder)))

    def names(self, paths: Sequence[Path]) -> str:
        """Some files in a message: "a.png, b.png, c.png and 7 more"."""
        more = f" and {len(paths) - NAMES_SHOWN:,} more" if len(paths) > NAMES_SHOWN else ""
        return ", ".join(map(self.name, paths[:NAMES_SHOWN])) + more

    def _read_twice(self) -> list[Path]:
        """Links to files that have another path here as well."""
        if not self.linked:
            return []
        count = Counter(_identity(path) for path in self.files)
        return [path for path in self.linked if count[_identity(path)] > 1]


def list_folder(folder: Path) -> Listing:
    """The files of a folder and its subfolders. Raises TableError for a folder that cannot be read, and for a run.

    Links are followed after all else, so that of several ways to a folder the one without links is taken. None is
    entered twice, so links may be circular.
    """
    if is_run_folder(folder):
        raise TableError(
            f"{folder} is a run of likewise, which holds no data; name a folder of pictures or texts"
        )
    listing, seen = Listing(folder), {_identity(folder)}
    pending, links = deque([folder]), deque[Path]()
    while pending or links:
        current = pending.popleft() if pending else links.popleft()
        if current != folder:
            if _identity(current) in seen:
                listing.repeated.append(current)
                continue
            seen.add(_identity(current))
            if is_run_folder(current):
                listing.runs.append(current)
                continue
        for entry in _visible(current, listing):
            path = current / entry.name
            if entry.is_dir():
                (links if entry.is_symlink() else pending).append(path)
            else:
                _add_file(listing, path, entry)
    listing.files.sort()
    return listing


def count_endings(files: Iterable[Path]) -> str:
    """
    >>> count_endings(map(Path, ["a.png", "b.PNG", "c", "d.jpg"]))
    '2 .png, 1 .jpg, 1 without an ending'
    """
    counts = Counter(path.suffix.lower() for path in files)
    order = sorted(counts, key=lambda suffix: (not suffix, -counts[suffix], suffix))
    return ", ".join(f"{counts[suffix]:,} {escape(suffix) or 'without an ending'}" for suffix in order)


def escape(text: str) -> str:
    """A name without characters that a terminal would not show, such as line breaks."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def _visible(folder: Path, listing: Listing) -> list[os.DirEntry[str]]:
    """What is in a folder, in order, without what is hidden. Raises TableError."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise TableError(
            f"cannot read the folder {folder}: {(error.strerror or str(error)).lower()}"
        ) from None
    shown = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in SYSTEM]
    listing.hidden += len(entries) - len(shown)
    return shown


def _add_file(listing: Listing, path: Path, entry: os.DirEntry[str]) -> None:
    if not entry.is_file() or path.name.encode(errors="ignore").decode() != path.name:
        listing.broken.append(path)
    elif is_output(path):
        listing.outputs.append(path)
    else:
        listing.files.append(path)
        if entry.is_symlink():
            listing.linked.append(path)


def _identity(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_dev, state.st_ino
