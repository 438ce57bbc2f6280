"""Routes for what OpenAI has no word for: samples, infilling, interpolation and scores of any formula; jobs; recall."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response, UploadFile
from starlette.responses import JSONResponse

from likewise.core.provenance import read_png_chunks
from likewise.core.ranges import MAX_SEED
from likewise.server.http.bodies import check_query, document_body, read_body
from likewise.server.http.errors import invalid, not_found
from likewise.server.jobs.answers import (
    Deleted,
    DeletedResult,
    JobAnswer,
    JobList,
    JobStatus,
    Recalled,
    SampleAnswer,
)
from likewise.server.jobs.book import Job, job_json
from likewise.server.jobs.events import EVENT_CONTENT, event_response, job_events
from likewise.server.jobs.requests import InfillBody, InterpolateBody, SampleBody, ScoreBody
from likewise.server.jobs.results import with_media
from likewise.server.jobs.store import StoredJob
from likewise.server.limits import MAX_LISTED, MAX_MEDIA_BYTES, MAX_NAME
from likewise.server.server import CurrentServer, NativeBody, Server, client_of

router = APIRouter(prefix="/v1", tags=["likewise"], dependencies=[Depends(check_query)])
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": SampleAnswer, "content": {**EVENT_CONTENT}},
    202: {"model": JobAnswer, "description": "In the background: the job"},
}
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {**EVENT_CONTENT}, "description": "Events"}}


async def _answer(request: Request, server: Server, cls: type[NativeBody]) -> Response:
    """Queue a request, and answer with its results, its events, or, in the background, with its job."""
    body, parts = await read_body(request, cls)
    background = body.background
    job = await server.submit(body, parts=parts, background=background, client=client_of(request))
    if getattr(body, "stream", False):
        return event_response(job_events(server.watch(job, cancel=not background)))
    if background:
        return JSONResponse(await asyncio.to_thread(view, server, job), 202)
    await server.wait(job, request)
    media = getattr(body, "media", None) or "both"
    return JSONResponse(await server.in_thread(answer_json, server, job, media))


def answer_json(server: Server, job: Job, media: str) -> dict[str, Any]:
    """The results of a job that has succeeded."""
    results = [job.results[i] for i in sorted(job.results)]
    return {
        "id": job.id,
        "object": job.kind,
        "created": int(job.created),
        "model": job.model,
        "formula": server.registry.schema(job.model)["formula"],
        "data": with_media(server.store, results, job.id, media),
        "warnings": job.warnings,
    }


@router.post(
    "/sample", response_model=SampleAnswer, responses=ANSWERS, openapi_extra=document_body(SampleBody)
)
async def sample(request: Request, server: CurrentServer) -> Response:
    """Samples of the targets given any sources and targets."""
    return await _answer(request, server, SampleBody)


@router.post(
    "/infill", response_model=SampleAnswer, responses=ANSWERS, openapi_extra=document_body(InfillBody)
)
async def infill(request: Request, server: CurrentServer) -> Response:
    """Samples of what is masked or missing of a row."""
    return await _answer(request, server, InfillBody)


@router.post(
    "/interpolate",
    response_model=SampleAnswer,
    responses=ANSWERS,
    openapi_extra=document_body(InterpolateBody),
)
async def interpolate(request: Request, server: CurrentServer) -> Response:
    """Samples from one row of sources to another, and from one seed to another."""
    return await _answer(request, server, InterpolateBody)


@router.post("/score", response_model=SampleAnswer, responses=ANSWERS, openapi_extra=document_body(ScoreBody))
async def score(request: Request, server: CurrentServer) -> Response:
    """Log-probabilities of rows."""
    return await _answer(request, server, ScoreBody)


# ---- jobs


def view(server: Server, job: Job | StoredJob, *, with_results: bool = True) -> dict[str, Any]:
    """A job as clients see it."""
    results = server.jobs.results(job.id) if with_results else []
    shown = job_json(job, results)
    if isinstance(job, Job) and not job.has_ended:
        shown["position"], shown["eta_seconds"] = server.position(job)
    return shown


def find_job(server: Server, id: str) -> Job | StoredJob:
    """The job of that id, from memory while it has not ended. Raises APIError with status 404."""
    return server.jobs.active.get(id) or server.jobs.stored(id)


@router.get("/jobs", response_model=JobList)
def list_jobs(
    server: CurrentServer,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 20,
    after: Annotated[str | None, Query(max_length=MAX_NAME)] = None,
    kind: Annotated[str | None, Query(max_length=MAX_NAME)] = None,
    status: JobStatus | None = None,
    background: bool | None = None,
) -> dict[str, Any]:
    """A page of jobs, newest first; `kind` may be several, with commas."""
    if after is not None:
        server.jobs.stored(after)
    kinds = [word for word in (kind or "").split(",") if word]
    jobs, more = server.store.jobs(
        limit=limit, after=after, kinds=kinds, status=status, background=background
    )
    data = [view(server, server.jobs.active.get(job.id, job)) for job in jobs]
    ends = (jobs[0].id, jobs[-1].id) if jobs else (None, None)
    return {"object": "list", "data": data, "has_more": more, "first_id": ends[0], "last_id": ends[1]}


@router.get("/jobs/{id}", response_model=JobAnswer)
def get_job(id: str, server: CurrentServer) -> dict[str, Any]:
    """A job with its results so far."""
    return view(server, find_job(server, id))


@router.get("/jobs/{id}/events", response_class=Response, responses=EVENTS)
async def get_events(
    id: str,
    server: CurrentServer,
    after: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    last_event_id: Annotated[str | None, Header(max_length=20)] = None,
) -> Response:
    """The events of a job as they come, up to its end; those up to Last-Event-ID, or `after`, are left out."""
    start = after or 0
    if last_event_id and last_event_id.isascii() and last_event_id.isdecimal():
        start = int(last_event_id)
    await asyncio.to_thread(find_job, server, id)
    return event_response(job_events(server.jobs.events(id, start)))


@router.post("/jobs/{id}/cancel", response_model=JobAnswer)
def cancel_job(id: str, server: CurrentServer) -> dict[str, Any]:
    """Stop a job that waits or runs; one that has ended stays as it is."""
    server.jobs.cancel(id)
    return view(server, find_job(server, id))


@router.delete("/jobs/{id}", response_model=Deleted)
def delete_job(id: str, server: CurrentServer) -> dict[str, Any]:
    """Stop a job unless it has ended, and remove it with its results."""
    server.jobs.delete(id)
    return {"id": id, "object": "job.deleted", "deleted": True}


@router.delete("/jobs/{id}/results/{index}", response_model=DeletedResult)
def delete_result(
    id: str, index: Annotated[int, Path(ge=0, le=MAX_SEED)], server: CurrentServer
) -> dict[str, Any]:
    """Remove one result of a job that has ended, with its files; the job and its other results stay."""
    server.jobs.delete_result(id, index)
    return {"id": id, "index": index, "object": "job.result.deleted", "deleted": True}


@router.get(
    "/jobs/{id}/results/{index}/{column:path}",
    response_class=Response,
    responses={200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
def get_result(id: str, index: int, column: str, server: CurrentServer) -> Response:
    """The bytes of a value of a result; a PNG has its settings in it."""
    server.jobs.stored(id)
    file = server.store.result_file(id, f"{index}/{column}")
    if file is None:
        raise not_found("result", f"{index}/{column}")
    headers = {"cache-control": "private, max-age=31536000, immutable", "content-security-policy": "sandbox"}
    return Response(server.store.read(file), media_type=file.media_type, headers=headers)


@router.post("/recall", response_model=Recalled)
async def recall(image: UploadFile) -> dict[str, Any]:
    """The request that made a picture of likewise, from the picture itself."""
    data = await image.read()
    if len(data) > MAX_MEDIA_BYTES:
        raise invalid(f"image has {len(data):,} bytes, and at most {MAX_MEDIA_BYTES:,} are read", "image")
    chunks = await asyncio.to_thread(read_png_chunks, data)
    if not chunks:
        raise invalid("this is no PNG with settings of likewise in it", "image", "no_settings")
    made_by = {name: _json_or_text(value) for name, value in chunks.items()}
    request = made_by.get("request")
    return {"request": request if isinstance(request, dict) else request_of(made_by), "made_by": made_by}


def request_of(made_by: dict[str, Any]) -> dict[str, Any]:
    """The request that makes what a command line has made."""
    options = made_by.get("options")
    request = {
        "model": str(made_by.get("model", "")).rstrip("/").rpartition("/")[2],
        "given": {**_dict(made_by.get("sources")), **_dict(made_by.get("known"))},
        "seed": made_by.get("seed"),
        "index": made_by.get("index"),
        "options": options if isinstance(options, dict) else None,
    }
    return {name: value for name, value in request.items() if value not in (None, "", {})}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
