"""Jobs: what clients want done, with their events. Those that have not ended are in memory too."""

from __future__ import annotations

import asyncio
import bisect
import errno
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from likewise.modalities.base import Row
from likewise.server.http.errors import APIError, not_found
from likewise.server.jobs.store import ENDED, Store, StoredJob
from likewise.server.limits import MAX_FOREGROUND_JOBS

PRUNE_EVERY = 50  # ended jobs
PROGRESS_SECONDS = 0.1  # between two reports of a job
log = logging.getLogger("likewise.server")


@dataclass(frozen=True)
class JobEvent:
    """An event of a job: status, progress, preview, text, result, warning, log, done."""

    id: int
    name: str
    data: Mapping[str, Any]


@dataclass
class Job:
    """A job that has not ended, or has just ended.

    kind        sample, infill, interpolate, score, embed, train, evaluate
    background  whether it goes on without the client that sent it
    request     what the client wants, in JSON values
    status      queued, running, paused, succeeded, failed, cancelled
    rows        what was sampled, by index, as values of the columns
    ids         what was sampled of texts, by index, see SamplingProgress.ids
    results     the same as JSON values, see `values.result_json`
    cancelled   whether it is to end as soon as possible
    on_cancel   called when it is cancelled
    """

    id: str
    kind: str
    model: str
    background: bool
    request: Mapping[str, Any]
    created: float
    status: str = "queued"
    started: float | None = None
    finished: float | None = None
    restarts: int = 0
    progress: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None
    rows: dict[int, Row] = field(default_factory=dict)
    ids: dict[int, Tensor] = field(default_factory=dict)
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    events: list[JobEvent] = field(default_factory=list)
    cancelled: bool = False
    on_cancel: Callable[[], None] | None = None
    last_event: int = 0
    progress_time: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    watchers: set[asyncio.Event] = field(default_factory=set, repr=False)

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status in ENDED

    def raise_error(self) -> None:
        """Raise APIError unless the job has succeeded."""
        if self.status == "succeeded":
            return
        error = self.error or {"message": "the job was cancelled", "code": "cancelled"}
        status = int(error.get("status", 500 if self.status == "failed" else 409))
        raise APIError(status, error["message"], param=error.get("param"), code=error.get("code"))


class JobBook:
    """All jobs: those that have not ended in memory, all of them in the store.

    closing  whether the process is about to end, so that what runs stops

    Methods may be called in any thread, except for those that are async.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.active: dict[str, Job] = {}
        self.closing = False
        self.on_end: Callable[[Job], None] = lambda job: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = 0

    def start(self) -> None:
        """Begin to wake up those who wait on the running event loop."""
        self._loop = asyncio.get_running_loop()

    # ---- changes

    def add(
        self, kind: str, model: str, request: Mapping[str, Any], *, background: bool, id: str | None = None
    ) -> Job:
        """A new job that is queued."""
        job = Job(id or new_id("job"), kind, model, background, request, time.time())
        with self.store.transaction():
            self.store.add_job(job.id, kind, model, background, request)
            self.publish(job, "status", {"status": "queued"})
        self.active[job.id] = job
        return job

    def readopt(self, stored: StoredJob) -> Job:
        """A job of an earlier process that has not ended, queued again. What it had done before is forgotten."""
        restarted = stored.status != "queued"
        if restarted:
            self.store.restart_job(stored.id)
        job = Job(stored.id, stored.kind, stored.model, stored.background, stored.request, stored.created)
        job.restarts, job.last_event = stored.restarts + restarted, self.store.last_event(stored.id)
        job.events = [JobEvent(*event) for event in self.store.events(stored.id)]
        self.active[job.id] = job
        self.publish(job, "status", {"status": "queued", "restarted": restarted})
        return job

    def reopen(self, stored: StoredJob) -> Job:
        """A job of an earlier process that has not ended, as it was: what does it may still run."""
        job = Job(stored.id, stored.kind, stored.model, stored.background, stored.request, stored.created)
        job.status, job.started, job.restarts = stored.status, stored.started, stored.restarts
        job.warnings, job.last_event = list(stored.warnings), self.store.last_event(stored.id)
        job.events = [JobEvent(*event) for event in self.store.events(stored.id)]
        job.results = dict(enumerate(self.store.results(stored.id)))
        self.active[job.id] = job
        return job

    def set_status(self, job: Job, status: str) -> bool:
        """Change the status to one that is no end. False if it has ended."""
        with job.lock:
            if job.has_ended or job.status == status or not self.store.set_status(job.id, status):
                return False
            job.status = status
            if status == "running" and job.started is None:
                job.started = time.time()
            self.publish(job, "status", {"status": status})
            return True

    def finish(self, job: Job, status: str, error: Mapping[str, Any] | None = None) -> bool:
        """End a job, once. False if it has ended already."""
        with job.lock:
            if job.has_ended:
                return False
            try:
                with self.store.transaction():
                    self.store.set_status(job.id, status, error)
                    self.publish(job, "done", {"status": status, "error": public_error(error)})
            except (sqlite3.Error, OSError):  # a full disk must not keep anybody waiting
                log.exception("the end of job %s cannot be stored", job.id)
                job.events.append(
                    JobEvent(job.last_event, "done", {"status": status, "error": public_error(error)})
                )
            job.status, job.finished = status, time.time()
            job.error = dict(error) if error else None
        self._wake(job)
        self.active.pop(job.id, None)
        self._ended += 1
        if self._ended % PRUNE_EVERY == 0:
            self.store.prune_foreground(MAX_FOREGROUND_JOBS)
        self.on_end(job)
        return True

    def fail(self, job: Job, error: BaseException) -> bool:
        """End a job by an error: one that the request is to blame for, or one of the server."""
        return self.finish(job, "failed", error_json(error))

    def warn(self, job: Job, message: str) -> None:
        """Add a warning, once."""
        with job.lock:
            if message in job.warnings or job.has_ended:
                return
            job.warnings.append(message)
            self.store.set_warnings(job.id, job.warnings)
            self.publish(job, "warning", {"message": message})

    def add_result(self, job: Job, index: int, result: dict[str, Any], row: Row | None = None) -> None:
        """Add what a job has come to: `result` in JSON values, and the `row` of values for this process."""
        with job.lock:
            if job.has_ended:
                return
            with self.store.transaction():
                self.store.add_result(job.id, index, result)
                self.publish(job, "result", result)
            job.results[index] = result
            if row is not None:
                job.rows[index] = row

    def publish(self, job: Job, name: str, data: Mapping[str, Any], *, keep: bool = True) -> None:
        """Add an event; one that is not kept is lost with the process, and not replayed once the job has ended."""
        with job.lock:
            if job.has_ended:
                return
            job.last_event += 1
            event = JobEvent(job.last_event, name, data)
            if keep:
                self.store.add_event(job.id, event.id, name, data)
            if name == "progress":
                job.progress = dict(data)
                if job.events and job.events[-1].name == "progress":
                    job.events.pop()  # only the last of several in turn is of use
            job.events.append(event)
        self._wake(job)

    def publish_progress(self, job: Job, data: Mapping[str, Any]) -> None:
        """Add an event "progress", unless there was one a moment ago."""
        now = time.monotonic()
        if now - job.progress_time >= PROGRESS_SECONDS:
            job.progress_time = now
            self.publish(job, "progress", data, keep=False)

    def cancel(self, id: str) -> None:
        """End a job as soon as possible; one that has ended stays as it is. Raises APIError for an unknown one."""
        job = self.active.get(id)
        if job is None:
            self.stored(id)
            return
        job.cancelled = True
        if job.on_cancel is not None:
            job.on_cancel()

    def delete(self, id: str) -> None:
        """Cancel a job unless it has ended, and remove it with its results. Raises APIError for an unknown one."""
        job = self.active.get(id)
        if job is not None:
            self.cancel(id)
            self.finish(job, "cancelled")
        else:
            self.stored(id)
        self.store.delete_job(id)

    def delete_result(self, id: str, index: int) -> None:
        """Remove one result of a job that has ended. Raises APIError: 404 for an unknown one, 409 while the job runs."""
        if id in self.active:
            raise APIError(409, f"{id} has not ended; cancel it, or wait", code="invalid_state")
        self.stored(id)
        if not self.store.delete_result(id, index):
            raise not_found("result", str(index))

    # ---- reading

    def stored(self, id: str) -> StoredJob:
        """The job in the store. Raises APIError with status 404."""
        stored = self.store.job(id)
        if stored is None:
            raise not_found("job", id)
        return stored

    def results(self, id: str) -> list[dict[str, Any]]:
        """The results of a job so far."""
        return self.store.results(id)

    async def wait(self, job: Job) -> None:
        """Return when the job has ended."""
        async for event in self.watch(job):
            if event.name == "done":
                return

    async def watch(self, job: Job, after: int = 0) -> AsyncGenerator[JobEvent]:
        """The events of a job after number `after`, as they come, up to its end."""
        signal = asyncio.Event()
        job.watchers.add(signal)
        try:
            while True:
                signal.clear()
                with job.lock:
                    events = job.events[bisect.bisect_right(job.events, after, key=lambda event: event.id) :]
                    ended = job.has_ended
                for event in events:
                    yield event
                    after = event.id
                if ended:
                    return
                await signal.wait()
        finally:
            job.watchers.discard(signal)

    async def events(self, id: str, after: int = 0) -> AsyncGenerator[JobEvent]:
        """The events of any job after number `after`, up to its end. Raises APIError for an unknown one."""
        if (job := self.active.get(id)) is not None:
            async with aclosing(self.watch(job, after)) as events:
                async for event in events:
                    yield event
            return
        for number, name, data in await asyncio.to_thread(self.store.events, id, after):
            yield JobEvent(number, name, data)

    def _wake(self, job: Job) -> None:
        if self._loop is not None and job.watchers and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_set_all, job.watchers)


def _set_all(signals: set[asyncio.Event]) -> None:
    for signal in list(signals):
        signal.set()


def new_id(prefix: str) -> str:
    """A new identifier that nobody can guess."""
    return f"{prefix}_{secrets.token_hex(12)}" if prefix != "file" else f"file-{secrets.token_hex(12)}"


def error_json(error: BaseException) -> dict[str, Any]:
    """An error as JSON values for the store, with its status of HTTP; what went wrong inside is not told."""
    if isinstance(error, APIError):
        return {"status": error.status_code, **error.to_json()}
    if isinstance(error, ValueError):
        return {"status": 400, **APIError(400, str(error), code="invalid_value").to_json()}
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocat" in str(error)):
        message = "there is not enough memory for this request; ask for fewer or smaller samples"
        return {"status": 503, **APIError(503, message, code="out_of_memory").to_json()}
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return {"status": 507, **APIError(507, "the disk of the server is full", code="disk_full").to_json()}
    return {"status": 500, **APIError(500, "the server could not do this; its log has the reason").to_json()}


def public_error(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An error as clients see it."""
    return {n: v for n, v in error.items() if n != "status"} if error else None


def job_json(job: Job | StoredJob, results: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """A job as clients see it, without its position in the queue."""
    return {
        "id": job.id,
        "object": "job",
        "kind": job.kind,
        "model": job.model,
        "status": job.status,
        "background": job.background,
        "created_at": int(job.created),
        "started_at": None if job.started is None else int(job.started),
        "finished_at": None if job.finished is None else int(job.finished),
        "restarts": job.restarts,
        "position": None,
        "eta_seconds": None,
        "progress": job.progress if isinstance(job, Job) and job.progress else None,
        "request": dict(job.request),
        "data": list(results),
        "warnings": list(job.warnings),
        "error": public_error(job.error),
    }
