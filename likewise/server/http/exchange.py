"""One request and its answer: the bytes of the body are counted, and headers are added to the answer."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from likewise.server.http.errors import APIError
from likewise.server.limits import (
    BODY_TIMEOUT,
    MAX_BYTES_IN_FLIGHT,
    MAX_JSON_BYTES,
    MAX_MULTIPART_BYTES,
    MAX_UPLOAD_BYTES,
)
from likewise.server.settings import ServerSettings

UPLOAD_PATHS = ("/v1/files",)
METHODS = "GET, POST, DELETE, HEAD, OPTIONS"
CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": CONTENT_POLICY,
    "cross-origin-resource-policy": "same-origin",
}


@dataclass
class Load:
    """What all requests take together.

    requests  that are not answered yet
    bytes     of their bodies, except uploads, which are on disk
    """

    requests: int = 0
    bytes: int = 0


class Exchange:
    """One request and its answer: counts the bytes of the body, and adds headers to the answer."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, settings: ServerSettings, load: Load
    ) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.settings, self.load = settings, load
        self.id = f"req_{secrets.token_hex(8)}"
        self.started, self.method = time.perf_counter(), scope["method"]
        if self.method not in METHODS.split(", "):
            self.method = "OTHER"
        self.status, self.received = 499, 0
        self.body_error: APIError | None = None
        self.traceback: str | None = None
        self.gone = self.answering = self._body_ended = False
        self.limit, self.spooled = body_limit(scope), scope["path"] in UPLOAD_PATHS

    async def receive(self) -> Message:
        """A message of the server, unless the body is too long or does not come."""
        if self.body_error is not None:
            raise self.body_error
        if self._body_ended:
            message = await self._receive()
        else:
            try:
                message = await asyncio.wait_for(self._receive(), BODY_TIMEOUT)
            except TimeoutError:
                self.body_error = APIError(408, f"no byte of the body came for {BODY_TIMEOUT:g} s")
                raise self.body_error from None
        if message["type"] == "http.disconnect":
            self.gone = True
        else:
            size = len(message.get("body", b""))
            self.received += size
            self.load.bytes += 0 if self.spooled else size
            self._body_ended = not message.get("more_body", False)
            if self.received > self.limit:
                self.body_error = too_large(self.limit)
                raise self.body_error
            if self.load.bytes > MAX_BYTES_IN_FLIGHT:
                self.body_error = overload_error("the bodies of all requests are too large at the moment")
                raise self.body_error
        return message

    def close(self) -> None:
        """Give back what the request takes."""
        self.load.requests -= 1
        self.load.bytes -= 0 if self.spooled else self.received

    async def send(self, message: Message) -> None:
        """Pass a message of the application on; an answer to a body that was refused is replaced."""
        if self.body_error is not None:
            if message["type"] == "http.response.start":
                await self.respond(self.body_error.response())
            return
        if message["type"] == "http.response.start":
            self.answering, self.status = True, message["status"]
            self._add_headers(message)
        await self._send(message)

    async def respond(self, response: Response) -> None:
        """Send an answer of our own, unless one has begun."""
        if self.answering:
            return
        self.answering, self.status = True, response.status_code
        if not self._body_ended:
            response.headers["connection"] = "close"  # what is left of the body is not read

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(message)
            await self._send(message)

        await response(self.scope, self._receive, send)

    def _add_headers(self, message: Message) -> None:
        message.setdefault("headers", [])
        headers = MutableHeaders(raw=message["headers"])
        headers["x-request-id"] = self.id
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        origin = Headers(scope=self.scope).get("origin")
        if origin in self.settings.cors_origins:
            headers["access-control-allow-origin"] = origin
            headers["access-control-expose-headers"] = "x-request-id, retry-after"
            headers["vary"] = "Origin"
            headers["cross-origin-resource-policy"] = "cross-origin"


def body_limit(scope: Scope) -> int:
    """The most bytes that the body of a request may have."""
    if scope["path"] in UPLOAD_PATHS:
        return MAX_UPLOAD_BYTES
    kind = Headers(scope=scope).get("content-type", "")
    return MAX_MULTIPART_BYTES if kind.lower().startswith("multipart/") else MAX_JSON_BYTES


def overload_error(message: str) -> APIError:
    """The error for a request that the server has no room for at the moment."""
    return APIError(503, message, code="overloaded", headers={"Retry-After": "1"})


def too_large(limit: int) -> APIError:
    """The error for a body that is too long."""
    return APIError(413, f"the body is too large; at most {limit:,} bytes are read")
