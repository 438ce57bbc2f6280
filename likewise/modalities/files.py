"""Values that are files: a table stores {bytes, path} and reads the file when the value is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def file_cell(value: Any) -> Any:
    """The bytes of a file -> {bytes, path}; cells of that form and missing ones stay as they are."""
    return {"bytes": value, "path": None} if isinstance(value, bytes) else value


def cell_bytes(cell: Mapping[str, Any]) -> bytes:
    """The bytes of a stored file. Raises ValueError if it cannot be opened."""
    if cell["bytes"] is not None:
        return cell["bytes"]
    try:
        return Path(cell["path"]).read_bytes()
    except (OSError, TypeError) as error:
        reason = getattr(error, "strerror", error)
        raise ValueError(f"cannot open the file {cell['path']!r}: {reason}") from None
