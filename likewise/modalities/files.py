"""Values that are files: a table stores {bytes, path} and reads the file when the value is used.

Where the environment variable LIKEWISE_FILES names a folder, as in the processes of a server, only files below it are read: a
table that somebody has sent may name any file of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = "LIKEWISE_FILES"


def may_read(path: str | Path) -> bool:
    """Whether a file that a table names may be read."""
    root = os.environ.get(ROOT)
    return root is None or Path(path).resolve().is_relative_to(Path(root).resolve())


def file_cell(value: Any) -> Any:
    """The bytes of a file -> {bytes, path}; cells of that form and missing ones stay as they are."""
    return {"bytes": value, "path": None} if isinstance(value, bytes) else value


def cell_bytes(cell: Mapping[str, Any]) -> bytes:
    """The bytes of a stored file. Raises ValueError if it cannot be opened."""
    if cell["bytes"] is not None:
        return cell["bytes"]
    if cell["path"] is not None and not may_read(cell["path"]):
        raise ValueError(
            f"the file {cell['path']!r} is not part of the data; send it with the table, in a .zip"
        )
    try:
        return Path(cell["path"]).read_bytes()
    except (OSError, TypeError) as error:
        reason = getattr(error, "strerror", error)
        raise ValueError(f"cannot open the file {cell['path']!r}: {reason}") from None
