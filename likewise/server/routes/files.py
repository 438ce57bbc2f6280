"""Files: uploads of data sets and media, in OpenAI's shape."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import FileResponse

from likewise.server.data.data_files import data_ending
from likewise.server.data.quota import Quota
from likewise.server.data.uploads import Upload, receive_upload
from likewise.server.http.errors import APIError, invalid, not_found
from likewise.server.http.lists import page_json
from likewise.server.jobs.answers import Deleted
from likewise.server.jobs.book import new_id
from likewise.server.jobs.store import StoredFile
from likewise.server.limits import MAX_NAME
from likewise.server.server import CurrentServer, Server
from likewise.server.services import CurrentServices
from likewise.server.training.answers import FileAnswer, FileList

router = APIRouter(prefix="/v1/files", tags=["files"])
DATA = "fine-tune"
PURPOSES = (DATA, "vision", "user_data", "assistants", "batch", "evals")
MAX_FILES = 10_000  # of a page, as in OpenAI's API
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(PURPOSES)},
                    },
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                }
            }
        },
    }
}


def file_json(file: StoredFile) -> dict[str, Any]:
    """An upload as clients see it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created),
        "filename": file.name or file.id,
        "purpose": file.purpose,
        "status": "processed",
        "expires_at": None,
        "status_details": None,
    }


@router.post("", response_model=FileAnswer, openapi_extra=FORM)
async def upload_file(request: Request, server: CurrentServer, services: CurrentServices) -> dict[str, Any]:
    """Keep a file: a data set (purpose fine-tune), or pictures and the like for requests."""
    quota, stored = services.data.quota, await asyncio.to_thread(services.data.quota.stored_bytes)
    upload = await receive_upload(
        request, services.data.uploads, ("purpose",), lambda size: quota.require(stored, size)
    )
    try:
        purpose = upload.fields.get("purpose")
        if purpose not in PURPOSES:
            said = "purpose is missing" if purpose is None else f"there is no purpose {purpose[:100]!r}"
            raise invalid(f"{said}; write {DATA} for data, or one of {', '.join(PURPOSES[1:])}", "purpose")
        if not upload.size:
            raise invalid("the file is empty", "file")
        if purpose == DATA:
            data_ending(upload.name)
        file = await asyncio.to_thread(_keep, server, quota, upload, purpose)
    finally:
        upload.discard()
    if purpose == DATA:
        try:
            await services.data.prepare(file.id, "file")
        except BaseException:
            await asyncio.to_thread(server.store.delete_file, file.id)
            raise
    return file_json(file)


def _keep(server: Server, quota: Quota, upload: Upload, purpose: str) -> StoredFile:
    """Keep an upload, unless others that came at the same time have taken its room. Raises APIError."""
    quota.require(quota.stored_bytes(), upload.size)
    server.store.blobs.take(upload.path, upload.digest)
    file = StoredFile(
        new_id("file"),
        None,
        upload.name,
        purpose,
        "application/octet-stream",
        upload.digest,
        upload.size,
        time.time(),
    )
    server.store.add_file_row(file)
    return file


@router.get("", response_model=FileList)
def list_files(
    server: CurrentServer,
    limit: Annotated[int, Query(ge=1, le=MAX_FILES)] = 100,
    after: Annotated[str | None, Query(max_length=MAX_NAME)] = None,
    purpose: Annotated[str | None, Query(max_length=MAX_NAME)] = None,
    order: Literal["desc"] = "desc",
) -> dict[str, Any]:
    """A page of uploads, newest first."""
    files, more = server.store.files(limit=limit, after=after, purpose=purpose)
    return page_json([file_json(file) for file in files], more)


@router.get("/{id}", response_model=FileAnswer)
def get_file(id: str, services: CurrentServices) -> dict[str, Any]:
    """An upload."""
    return file_json(services.data.file(id, "id"))


@router.get(
    "/{id}/content",
    response_class=Response,
    responses={200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
def get_content(id: str, server: CurrentServer) -> Response:
    """The bytes of an upload, or of what a job was given."""
    if (file := server.store.file(id)) is None:
        raise not_found("file", id, param="id")
    name = quote(file.name or file.id, safe="")
    headers = {
        "content-disposition": f"attachment; filename*=UTF-8''{name}",
        "content-security-policy": "sandbox",
    }
    path = server.store.blobs.path(file.blob)
    return FileResponse(path, media_type=file.media_type, headers=headers)


@router.delete("/{id}", response_model=Deleted)
def delete_file(id: str, server: CurrentServer, services: CurrentServices) -> dict[str, Any]:
    """Remove an upload, unless a training that has not ended uses it."""
    file = services.data.file(id, "id")
    for task in services.trainings.tasks():
        if task.job.request["training_file"] == file.id:
            raise APIError(409, f"{file.id} is used by {task.job.id}; cancel that first", code="file_in_use")
    server.store.delete_file(file.id)
    services.data.remove(file.id)
    return {"id": file.id, "object": "file", "deleted": True}
