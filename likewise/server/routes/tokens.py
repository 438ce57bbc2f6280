"""The tokenizer of a model of texts, by the routes of vLLM: lm-eval and others count tokens with them."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Annotated, Any

import tokenizers
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from likewise.interop.transformers_export import tokenizer_config_json, tokenizer_json
from likewise.modalities.text import Text
from likewise.models.token_scores import text_column
from likewise.server.http.errors import APIError, invalid
from likewise.server.jobs.requests import Text as TextField
from likewise.server.limits import MAX_NAME
from likewise.server.openai.bodies import OpenAIBody, OptionalModel, TokenIds
from likewise.server.openai.choice import TEXTS, choose_model
from likewise.server.openai.forms import document_openai_body, read_openai_body
from likewise.server.openai.tokens import MAX_TOKENIZERS, end_text, read_prompt_ids
from likewise.server.server import CurrentServer, Server

router = APIRouter(tags=["openai"])


class TokenizeBody(OpenAIBody):
    """POST /tokenize."""

    model: OptionalModel = None
    prompt: TextField
    add_special_tokens: bool = Field(
        default=True, description="id 0 in front, which stands for the beginning"
    )
    return_token_strs: bool = False


class DetokenizeBody(OpenAIBody):
    """POST /detokenize."""

    model: OptionalModel = None
    tokens: TokenIds


class Tokenized(BaseModel):
    """The ids of a text."""

    tokens: list[int]
    count: int
    max_model_len: int
    token_strs: list[str] | None = None


class Detokenized(BaseModel):
    """The text of ids."""

    prompt: str


async def _text_column(server: Server, model: str | None) -> Text:
    """The text of a model; without a name of the only one that there is. Raises APIError."""
    if not model:
        suiting = await server.in_thread(_writers, server)
        if len(suiting) > 1:
            raise invalid(
                f"several models write texts: {', '.join(suiting[:20])}; name one in model", "model"
            )
    chosen = await choose_model(server, model, TEXTS)

    def find() -> Text:
        with server.registry.acquire(chosen.id) as loaded:
            return text_column(loaded)[1]  # type: ignore[arg-type]

    column: Text = await server.in_thread(find)
    return column


def _writers(server: Server) -> list[str]:
    found = []
    for id in server.registry.entries():
        try:
            if TEXTS.suits(server.registry.schema(id)):
                found.append(id)
        except APIError:  # a damaged one
            continue
    return found


@lru_cache(maxsize=MAX_TOKENIZERS)
def _tokenizer(column: Text) -> tokenizers.Tokenizer:
    """The tokenizer as it is exported."""
    return tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(column)[0], ensure_ascii=False))


@router.post("/tokenize", response_model=Tokenized, openapi_extra=document_openai_body(TokenizeBody))
async def tokenize(request: Request, server: CurrentServer) -> dict[str, Any]:
    """The ids of a text, as completions read and count them."""
    body, _ = await read_openai_body(request, TokenizeBody)
    column = await _text_column(server, body.model)
    encoding = await server.in_thread(
        lambda: _tokenizer(column).encode(body.prompt, add_special_tokens=body.add_special_tokens)
    )
    strings = encoding.tokens if body.return_token_strs else None
    return {
        "tokens": encoding.ids,
        "count": len(encoding.ids),
        "max_model_len": column.length,
        "token_strs": strings,
    }


@router.post("/detokenize", response_model=Detokenized, openapi_extra=document_openai_body(DetokenizeBody))
async def detokenize(request: Request, server: CurrentServer) -> dict[str, Any]:
    """The text of ids."""
    body, _ = await read_openai_body(request, DetokenizeBody)
    column = await _text_column(server, body.model)
    prompt = read_prompt_ids(column, body.tokens, "tokens")
    text = await server.in_thread(lambda: _tokenizer(column).decode(prompt.ids.tolist()))
    return {"prompt": end_text(column) + text if prompt.started else text}


@router.get("/tokenizer_info", response_model=dict[str, Any])
async def tokenizer_info(
    server: CurrentServer, model: Annotated[str | None, Query(max_length=MAX_NAME)] = None
) -> dict[str, Any]:
    """tokenizer_config.json, and under `tokenizer` tokenizer.json."""
    column = await _text_column(server, model)
    state, end = await server.in_thread(tokenizer_json, column)
    return {**tokenizer_config_json(column, end), "tokenizer": state}
