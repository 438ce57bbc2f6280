"""Models: which there are, what may be asked of each, and putting one away."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends

from likewise.server.catalog.registry import ModelEntry
from likewise.server.http.bodies import check_query
from likewise.server.jobs.answers import ModelAnswer, ModelList, Unloaded
from likewise.server.server import CurrentServer

router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[Depends(check_query)])


def model_json(entry: ModelEntry, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """A model in the shape of OpenAI's, and its schema."""
    plain = {"id": entry.id, "object": "model", "created": int(entry.created), "owned_by": "likewise"}
    return plain if schema is None else {**plain, "likewise": schema}


@router.get("", response_model=ModelList, response_model_exclude_unset=True)
def list_models(server: CurrentServer) -> dict[str, Any]:
    """All models: runs and pipelines of the folder, and those that come with the package."""
    return {"object": "list", "data": [model_json(entry) for entry in server.registry.entries().values()]}


@router.post("/{id:path}/unload", response_model=Unloaded)
def unload_model(id: str, server: CurrentServer) -> dict[str, Any]:
    """Put a model away, unless it is in use; it is loaded again when it is needed."""
    entry = server.registry.resolve(id)
    return {"id": entry.id, "object": "model", "unloaded": server.registry.unload(entry.id)}


@router.get("/{id:path}", response_model=ModelAnswer)
async def get_model(id: str, server: CurrentServer) -> dict[str, Any]:
    """A model, with its columns, sampling options and controls under the key likewise."""
    entry = server.registry.resolve(id)
    return model_json(entry, await server.in_thread(server.registry.schema, entry.id))
