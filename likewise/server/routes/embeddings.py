"""OpenAI's route of embeddings."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from likewise.server.http.errors import APIError
from likewise.server.openai.answers import EmbeddingsAnswer
from likewise.server.openai.bodies import EmbeddingBody
from likewise.server.openai.choice import EMBEDDINGS, choose_model
from likewise.server.openai.embeddings import column_of_inputs, embed_call, embeddings_json, inputs_of
from likewise.server.openai.forms import document_openai_body, read_openai_body
from likewise.server.openai.options import Extras, answer, sampling_extras
from likewise.server.server import CurrentServer, client_of

router = APIRouter(prefix="/v1", tags=["openai"])
NO_OPTIONS: dict[str, Any] = {"options": {"properties": {}}}


@router.post(
    "/embeddings", response_model=EmbeddingsAnswer, openapi_extra=document_openai_body(EmbeddingBody)
)
async def embed(request: Request, server: CurrentServer) -> Response:
    """Unit vectors of values; those of values that belong together are near each other."""
    body, _ = await read_openai_body(request, EmbeddingBody)
    chosen = await choose_model(server, body.model, EMBEDDINGS)
    extras = sampling_extras(body, NO_OPTIONS)
    column, inputs = column_of_inputs(chosen, body.column)["name"], inputs_of(body)
    call = embed_call(server.store, column, inputs)
    shown = {"model": chosen.id, "column": column, "inputs": len(inputs)}
    job = await server.call(chosen.id, "embed", shown, call, size=len(inputs), client=client_of(request))
    try:
        await server.wait(job, request)
    except APIError as error:
        raise Extras().explain(error, {"": "input"}) from None
    results = [job.results[i] for i in sorted(job.results)]
    return answer(embeddings_json(chosen.id, results, body), [*extras.warnings, *job.warnings])
