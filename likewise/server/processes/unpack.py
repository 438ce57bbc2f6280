"""Unpacking a .zip that a client has sent: every name is checked, and every byte is counted as it is written.

python -m likewise.server.processes.unpack ARCHIVE FOLDER LIMITS
"""

from __future__ import annotations

import json
import os
import re
import stat
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

BLOCK = 2**20
MAX_COMPONENT = 200  # bytes of the name of a file or folder
MAX_DEPTH = 16
ENCRYPTED = 0x1
SYSTEM = re.compile(r"(^|/)(__MACOSX(/|$)|\.DS_Store$|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)


@dataclass(frozen=True)
class UnpackLimits:
    """How much is unpacked at most."""

    files: int
    bytes: int


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 for an archive that is refused, with the reason on standard error."""
    archive, folder, limits = arguments
    try:
        unpack(Path(archive), Path(folder), UnpackLimits(**json.loads(limits)))
    except (ValueError, OSError) as error:
        print(f"likewise: {error}", file=sys.stderr)
        return 1
    return 0


def unpack(archive: Path, folder: Path, limits: UnpackLimits) -> None:
    """Unpack the regular files of a .zip into an empty folder. Raises ValueError, and nothing outside is written."""
    try:
        with zipfile.ZipFile(archive) as file:
            members = checked_members(file.infolist(), limits)
            left = limits.bytes
            for name, member in members.items():
                left = _write(file, member, folder / name, left, limits.bytes)
    except zipfile.BadZipFile as error:
        raise ValueError(f"the .zip is damaged: {error}") from None
    except (NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise ValueError(f"the .zip cannot be unpacked: {error}") from None


def checked_members(
    members: Sequence[zipfile.ZipInfo], limits: UnpackLimits
) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The files by their checked paths. Raises ValueError for a name or kind that is not unpacked."""
    if len(members) > limits.files:
        raise ValueError(f"the .zip has {len(members):,} files, and at most {limits.files:,} are unpacked")
    if sum(member.file_size for member in members) > limits.bytes:
        raise _too_large(limits.bytes)
    found: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        if member.is_dir() or SYSTEM.search(member.filename):
            continue
        shown = repr(member.filename[:100])
        if kind not in (0, stat.S_IFREG):
            raise ValueError(f"{shown} in the .zip is a link or a device; pack plain files")
        if member.flag_bits & ENCRYPTED:
            raise ValueError(f"{shown} in the .zip is encrypted; pack it without a password")
        path = safe_path(member.filename)
        if path in found:
            raise ValueError(f"{shown} is in the .zip twice")
        found[path] = member
    for path in found:
        if any(parent in found for parent in path.parents):
            raise ValueError(f"{str(path)!r} lies in a file of the same .zip; pack it anew")
    if not found:
        raise ValueError("the .zip holds no files")
    return found


def safe_path(name: str) -> PurePosixPath:
    r"""A path that stays in the folder in which it is put. Raises ValueError.

    >>> safe_path("cats/a b.png").parts
    ('cats', 'a b.png')
    >>> for name in ("../a", "/a", "a/../b", "C:/a", "a\\b", "a\0b", "."):
    ...     try:
    ...         safe_path(name)
    ...     except ValueError:
    ...         print("refused")
    refused
    refused
    refused
    refused
    refused
    refused
    refused
    """
    parts = name.split("/")
    for part in parts:
        wrong = part in ("", ".", "..") or "\\" in part or ":" in part
        if wrong or len(part.encode(errors="replace")) > MAX_COMPONENT or len(parts) > MAX_DEPTH:
            raise ValueError(f"the .zip has a file {name[:100]!r}, whose name leads elsewhere or is too long")
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in part):
            raise ValueError(f"the .zip has a file {name[:100]!r}, whose name has control characters")
    return PurePosixPath(*parts)


def _write(file: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, left: int, most: int) -> int:
    """Write a file; the bytes that may still be written. The sizes that an archive claims are not trusted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with file.open(member) as source:
        out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with os.fdopen(out, "wb") as target:
            while block := source.read(BLOCK):
                left -= len(block)
                if left < 0:
                    raise _too_large(most)
                target.write(block)
    return left


def _too_large(most: int) -> ValueError:
    return ValueError(f"the .zip holds more than {most:,} bytes, which is the most that is unpacked")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
