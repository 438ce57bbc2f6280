"""What outlives the process: jobs, their events and results, and files, in SQLite and files beside it.

Bytes lie in blobs/, under the SHA-256 of their content: no name that a client sends becomes a path. Every change of
a status is one transaction, so after a kill a job is as it was before the change or after it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likewise.core.locks import FolderLock
from likewise.server.jobs.blobs import Blobs

VERSION = 1  # of the schema
ENDED = ("succeeded", "failed", "cancelled")
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, model TEXT NOT NULL,
    background INTEGER NOT NULL, status TEXT NOT NULL, created REAL NOT NULL, started REAL, finished REAL,
    restarts INTEGER NOT NULL DEFAULT 0, request TEXT NOT NULL, state TEXT NOT NULL DEFAULT '{}',
    warnings TEXT NOT NULL DEFAULT '[]', error TEXT);
CREATE INDEX IF NOT EXISTS jobs_status ON jobs (status);
CREATE TABLE IF NOT EXISTS events (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, id INTEGER NOT NULL, name TEXT NOT NULL,
    data TEXT NOT NULL, PRIMARY KEY (job, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, idx INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (job, idx)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
    job TEXT REFERENCES jobs (id) ON DELETE CASCADE, name TEXT, purpose TEXT NOT NULL, media_type TEXT NOT NULL,
    blob TEXT NOT NULL, bytes INTEGER NOT NULL, created REAL NOT NULL);
CREATE INDEX IF NOT EXISTS files_blob ON files (blob);
CREATE INDEX IF NOT EXISTS files_job ON files (job);
"""


@dataclass(frozen=True)
class StoredFile:
    """Bytes that are kept: an upload, an input or a result of a job.

    job      whose input or result it is; it is removed with the job. None of an upload
    name     of an upload as the client calls it: for display, never a path. Of a result `INDEX/COLUMN`
    purpose  "input", "result", or what the client says, such as "fine-tune"
    blob     SHA-256 of the content
    """

    id: str
    job: str | None
    name: str | None
    purpose: str
    media_type: str
    blob: str
    bytes: int
    created: float


@dataclass(frozen=True)
class StoredJob:
    """A row of the table of jobs; see `Job` for the fields."""

    seq: int
    id: str
    kind: str
    model: str
    background: bool
    status: str
    created: float
    started: float | None
    finished: float | None
    restarts: int
    request: dict[str, Any]
    state: dict[str, Any]
    warnings: list[str]
    error: dict[str, Any] | None


class Store:
    """The state folder of a server. One process at a time has it open; all methods may be called in any thread."""

    def __init__(self, folder: Path) -> None:
        """Open or make the folder. Raises ValueError if another server has it open, or a later version made it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._lock = folder, threading.RLock()
        try:
            self._owner = FolderLock(folder, "lock")
        except BlockingIOError:
            raise ValueError(
                f"another server has {folder} open; stop it, or give this one a folder of its own: --state FOLDER"
            ) from None
        self.blobs = Blobs(folder / "blobs")
        self._db = sqlite3.connect(folder / "server.sqlite", check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            self._db.execute(f"PRAGMA {pragma}")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            self.close()
            raise ValueError(f"{folder} was written by a later version of likewise; install that one")
        self._db.executescript(SCHEMA)
        self._db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        """Close the folder, for another process to open it."""
        with self._lock:
            self._db.close()
            self._owner.release()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements of the block, or none of them."""
        with self._lock:
            outer = self._db.in_transaction
            if not outer:
                self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                if not outer:
                    self._db.execute("ROLLBACK")
                raise
            if not outer:
                self._db.execute("COMMIT")

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def _page(
        self, table: str, conditions: Sequence[str], values: Sequence[Any], limit: int, after: str | None
    ) -> tuple[list[sqlite3.Row], bool]:
        """At most `limit` rows, newest first, those after the one with the id `after`; whether there are more."""
        if after is not None:
            conditions = [*conditions, f"seq < (SELECT seq FROM {table} WHERE id = ?)"]
            values = [*values, after]
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._rows(f"SELECT * FROM {table} {where} ORDER BY seq DESC LIMIT ?", *values, limit + 1)
        return rows[:limit], len(rows) > limit

    # ---- jobs

    def add_job(self, id: str, kind: str, model: str, background: bool, request: Mapping[str, Any]) -> None:
        """Add a job that is queued."""
        with self.transaction() as db:
            db.execute(
                "INSERT INTO jobs (id, kind, model, background, status, created, request) "
                "VALUES (?, ?, ?, ?, 'queued', ?, ?)",
                (id, kind, model, background, time.time(), _dump(request)),
            )

    def set_status(self, id: str, status: str, error: Mapping[str, Any] | None = None) -> bool:
        """Change the status of a job that has not ended, and its times. False if it has ended already."""
        now = time.time()
        times = {"running": ", started = coalesce(started, ?)", **dict.fromkeys(ENDED, ", finished = ?")}
        extra = times.get(status, "")
        values = [status, None if error is None else _dump(error), *([now] if extra else []), id]
        with self.transaction() as db:
            cursor = db.execute(
                f"UPDATE jobs SET status = ?, error = ?{extra} WHERE id = ? AND status NOT IN {ENDED}", values
            )
            return cursor.rowcount == 1

    def restart_job(self, id: str) -> None:
        """Queue a job anew that was running when the server ended, and forget what it had done."""
        with self.transaction() as db:
            db.execute(
                "UPDATE jobs SET status = 'queued', restarts = restarts + 1, started = NULL WHERE id = ?",
                (id,),
            )
            db.execute("DELETE FROM results WHERE job = ?", (id,))
            db.execute("DELETE FROM files WHERE job = ? AND purpose = 'result'", (id,))
            db.execute(
                "DELETE FROM events WHERE job = ? AND name IN ('result', 'preview', 'progress')", (id,)
            )

    def set_state(self, id: str, **state: Any) -> None:
        """Replace values of `StoredJob.state`, such as what a training has come to."""
        with self.transaction() as db:
            row = db.execute("SELECT state FROM jobs WHERE id = ?", (id,)).fetchone()
            if row is not None:
                new = _dump({**json.loads(row["state"]), **state})
                db.execute("UPDATE jobs SET state = ? WHERE id = ?", (new, id))

    def set_warnings(self, id: str, warnings: Sequence[str]) -> None:
        """Replace the warnings of a job."""
        with self.transaction() as db:
            db.execute("UPDATE jobs SET warnings = ? WHERE id = ?", (_dump(list(warnings)), id))

    def job(self, id: str) -> StoredJob | None:
        """The job of that id."""
        rows = self._rows("SELECT * FROM jobs WHERE id = ?", id)
        return _job(rows[0]) if rows else None

    def jobs(
        self,
        *,
        limit: int = 20,
        after: str | None = None,
        kinds: Sequence[str] = (),
        status: str | None = None,
        background: bool | None = None,
    ) -> tuple[list[StoredJob], bool]:
        """A page of jobs, newest first, those after the job `after`, and whether there are more."""
        conditions: list[str] = []
        values: list[Any] = []
        if kinds:
            conditions.append(f"kind IN ({', '.join('?' * len(kinds))})")
            values += kinds
        if status is not None:
            conditions.append("status = ?")
            values.append(status)
        if background is not None:
            conditions.append("background = ?")
            values.append(background)
        rows, more = self._page("jobs", conditions, values, limit, after)
        return [_job(row) for row in rows], more

    def unfinished(self) -> list[StoredJob]:
        """The jobs that have not ended, oldest first."""
        return [
            _job(row) for row in self._rows(f"SELECT * FROM jobs WHERE status NOT IN {ENDED} ORDER BY seq")
        ]

    def delete_job(self, id: str) -> None:
        """Remove a job, its events and results."""
        blobs = {row["blob"] for row in self._rows("SELECT blob FROM files WHERE job = ?", id)}
        with self.transaction() as db:
            db.execute("DELETE FROM jobs WHERE id = ?", (id,))
        self._remove_unused(blobs)

    def prune_foreground(self, keep: int) -> None:
        """Remove the oldest jobs of API calls that have ended, all but so many."""
        query = f"SELECT id FROM jobs WHERE background = 0 AND status IN {ENDED} ORDER BY seq DESC LIMIT -1 OFFSET ?"
        for row in self._rows(query, keep):
            self.delete_job(row["id"])

    # ---- events and results

    def add_event(self, job: str, id: int, name: str, data: Mapping[str, Any]) -> None:
        """Add an event of a job, unless the job was removed."""
        with self.transaction() as db:
            db.execute(
                "INSERT INTO events (job, id, name, data) SELECT ?, ?, ?, ? "
                "WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?)",
                (job, id, name, _dump(data), job),
            )

    def events(self, job: str, after: int = 0) -> list[tuple[int, str, dict[str, Any]]]:
        """The events of a job after number `after`."""
        rows = self._rows("SELECT * FROM events WHERE job = ? AND id > ? ORDER BY id", job, after)
        return [(row["id"], row["name"], json.loads(row["data"])) for row in rows]

    def last_event(self, job: str) -> int:
        """The number of the last event of a job, 0 for none."""
        return int(self._rows("SELECT coalesce(max(id), 0) AS n FROM events WHERE job = ?", job)[0]["n"])

    def add_result(self, job: str, index: int, data: Mapping[str, Any]) -> None:
        """Add what a job has come to: sample `index`, or a score, or the like."""
        with self.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO results (job, idx, data) SELECT ?, ?, ? "
                "WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?)",
                (job, index, _dump(data), job),
            )

    def results(self, job: str) -> list[dict[str, Any]]:
        """The results of a job in the order of their indices."""
        rows = self._rows("SELECT data FROM results WHERE job = ? ORDER BY idx", job)
        return [json.loads(row["data"]) for row in rows]

    def delete_result(self, job: str, index: int) -> bool:
        """Remove a result, with its files and previews; its event says so from then on. False if there is none."""
        of_index = "job = ? AND json_extract(data, '$.index') = ?"
        of_result = "job = ? AND purpose = 'result' AND name LIKE ?"
        with self.transaction() as db:
            if not db.execute("DELETE FROM results WHERE job = ? AND idx = ?", (job, index)).rowcount:
                return False
            files = self._rows(f"SELECT blob FROM files WHERE {of_result}", job, f"{index}/%")
            db.execute(f"DELETE FROM files WHERE {of_result}", (job, f"{index}/%"))
            db.execute(f"DELETE FROM events WHERE name = 'preview' AND {of_index}", (job, index))
            removed = _dump({"index": index, "removed": True})
            db.execute(
                f"UPDATE events SET data = ? WHERE name = 'result' AND {of_index}", (removed, job, index)
            )
        self._remove_unused({row["blob"] for row in files})
        return True

    # ---- files

    def add_file(self, id: str, data: bytes, media_type: str, purpose: str, **of: str | None) -> StoredFile:
        """Keep bytes as a file; `of`: its `name` and `job`. Raises OSError if there is no room."""
        blob = self.blobs.add(data)
        file = StoredFile(
            id, of.get("job"), of.get("name"), purpose, media_type, blob, len(data), time.time()
        )
        self.add_file_row(file)
        return file

    def add_file_row(self, file: StoredFile) -> None:
        """Add a file whose blob is there already."""
        with self.transaction() as db:
            fields = vars(file)
            marks = ", ".join("?" * len(fields))
            db.execute(f"INSERT INTO files ({', '.join(fields)}) VALUES ({marks})", tuple(fields.values()))

    def file(self, id: str) -> StoredFile | None:
        """The file of that id."""
        rows = self._rows("SELECT * FROM files WHERE id = ?", id)
        return _file(rows[0]) if rows else None

    def result_file(self, job: str, name: str) -> StoredFile | None:
        """The file of a result: `name` is INDEX/COLUMN."""
        rows = self._rows("SELECT * FROM files WHERE job = ? AND purpose = 'result' AND name = ?", job, name)
        return _file(rows[0]) if rows else None

    def files(
        self, *, limit: int = 20, after: str | None = None, purpose: str | None = None
    ) -> tuple[list[StoredFile], bool]:
        """A page of uploads, newest first, and whether there are more."""
        conditions, values = ["job IS NULL"], []
        if purpose is not None:
            conditions.append("purpose = ?")
            values.append(purpose)
        rows, more = self._page("files", conditions, values, limit, after)
        return [_file(row) for row in rows], more

    def upload_bytes(self) -> int:
        """The bytes of all uploads together."""
        query = "SELECT coalesce(sum(bytes), 0) AS n FROM files WHERE job IS NULL"
        return int(self._rows(query)[0]["n"])

    def delete_file(self, id: str) -> None:
        """Remove a file."""
        file = self.file(id)
        with self.transaction() as db:
            db.execute("DELETE FROM files WHERE id = ?", (id,))
        self._remove_unused({file.blob} if file else set())

    def read(self, file: StoredFile) -> bytes:
        """The bytes of a file. Raises OSError."""
        return self.blobs.path(file.blob).read_bytes()

    def _remove_unused(self, blobs: set[str]) -> None:
        with self._lock:  # so that no file begins to refer to one of them
            for blob in blobs:
                if not self._rows("SELECT 1 FROM files WHERE blob = ? LIMIT 1", blob):
                    self.blobs.remove(blob)


def _job(row: sqlite3.Row) -> StoredJob:
    texts = {name: json.loads(row[name]) for name in ("request", "state", "warnings")}
    error = None if row["error"] is None else json.loads(row["error"])
    return StoredJob(**{**dict(row), **texts, "background": bool(row["background"]), "error": error})


def _file(row: sqlite3.Row) -> StoredFile:
    return StoredFile(**{name: row[name] for name in StoredFile.__dataclass_fields__})


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
