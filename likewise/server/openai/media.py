"""Sound and video: the same translations for columns of the media types audio/* and video/*."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

from fastapi import Request
from starlette.responses import PlainTextResponse, Response

from likewise.server.http.errors import APIError, invalid, not_found
from likewise.server.jobs.book import Job, public_error
from likewise.server.jobs.events import event_response, event_text
from likewise.server.jobs.requests import SampleBody
from likewise.server.jobs.store import StoredFile, StoredJob
from likewise.server.openai.bodies import SpeechBody, TranscriptionBody, VideoBody
from likewise.server.openai.choice import ChosenModel
from likewise.server.openai.forms import Form
from likewise.server.openai.options import Extras, answer, warning_headers
from likewise.server.openai.prompts import negative_fields, prompt_fields
from likewise.server.server import Server, client_of

VIDEO, JOB = "video_", "job_"  # how the ids of videos and of their jobs begin
STATUS = {"queued": "queued", "running": "in_progress", "paused": "in_progress", "succeeded": "completed"}
MARK = {"object": "video"}  # metadata of the jobs that are videos
USAGE = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


async def _sampled(
    server: Server,
    request: Request,
    body: SampleBody,
    files: Mapping[str, bytes],
    extras: Extras,
    names: Mapping[str, str],
) -> Job:
    """The job of one sample, when it has ended well."""
    try:
        job = await server.submit(body, parts=files, client=client_of(request))
        return await server.wait(job, request)
    except APIError as error:
        raise extras.explain(error, names) from None


def result_of(server: Server, job: Job | StoredJob, column: str) -> StoredFile:
    """The file of the first sample of a job. Raises APIError with status 404."""
    file = server.store.result_file(job.id, f"0/{column}")
    if file is None:
        raise not_found("result", job.id)
    return file


# ---- sound


async def answer_speech(
    server: Server, request: Request, chosen: ChosenModel, body: SpeechBody, extras: Extras
) -> Response:
    """The sound of a text, in the format of the model."""
    column = chosen.column("target", "audio/")
    assert column is not None  # the task is SOUNDS
    _check_format(body, column, chosen)
    prompt = prompt_fields(chosen, body.input, "input")
    given = {**body.given, **prompt.pop("given", {}), **_voice(chosen, body, extras)}
    if body.instructions:
        extras.warnings.append("instructions has no effect here, and is ignored")
    native = {"model": chosen.id, "seed": body.seed, "given": given, "options": extras.options, **prompt}
    job = await _sampled(server, request, SampleBody.read(native), {}, extras, {"text": "input", "": "input"})
    file = result_of(server, job, column["name"])
    data = await server.in_thread(server.store.read, file)
    headers = warning_headers([*extras.warnings, *job.warnings])
    headers["x-likewise-seed"] = str(job.results[0]["seed"])
    if body.stream_format == "sse":
        response: Response = event_response(_speech_events(data))
        response.headers.update(headers)
        return response
    return Response(data, media_type=file.media_type, headers=headers)


def _check_format(body: SpeechBody, column: Mapping[str, Any], chosen: ChosenModel) -> None:
    own = column["media_type"].partition(";")[0].partition("/")[2].removeprefix("x-")
    if body.response_format not in (None, own):
        raise invalid(f"{chosen.id} makes {own}; leave response_format out", "response_format")
    if body.speed != 1:
        raise invalid("speed is not supported; leave it out", "speed", "unsupported_parameter")


def _voice(chosen: ChosenModel, body: SpeechBody, extras: Extras) -> dict[str, Any]:
    """The source of classes that is called voice, as a class that it has."""
    voice = body.voice if isinstance(body.voice, str) or body.voice is None else body.voice.id
    for column in chosen.schema["columns"]:
        if column["role"] == "source" and column["name"] == "voice" and voice in column.get("classes", ()):
            return {"voice": voice}
    if voice is not None:
        extras.warnings.append(f"the model has no voice {voice[:60]!r}, so it is ignored")
    return {}


async def _speech_events(data: bytes) -> AsyncIterator[str]:
    yield event_text({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})
    yield event_text({"type": "speech.audio.done", "usage": USAGE})


async def answer_transcript(
    server: Server, request: Request, chosen: ChosenModel, body: TranscriptionBody, form: Form, extras: Extras
) -> Response:
    """The text of a sound."""
    source, target = chosen.column("source", "audio/"), chosen.column("target", "text/", "text")
    assert source is not None and target is not None  # the task is TRANSCRIPTS
    parts = form.of.get("file", [])
    if len(parts) != 1:
        raise invalid("send one sound, as the part file of a form", "file", "missing_required_parameter")
    extras.add("temperature", body.temperature)
    ignored = {"prompt": body.prompt, "language": body.language}
    extras.warnings += [
        f"{name} has no effect here, and is ignored" for name, given in ignored.items() if given
    ]
    given = {**body.given, source["name"]: parts[0]}
    native = {"model": chosen.id, "seed": body.seed, "given": given, "options": extras.options}
    names = {f"given.{source['name']}": "file"}
    job = await _sampled(server, request, SampleBody.read(native), form.files, extras, names)
    text, warnings = job.results[0]["values"][target["name"]], [*extras.warnings, *job.warnings]
    if body.stream:
        response: Response = event_response(_transcript_events(text))
        response.headers.update(warning_headers(warnings))
        return response
    if body.response_format == "text":
        return PlainTextResponse(text, headers=warning_headers(warnings))
    return answer({"text": text}, warnings)


async def _transcript_events(text: str) -> AsyncIterator[str]:
    yield event_text({"type": "transcript.text.delta", "delta": text})
    yield event_text({"type": "transcript.text.done", "text": text})


# ---- video


async def submit_video(
    server: Server, request: Request, chosen: ChosenModel, body: VideoBody, form: Form, extras: Extras
) -> Job:
    """The job of a video, which goes on without its client."""
    fields = prompt_fields(chosen, body.prompt)
    shape = (chosen.column("target", "video/") or {}).get("shape", {})
    own = f"{shape.get('width')}x{shape.get('height')}"
    if body.size not in ("auto", own):
        raise invalid(f"{chosen.id} makes videos of {own}; leave size out", "size")
    if body.seconds is not None:
        extras.warnings.append("seconds has no effect here, and is ignored: the length is the model's")
    given = {**body.given, **fields.pop("given", {})}
    start, values = _start(server, chosen, body, form)
    native = {
        "model": chosen.id,
        "seed": body.seed,
        "given": {**given, **values},
        "options": extras.options,
        "background": True,
        "metadata": MARK,
        **fields,
        **start,
        **negative_fields(chosen, body.negative_prompt),
    }
    try:
        return await server.submit(
            SampleBody.read(native), parts=form.files, background=True, client=client_of(request)
        )
    except APIError as error:
        raise extras.explain(error, {"text": "prompt", "": "prompt", "init.strength": "strength"}) from None


def _start(
    server: Server, chosen: ChosenModel, body: VideoBody, form: Form
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a video begins with: fields of the native request, and values of sources."""
    parts, target = (
        form.of.get("input_reference", []) + form.of.get("video", []),
        chosen.column("target", "video/"),
    )
    assert target is not None  # the task is VIDEOS
    if body.video is not None:
        job = find_video(server, body.video.id)
        value: Any = {"url": f"/v1/jobs/{job.id}/results/0/{target['name']}"}
    elif parts:
        value = parts[0]
    else:
        return {}, {}
    for media in ("video/", "image/"):
        if (source := chosen.column("source", media)) is not None:
            return {}, {source["name"]: value}
    if not chosen.can("init"):
        raise invalid(f"{chosen.id} reads neither a picture nor a video", "input_reference")
    return {"init": {"values": {target["name"]: value}, "strength": body.strength}}, {}


def find_video(server: Server, id: str) -> StoredJob:
    """The job of a video. Raises APIError with status 404."""
    stored = server.store.job(JOB + id.removeprefix(VIDEO)) if id.startswith(VIDEO) else None
    if stored is None or not is_video(stored):
        raise not_found("video", id)
    return stored


def is_video(job: Job | StoredJob) -> bool:
    """Whether a job was sent as a video."""
    return (job.request.get("metadata") or {}).get("object") == MARK["object"]


def list_videos(
    server: Server, after: str | None, limit: int, oldest_first: bool
) -> tuple[list[StoredJob], bool]:
    """A page of videos, and whether there are more."""
    found: list[StoredJob] = []
    last, more = None, True
    while more:
        jobs, more = server.store.jobs(limit=100, after=last, kinds=["sample"], background=True)
        found += [job for job in jobs if is_video(job)]
        last = jobs[-1].id if jobs else None
    if oldest_first:
        found.reverse()
    if after is not None:
        ids = [job.id for job in found]
        found = found[ids.index(find_video(server, after).id) + 1 :]
    return found[:limit], len(found) > limit


def video_json(server: Server, job: Job | StoredJob) -> dict[str, Any]:
    """A video in the shape of OpenAI's."""
    active = server.jobs.active.get(job.id, job)
    progress = active.progress if isinstance(active, Job) else {}
    steps = progress.get("steps") or 0
    done = 100 if active.status == "succeeded" else 100 * progress.get("step", 0) // steps if steps else 0
    error = public_error(active.error)
    if error is None and active.status == "cancelled":
        error = {"code": "cancelled", "message": "it was cancelled"}
    return {
        "id": VIDEO + job.id.removeprefix(JOB),
        "object": "video",
        "model": job.model,
        "status": STATUS.get(active.status, "failed"),
        "progress": done,
        "created_at": int(job.created),
        "completed_at": None if active.finished is None else int(active.finished),
        "prompt": job.request.get("text"),
        "seed": job.request.get("seed"),
        "error": None
        if error is None
        else {"code": error.get("code") or "failed", "message": error["message"]},
    }
