"""The prompt of a client as values of a model's sources."""

from __future__ import annotations

from typing import Any

from likewise.server.http.errors import invalid
from likewise.server.openai.choice import ChosenModel


def source_of_prompt(chosen: ChosenModel) -> dict[str, Any] | None:
    """The column that a prompt gives: a text, else the only source if that has classes."""
    columns = chosen.schema["columns"]
    sources = [column for column in columns if column["role"] == "source"]
    texts = [c for c in sources if c["input"] == "text"]
    if not texts:
        texts = [c for c in columns if c["role"] == "target" and c["input"] == "text"]
    if texts:
        found: dict[str, Any] = texts[0]
        return found
    return sources[0] if len(sources) == 1 and sources[0]["input"] == "class" else None


def prompt_fields(chosen: ChosenModel, prompt: str, param: str = "prompt") -> dict[str, Any]:
    """The field of a native request for a prompt, `text` or `given`; none for an empty one.

    Raises APIError for a model that reads no prompt.
    """
    if not prompt.strip():
        return {}
    column = source_of_prompt(chosen)
    if column is None:
        names = [c["name"] for c in chosen.schema["columns"] if c["role"] == "source"]
        advice = f"give its sources, {', '.join(names)}, in given" if names else "send an empty one"
        raise invalid(f"{chosen.id} ({chosen.schema['formula']}) reads no prompt; {advice}", param)
    return {"text": prompt} if column["input"] == "text" else {"given": {column["name"]: prompt}}


def negative_fields(chosen: ChosenModel, negative: str | None) -> dict[str, Any]:
    """The field `negative` of a native request. Raises APIError for a model that reads no prompt."""
    if not negative:
        return {}
    column = source_of_prompt(chosen)
    if column is None or column["role"] != "source":
        raise invalid(f"{chosen.id} ({chosen.schema['formula']}) reads no negative prompt", "negative_prompt")
    return {"negative": {column["name"]: negative}}
