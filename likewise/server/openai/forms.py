"""Bodies of OpenAI's routes: JSON, or the fields and files of a form."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from likewise.server.http.bodies import parse_json
from likewise.server.http.errors import APIError, invalid
from likewise.server.limits import MAX_MULTIPART_PARTS
from likewise.server.openai.bodies import OpenAIBody

B = TypeVar("B", bound=OpenAIBody)
FIELD = re.compile(r"([^\[\]]+)(?:\[([^\[\]]*)\])?")  # name, name[] or name[key]


@dataclass
class Form:
    """The files of a body by the names under which values refer to them; of JSON none.

    files    part -> its bytes
    of       field -> its parts, in order
    is_form  whether the body is a form, all of whose values are texts
    """

    files: dict[str, bytes] = field(default_factory=dict)
    of: dict[str, list[str]] = field(default_factory=dict)
    is_form: bool = False

    def add(self, name: str, data: bytes) -> None:
        """Add a file of a field."""
        parts = self.of.setdefault(name, [])
        part = f"{name}[{len(parts)}]"
        parts.append(part)
        self.files[part] = data


async def read_openai_body(request: Request, cls: type[B]) -> tuple[B, Form]:
    """The body as JSON or as a form. Raises APIError and RequestValidationError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request, cls)
    if kind and kind != "application/json":
        raise APIError(415, f"the body is {kind[:100]}; send application/json, or multipart/form-data")
    return cls.read(parse_json(await request.body())), Form()


async def _read_form(request: Request, cls: type[B]) -> tuple[B, Form]:
    form, values = Form(is_form=True), dict[str, Any]()
    async with request.form(max_files=MAX_MULTIPART_PARTS, max_fields=MAX_MULTIPART_PARTS) as data:
        for key, part in data.multi_items():
            match = FIELD.fullmatch(key)
            if match is None:
                raise invalid(f"{key[:100]!r} is no name of a field", key[:100])
            name, inner = match[1], match[2]
            if isinstance(part, UploadFile):
                form.add(name, await part.read())
            elif inner is None:
                if name in values:
                    raise invalid(f"the form has two parts {name[:100]!r}", name[:100])
                values[name] = _value_of(part)
            else:
                _put(values, name, inner, part)
    try:
        return cls.model_validate(values, strict=False), form
    except ValidationError as error:
        errors = [{**e, "loc": ("body", *e["loc"])} for e in error.errors()]
        raise RequestValidationError(errors) from None


def _put(values: dict[str, Any], name: str, inner: str, part: str) -> None:
    """Put a field name[] into a list, and name[key] into an object."""
    holder = values.setdefault(name, {} if inner else [])
    if isinstance(holder, list) and not inner:
        holder.append(part)
    elif isinstance(holder, dict) and inner and inner not in holder:
        holder[inner] = part
    else:
        raise invalid(f"the form has two kinds of parts {name[:100]!r}", name[:100])


def _value_of(text: str) -> Any:
    """A field of a form: an object or a list as JSON, else its text."""
    if text[:1] in ("{", "["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
        return value if isinstance(value, dict | list) else text
    return text


def document_openai_body(cls: type[BaseModel], *files: str) -> dict[str, Any]:
    """The `openapi_extra` of a route that calls `read_openai_body`; `files` are fields of a form that are files."""
    schema = cls.model_json_schema(ref_template="#/components/schemas/{model}")
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if files:
        definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
        fields = {n: s for n, s in schema["properties"].items() if n not in files}
        binary = {name: {"type": "string", "format": "binary"} for name in files}
        content["multipart/form-data"] = {
            "schema": {
                "type": "object",
                "properties": {**fields, **binary},
                "required": [files[0]],
                **definitions,
            }
        }
    return {"requestBody": {"required": True, "content": content}}
