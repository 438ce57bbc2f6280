"""The OpenAPI document: the errors that there are, in the shape that they have, and schemas that are referred to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from likewise._version import __version__
from likewise.server.http.errors import ErrorBody
from likewise.server.settings import ServerSettings

METHODS = ("get", "post", "put", "delete", "patch", "head", "options")
ERRORS = {
    "400": "The request is not valid",
    "401": "The token is missing or wrong",
    "403": "This host or origin is not allowed",
    "404": "There is no such thing",
    "413": "The body is too large",
    "429": "The queue is full",
    "500": "The server could not do this",
}


def install_openapi(app: FastAPI, settings: ServerSettings, models: Callable[[], list[str]]) -> None:
    """Let the application describe itself so; `models` are the ids that examples name."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = make_document(app, settings)
        document = dict(app.openapi_schema)
        if ids := models():
            _set_examples(document, ids)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def make_document(app: FastAPI, settings: ServerSettings) -> dict[str, Any]:
    """The document."""
    document = get_openapi(title="likewise", version=__version__, routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _hoist(document, schemas)
    body = ErrorBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= body.pop("$defs", {})
    schemas["ErrorBody"] = body
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    reference = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}
    for path in document.get("paths", {}).values():
        for method in METHODS:
            if method in path:
                responses = path[method].setdefault("responses", {})
                responses.pop("422", None)
                for status, description in ERRORS.items():
                    responses.setdefault(status, {"description": description, "content": reference})
                responses.setdefault("default", {"description": "Another error", "content": reference})
    if settings.token is not None:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        if "/health" in document["paths"]:
            document["paths"]["/health"]["get"]["security"] = []
    return document


def _set_examples(document: dict[str, Any], models: list[str]) -> None:
    """Give the property `model` of every body the ids of models as examples."""
    for name, schema in document["components"]["schemas"].items():
        if name.endswith("Body") and isinstance(model := schema.get("properties", {}).get("model"), dict):
            model["examples"] = models


def _hoist(node: Any, schemas: dict[str, Any]) -> None:
    """Move the definitions of schemas that were written by hand to where references point."""
    if isinstance(node, dict):
        for name, schema in node.pop("$defs", {}).items():
            schemas.setdefault(name, schema)
        for value in list(node.values()):
            _hoist(value, schemas)
    elif isinstance(node, list):
        for value in node:
            _hoist(value, schemas)
