"""What the subfolders of a folder mean: parts of a split, such as train/ and test/, and labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from likewise.data.arrow import TableError
from likewise.data.readers.listing import Listing
from likewise.data.split import HELDOUT_PARTS, TRAINING_PARTS


@dataclass(frozen=True)
class Layout:
    """Where the files of a folder lie.

    base   the folder, or a subfolder of it in which all parts are
    parts  name of a folder in `base` -> part of a split; none if folders are no parts
    """

    base: Path
    parts: Mapping[str, str] = field(default_factory=dict)

    def part(self, file: Path) -> str | None:
        """The part that a file is in, if there are parts."""
        return self.parts.get(self.top(file))

    def root(self, file: Path) -> Path:
        """The folder below which folders are labels: that of the part, if there are parts."""
        return self.base / self.top(file) if self.top(file) in self.parts else self.base

    @property
    def roots(self) -> list[Path]:
        """The folder of each part, or the folder itself."""
        return [self.base / name for name in self.parts] or [self.base]

    def describe(self) -> str:
        """The parts and what becomes of them."""
        held = [name for name, part in self.parts.items() if part in HELDOUT_PARTS]
        rest = [name for name in self.parts if name not in held]
        if not held or not rest:
            return f"{self.base.name}: {', '.join(self.parts)} is a part of a split, and no label"
        return f"{self.base.name}: {' and '.join(held)} held out, {' and '.join(rest)} for training"

    def top(self, file: Path) -> str:
        """The first folder below the base on the way to a file, "" for one that is not below."""
        path, base = str(file), f"{self.base}{os.sep}"
        top, separator, _ = path.removeprefix(base).partition(os.sep)
        return top if separator and path.startswith(base) else ""


def find_layout(folder: Path, files: Sequence[Path]) -> Layout:
    """The layout of these files of a folder. Raises TableError for parts beside other folders."""
    base = folder
    while True:
        layout = Layout(base)
        tops = sorted({layout.top(file) for file in files} - {""})
        training = [name for name in tops if name.lower() in TRAINING_PARTS]
        held = [name for name in tops if name.lower() in HELDOUT_PARTS]
        others = [name for name in tops if name not in (*training, *held)]
        if training and held and others:
            raise TableError(
                f"the folder {str(base)!r} has the parts {', '.join([*training, *held])} beside {', '.join(others)}; "
                "move the others elsewhere, or into a part"
            )
        if (training or held) and not others:
            return Layout(base, {name: name.lower() for name in [*training, *held]})
        if len(tops) != 1 or any(not layout.top(file) for file in files):
            return Layout(folder)
        base = base / tops[0]


@dataclass(frozen=True)
class Labels:
    """The labels of files, by the folders that they lie in.

    of      file -> label; none if folders are no labels
    strays  files beside the folders, which have no label and are not used
    read    how labels were read, a line each; unused: what was not used
    """

    of: Mapping[Path, str]
    strays: Sequence[Path] = ()
    read: Sequence[str] = ()
    unused: Sequence[str] = ()


def find_labels(layout: Layout, files: Sequence[Path], listing: Listing) -> Labels:
    """A label for each file that lies in a folder, unless most files lie beside the folders."""
    outside = [file for file in files if layout.parts and layout.part(file) is None]
    inside = [file for file in files if not layout.parts or layout.part(file) is not None]
    lost = (
        [f"{listing.names(outside)}: in none of the parts {', '.join(layout.parts)}; not used"]
        if outside
        else []
    )
    nested = [file for file in inside if file.parent != layout.root(file)]
    loose = [file for file in inside if file.parent == layout.root(file)]
    if nested and len(loose) >= len(nested):
        lost.append(
            f"the folders of {listing.names(nested)} are not read as labels, as {len(loose):,} of {len(inside):,} files "
            "lie beside them"
        )
        return Labels({}, outside, unused=lost)
    if not nested:
        return Labels({}, outside, unused=lost)
    if loose:
        lost.append(f"{listing.names(loose)}: in no folder that is a label; not used")
    labels = {file: file.parent.name for file in nested}
    deep = next((file for file in nested if file.parent.parent != layout.root(file)), None)
    example = f", such as {labels[deep]} of {listing.name(deep)}" if deep else ""
    return Labels(labels, [*outside, *loose], [f"label: the folder in which a file lies{example}"], lost)
