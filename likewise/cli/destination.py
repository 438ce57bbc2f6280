"""Where a command writes; one rule for all of them: no file is replaced unless --overwrite says so.

A name that is given and exists already is refused. A default name that exists already gets a number, NAME-2. Both are
decided before any long work, and so is whether anything can be written there. A folder of a model is never replaced
(`models.checkpoint.require_unused`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from likewise.cli.flags import Parser
from likewise.core.files import check_writable, unused_path
from likewise.core.provenance import KEY


def add_overwrite_option(parser: Parser) -> None:
    """Add the option that allows to replace files."""
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")


def file_to_write(
    out: str | Path | None,
    default: str | Path,
    overwrite: bool,
    *,
    option: str = "--out",
    companions: Sequence[str] = (),
) -> Path:
    """The file that a command is to write: `out`, or a name like `default` that is not in use.

    companions  suffixes of files that are written beside it

    Raises ValueError for a name that exists already, OSError if nothing can be written there.
    """
    path = Path(default if out is None else out)
    if out is None and not overwrite:
        path = unused_path(path, *companions)
    files = [path, *map(path.with_suffix, companions)]
    for file in files:
        check_writable(file)
    if not overwrite:
        require_unused_files(files, option)
    return path


def require_unused_files(files: Iterable[Path], option: str) -> None:
    """Raise ValueError if one of the files exists already."""
    existing = [file for file in files if file.exists()]
    if existing:
        others = f", as are {len(existing) - 1} others" if len(existing) > 1 else ""
        raise ValueError(
            f"{existing[0]} is there already{others}; give another {option}, or --overwrite to replace"
        )


def require_no_column_of_that_name(names: Iterable[str]) -> None:
    """Raise ValueError if values are to be written under the key that has their provenance."""
    if KEY in names:
        raise ValueError(
            f"samples are written with their provenance under the key {KEY!r}, and a target has that name; "
            "rename the column and train with the new name"
        )
