"""Bodies of requests: strict JSON, alone or beside the files of a form."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn, Self, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from starlette.datastructures import UploadFile

from likewise.core.errors import did_you_mean
from likewise.server.http.errors import APIError, invalid
from likewise.server.limits import MAX_JSON_DEPTH, MAX_MULTIPART_PARTS

B = TypeVar("B", bound="Body")
PAYLOAD = "payload"  # the part of a form that holds the JSON


class Body(BaseModel):
    """A body of JSON: numbers are finite and no booleans, texts can be encoded, keys that are not known are ignored."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _check_values(cls, data: Any) -> Any:
        check_json(data)
        if isinstance(data, Mapping) and cls.model_config.get("extra") == "forbid":
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for name in data:
                if name not in known:
                    message = did_you_mean("key", name[:100], sorted(known))
                    raise PydanticCustomError(
                        "unknown_key", "{message}", {"message": message, "name": name[:100]}
                    )
        return data

    @classmethod
    def read(cls, data: Any) -> Self:
        """The body that JSON values are. Raises RequestValidationError."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise RequestValidationError(
                [{**e, "loc": ("body", *e["loc"])} for e in error.errors()]
            ) from None


class StrictBody(Body):
    """The same; a key that is not known is an error that names the nearest one."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")


def check_json(data: Any, depth: int = 0) -> None:
    """Raise ValueError for a number that is not finite, a text that is no UTF-8, and what is nested too deeply."""
    if depth > MAX_JSON_DEPTH:
        raise ValueError(f"lists and objects are nested more than {MAX_JSON_DEPTH} times")
    if isinstance(data, str):
        _check_text(data)
    elif isinstance(data, float) and not math.isfinite(data):
        raise ValueError(f"{data} is no number of JSON")
    elif isinstance(data, Mapping):
        for key, value in data.items():
            _check_text(key)
            check_json(value, depth + 1)
    elif isinstance(data, list):
        for value in data:
            check_json(value, depth + 1)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a text has half of a surrogate pair, which is no character") from None


def parse_json(data: bytes, what: str = "the body") -> Any:
    """Strict JSON. Raises APIError."""
    try:
        values = json.loads(data, parse_constant=_refuse_constant)
        check_json(values)
    except RecursionError:
        raise invalid(f"{what}: lists and objects are nested too deeply", code="invalid_json") from None
    except ValueError as error:
        raise invalid(f"{what} is not JSON: {error}", code="invalid_json") from None
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


async def read_body(request: Request, cls: type[B]) -> tuple[B, dict[str, bytes]]:
    """The body, and the files of a form by the names of their parts; of a body that is JSON alone none.

    Raises APIError and RequestValidationError.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request, cls)
    if kind and kind != "application/json":
        raise APIError(415, f"the body is {kind[:100]}; send application/json, or multipart/form-data")
    return cls.read(parse_json(await request.body())), {}


async def _read_form(request: Request, cls: type[B]) -> tuple[B, dict[str, bytes]]:
    async with request.form(max_files=MAX_MULTIPART_PARTS, max_fields=MAX_MULTIPART_PARTS) as form:
        files: dict[str, bytes] = {}
        for name, part in form.multi_items():
            if name in files:
                raise invalid(f"the form has two parts {name[:100]!r}", name[:100])
            files[name] = await part.read() if isinstance(part, UploadFile) else part.encode()
    if PAYLOAD not in files:
        raise invalid(f"the form has no part {PAYLOAD!r}, which holds the JSON of the request", PAYLOAD)
    return cls.read(parse_json(files.pop(PAYLOAD), PAYLOAD)), files


def check_query(request: Request) -> None:
    """A dependency of routes: raise APIError for a parameter of the query that the route does not have."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            raise invalid(did_you_mean("parameter", name[:100], known), name[:100], "unknown_parameter")


def document_body(cls: type[BaseModel], *, form: bool = True) -> dict[str, Any]:
    """The `openapi_extra` of a route that calls `read_body`."""
    schema = cls.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = {
        **schema.pop("$defs", {}),
        cls.__name__: schema,
    }  # which `install_openapi` moves to the components
    reference = {"$ref": f"#/components/schemas/{cls.__name__}", "$defs": definitions}
    content: dict[str, Any] = {"application/json": {"schema": reference}}
    if form:
        content["multipart/form-data"] = {
            "schema": {
                "type": "object",
                "properties": {PAYLOAD: {"type": "string", "contentMediaType": "application/json"}},
                "required": [PAYLOAD],
                "additionalProperties": {"type": "string", "format": "binary"},
            }
        }
    return {"requestBody": {"required": True, "content": content}}
