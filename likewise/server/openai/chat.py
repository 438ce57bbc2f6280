"""POST /v1/chat/completions: messages as values of a model, and texts as its answer.

A model with a text among its sources reads the messages as that source, and answers with its target. Another one goes on with
them. The text of messages is, by `transcript`:

    plain  what they say, line by line
    roles  "ROLE: what it says" line by line, and "assistant:"

The oldest messages are left out where there is no room for all.
A last message of the assistant is the beginning of the answer. Parts of messages that are pictures or sounds are values of
the source of such a media type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from likewise.models.requests import all_columns
from likewise.server.catalog.registry import AnyModel
from likewise.server.http.errors import invalid
from likewise.server.jobs.book import new_id
from likewise.server.jobs.events import event_text
from likewise.server.openai.bodies import ChatBody, ChatMessage
from likewise.server.openai.choice import ChosenModel
from likewise.server.openai.completions import stop_strings
from likewise.server.openai.events import Chunk
from likewise.server.openai.pictures import media_value
from likewise.server.openai.text_requests import Completion, TextRequest, usage_json, usage_of
from likewise.server.openai.tokens import token_bytes

NAMES = {"": "messages", "text": "messages", "prompt": "messages"}  # native field -> field of the client
ASSISTANT = "assistant"


@dataclass(frozen=True)
class Conversation:
    """Messages as what a model reads.

    lines   role and text of each message
    answer  the beginning of the answer
    values  pictures and sounds, by the names of sources
    """

    lines: Sequence[tuple[str, str]]
    answer: str
    values: Mapping[str, Any]

    def transcript(self, form: str) -> str:
        """The messages as one text."""
        if form == "plain":
            return "\n".join(text for _, text in self.lines)
        return "\n".join([*(f"{role}: {text}" for role, text in self.lines), f"{ASSISTANT}:"])


def read_messages(messages: Sequence[ChatMessage], chosen: ChosenModel, own_address: str) -> Conversation:
    """The messages. Raises APIError for a part that the model does not read."""
    lines: list[tuple[str, str]] = []
    values: dict[str, Any] = {}
    for i, message in enumerate(messages):
        texts = []
        for j, part in enumerate(_parts(message)):
            where = f"messages.{i}.content.{j}"
            if part.get("type") == "text" and isinstance(part.get("text"), str):
                texts.append(part["text"])
                continue
            name, value = _media(part, chosen, own_address, where)
            if name in values:
                raise invalid(f"{where}: {chosen.id} reads one {name}", where)
            values[name] = value
        lines.append((message.role, "".join(texts)))
    answer = lines.pop()[1] if lines[-1][0] == ASSISTANT else ""
    return Conversation([line for line in lines if line[1]], answer, values)


def _parts(message: ChatMessage) -> list[dict[str, Any]]:
    if isinstance(message.content, list):
        return message.content
    return [{"type": "text", "text": message.content or ""}]


def _media(part: Mapping[str, Any], chosen: ChosenModel, own_address: str, where: str) -> tuple[str, Any]:
    """The source that a part of a message is for, and its value."""
    content = part.get(str(part.get("type")))
    value = None
    if part.get("type") == "image_url":
        media, url = "image/", content.get("url") if isinstance(content, Mapping) else None
        value = media_value(url, own_address) if isinstance(url, str) else None
    elif part.get("type") == "input_audio":
        media, data = "audio/", content.get("data") if isinstance(content, Mapping) else None
        value = {"b64_json": data} if isinstance(data, str) else None
    else:
        raise invalid(f"{where}: a part of a message is a text, image_url or input_audio", f"{where}.type")
    if value is None:
        raise invalid(f"{where} has no {'url' if media == 'image/' else 'data'}", where)
    column = chosen.column("source", media)
    if column is None:
        raise invalid(f"{where}: {chosen.id} ({chosen.schema['formula']}) reads no {media[:-1]}", where)
    return column["name"], value


def reads_messages(chosen: ChosenModel) -> dict[str, Any] | None:
    """The text source that messages are the value of; None for a model that goes on with them."""
    return chosen.column("source", "text/", "text")


def fit_messages(model: AnyModel, chosen: ChosenModel, conversation: Conversation, form: str) -> Conversation:
    """The last messages, as many as the model has room for; one at least."""
    source = reads_messages(chosen)
    [target] = model.targets

    def fits(lines: Sequence[tuple[str, str]]) -> bool:
        text = replace(conversation, lines=lines).transcript(form)
        if source is not None:
            column = all_columns(model)[source["name"]]
            return bool(column.truncate(text) == text)
        column = model.columns[target]
        return column.num_tokens(text + conversation.answer) < column.spec.tokens

    lines = list(conversation.lines)
    while len(lines) > 1 and not fits(lines):
        lines.pop(0)
    return replace(conversation, lines=lines)


def translate_chat(body: ChatBody, chosen: ChosenModel, conversation: Conversation) -> TextRequest:
    """The text that is to be written."""
    transcript, beginning = conversation.transcript(body.transcript), conversation.answer
    stop, text = stop_strings(body), None
    if body.transcript == "roles":
        stop += [f"\n{role}:" for role in dict.fromkeys(role for role, _ in conversation.lines)]
    if reads_messages(chosen) is not None:
        text = transcript if transcript.strip() else None
    elif body.transcript == "roles":
        beginning = f"{transcript} {beginning}" if beginning else transcript
    else:
        beginning = "\n".join(part for part in (transcript, beginning) if part)
    return TextRequest(
        beginning,
        text=text,
        values={**body.given, **conversation.values},
        n=body.n,
        candidates=body.n,
        seed=body.seed,
        stop=stop,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        schema=_schema(body),
        alternatives=body.top_logprobs if body.logprobs else None,
    )


def _schema(body: ChatBody) -> Mapping[str, Any] | None:
    """The JSON schema of the answer."""
    form = body.response_format
    if form.type == "json_schema":
        if form.json_schema is None:
            raise invalid(
                "response_format has no json_schema", "response_format", "missing_required_parameter"
            )
        return form.json_schema.schema_
    return {"type": "object"} if form.type == "json_object" else None


def shown_text(text: str, body: ChatBody) -> str:
    """An answer without the space after the role."""
    return text.lstrip(" ") if body.transcript == "roles" else text


def chat_json(model: str, created: int, completions: Sequence[Completion], body: ChatBody) -> dict[str, Any]:
    """The answer."""
    return {
        "id": new_id("chatcmpl").replace("_", "-", 1),
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": i,
                "message": {"role": ASSISTANT, "content": shown_text(one.text, body), "refusal": None},
                "finish_reason": one.finish,
                "logprobs": chat_logprobs(one, body) if body.logprobs else None,
                "seed": one.seed,
            }
            for i, one in enumerate(completions)
        ],
        "usage": usage_json([completions]),
    }


def chat_logprobs(one: Completion, body: ChatBody) -> dict[str, Any] | None:
    """The log-probabilities of an answer, token by token."""
    if one.scores is None:
        return None
    scores = one.scores
    content = []
    for token, log_prob, top in zip(
        scores["tokens"],
        scores["token_logprobs"],
        scores["top_logprobs"],
        strict=True,
    ):
        best = sorted((top or {}).items(), key=lambda item: -item[1])[: body.top_logprobs]
        alternatives = [{"token": t, "logprob": p, "bytes": token_bytes(t)} for t, p in best]
        content.append(
            {"token": token, "logprob": log_prob, "bytes": token_bytes(token), "top_logprobs": alternatives}
        )
    return {"content": content, "refusal": None}


class ChatChunk(Chunk):
    """The events of a stream of answers."""

    def __init__(self, model: str, created: int, usage: bool, strip: bool) -> None:
        self.usage, self.strip = usage, strip
        self._begun: set[int] = set()
        self.head = {
            "id": new_id("chatcmpl").replace("_", "-", 1),
            "object": "chat.completion.chunk",
            "created": created,
            "model": model,
        }

    def _event(self, index: int, delta: Mapping[str, Any], finish: str | None, logprobs: Any = None) -> str:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return event_text({**self.head, "choices": [choice], **({"usage": None} if self.usage else {})})

    def first(self, index: int, prompt: str) -> list[str]:
        """The role of the answer."""
        return [self._event(index, {"role": ASSISTANT, "content": ""}, None)]

    def delta(self, index: int, text: str) -> str:
        """A piece of an answer."""
        if self.strip and index not in self._begun:
            text = text.lstrip(" ")
        self._begun |= {index} if text else set()
        return self._event(index, {"content": text}, None)

    def last(self, index: int, finish: str, logprobs: Any = None) -> str:
        """The end of an answer."""
        return self._event(index, {}, finish, logprobs)

    def end(self, tokens: tuple[int, int]) -> list[str]:
        """The number of tokens, if it is wanted."""
        return [event_text({**self.head, "choices": [], "usage": usage_of(tokens)})] if self.usage else []
