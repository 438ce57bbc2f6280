"""Blobs: bytes in a folder, each under the SHA-256 of its content."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from likewise.core.files import atomic_write


class Blobs:
    """The bytes of a store. No name that a client sends becomes a path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, blob: str) -> Path:
        """Where the bytes with that hash lie."""
        return self.folder / blob[:2] / blob

    def add(self, data: bytes) -> str:
        """Write bytes under their hash, which is returned. Raises OSError if there is no room."""
        blob = hashlib.sha256(data).hexdigest()
        if not self.path(blob).exists():
            atomic_write(self.path(blob), data)
        return blob

    def take(self, path: Path, blob: str) -> None:
        """Keep a file that is written already, whose hash is `blob`."""
        target = self.path(blob)
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        os.replace(path, target)

    def remove(self, blob: str) -> None:
        """Remove bytes, if they are there."""
        self.path(blob).unlink(missing_ok=True)
