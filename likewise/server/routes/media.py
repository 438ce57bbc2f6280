"""OpenAI's routes of sound and video; models with columns of such media types answer them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from likewise.server.http.errors import invalid, not_found
from likewise.server.jobs.answers import Deleted
from likewise.server.jobs.events import EVENT_CONTENT
from likewise.server.limits import MAX_LISTED, MAX_NAME
from likewise.server.openai import media
from likewise.server.openai.answers import TranscriptAnswer, VideoAnswer, VideoList
from likewise.server.openai.bodies import SpeechBody, TranscriptionBody, VideoBody, VideoReference
from likewise.server.openai.choice import SOUNDS, TRANSCRIPTS, VIDEOS, Task, choose_model, find_column
from likewise.server.openai.forms import document_openai_body, read_openai_body
from likewise.server.openai.options import answer, sampling_extras
from likewise.server.server import CurrentServer, Server

router = APIRouter(prefix="/v1", tags=["openai"])
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
}
CLONING = Task(
    "takes over voices",
    lambda schema: bool(find_column(schema, "source", "audio/") and find_column(schema, "target", "audio/")),
)


# ---- sound


@router.post(
    "/audio/speech", response_class=Response, responses=BYTES, openapi_extra=document_openai_body(SpeechBody)
)
async def speak(request: Request, server: CurrentServer) -> Response:
    """The sound of a text."""
    body, form = await read_openai_body(request, SpeechBody)
    chosen = await choose_model(server, body.model, SOUNDS)
    extras = sampling_extras(body, chosen.schema, form=form.is_form)
    return await media.answer_speech(server, request, chosen, body, extras)


async def _transcribe(request: Request, server: Server) -> Response:
    body, form = await read_openai_body(request, TranscriptionBody)
    chosen = await choose_model(server, body.model, TRANSCRIPTS)
    extras = sampling_extras(body, chosen.schema, form=form.is_form)
    return await media.answer_transcript(server, request, chosen, body, form, extras)


TRANSCRIPT: dict[int | str, dict[str, Any]] = {
    200: {
        "model": TranscriptAnswer,
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            **EVENT_CONTENT,
        },
    }
}


@router.post(
    "/audio/transcriptions",
    response_model=TranscriptAnswer,
    responses=TRANSCRIPT,
    openapi_extra=document_openai_body(TranscriptionBody, "file"),
)
async def transcribe(request: Request, server: CurrentServer) -> Response:
    """The text of a sound."""
    return await _transcribe(request, server)


@router.post(
    "/audio/translations",
    response_model=TranscriptAnswer,
    responses=TRANSCRIPT,
    openapi_extra=document_openai_body(TranscriptionBody, "file"),
)
async def translate(request: Request, server: CurrentServer) -> Response:
    """The text of a sound, in the language of the model."""
    return await _transcribe(request, server)


@router.get("/audio/voices")
@router.get("/audio/voice_consents")
def list_voices() -> dict[str, Any]:
    """Voices of one's own: there are none."""
    return {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


@router.post("/audio/voices")
@router.post("/audio/voice_consents")
async def make_voice(server: CurrentServer) -> dict[str, Any]:
    """A voice of one's own, for which no model is there."""
    chosen = await choose_model(server, None, CLONING)
    raise invalid(f"voices cannot be kept; give {chosen.id} the sound itself, by POST /v1/sample")


@router.get("/audio/voices/{id}")
@router.post("/audio/voices/{id}")
@router.delete("/audio/voices/{id}")
@router.get("/audio/voice_consents/{id}")
@router.post("/audio/voice_consents/{id}")
@router.delete("/audio/voice_consents/{id}")
def get_voice(id: str) -> dict[str, Any]:
    """One of these."""
    raise not_found("voice", id)


# ---- video


async def _make_video(request: Request, server: Server, of: str | None = None) -> Response:
    body, form = await read_openai_body(request, VideoBody)
    if of is not None:
        stored = await asyncio.to_thread(media.find_video, server, of)
        body = body.model_copy(update={"video": VideoReference(id=of), "model": body.model or stored.model})
    chosen = await choose_model(server, body.model, VIDEOS)
    extras = sampling_extras(body, chosen.schema, form=form.is_form)
    job = await media.submit_video(server, request, chosen, body, form, extras)
    return answer(media.video_json(server, job), [*extras.warnings, *job.warnings])


@router.post(
    "/videos",
    response_model=VideoAnswer,
    openapi_extra=document_openai_body(VideoBody, "input_reference"),
)
async def make_video(request: Request, server: CurrentServer) -> Response:
    """A video of a prompt, or after a picture or a video; it is made in the background."""
    return await _make_video(request, server)


@router.post(
    "/videos/edits", response_model=VideoAnswer, openapi_extra=document_openai_body(VideoBody, "video")
)
async def edit_video(request: Request, server: CurrentServer) -> Response:
    """A video made anew after another one."""
    return await _make_video(request, server)


@router.post(
    "/videos/extensions", response_model=VideoAnswer, openapi_extra=document_openai_body(VideoBody, "video")
)
async def extend_video(request: Request, server: CurrentServer) -> Response:
    """A video that goes on after another one, which no model does."""
    body, _ = await read_openai_body(request, VideoBody)
    chosen = await choose_model(server, body.model, VIDEOS)
    raise invalid(f"{chosen.id} makes videos of one length; give what is known by POST /v1/infill", "video")


@router.post("/videos/{id}/remix", response_model=VideoAnswer, openapi_extra=document_openai_body(VideoBody))
async def remix_video(id: str, request: Request, server: CurrentServer) -> Response:
    """A video made anew after one of this server."""
    return await _make_video(request, server, of=id)


@router.get("/videos", response_model=VideoList)
def list_videos(
    server: CurrentServer,
    after: Annotated[str | None, Query(max_length=MAX_NAME)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LISTED)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> dict[str, Any]:
    """A page of videos."""
    jobs, more = media.list_videos(server, after, limit, order == "asc")
    data = [media.video_json(server, job) for job in jobs]
    ends = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"object": "list", "data": data, "has_more": more, "first_id": ends[0], "last_id": ends[1]}


@router.get("/videos/{id}", response_model=VideoAnswer)
def get_video(id: str, server: CurrentServer) -> dict[str, Any]:
    """A video that is made, or will be."""
    return media.video_json(server, media.find_video(server, id))


@router.delete("/videos/{id}", response_model=Deleted)
def delete_video(id: str, server: CurrentServer) -> dict[str, Any]:
    """Remove a video, or stop it."""
    server.jobs.delete(media.find_video(server, id).id)
    return {"id": id, "object": "video.deleted", "deleted": True}


@router.get("/videos/{id}/content", response_class=Response, responses=BYTES)
async def get_video_content(
    id: str, server: CurrentServer, variant: Literal["video", "thumbnail", "spritesheet"] = "video"
) -> Response:
    """The bytes of a video."""
    job = await asyncio.to_thread(media.find_video, server, id)
    if variant != "video":
        raise invalid(f"there is no {variant}; ask for the video", "variant")
    chosen = await choose_model(server, job.model, VIDEOS)
    column = chosen.column("target", "video/")
    assert column is not None  # the task is VIDEOS
    file = await asyncio.to_thread(media.result_of, server, job, column["name"])
    return Response(await asyncio.to_thread(server.store.read, file), media_type=file.media_type)
