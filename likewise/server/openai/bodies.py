"""The bodies of OpenAI's routes: known fields have their types; others may be options of the model, else are ignored.

A null is a field that is left out. `likewise` adds `seed`, `given`, `negative_prompt`, `strength` and the sampling options of
the model, which clients send at the top level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from likewise.server.http.bodies import Body
from likewise.server.jobs.requests import SeedOrRandom, Stop, Text, Values
from likewise.server.limits import MAX_N, MAX_NAME, MAX_PREVIEWS, MAX_ROWS, MAX_STOPS

MAX_ALTERNATIVES = 20  # for a token
MAX_MESSAGES = 1000
MAX_TOKEN_IDS = 100_000  # of a prompt
MAX_IMAGES = 16

OptionalModel = Annotated[
    str | None, Field(max_length=MAX_NAME, description="id of a model; default: the first that suits")
]
TokenIds = Annotated[list[int], Field(min_length=1, max_length=MAX_TOKEN_IDS)]
Size = Annotated[
    str, Field(max_length=30, description='"auto", or WIDTHxHEIGHT of the model; others with `resample`')
]
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Alternatives = Annotated[int, Field(ge=0, le=MAX_ALTERNATIVES)]


class OpenAIBody(Body):
    """A body whose nulls are left out, and whose unknown keys are kept, see options.py."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return {n: v for n, v in data.items() if v is not None} if isinstance(data, Mapping) else data

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The schema, in which what may be left out may be null."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        for name, field in schema.get("properties", {}).items():
            if name not in schema.get("required", ()) and {"type": "null"} not in field.get("anyOf", ()):
                about = {key: field.pop(key) for key in ("title", "description", "default") if key in field}
                options = field.pop("anyOf", None) or [dict(field)]
                field.clear()
                field.update({"anyOf": [*options, {"type": "null"}], **about})
        return schema


# ---- pictures


class ImageFields(OpenAIBody):
    """What the three routes of pictures have in common."""

    model: OptionalModel = None
    n: int = Field(default=1, ge=1, le=MAX_N)
    size: Size = "auto"
    resample: Resample | None = Field(default=None, description="to `size`, of a picture of the model's size")
    response_format: Literal["b64_json", "url"] = "b64_json"
    output_format: Literal["png", "webp", "jpeg"] = "png"
    output_compression: int = Field(
        default=100, ge=0, le=100, description="quality of webp and jpeg; 100: webp lossless"
    )
    background: Literal["auto", "opaque", "transparent"] = "auto"
    stream: bool = False
    partial_images: int = Field(
        default=0, ge=0, le=MAX_PREVIEWS, description="previews of each picture in a stream"
    )
    seed: SeedOrRandom = -1
    given: Values = Field(default={}, description="values of further columns")
    negative_prompt: Text | None = None


class ImageGenerationBody(ImageFields):
    """POST /v1/images/generations."""

    prompt: Text


class ImageReference(OpenAIBody):
    """A picture: a data URL or the address of a result of this server, or the id of an upload."""

    image_url: str | None = None
    file_id: str | None = Field(default=None, max_length=MAX_NAME)


class ImageVariationBody(ImageFields):
    """POST /v1/images/variations, a form whose part `image` is the picture; or JSON with `images`."""

    images: list[ImageReference] = Field(default=[], max_length=MAX_IMAGES)
    prompt: Text = ""
    strength: float = Field(default=0.5, gt=0, le=1, description="0: the picture comes back, 1: from scratch")


class ImageEditBody(ImageVariationBody):
    """POST /v1/images/edits: what is transparent in the mask, or else in the picture, is done anew.

    Without anything transparent the picture is given to a model that has a picture among its sources, else varied
    by `strength`.
    """

    mask: ImageReference | None = None


# ---- texts


class StreamOptions(OpenAIBody):
    """Of a stream."""

    include_usage: bool = False


class TextFields(OpenAIBody):
    """What completions and chat have in common."""

    model: OptionalModel = None
    n: int = Field(default=1, ge=1, le=MAX_N)
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | Literal[""] = Field(default=[])
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    seed: SeedOrRandom = -1
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] = Field(default={}, description="not supported")
    given: Values = Field(default={}, description="values of further columns")


class CompletionBody(TextFields):
    """POST /v1/completions."""

    prompt: Text | TokenIds | Annotated[list[Text | TokenIds], Field(min_length=1, max_length=MAX_ROWS)] = ""
    suffix: Text | None = Field(default=None, description="what follows the text, whose middle is filled in")
    max_tokens: int = Field(default=16, ge=0, le=10**6)
    best_of: int | None = Field(
        default=None, ge=1, le=MAX_N, description="of so many the n most likely for each token"
    )
    echo: bool = False
    logprobs: Alternatives | None = Field(default=None, description="alternatives to each token")


class ChatMessage(OpenAIBody):
    """A message; its parts may be texts, and pictures or sounds where the model has such a source."""

    role: str = Field(min_length=1, max_length=MAX_NAME)
    content: Text | list[dict[str, Any]] | None = None


class JSONSchemaFormat(OpenAIBody):
    """A JSON schema and its name."""

    name: str = Field(default="", max_length=MAX_NAME)
    schema_: dict[str, Any] = Field(default={}, alias="schema")


class ResponseFormat(OpenAIBody):
    """What the answer must be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchemaFormat | None = None


class ChatBody(TextFields):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_tokens: int | None = Field(default=None, ge=1, le=10**6)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=10**6)
    logprobs: bool = False
    top_logprobs: Alternatives = 0
    response_format: ResponseFormat = ResponseFormat(type="text")
    transcript: Literal["plain", "roles"] = Field(default="plain", description="how messages become one text")
    tools: list[dict[str, Any]] = Field(default=[], description="not supported")
    functions: list[dict[str, Any]] = Field(default=[], description="not supported")
    modalities: list[Literal["text"]] = Field(default=["text"])


# ---- embeddings


class EmbeddingBody(OpenAIBody):
    """POST /v1/embeddings."""

    model: OptionalModel = None
    input: Text | TokenIds | Annotated[list[Text | TokenIds], Field(min_length=1, max_length=MAX_ROWS)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    column: str | None = Field(
        default=None, max_length=MAX_NAME, description="of the inputs; default: the text"
    )


# ---- sound and video


class Voice(OpenAIBody):
    """A voice by its id."""

    id: str = Field(max_length=MAX_NAME)


class SpeechBody(OpenAIBody):
    """POST /v1/audio/speech."""

    model: str = Field(min_length=1, max_length=MAX_NAME)
    input: Text
    voice: Annotated[str, Field(max_length=MAX_NAME)] | Voice | None = None
    instructions: Text | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = None
    speed: float = Field(default=1.0, ge=0.25, le=4)
    stream_format: Literal["audio", "sse"] = "audio"
    seed: SeedOrRandom = -1
    given: Values = Field(default={})


class TranscriptionBody(OpenAIBody):
    """POST /v1/audio/transcriptions and /v1/audio/translations: a form whose part `file` is the sound."""

    model: str = Field(min_length=1, max_length=MAX_NAME)
    prompt: Text | None = None
    language: str | None = Field(default=None, max_length=MAX_NAME)
    response_format: Literal["json", "text"] = "json"
    temperature: float | None = None
    stream: bool = False
    seed: SeedOrRandom = -1
    given: Values = Field(default={})


class VideoReference(OpenAIBody):
    """A video of this server."""

    id: str = Field(max_length=MAX_NAME)


class VideoBody(OpenAIBody):
    """POST /v1/videos; and, given a `video` of this server, /v1/videos/edits and /v1/videos/{id}/remix."""

    model: OptionalModel = None
    prompt: Text = ""
    seconds: str | int | None = None
    size: Size = "auto"
    video: VideoReference | None = None
    seed: SeedOrRandom = -1
    given: Values = Field(default={})
    negative_prompt: Text | None = None
    strength: float = Field(default=0.5, gt=0, le=1)
