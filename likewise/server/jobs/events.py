"""Server-sent events: a stream of `id`, `event` and `data` lines, with a comment from time to time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

from starlette.responses import StreamingResponse

from likewise.server.jobs.book import JobEvent

KEEP_ALIVE_SECONDS = 15.0
EVENT_CONTENT: dict[str, Any] = {  # of an answer, in the OpenAPI document: what each event of the stream is
    "text/event-stream": {
        "schema": {
            "type": "object",
            "properties": {
                "id": {"type": "string"},
                "event": {"type": "string"},
                "data": {"type": "string", "description": "JSON"},
            },
            "required": ["data"],
        }
    }
}


def event_text(data: Mapping[str, Any] | str, event: str | None = None, id: int | None = None) -> str:
    r"""One event; `data` is JSON values, or a text without line breaks.

    >>> event_text({"step": 1}, "progress", 3)
    'id: 3\nevent: progress\ndata: {"step":1}\n\n'
    """
    head = f"id: {id}\n" if id is not None else ""
    head += f"event: {event}\n" if event is not None else ""
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))  # ASCII, so on one line
    return f"{head}data: {text}\n\n"


def event_response(texts: AsyncIterator[str]) -> StreamingResponse:
    """The answer that streams events made by `event_text`."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(with_comments(texts), media_type="text/event-stream", headers=headers)


async def job_events(events: AsyncGenerator[JobEvent]) -> AsyncGenerator[str]:
    """The events of a job as texts."""
    async with aclosing(events):
        async for event in events:
            yield event_text(event.data, event.name, event.id)


async def with_comments(texts: AsyncIterator[str]) -> AsyncIterator[str]:
    """The same with a comment where nothing comes for a while, so that a client that has gone is noticed."""
    iterator = texts.__aiter__()
    pending: asyncio.Task[str] | None = None
    try:
        while True:
            if pending is None:
                pending = asyncio.ensure_future(_next(iterator))
            done, _ = await asyncio.wait([pending], timeout=KEEP_ALIVE_SECONDS)
            if not done:
                yield ": waiting\n\n"
                continue
            try:
                text = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield text
    finally:
        if pending is not None:
            pending.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending
        if hasattr(iterator, "aclose"):
            await iterator.aclose()


async def _next(iterator: AsyncIterator[str]) -> str:
    return await iterator.__anext__()
