"""Uploads as sources of tables: files under names of our own, and unpacked archives, in a folder for each upload.

No name that a client sends becomes a path outside of the folder of its own archive, and what reads the files runs in
a process of its own, with limits.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from likewise.data.datasets import DATASETS
from likewise.data.readers.table_file import COMPRESSED, TABLES, is_table
from likewise.data.readers.text_files import TEXTS
from likewise.server.data.quota import UNPACKED, Quota
from likewise.server.http.errors import APIError, invalid, not_found
from likewise.server.jobs.store import Store, StoredFile
from likewise.server.limits import (
    CHECK_MEMORY,
    CHECK_SECONDS,
    MAX_UNPACKED_BYTES,
    MAX_UNPACKED_FILES,
    MAX_WAITING_CHECKS,
    UNPACK_MEMORY,
    UNPACK_SECONDS,
)
from likewise.server.processes.start import ChildProcess, share_of_cores
from likewise.server.settings import ServerSettings

NICE = 5  # of processes for which somebody waits
CACHED = 64  # reports
UNPACK, CHECK = "likewise.server.processes.unpack", "likewise.server.processes.check_table"
ERROR = re.compile(r"^likewise(?: \w+)?: (.*)", re.DOTALL | re.MULTILINE)


class DataFiles:
    """The data sets of a server: uploads, and those that come with the package, by name."""

    def __init__(self, store: Store, settings: ServerSettings) -> None:
        self.store = store
        self.folder, self.processes = store.folder / "data", store.folder / "processes"
        self.uploads = store.folder / "uploads"
        self.quota = Quota(store, self.folder, settings)
        self._reports: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._turn, self._waiting = asyncio.Semaphore(1), 0

    def clean(self) -> None:
        """Remove what a process that was killed has left half done."""
        for leftover in (self.uploads, self.processes, *self.folder.glob("*.new")):
            shutil.rmtree(leftover, ignore_errors=True)

    # ---- where data is

    def name(self, id: str) -> str:
        """How a client calls the data: the name of a file, or of a data set. Raises APIError with status 404."""
        return id if id in DATASETS else self.file(id).name or id

    def file(self, id: str, param: str = "training_file") -> StoredFile:
        """The upload of that id. Raises APIError with status 404."""
        if (file := self.store.file(id)) is None or file.job is not None:
            known = list(DATASETS) if not id.startswith("file-") else []
            raise not_found("file", id, known, param)
        return file

    def source(self, id: str) -> str:
        """What `Table.open` reads: a name, or the path of an upload that is prepared."""
        if id in DATASETS:
            return id
        folder = self.folder / self.file(id).id
        [only] = folder.iterdir()
        return str(_only_child(only))

    def root(self, source: str | None) -> Path | None:
        """The folder of the upload that a source of a table is in, of which alone files are read; None for other data.

        The data of a run that was trained on the command line is that of the owner of the machine.
        """
        if source is None or not Path(source).resolve().is_relative_to(self.folder.resolve()):
            return None
        inside = Path(source).resolve().relative_to(self.folder.resolve())
        return self.folder.resolve() / inside.parts[0]

    async def prepare(self, id: str, param: str = "training_file") -> str:
        """The same; an upload is unpacked if it is an archive, once. Raises APIError for what is no data."""
        if id in DATASETS:
            return id
        file = self.file(id, param)
        if not (self.folder / file.id).exists():
            await self._prepare(file, param)
        return self.source(id)

    def remove(self, id: str) -> None:
        """Remove what `prepare` has made."""
        for key in [key for key in self._reports if json.loads(key)[0] == id]:
            self._reports.pop(key, None)
        shutil.rmtree(self.folder / id, ignore_errors=True)

    async def _prepare(self, file: StoredFile, param: str) -> None:
        ending = data_ending(file.name or "", param)
        new = self.folder / f"{file.id}.{secrets.token_hex(4)}.new"
        new.mkdir(parents=True)
        try:
            blob = self.store.blobs.path(file.blob)
            if ending == ".zip":
                most = min(MAX_UNPACKED_BYTES, await asyncio.to_thread(self.quota.bytes_left))
                limits = json.dumps({"files": MAX_UNPACKED_FILES, "bytes": most})
                arguments = [str(blob), str(new / UNPACKED), limits]
                await self._run(UNPACK, arguments, UNPACK_SECONDS, UNPACK_MEMORY, param)
            else:
                await asyncio.to_thread(_link, blob, new / f"{file.id}{ending}")
            try:
                os.rename(new, self.folder / file.id)
            except OSError:
                if not (self.folder / file.id).exists():  # else another request was first
                    raise
        finally:
            shutil.rmtree(new, ignore_errors=True)

    # ---- reports

    def known_report(self, id: str) -> dict[str, Any] | None:
        """The report of a data set without options, if it was made before."""
        return self._reports.get(_key(id, {}))

    async def check(self, id: str, options: Mapping[str, Any], param: str) -> dict[str, Any]:
        """The report of a data set, made in a process of its own. Raises APIError: 400 for what cannot be read, 429."""
        key = _key(id, options)
        if (report := self._reports.get(key)) is not None:
            self._reports.move_to_end(key)
            return report
        if self._waiting >= MAX_WAITING_CHECKS:
            message = "too many data sets wait to be read; try again in a moment"
            raise APIError(429, message, code="queue_full", headers={"Retry-After": "10"})
        self._waiting += 1
        try:
            source = await self.prepare(id, param)
            async with self._turn:
                if key not in self._reports:
                    self._reports[key] = await self._read_report(id, source, options, param)
        finally:
            self._waiting -= 1
        while len(self._reports) > CACHED:
            self._reports.popitem(last=False)
        return self._reports[key]

    async def _read_report(
        self, id: str, source: str, options: Mapping[str, Any], param: str
    ) -> dict[str, Any]:
        out = self.processes / f"{secrets.token_hex(8)}.json"
        self.processes.mkdir(parents=True, exist_ok=True)
        try:
            arguments = [source, json.dumps(dict(options)), str(out)]
            await self._run(CHECK, arguments, CHECK_SECONDS, CHECK_MEMORY, param, self.hide_paths(id))
            text = await asyncio.to_thread(out.read_text, "utf-8")
        finally:
            out.unlink(missing_ok=True)
        report: dict[str, Any] = json.loads(self.hide_paths(id, quoted=True)(text))
        return report

    def hide_paths(self, id: str, *, quoted: bool = False) -> PathHider:
        """A function that puts the name that the client knows in the place of paths of this machine."""
        name = self.name(id)
        shown = json.dumps(name)[1:-1] if quoted else name
        if id in DATASETS:
            return PathHider({f"{self.store.folder}/": ""})
        source = self.source(id)
        inside = source if Path(source).is_dir() else str(Path(source).parent)
        files = {} if Path(source).is_dir() else {source: shown, Path(source).name: shown}
        return PathHider({**files, f"{inside}/": "", inside: shown, f"{self.store.folder}/": ""})

    async def _run(
        self,
        module: str,
        arguments: list[str],
        seconds: float,
        memory: int,
        param: str,
        shown: PathHider | None = None,
    ) -> None:
        """Run a module with limits. Raises APIError with what it says if it fails."""
        folder = self.processes / secrets.token_hex(8)
        limits = {
            "nice": NICE,
            "memory": memory,
            "cpu_seconds": int(seconds) + 1,
            "file_bytes": MAX_UNPACKED_BYTES,
        }
        files = self.root(arguments[0]) if module == CHECK else self.folder
        child = await asyncio.to_thread(
            lambda: ChildProcess.start(
                folder, module, arguments, threads=share_of_cores(), limits=limits, files=files or self.folder
            )
        )
        try:
            ended = await asyncio.to_thread(child.wait, seconds)
        finally:
            child.kill()
            await asyncio.to_thread(child.wait, 10.0)
            log, status = child.log_tail(), child.status
            child.remove()
        if not ended:
            raise invalid(f"the data is not read after {seconds:g} s; send less of it", param, "too_slow")
        if status is None:
            message = "reading the data took more memory or time than it may; send less of it"
            raise invalid(message, param, "too_large")
        if status:
            shown = shown or PathHider({f"{self.store.folder}/": ""})
            raise invalid(shown(error_of(log)), param, "invalid_data")


class PathHider:
    """Replaces paths in messages, the longest first."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = dict(sorted(names.items(), key=lambda item: -len(item[0])))
        self._pattern = re.compile("|".join(map(re.escape, self.names)))

    def __call__(self, text: str) -> str:
        return self._pattern.sub(lambda match: self.names[match[0]], text)


def error_of(log: str) -> str:
    """The message with which a command has ended.

    >>> error_of("note: x\\nlikewise: cannot read a.csv: it is empty\\n")
    'cannot read a.csv: it is empty'
    """
    found = [match[1] for match in ERROR.finditer(log)]
    if not found:
        return "the process ended without a reason; the log of the server's machine may have it"
    return found[-1].strip()


def data_ending(name: str, param: str = "file") -> str:
    """The ending of a data set by the name of its file: ".csv", ".csv.gz". Raises APIError for others.

    >>> data_ending("My data.CSV"), data_ending("a.b.jsonl.gz"), data_ending("pictures.zip"), data_ending("t.csv.zip")
    ('.csv', '.jsonl.gz', '.zip', '.zip')
    """
    path = Path(name)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and (is_table(path) or suffixes[-1] in TEXTS):
        long = suffixes[-1] in COMPRESSED and suffixes[-1] != ".zip"
        return "".join(suffixes[-2:]) if long else suffixes[-1]
    raise invalid(
        f"{name[:100]!r} is no data set that can be read; send a file that ends in {', '.join(TABLES)} or .txt, or a "
        ".zip of pictures or texts",
        param,
        "unsupported_file",
    )


def _only_child(path: Path) -> Path:
    """Of an unpacked archive the file, or the first folder that holds more than a folder."""
    while path.is_dir():
        children = list(path.iterdir())
        if len(children) != 1:
            break
        path = children[0]
    return path


def _link(blob: Path, path: Path) -> None:
    try:
        os.link(blob, path)
    except OSError:  # a file system without links
        shutil.copyfile(blob, path)


def _key(id: str, options: Mapping[str, Any]) -> str:
    return json.dumps([id, dict(options)], sort_keys=True)
