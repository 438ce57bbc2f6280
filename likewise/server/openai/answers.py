"""The bodies of answers of OpenAI's routes, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Finish = Literal["stop", "length"]


class OpenAIAnswer(BaseModel):
    """An answer; further keys are `warnings`, and what this server adds."""

    model_config = ConfigDict(extra="allow")


class GeneratedImage(OpenAIAnswer):
    """A picture, as bytes in base64 or by its address, and its seed."""

    b64_json: str | None = None
    url: str | None = None
    seed: int


class ImagesAnswer(OpenAIAnswer):
    """Pictures."""

    id: str
    created: int
    model: str
    data: list[GeneratedImage]
    size: str
    quality: str
    background: str
    output_format: str
    usage: dict[str, Any]


class Usage(BaseModel):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionLogprobs(BaseModel):
    """log p of each token, given those before it."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(OpenAIAnswer):
    """One text."""

    index: int
    text: str
    finish_reason: Finish
    logprobs: CompletionLogprobs | None
    seed: int | None


class CompletionAnswer(OpenAIAnswer):
    """Texts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage


class ChatAnswerMessage(OpenAIAnswer):
    """What the model answers."""

    role: Literal["assistant"]
    content: str


class ChatChoice(OpenAIAnswer):
    """One answer."""

    index: int
    message: ChatAnswerMessage
    finish_reason: Finish
    logprobs: dict[str, Any] | None
    seed: int | None


class ChatAnswer(OpenAIAnswer):
    """Answers."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class EmbeddingItem(OpenAIAnswer):
    """The embedding of one input: numbers, or float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(OpenAIAnswer):
    """Embeddings."""

    object: Literal["list"]
    model: str
    data: list[EmbeddingItem]
    usage: EmbeddingUsage


class TranscriptAnswer(OpenAIAnswer):
    """The text of a sound."""

    text: str


class VideoError(BaseModel):
    """Why there is no video."""

    code: str
    message: str


class VideoAnswer(OpenAIAnswer):
    """A video that is made, or will be."""

    id: str
    object: Literal["video"]
    model: str
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: int
    created_at: int
    completed_at: int | None
    prompt: str | None
    error: VideoError | None


class VideoList(BaseModel):
    """A page of videos, newest first."""

    object: Literal["list"]
    data: list[VideoAnswer]
    has_more: bool
    first_id: str | None
    last_id: str | None
