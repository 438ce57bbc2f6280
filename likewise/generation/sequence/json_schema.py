"""Whether a JSON schema is one, by the metaschema of draft 2020-12 without room for unknown keywords.

JSON Schema ignores keywords that it does not know, so that a misspelled one would silently allow everything.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from likewise.core.errors import did_you_mean

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

DRAFT = "https://json-schema.org/draft/2020-12/"
VOCABULARIES = (
    *("core", "applicator", "unevaluated", "validation", "meta-data", "format-annotation", "content"),
)
OLDER = {
    "additionalItems": {"$dynamicRef": "#meta"},
    "id": {"type": "string"},
    "x-guidance": True,
}  # served too


def check_schema(schema: Any) -> None:
    """Raise ValueError for what is no JSON schema, and for an unknown keyword, with the nearest one."""
    keywords = _keywords()
    errors = sorted(_validator().iter_errors(schema), key=lambda error: -len(error.absolute_path))
    for error in errors:  # the innermost first: those around it only repeat it
        if error.validator != "unevaluatedProperties":
            place = "/".join(map(str, error.absolute_path)) or "its top"
            raise ValueError(f"the JSON schema is not valid at {place}: {error.message}")
        for name in error.instance:
            if name not in keywords:
                raise ValueError(did_you_mean("keyword of a JSON schema", name, keywords))


@cache
def _validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    metaschema = {
        "$schema": f"{DRAFT}schema",
        "$id": "urn:likewise:strict-schema",
        "$dynamicAnchor": "meta",  # so that it holds for schemas within schemas too
        "$ref": f"{DRAFT}schema",
        "properties": OLDER,
        "unevaluatedProperties": False,
    }
    return Draft202012Validator(metaschema)


@cache
def _keywords() -> tuple[str, ...]:
    from jsonschema_specifications import REGISTRY

    pages = (f"{DRAFT}schema", *(f"{DRAFT}meta/{name}" for name in VOCABULARIES))
    return tuple(
        sorted({*OLDER, *(name for page in pages for name in REGISTRY.contents(page)["properties"])})
    )
