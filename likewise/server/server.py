"""Server: the parts of a server, and how routes have something done by them."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from likewise.core.provenance import provenance
from likewise.modalities.base import Row
from likewise.server.errors import APIError
from likewise.server.jobs import Job, JobBook, JobEvent, new_id
from likewise.server.metrics import Metrics
from likewise.server.prepare import (
    Prepared,
    PreparedCall,
    prepare_interpolation,
    prepare_samples,
    prepare_scores,
)
from likewise.server.queue import SamplingQueue
from likewise.server.registry import AnyModel, ModelRegistry
from likewise.server.requests import InfillBody, InterpolateBody, SampleBody, ScoreBody
from likewise.server.settings import ServerSettings
from likewise.server.store import Store, StoredFile, StoredJob
from likewise.server.values import ValueReader, encode_value, result_url
from likewise.server.work import Call, CallWork, SampleWork

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
        self.queue = SamplingQueue(settings, self.registry, self.jobs, self.metrics)
        self.restarts: dict[str, Restart] = {}
        self.positions: dict[str, Callable[[Job], tuple[int | None, float | None]]] = {}
        self.on_start: list[Callable[[], None]] = []
        self.on_close: list[Callable[[], None]] = []
        self.services: Any = None
        self._prepare = ThreadPoolExecutor(PREPARE_THREADS, "prepare")
        self.registry.on_load = lambda id, seconds: self.metrics.loads.labels(id).inc()
        self.jobs.on_end = lambda job: self.metrics.jobs.labels(job.kind, job.status).inc()

    async def start(self) -> None:
        """Start the sampling thread, and go on with what an earlier process has left."""
        self.jobs.start()
        self.queue.start()
        for start in self.on_start:
            start()
        for stored in self.store.unfinished():
            await self._restart(stored)

    async def close(self) -> None:
        """Stop at the next step; jobs of the background are done by the next process."""
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

    async def _restart(self, stored: StoredJob) -> None:
        if stored.kind in self.restarts:
            self.restarts[stored.kind](stored)
        elif not stored.background or stored.kind not in BODIES:
            job = self.jobs.readopt(stored)
            error = APIError(
                503, "the server was restarted before this was done; send it again", code="restarted"
            )
            self.jobs.finish(job, "cancelled", {"status": 503, **error.to_json()})
        else:
            job = self.jobs.readopt(stored)
            try:
                body = BODIES[stored.kind].read(dict(stored.request))
                await self._put(job, body, {}, "restart", force=True)
            except Exception as error:
                log.warning("job %s cannot be done again: %s", job.id, error)
                self.jobs.fail(job, error)

    # ---- submitting

    async def in_thread(self, function: Callable[..., R], *arguments: Any) -> R:
        """Call a function that takes long, or loads a model, in a thread of those that prepare requests."""
        return await asyncio.get_running_loop().run_in_executor(self._prepare, function, *arguments)

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
            streams = (body.stream or background) and bool(
                self.registry.schema(entry.id)["controls"].count("stream")
            )
            work: SampleWork | CallWork = SampleWork(
                job,
                client,
                prepared.requests,
                prepared.keys,
                SampleFinisher(self.store, prepared),
                previews=body.previews,
                stream=streams,
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
        blobs = {id: self.store.add_blob(data) for id, (data, _) in prepared.inputs.items()}
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
            return lambda model, job, jobs: _interpolate(self.store, model, job, jobs, arguments), body.n
        return lambda model, job, jobs: _score(model, job, jobs, arguments), len(arguments["rows"])

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
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait([done, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            if not done.done():
                done.cancel()
                self.jobs.cancel(job.id)
        if not job.ended:
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
            if cancel and not job.ended:
                self.jobs.cancel(job.id)


def get_server(request: Request) -> Server:
    """The server of a request, as a dependency of routes."""
    server: Server = request.app.state.server
    return server


CurrentServer = Annotated[Server, Depends(get_server)]  # of a parameter of a route


def client_of(request: Request) -> str:
    """Who takes turns in the queue."""
    return request.client.host if request.client else ""


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


# ---- results


class SampleFinisher:
    """Encodes and stores the samples of one request."""

    def __init__(self, store: Store, prepared: Prepared) -> None:
        self.store, self.prepared = store, prepared

    def __call__(self, jobs: JobBook, job: Job, model: AnyModel, index: int, row: Row) -> None:
        sample = self.prepared.requests[index]
        request = {**job.request, "n": 1, "seed": sample.seed}
        request.pop("previews", None)
        if "rows" in request:
            rows = request.pop("rows")
            request["given"] = rows[index // max(1, len(self.prepared.requests) // len(rows))]
        request = {
            name: request[name]
            for name in SampleBody.model_fields | InfillBody.model_fields
            if name in request
        }
        about = {"seed": sample.seed, "index": sample.index, "request": request}
        store_row(self.store, jobs, job, model, index, row, about)


def store_row(
    store: Store,
    jobs: JobBook,
    job: Job,
    model: AnyModel,
    index: int,
    row: Row,
    about: Mapping[str, Any],
) -> None:
    """Keep the targets of a sampled row as result `index` of a job; `about` is how it was made."""
    values: dict[str, Any] = {}
    files = []
    details = provenance(model=job.model, formula=str(model.formula), **about)
    details.pop("version")
    for name in model.targets:
        encoded = encode_value(model.columns[name], row[name], details)
        if not isinstance(encoded.data, bytes):
            values[name] = encoded.data
            continue
        blob = store.add_blob(encoded.data)
        file = (blob, len(encoded.data), encoded.media_type, name)
        files.append(file)
        values[name] = {"media_type": encoded.media_type, "url": result_url(job.id, index, name)}
    result = {"index": index, **({"seed": about["seed"]} if "seed" in about else {}), "values": values}
    with job.lock:
        if job.ended:
            return
        with store.transaction():
            for blob, size, media_type, name in files:
                id = new_id("file")
                store.add_file_row(
                    StoredFile(id, job.id, f"{index}/{name}", "result", media_type, blob, size, job.created)
                )
            jobs.add_result(job, index, result, row)


def with_media(store: Store, results: list[dict[str, Any]], job: str, media: str) -> list[dict[str, Any]]:
    """Results with their media in base64, or as addresses, or both; see `SamplingBody.media`."""
    if media == "url":
        return results
    filled = []
    for result in results:
        values = {}
        for name, value in result.get("values", {}).items():
            if isinstance(value, dict) and "url" in value:
                file = store.result_file(job, f"{result['index']}/{name}")
                data = base64.b64encode(store.read(file)).decode() if file else None
                value = {"media_type": value["media_type"], "b64_json": data}
                if media == "both":
                    value["url"] = result_url(job, result["index"], name)
            values[name] = value
        filled.append({**result, "values": values} if values else result)
    return filled


def _interpolate(
    store: Store, model: AnyModel, job: Job, jobs: JobBook, arguments: Mapping[str, Any]
) -> None:
    rows = model.interpolate(**arguments)
    for i, row in enumerate(rows):
        about = {
            "seeds": arguments["seeds"],
            "share": round(i / (len(rows) - 1), 6),
            "request": dict(job.request),
        }
        store_row(store, jobs, job, model, i, row, about)


def _score(model: AnyModel, job: Job, jobs: JobBook, arguments: Mapping[str, Any]) -> None:
    score = model.log_prob(**arguments)  # type: ignore[union-attr]
    nats, bits = score.nats.double().tolist(), score.bits_per_dim.double().tolist()
    dims = score.dims.tolist() if hasattr(score.dims, "tolist") else [score.dims] * len(nats)
    for i, (p, b, d) in enumerate(zip(nats, bits, dims, strict=True)):
        finite = {
            n: v if abs(v) != float("inf") and v == v else None
            for n, v in {"log_prob": p, "bits_per_dim": b}.items()
        }
        jobs.add_result(job, i, {"index": i, **finite, "dims": d, "kind": score.kind})
