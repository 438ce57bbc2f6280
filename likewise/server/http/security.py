"""What every request passes: host, origin, token, the limits of its body; its identifier, log line and headers.

A page of another site that a user of the server visits can send requests to it (by its name, DNS rebinding; by a
form or script). So the Host must be an address, localhost, or a name that the settings allow, and an Origin must be
the server itself or one that the settings allow.
"""

from __future__ import annotations

import asyncio
import hmac
import html
import ipaddress
import logging
import re
import time
import traceback
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from likewise.core.option_names import as_field, write_options
from likewise.server.http.errors import APIError
from likewise.server.http.exchange import METHODS, Exchange, Load, body_limit, overload_error, too_large
from likewise.server.http.metrics import Metrics
from likewise.server.limits import MAX_IN_FLIGHT
from likewise.server.settings import ServerSettings

OPEN_PATHS = ("/health",)  # that need no token
access_log = logging.getLogger("likewise.server.access")
log = logging.getLogger("likewise.server")


class Security:
    """The outermost middleware; it answers what must not reach the application."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self.app, self.settings, self.metrics = app, settings, metrics
        self.load = Load()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        scope = normalize_path(scope)
        scope.setdefault("state", {})
        exchange = Exchange(scope, receive, send, self.settings, self.load)
        self.load.requests += 1
        try:
            with write_options(as_field):
                await self._answer(exchange)
        finally:
            exchange.close()
            self._log(exchange)

    async def _answer(self, exchange: Exchange) -> None:
        try:
            if self.load.requests > MAX_IN_FLIGHT:
                raise overload_error("too many requests at once")
            if (early := check_request(exchange.scope, self.settings)) is not None:
                await exchange.respond(early)
                return
            await self.app(exchange.scope, exchange.receive, exchange.send)
        except APIError as error:
            await exchange.respond(error.response())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if exchange.body_error is None and not exchange.gone:
                exchange.traceback = traceback.format_exc()
                message = f"the server could not do this; its log has the reason, request {exchange.id}"
                await exchange.respond(APIError(500, message, code="internal_error").response())
            elif exchange.body_error is not None:
                await exchange.respond(exchange.body_error.response())
            else:
                log.debug("the client has gone: %s", error)

    def _log(self, exchange: Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        route = getattr(exchange.scope.get("route"), "path", "other")
        self.metrics.requests.labels(exchange.method, route, str(exchange.status)).inc()
        self.metrics.request_seconds.labels(route).observe(seconds)
        client = exchange.scope.get("client")
        line: dict[str, Any] = {
            "request_id": exchange.id,
            "client": client[0] if client else None,
            "method": exchange.method,
            "path": exchange.scope["path"][:200],
            "status": exchange.status,
            "ms": round(1000 * seconds, 1),
            "received": exchange.received,
        }
        if exchange.traceback:
            line["traceback"] = exchange.traceback
        level = logging.ERROR if exchange.status >= 500 else logging.INFO
        access_log.log(level, "request", extra={"fields": line})


def normalize_path(scope: Scope) -> Scope:
    """The scope with single slashes in its path, as some clients write //v1/models; %2F in a name stays one name."""
    raw = scope.get("raw_path") or scope["path"].encode()
    path, _, _ = raw.partition(b"?")
    if b"//" not in path:
        return scope
    single = re.sub(rb"/{2,}", b"/", path)
    return {**scope, "raw_path": single, "path": unquote(single.decode("latin-1"))}


# ---- what is refused


def check_request(scope: Scope, settings: ServerSettings) -> Response | None:
    """An answer that needs no application: to a preflight or a sign-in. Raises APIError for what is refused."""
    headers = Headers(scope=scope)
    _check_host(headers, settings)
    origin = headers.get("origin")
    if origin is not None:
        _check_origin(origin, headers, scope, settings)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            return preflight()
    answer = None if scope["path"] in OPEN_PATHS else _check_token(settings.token, scope, headers)
    if answer is not None:
        return answer
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length) > (limit := body_limit(scope)):
        raise too_large(limit)
    return None


def _check_host(headers: Headers, settings: ServerSettings) -> None:
    host = host_name(headers.get("host", ""))
    if host in ("localhost", settings.host, *settings.allowed_hosts):
        return
    try:
        ipaddress.ip_address(host)  # no name, so no name that somebody else could let point here
    except ValueError:
        raise APIError(
            403,
            f"this server is not called {host[:100]!r}; start it with --allow-host to allow that",
            code="unknown_host",
        ) from None


def host_name(host: str) -> str:
    """
    >>> [host_name(host) for host in ("localhost:8000", "[::1]:80", "EXAMPLE.org")]
    ['localhost', '::1', 'example.org']
    """
    name = host.rpartition(":")[0] if re.search(r":\d*$", host) and not host.endswith("]") else host
    return name.strip("[]").lower()


def _check_origin(origin: str, headers: Headers, scope: Scope, settings: ServerSettings) -> None:
    own = f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
    if origin.lower() != own.lower() and origin not in settings.cors_origins:
        raise APIError(
            403,
            f"pages of {origin[:100]!r} may not call this server; start it with --cors-origin to allow that",
            code="unknown_origin",
        )


def preflight() -> Response:
    """The answer to a browser that asks whether a page may call the server."""
    headers = {
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": "authorization, content-type, last-event-id",
        "access-control-max-age": "600",
    }
    return Response(status_code=204, headers=headers)


def cookie_name(scope: Scope) -> str:
    """The cookie of this server: browsers do not tell ports apart."""
    server = scope.get("server") or ("", 0)
    return f"likewise_token_{server[1]}"


def _check_token(token: str | None, scope: Scope, headers: Headers) -> Response | None:
    """None if the request brings the token; the answer to a sign-in by `/?token=`. Raises APIError."""
    if token is None:
        return None
    given = headers.get("authorization", "")
    scheme, _, bearer = given.partition(" ")
    if scheme.lower() == "bearer" and _equal(bearer.strip(), token):
        return None
    if _equal(_cookie(headers, cookie_name(scope)), token):
        return None
    if scope["path"] == "/" and scope["method"] == "GET":
        values = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
        if values and _equal(values[0], token):
            answer = RedirectResponse("/", status_code=303)
            secure = scope.get("scheme") == "https"
            answer.set_cookie(cookie_name(scope), token, httponly=True, samesite="strict", secure=secure)
            return answer
        if "text/html" in headers.get("accept", ""):
            return sign_in(wrong=bool(values))
    message = (
        "the token is wrong"
        if bearer.strip()
        else "this server needs a token; send Authorization: Bearer TOKEN"
    )
    raise APIError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def _equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())


def _cookie(headers: Headers, name: str) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def sign_in(wrong: bool) -> Response:
    """A page that takes the token."""
    note = html.escape("This token is wrong." if wrong else "This server needs a token.")
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>likewise</title>'
        '<meta name="viewport" content="width=device-width"><main><h1>likewise</h1>'
        f'<p role="status">{note}</p><form method="get" action="/"><label>Token '
        '<input name="token" type="password" autocomplete="current-password" required></label> '
        "<button>Sign in</button></form></main></html>"
    )
    return Response(page, 401, media_type="text/html", headers={"WWW-Authenticate": "Bearer"})
