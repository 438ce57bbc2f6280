"""FolderLock: the exclusive right to write to a folder, which ends with the process that has it, however that ends."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Self

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class FolderLock:
    """The exclusive right to write to a folder, until `release`; a process that inherits the descriptor has it too.

    On systems and file systems without locks every lock is granted.
    """

    def __init__(self, folder: Path, file: str | None = None) -> None:
        """Take the lock of a folder, which is made if it is missing. Raises BlockingIOError if it is taken already.

        file  in the folder that is locked, which network file systems need; by default the folder itself, so that
              nothing is left in it
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.descriptors: tuple[int, ...] = ()  # for Popen(pass_fds=)
        if fcntl is None:
            return
        flags = os.O_RDONLY if file is None else os.O_RDWR | os.O_CREAT
        descriptor = os.open(folder if file is None else folder / file, flags, 0o666)
        self.descriptors = (descriptor,)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                self.release()
                raise BlockingIOError(error.errno, "another process writes there", str(folder)) from None

    def release(self) -> None:
        """Give the right back; processes that have inherited it keep it."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()
