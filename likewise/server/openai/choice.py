"""Which model does what a route asks for: chosen by roles and media types of its columns, never by its kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from likewise.server.http.errors import APIError
from likewise.server.server import Server

Schema = Mapping[str, Any]
MAX_LISTED_MODELS = 20  # in a message


@dataclass(frozen=True)
class Task:
    """What a route needs of a model.

    noun   what it makes or does, for messages
    suits  whether a model with this schema can do it
    """

    noun: str
    suits: Callable[[Schema], bool]


@dataclass(frozen=True)
class ChosenModel:
    """A model that suits."""

    id: str
    schema: Schema

    def column(self, role: str, media: str, input: str | None = None) -> dict[str, Any] | None:
        """The first column of a role whose media type begins so."""
        return find_column(self.schema, role, media, input)

    def can(self, control: str) -> bool:
        """Whether the model has a control, see `schema.controls`."""
        return control in self.schema["controls"]


async def choose_model(server: Server, name: str | None, task: Task, param: str = "model") -> ChosenModel:
    """The model of that name, or without one the first that suits.

    Raises APIError with status 404 and the code model_not_found if there is none, or if it does not suit.
    """
    if not name:
        entry = await server.in_thread(server.registry.find, task.suits)
        if entry is None:
            raise _not_found(
                f"there is no model that {task.noun}; train one, and it is served at once", param
            )
    else:
        entries = server.registry.entries()
        if server.settings.aliases.get(name, name) not in entries and name not in entries:
            shown = ", ".join(list(entries)[:MAX_LISTED_MODELS]) or "none"
            advice = f"for a client with a fixed name start the server with --alias {name[:60]}=MODEL"
            raise _not_found(f"there is no model {name[:100]!r}. There are: {shown}; {advice}", param)
        entry = server.registry.resolve(name, param)
    schema = await server.in_thread(server.registry.schema, entry.id)
    if not task.suits(schema):
        raise _not_found(
            f"{entry.id} is a model of {schema['formula']!r}, and not one that {task.noun}", param
        )
    return ChosenModel(entry.id, schema)


def _not_found(message: str, param: str) -> APIError:
    return APIError(404, message, param=param, code="model_not_found")


def find_column(schema: Schema, role: str, media: str, input: str | None = None) -> dict[str, Any] | None:
    """The first column of a role whose media type begins so, and whose values are given so."""
    for column in schema["columns"]:
        if (
            column["role"] == role
            and column["media_type"].startswith(media)
            and input in (None, column["input"])
        ):
            found: dict[str, Any] = column
            return found
    return None


def makes(media: str, noun: str) -> Task:
    """Samples of a target with such a media type."""

    def suits(schema: Schema) -> bool:
        return "sample" in schema["controls"] and find_column(schema, "target", media) is not None

    return Task(noun, suits)


def _writes(schema: Schema) -> bool:
    return "prompt" in schema["controls"]


def _embeds(schema: Schema) -> bool:
    return "embed" in schema["controls"]


def _transcribes(schema: Schema) -> bool:
    text = find_column(schema, "target", "text/", "text")
    return (
        "sample" in schema["controls"]
        and text is not None
        and find_column(schema, "source", "audio/") is not None
    )


PICTURES = makes("image/", "makes pictures")
SOUNDS = makes("audio/", "makes sound")
VIDEOS = makes("video/", "makes videos")
TEXTS = Task("writes one text", _writes)
EMBEDDINGS = Task("has embeddings, such as one of the family contrastive", _embeds)
TRANSCRIPTS = Task("writes the text of a sound", _transcribes)
