"""Errors in the shape of OpenAI's: {"error": {"message", "type", "param", "code"}}, whatever went wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from likewise.core.errors import did_you_mean

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}  # by status
CODES = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large", 415: "unsupported_media_type"}
MAX_MESSAGE = 2000  # characters
_UNION_TAG = re.compile(
    r"[\[\]()-]|^(str|int|float|bool|list|dict)$"
)  # in the place of an error: one of several types
_SUBJECT = re.compile(r"^(Input|Value|List|Dictionary|String|Tuple) ")


class ErrorDetails(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorDetails


class APIError(HTTPException):
    """An error that is the answer to a request.

    status   of HTTP
    message  a sentence that says what to do
    param    the field of the request that it is about
    code     a word for programs
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers) if headers else None)
        self.message, self.param, self.code = message, param, code or CODES.get(status)
        self.type = type or TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")

    def to_json(self) -> dict[str, Any]:
        """The value of the key "error"."""
        message = self.message if len(self.message) <= MAX_MESSAGE else self.message[:MAX_MESSAGE] + "..."
        return {"message": message, "type": self.type, "param": self.param, "code": self.code}

    def response(self) -> Response:
        """The answer."""
        body = json.dumps({"error": self.to_json()})  # ASCII, so that any text of a client can be quoted
        return Response(body, self.status_code, self.headers, media_type="application/json")


def invalid(message: object, param: str | None = None, code: str | None = None) -> APIError:
    """The error for a request that cannot be carried out as it is."""
    return APIError(400, str(message), param=param, code=code or "invalid_value")


def not_found(what: str, name: str, known: Sequence[str] = (), param: str | None = None) -> APIError:
    """The error for a thing that does not exist, with the nearest of those that do."""
    message = did_you_mean(what, name[:100], known) if known else f"there is no {what} {name[:100]!r}"
    return APIError(404, message, param=param, code=f"{what}_not_found")


def install_handlers(app: FastAPI) -> None:
    """Answer every error of an application in this shape."""
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, APIError):
        return error.response()
    path = request.scope["path"][:200]
    messages = {404: f"there is no {path}", 405: f"{request.method} is no method of {path}"}
    message = messages.get(error.status_code, str(error.detail))
    return APIError(error.status_code, message, headers=error.headers).response()


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return describe_validation_error(error).response()


def describe_validation_error(error: RequestValidationError) -> APIError:
    """The first thing that is wrong with a request, as an error with status 400."""
    errors = error.errors()
    first = errors[0]
    tag = next((i for i, part in enumerate(first["loc"]) if i and _UNION_TAG.search(str(part))), None)
    loc = first["loc"][:tag]
    alike = [e for e in errors if e["loc"][: len(loc)] == loc] if tag else [first]
    place = [part for part in loc if part not in ("body", "query", "path", "header")]
    param = ".".join(map(str, place))[:200] or None
    context, kind = first.get("ctx", {}), first["type"]
    if kind == "json_invalid":
        return invalid(f"the body is not JSON: {context.get('error', first['msg'])}", code="invalid_json")
    if kind == "missing" and not place:
        return invalid("the request has no body; send a JSON object", code="missing_body")
    if kind == "missing":
        return invalid(f"{param} is missing", param, "missing_required_parameter")
    if kind == "unknown_key":
        return invalid(context["message"], context["name"], "unknown_parameter")
    if kind == "value_error":
        return invalid(first["msg"].removeprefix("Value error, "), param)
    sentence = ", or ".join(dict.fromkeys(map(_sentence, alike)))
    return invalid(f"{param or 'the body'} {sentence}", param, "invalid_type" if "type" in kind else None)


def _sentence(error: Mapping[str, Any]) -> str:
    """The message of pydantic without its subject."""
    return _SUBJECT.sub("", error["msg"]).replace(" after validation", "")
