"""Server: the parts of a server, and how routes have something done by them."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from likewise.server.catalog.registry import ModelRegistry
from likewise.server.cluster.ray_sampler import RaySampler
from likewise.server.http.errors import APIError
from likewise.server.http.metrics import Metrics
from likewise.server.jobs.book import Job, JobBook, JobEvent, error_json
from likewise.server.jobs.prepare import (
    Prepared,
    PreparedCall,
    prepare_interpolation,
    prepare_samples,
    prepare_scores,
)
from likewise.server.jobs.queue import SamplingQueue
from likewise.server.jobs.requests import InfillBody, InterpolateBody, SampleBody, ScoreBody
from likewise.server.jobs.results import SampleFinisher, interpolate, score
from likewise.server.jobs.sampler import LocalSampler
from likewise.server.jobs.store import Store, StoredFile, StoredJob
from likewise.server.jobs.values import ValueReader
from likewise.server.jobs.work import Call, CallWork, SampleWork
from likewise.server.settings import ServerSettings

R = TypeVar("R")
Restart = Callable[[StoredJob], None]
NativeBody = SampleBody | InfillBody | InterpolateBody | ScoreBody
BODIES: dict[str, type[NativeBody]] = {
    "sample": SampleBody,
    "infill": InfillBody,
    "interpolate": InterpolateBody,
    "score": ScoreBody,
}
PREPARE_THREADS = 2
MAX_RESTARTS = 2  # of a job that was running each time when the server ended: it may be what ends it
log = logging.getLogger("likewise.server")


class Server:
    """What routes have at hand: settings, registry, store, jobs, queue, metrics.

    restarts    kind of job -> what is to be done with those of an earlier process that had not ended; for kinds that
                the sampling thread does not do, such as training
    positions   kind of job -> how many jobs are before one, and the seconds to its end, where the sampling thread does not
                do it
    on_start    called when the server has started, in the event loop
    on_close    called before it ends
    services    of data and training, see services.py
    """

    def __init__(self, settings: ServerSettings) -> None:
        """Open the store. Raises ValueError if another server has it open."""
        self.settings = settings
        self.store = Store(settings.state_folder)
        self.metrics = Metrics()
        self.registry = ModelRegistry(settings)
        self.jobs = JobBook(self.store)
        sampler = LocalSampler() if settings.ray is None else RaySampler(settings, self.registry)
        self.queue = SamplingQueue(settings, self.registry, self.jobs, self.metrics, sampler)
        self.restarts: dict[str, Restart] = {}
        self.positions: dict[str, Callable[[Job], tuple[int | None, float | None]]] = {}
        self.on_start: list[Callable[[], None]] = []
        self.on_close: list[Callable[[], None]] = []
        self.services: Any = None
        self._restarting: asyncio.Task[None] | None = None
        self._prepare = ThreadPoolExecutor(PREPARE_THREADS, "prepare")
        self.registry.on_load = lambda id, seconds: self.metrics.loads.labels(id).inc()
        self.jobs.on_end = lambda job: self.metrics.jobs.labels(job.kind, job.status).inc()

    async def start(self) -> None:
        """Start the sampling thread, and go on with what an earlier process has left."""
        self.jobs.start()
        self.queue.start()
        for start in self.on_start:
            start()
        again = [job for stored in self.store.unfinished() if (job := self._restart(stored)) is not None]
        self._restarting = asyncio.create_task(self._put_again(again))

    async def close(self) -> None:
        """Stop at the next step; jobs of the background are done by the next process."""
        if self._restarting is not None:
            self._restarting.cancel()
        for close in self.on_close:
            await asyncio.to_thread(close)
        await asyncio.to_thread(self.queue.close)
        self._prepare.shutdown(wait=True)
        for job in list(self.jobs.active.values()):
            if not job.background:
                self.jobs.finish(job, "cancelled")
        self.store.close()

    def position(self, job: Job) -> tuple[int | None, float | None]:
        """How many jobs are before one that has not ended, and in how many seconds it will probably have ended."""
        return self.positions.get(job.kind, self.queue.position)(job)

    def _restart(self, stored: StoredJob) -> Job | None:
        """Take over a job of an earlier process; it is returned if the sampling thread is to do it."""
        if stored.kind in self.restarts:
            self.restarts[stored.kind](stored)
            return None
        job = self.jobs.readopt(stored)
        if stored.status == "running" and stored.restarts >= MAX_RESTARTS:
            ends = f"the server has ended {MAX_RESTARTS + 1} times while it did this, so it is given up"
            self.jobs.fail(job, APIError(500, ends, code="restarted"))
        elif not stored.background or stored.kind not in BODIES:
            ends = "the server was restarted before this was done; send it again"
            self.jobs.finish(job, "cancelled", error_json(APIError(503, ends, code="restarted")))
        else:
            return job
        return None

    async def _put_again(self, jobs: Sequence[Job]) -> None:
        """Queue jobs of an earlier process, in their order."""
        for job in jobs:
            try:
                body = BODIES[job.kind].read(dict(job.request))
                await self._put(job, body, {}, "restart", force=True)
            except Exception as error:
                log.warning("job %s cannot be done again: %s", job.id, error)
                self.jobs.fail(job, error)

    # ---- submitting

    async def in_thread(self, function: Callable[..., R], *arguments: Any) -> R:
        """Call a function that takes long, or loads a model, in a thread of those that prepare requests."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self._prepare, context.run, function, *arguments
        )

    async def submit(
        self,
        body: NativeBody,
        *,
        parts: Mapping[str, bytes] | None = None,
        background: bool = False,
        client: str = "",
        kind: str | None = None,
    ) -> Job:
        """Check a request and queue it. Raises APIError: 400 for what is wrong with it, 404, 429.

        parts       media of the body by the names by which it refers to them
        client      who takes turns with others, see `client_of`
        kind        of the job, by default that of the body
        """
        self.queue.require_room()
        self.registry.resolve(body.model)
        job_kind = kind or next(k for k, cls in BODIES.items() if type(body) is cls)
        return await self._put(None, body, parts or {}, client, background=background, kind=job_kind)

    async def _put(
        self,
        job: Job | None,
        body: NativeBody,
        parts: Mapping[str, bytes],
        client: str,
        *,
        background: bool = True,
        kind: str = "",
        force: bool = False,
    ) -> Job:
        entry = self.registry.resolve(body.model)
        prepared = await self.in_thread(self._prepare_body, entry.id, body, parts)
        if job is None:
            request = {**prepared.request, "model": entry.id}
            if not force:
                self.queue.require_room()
            job = await self.in_thread(self._add_job, kind, entry.id, request, background, prepared)
        for note in prepared.warnings:
            self.jobs.warn(job, note)
        if isinstance(prepared, Prepared):
            assert isinstance(body, SampleBody | InfillBody)
            texts = "stream" in self.registry.schema(entry.id)["controls"]
            work: SampleWork | CallWork = SampleWork(
                job,
                client,
                prepared.requests,
                prepared.keys,
                SampleFinisher(self.store, prepared),
                previews=body.previews,
                stream=texts and (body.stream or background),
                texts=texts,
            )
        else:
            call, size = self._call_of(body, prepared)
            work = CallWork(job, client, call, size)
        try:
            self.queue.put(work, force=force)
        except APIError:
            self.jobs.delete(job.id)
            raise
        return job

    def _prepare_body(self, id: str, body: NativeBody, parts: Mapping[str, bytes]) -> Prepared | PreparedCall:
        reader = ValueReader(self.store, parts)
        with self.registry.acquire(id) as model:
            if isinstance(body, SampleBody | InfillBody):
                return prepare_samples(model, body, reader)
            if isinstance(body, InterpolateBody):
                return prepare_interpolation(model, body, reader)
            return prepare_scores(model, body, reader)

    def _add_job(
        self,
        kind: str,
        model: str,
        request: Mapping[str, Any],
        background: bool,
        prepared: Prepared | PreparedCall,
    ) -> Job:
        """Keep a job and its media in one transaction."""
        blobs = {id: self.store.blobs.add(data) for id, (data, _) in prepared.inputs.items()}
        with self.store.transaction():
            job = self.jobs.add(kind, model, request, background=background)
            for id, (data, media_type) in prepared.inputs.items():
                self.store.add_file_row(
                    StoredFile(id, job.id, None, "input", media_type, blobs[id], len(data), job.created)
                )
        return job

    def _call_of(self, body: NativeBody, prepared: PreparedCall) -> tuple[Call, int]:
        arguments = prepared.arguments
        if isinstance(body, InterpolateBody):
            return lambda model, job, jobs: interpolate(self.store, model, job, jobs, arguments), body.n
        return lambda model, job, jobs: score(model, job, jobs, arguments), len(arguments["rows"])

    async def call(
        self,
        model: str,
        kind: str,
        request: Mapping[str, Any],
        function: Call,
        *,
        size: int = 1,
        background: bool = False,
        client: str = "",
    ) -> Job:
        """Have the sampling thread call a function (model, job, jobs), which adds its results to the job."""
        entry = self.registry.resolve(model)
        self.queue.require_room()
        job = self.jobs.add(kind, entry.id, request, background=background)
        try:
            self.queue.put(CallWork(job, client, function, size))
        except APIError:
            self.jobs.delete(job.id)
            raise
        return job

    # ---- waiting

    async def wait(self, job: Job, request: Request) -> Job:
        """The job when it has succeeded; it is cancelled if its client goes. Raises APIError if it fails."""
        done = asyncio.ensure_future(self.jobs.wait(job))
        gone = asyncio.ensure_future(_wait_for_disconnect(request))
        try:
            await asyncio.wait([done, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not done.done():
                done.cancel()
                self.jobs.cancel(job.id)
        if not job.has_ended:
            raise APIError(499, "the client has gone", code="cancelled")
        job.raise_error()
        return job

    async def watch(self, job: Job, *, cancel: bool = True) -> AsyncGenerator[JobEvent]:
        """The events of a job as they come, for an answer that is a stream; it is cancelled if the client goes."""
        try:
            async with aclosing(self.jobs.watch(job)) as events:
                async for event in events:
                    yield event
        finally:
            if cancel and not job.has_ended:
                self.jobs.cancel(job.id)


def get_server(request: Request) -> Server:
    """The server of a request, as a dependency of routes."""
    server: Server = request.app.state.server
    return server


CurrentServer = Annotated[Server, Depends(get_server)]  # of a parameter of a route


def client_of(request: Request) -> str:
    """Who takes turns in the queue."""
    return request.client.host if request.client else ""


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
