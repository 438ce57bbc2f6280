"""A lock on a folder that ends with the process that has it, however that ends."""

from __future__ import annotations

from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class FolderLock:
    """The exclusive right to write to a folder, as long as this object is not released."""

    def __init__(self, folder: Path) -> None:
        """Raises ValueError if another process has it."""
        self._file = open(folder / "lock", "a", encoding="utf-8")  # noqa: SIM115
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ValueError(
                f"another server has {folder} open; stop it, or give this one a folder of its own: --state FOLDER"
            ) from None

    def release(self) -> None:
        """Give the right back."""
        self._file.close()
