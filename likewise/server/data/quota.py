"""Quota: how much uploads may take together, and how much of the disk stays free."""

from __future__ import annotations

import shutil
from pathlib import Path

from likewise.server.http.errors import APIError
from likewise.server.jobs.store import Store
from likewise.server.limits import MEGABYTE
from likewise.server.settings import ServerSettings

UNPACKED = "files"  # of the folder of an upload: what was in its archive


class Quota:
    """The room for uploads: their bytes, and those of what archives among them hold, count together.

    folder  of what was unpacked, with a folder for each upload
    """

    def __init__(self, store: Store, folder: Path, settings: ServerSettings) -> None:
        self.store, self.folder = store, folder
        self.most, self.free = settings.uploads_mb * MEGABYTE, settings.free_mb * MEGABYTE
        self._unpacked: dict[str, int] = {}  # by upload

    def stored_bytes(self) -> int:
        """The bytes that uploads take. It looks at files, so not on the event loop."""
        return self.store.upload_bytes() + sum(map(self._unpacked_bytes, self.folder.glob("file-*")))

    def require(self, stored: int, size: int) -> None:
        """Raise APIError unless `size` bytes fit: 413 beside those that are stored, 507 on the disk."""
        if stored + size > self.most:
            raise APIError(
                413,
                f"uploads may take {self.most:,} bytes together, and {max(0, self.most - stored):,} are left; delete files "
                "that are not needed, or start the server with a larger --uploads-mb",
                param="file",
                code="quota_exceeded",
            )
        if self._disk() - size < self.free:
            raise APIError(
                507,
                f"the disk of the server has to keep {self.free:,} bytes free; make room, or start it with a smaller "
                "--free-mb",
                param="file",
                code="no_room",
            )

    def bytes_left(self) -> int:
        """The bytes that still fit."""
        return max(0, min(self.most - self.stored_bytes(), self._disk() - self.free))

    def _disk(self) -> int:
        return shutil.disk_usage(self.store.folder).free

    def _unpacked_bytes(self, folder: Path) -> int:
        files = folder / UNPACKED
        if folder.name not in self._unpacked and folder.suffix != ".new" and files.is_dir():
            self._unpacked[folder.name] = sum(p.stat().st_size for p in files.rglob("*") if p.is_file())
        return self._unpacked.get(folder.name, 0)
