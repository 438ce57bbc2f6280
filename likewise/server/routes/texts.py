"""OpenAI's routes of texts: completions and chat."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from fastapi import APIRouter, Request, Response

from likewise.server.jobs.events import EVENT_CONTENT, event_response, event_text
from likewise.server.openai import chat, completions
from likewise.server.openai.answers import ChatAnswer, CompletionAnswer
from likewise.server.openai.bodies import ChatBody, CompletionBody, TextFields
from likewise.server.openai.choice import TEXTS, choose_model
from likewise.server.openai.events import Chunk
from likewise.server.openai.forms import document_openai_body, read_openai_body
from likewise.server.openai.options import answer, refuse, sampling_extras, warning_headers
from likewise.server.openai.text_requests import Completion, TextRequest, usage_json
from likewise.server.openai.texts import TextWriter
from likewise.server.server import CurrentServer

router = APIRouter(prefix="/v1", tags=["openai"])


@router.post(
    "/completions",
    response_model=CompletionAnswer,
    responses={200: {"model": CompletionAnswer, "content": {**EVENT_CONTENT}}},
    openapi_extra=document_openai_body(CompletionBody),
)
async def complete(request: Request, server: CurrentServer) -> Response:
    """Texts that begin with a prompt, and end with a suffix; with echo and logprobs the scores of a text."""
    body, _ = await read_openai_body(request, CompletionBody)
    refuse(body, "logit_bias")
    chosen = await choose_model(server, body.model, TEXTS)
    extras = sampling_extras(body, chosen.schema)
    completions.add_sampling_fields(body, extras)
    texts = completions.translate_completion(body)
    names = {**completions.NAMES, **({"": "suffix"} if body.suffix is not None else {})}
    writer = TextWriter(server, request, chosen, extras, names)
    created = int(time.time())
    if body.stream:
        chunk = completions.CompletionChunk(chosen.id, created, body.echo, body.stream_options.include_usage)
        return await _stream(writer, texts, chunk)
    found = await writer.complete(texts)
    content = completions.completion_json(chosen.id, created, found, texts)
    return answer(content, [*extras.warnings, *writer.warnings])


@router.post(
    "/chat/completions",
    response_model=ChatAnswer,
    responses={200: {"model": ChatAnswer, "content": {**EVENT_CONTENT}}},
    openapi_extra=document_openai_body(ChatBody),
)
async def answer_chat(request: Request, server: CurrentServer) -> Response:
    """Answers to messages: what the model writes after them, or given them."""
    body, _ = await read_openai_body(request, ChatBody)
    refuse(body, "tools", "functions", "logit_bias")
    chosen = await choose_model(server, body.model, TEXTS)
    extras = sampling_extras(body, chosen.schema)
    completions.add_sampling_fields(body, extras)
    said = chat.read_messages(body.messages, chosen, str(request.base_url).rstrip("/"))

    def fit() -> chat.Conversation:
        with server.registry.acquire(chosen.id) as model:
            return chat.fit_messages(model, chosen, said, body.transcript)

    conversation = await server.in_thread(fit)
    if (left_out := len(said.lines) - len(conversation.lines)) > 0:
        extras.warnings.append(f"there is no room for all messages, so the oldest are left out: {left_out}")
    text = chat.translate_chat(body, chosen, conversation)
    names = {**chat.NAMES, **{f"given.{name}": "messages" for name in text.values if name not in body.given}}
    names |= {f"constraint.{c['name']}": "response_format" for c in chosen.schema["columns"]}
    writer = TextWriter(server, request, chosen, extras, names)
    created = int(time.time())
    if body.stream:
        usage, strip = body.stream_options.include_usage, body.transcript == "roles"
        return await _stream(writer, [text], chat.ChatChunk(chosen.id, created, usage, strip), body)
    [found] = await writer.complete([text])
    return answer(chat.chat_json(chosen.id, created, found, body), [*extras.warnings, *writer.warnings])


async def _stream(
    writer: TextWriter, texts: Sequence[TextRequest], chunk: Chunk, body: TextFields | None = None
) -> Response:
    """A stream of texts: as they are written, or, where their tokens are scored, when they are complete."""
    if any(t.alternatives is not None or t.candidates > t.n or t.scores_only for t in texts):
        events = _complete_events(await writer.complete(texts), texts, chunk, body)
    else:
        events = writer.stream(texts, await writer.submit(texts, stream=True), chunk)
    response = event_response(events)
    response.headers.update(warning_headers([*writer.extras.warnings, *writer.warnings]))
    return response


async def _complete_events(
    found: Sequence[Sequence[Completion]],
    texts: Sequence[TextRequest],
    chunk: Chunk,
    body: TextFields | None,
) -> AsyncIterator[str]:
    """The events of texts that are complete."""
    index = 0
    for one_text, text in zip(found, texts, strict=True):
        for one in one_text:
            for piece in chunk.first(index, one.prompt):
                yield piece
            if rest := one.text + (one.suffix if text.echo else ""):
                yield chunk.delta(index, rest)
            logprobs = None
            if one.scores is not None and text.alternatives is not None:
                scored = isinstance(body, ChatBody)
                logprobs = chat.chat_logprobs(one, body) if scored else completions.logprobs_json(one.scores)  # type: ignore[arg-type]
            yield chunk.last(index, one.finish, logprobs)
            index += 1
    usage = usage_json(found)
    for piece in chunk.end((usage["prompt_tokens"], usage["completion_tokens"])):
        yield piece
    yield event_text("[DONE]")
