"""Files that are either complete or not there, and what is to be known of a path before something is written to it."""

from __future__ import annotations

import errno
import itertools
import os
import platform
import re
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

_HOST = re.sub(r"[^\w-]", "-", platform.node())[:40] or "host"
_LEFTOVER = re.compile(r"\.likewise\.([\w-]+)\.(\d+)\.\d+\.tmp")
_MAX_AGE = 24 * 3600  # seconds; nobody writes a single file for longer
_counter = itertools.count()
_active: set[Path] = set()  # the temporary folders in which this process writes


def atomic_write(path: Path, content: bytes | Callable[[Path], object]) -> None:
    """Write a file in a temporary folder beside `path`, flush it to disk and rename it to `path`.

    content  the bytes, or a function that writes them to the path that it is given

    Missing folders are created. The mode of the file is that of a new file (umask). What processes that were
    killed left in the folder is removed. Raises OSError with the name of the file, or what `content` raises; the
    file that was there is unchanged then.
    """
    folder = path.parent
    temporary = folder / f".likewise.{_HOST}.{os.getpid()}.{next(_counter)}.tmp"
    _active.add(temporary)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers_once(folder)
        temporary.mkdir()
        file = temporary / path.name
        if callable(content):
            content(file)
            with suppress(PermissionError):  # file systems without modes
                file.chmod(temporary.stat().st_mode & 0o666)  # a function may create a private file
        else:
            file.write_bytes(content)
        with open(file, "rb") as written:
            os.fsync(written.fileno())
        os.replace(file, path)
    except OSError as error:  # the name of the temporary file would tell a reader nothing
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _active.discard(temporary)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that do not run any more; what cannot be removed stays."""
    with suppress(OSError):
        for path in folder.glob(".likewise.*.tmp"):
            if (match := _LEFTOVER.fullmatch(path.name)) and not _may_be_in_use(
                path, match[1], int(match[2])
            ):
                shutil.rmtree(path, ignore_errors=True)


@lru_cache(maxsize=1024)
def _remove_leftovers_once(folder: Path) -> None:
    """`remove_leftovers`, once for each folder: this process leaves nothing, and a folder may have many files."""
    remove_leftovers(folder)


def _may_be_in_use(path: Path, host: str, process: int) -> bool:
    """Whether the process may still write there; one of another machine is given a day."""
    if time.time() - path.stat().st_mtime > _MAX_AGE:
        return False
    if host != _HOST or os.name != "posix":
        return True
    if process == os.getpid():  # also that of a process before the last start of a container
        return path in _active
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True


def check_writable(path: Path) -> None:
    """Raise OSError, with a sentence, if a file `path` could not be written: to be told before long work.

    Missing folders do not matter, as `atomic_write` creates them.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "this is a folder; write the name of a file", str(path))
    folder = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not folder.is_dir():
        raise NotADirectoryError(
            errno.ENOTDIR, f"{folder} is a file, and a folder is needed there", str(path)
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, f"nothing can be written to {folder}", str(path))


def unused_path(path: Path, *suffixes: str) -> Path:
    """The path, or the first of NAME-2, NAME-3, ... with its suffix that does not exist, with these suffixes neither."""
    others = (path.with_name(f"{path.stem}-{i}{path.suffix}") for i in itertools.count(2))
    for candidate in itertools.chain([path], others):
        if not any(map(os.path.lexists, [candidate, *map(candidate.with_suffix, suffixes)])):
            return candidate
    raise AssertionError("there is no last number")
