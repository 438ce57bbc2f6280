"""Files that are either complete or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def atomic_write(path: Path, content: bytes | Callable[[Path], object]) -> None:
    """Write a file beside `path`, flush it to disk and rename it over `path`; missing folders are created.

    content  the bytes, or a function that writes them to the path that it is given

    Raises OSError, or what `content` raises; the file that was there is unchanged then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:  # the name of the temporary file would tell a reader nothing
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
