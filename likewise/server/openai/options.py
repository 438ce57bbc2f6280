"""What clients send beside OpenAI's fields: sampling options of the model, by its names or those of other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

from likewise.core.errors import did_you_mean
from likewise.server.http.errors import APIError, invalid
from likewise.server.openai.bodies import OpenAIBody

OTHER_NAMES = {  # of sampling options
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "cfg_scale": "guidance",
    "presence_penalty": "presence",
    "frequency_penalty": "frequency",
    "max_tokens": "tokens",
    "max_completion_tokens": "tokens",
}
EXTENSIONS = ("steps", "guidance", "sampler", "strength", "temperature", "top_p", "min_p", "precision")
WITHOUT_EFFECT = frozenset(  # by their meaning: who asks, what for, how it is stored and billed
    {
        *("user", "safety_identifier", "moderation", "metadata", "store", "service_tier", "prompt_cache_key"),
        *(
            "prompt_cache_retention",
            "parallel_tool_calls",
            "tool_choice",
            "function_call",
            "verbosity",
            "name",
        ),
    }
)
DEFAULTS: Mapping[str, tuple[Any, ...]] = {  # values of OpenAI's fields that ask for nothing
    "quality": ("auto", "standard"),
    "style": ("vivid",),
    "input_fidelity": ("low",),
    "reasoning_effort": ("none",),
}
NOTHING: tuple[Any, ...] = ("", False, [], {})  # values that ask for nothing, whatever the field
MAX_WARNINGS = 4000  # characters in the header


@dataclass
class Extras:
    """The keys of a body that are none of its fields.

    options   sampling options
    renamed   the same by the names of the model -> as the client calls them
    warnings  what was ignored
    """

    options: dict[str, Any] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, name: str, value: Any) -> None:
        """A field that is an option of the model, unless it is null."""
        if value is not None:
            own = OTHER_NAMES.get(name, name)
            self.options[own], self.renamed[f"options.{own}"] = value, name

    def explain(self, error: APIError, names: Mapping[str, str] | None = None) -> APIError:
        """The same error about the field that the client has sent; `names`: native field -> field, "" if none is named."""
        if error.status_code == 400:
            renamed, param = {**self.renamed, **(names or {})}, error.param or ""
            if not error.message.startswith(param.removeprefix("options.")):
                param = param if not param.startswith("options.") else ""
            error.param = renamed.get(param, error.param)
        return error


def sampling_extras(body: OpenAIBody, schema: Mapping[str, Any], *, form: bool = False) -> Extras:
    """Sort the unknown keys of a body into sampling options of the model and others, which are ignored with a warning.

    Raises APIError for an option that the model does not have.
    """
    known, extras = schema["options"]["properties"], Extras()
    for name, value in (body.model_extra or {}).items():
        own = OTHER_NAMES.get(name, name)
        if own in known:
            extras.add(name, _from_text(value, known[own]) if form else value)
        elif own in EXTENSIONS:
            raise invalid(did_you_mean("option of this model", name, known), name, "unsupported_parameter")
        elif name not in WITHOUT_EFFECT and value not in (*DEFAULTS.get(name, ()), *NOTHING):
            extras.warnings.append(f"{name[:100]} has no effect here, and is ignored")
    return extras


def refuse(body: OpenAIBody, *names: str) -> None:
    """Raise APIError for fields of OpenAI's that ask for something that is not supported here."""
    for name in names:
        if getattr(body, name):
            raise invalid(f"{name} is not supported; leave it out", name, "unsupported_parameter")


def _from_text(value: Any, schema: Mapping[str, Any]) -> Any:
    """A field of a form as the JSON value that an option takes."""
    if isinstance(value, str) and "string" not in schema.get("type", "string"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def warning_headers(warnings: Sequence[str]) -> dict[str, str]:
    """The header that tells of warnings, a list in JSON, as many as there is room for."""
    shown = [warning[: MAX_WARNINGS // 8] for warning in warnings]
    while len(json.dumps(shown)) > MAX_WARNINGS:
        shown.pop()
    return {"x-likewise-warnings": json.dumps(shown)} if shown else {}


def answer(content: dict[str, Any], warnings: list[str]) -> Response:
    """An answer in JSON, with warnings in the body and in a header."""
    body = {**content, "warnings": warnings} if warnings else content
    return JSONResponse(body, headers=warning_headers(warnings))
