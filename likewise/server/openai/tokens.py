r"""Tokens of texts as OpenAI's clients read them: ids, pieces of text, log-probabilities.

Ids are those of the model, and of the tokenizer that `likewise export` writes: id 0 ends a text, and stands for the
beginning where it comes first. A token that is no whole character is written "bytes:\xe2\x82".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from likewise.modalities.text import Text
from likewise.models.token_scores import TokenScores, score_ids, text_column
from likewise.server.errors import invalid
from likewise.server.jobs import Job, JobBook
from likewise.server.registry import AnyModel
from likewise.server.store import Store
from likewise.server.values import ValueReader
from likewise.server.work import Call

Prompt = str | list[int]
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True)
class PromptTokens:
    """The beginning of a text.

    ids      (n,) without an id 0 in front
    started  whether the client has put id 0 in front
    """

    ids: Tensor
    started: bool

    def __len__(self) -> int:
        return len(self.ids) + self.started


def read_prompt_ids(column: Text, prompt: Prompt, param: str = "prompt") -> PromptTokens:
    """The ids of a prompt. Raises APIError for ids that the model does not have."""
    if isinstance(prompt, str):
        ids = column.ids(prompt) if prompt else torch.zeros(0, dtype=torch.int64)
        return PromptTokens(ids, False)
    started = prompt[:1] == [0]
    rest = prompt[1:] if started else prompt
    if not all(0 < i < column.spec.classes for i in rest):
        raise invalid(
            f"token ids are from 1 to {column.spec.classes - 1}, and 0 is the first one only", param
        )
    return PromptTokens(torch.tensor(rest, dtype=torch.int64), started)


def continuation_ids(column: Text, prompt: PromptTokens, text: str) -> Tensor:
    """The ids of what comes after a prompt, (n,)."""
    return column.encode_continuation(text) if len(prompt.ids) or not text else column.ids(text)


def prompt_text(column: Text, prompt: Prompt, param: str = "prompt") -> str:
    """The text of a prompt. Raises APIError for ids that the model does not have, or that are no whole characters."""
    if isinstance(prompt, str):
        return prompt
    ids = read_prompt_ids(column, prompt, param).ids.tolist()
    try:
        return column.vocabulary.ids_to_bytes(ids).decode().removeprefix(column.prefix)
    except UnicodeDecodeError:
        raise invalid("these token ids begin or end inside of a character", param) from None


def token_text(token: bytes) -> str:
    r"""A token as text.

    >>> token_text(b" the"), token_text(b"\xe2\x82")
    (' the', 'bytes:\\xe2\\x82')
    """
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)


def token_bytes(text: str) -> list[int]:
    """The inverse of `token_text`."""
    if text.startswith("bytes:\\x"):
        return [int(code, 16) for code in _ESCAPED.findall(text)]
    return list(text.encode())


# ---- scores


@dataclass(frozen=True)
class ScoreItem:
    """A text whose tokens are to be scored.

    prompt      its beginning
    completion  what comes after it
    ended       whether the text ends there, so that the end is a token too
    next_token  the most likely token after the prompt is a part of the result, in place of a completion
    values      of sources, as the client gives them; and `text`, that of the text source
    """

    prompt: Prompt
    completion: str = ""
    ended: bool = False
    next_token: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None


def score_call(
    store: Store, files: Mapping[str, bytes], items: Sequence[ScoreItem], alternatives: int
) -> Call:
    """The work of the sampling thread that scores texts: a result for each, see `_result`."""

    def call(model: AnyModel, job: Job, jobs: JobBook) -> None:
        name, column = text_column(model)  # type: ignore[arg-type]
        rows, ids, prompts = [], [], []
        for item in items:
            row, _ = ValueReader(store, files).read_row(model, item.values, "given", item.text)
            row.pop(name, None)
            prompt = read_prompt_ids(column, item.prompt)
            rows.append(row)
            prompts.append(prompt)
            ids.append(torch.cat([prompt.ids, continuation_ids(column, prompt, item.completion)]))
        scores = score_ids(model, rows, ids, alternatives=max(1, alternatives))  # type: ignore[arg-type]
        for i, (item, prompt, scored) in enumerate(zip(items, prompts, scores, strict=True)):
            jobs.add_result(job, i, {"index": i, **_result(column, item, prompt, scored, alternatives)})

    return call


def _result(
    column: Text, item: ScoreItem, prompt: PromptTokens, scores: TokenScores, alternatives: int
) -> dict[str, Any]:
    """Tokens, their log p and alternatives, the places where they begin, and how many are of the prompt."""
    vocabulary, tokens = column.vocabulary.token_bytes, scores.ids.tolist()
    pieces = [vocabulary[i] for i in tokens]
    log_probs: list[float | None] = list(scores.log_probs.tolist())
    if pieces:
        pieces[0] = pieces[0].removeprefix(column.prefix.encode())
    following = _following(item, scores)
    if following is not None:
        tokens.append(following)
        pieces.append(vocabulary[following])
        log_probs.append(0.0 if scores.after is None else float(scores.after[following]))
    top = [
        _alternatives(column, place, scores, alternatives, piece, log_prob)
        for place, (piece, log_prob) in enumerate(zip(pieces, log_probs, strict=True))
    ]
    offsets = _offsets(pieces)
    shown = [token_text(piece) for piece in pieces]
    if prompt.started:
        shown, log_probs = ["", *shown], [None, *log_probs]
        top, offsets = [None, *top], [0, *offsets]
    own = [p for p in log_probs[len(prompt) :] if p is not None]
    return {
        "tokens": shown,
        "token_logprobs": log_probs,
        "top_logprobs": top,
        "text_offset": offsets,
        "prompt_tokens": len(prompt),
        "completion_tokens": len(tokens) - len(prompt.ids),
        "mean": sum(own) / len(own) if own else 0.0,
        "next": None
        if not item.next_token or following is None
        else vocabulary[following].decode(errors="replace"),
        "next_id": following,
    }


def _following(item: ScoreItem, scores: TokenScores) -> int | None:
    """The id after the text: its end, or the most likely one."""
    if item.next_token:
        return 0 if scores.after is None else int(scores.after.argmax())
    return 0 if item.ended else None


def _alternatives(
    column: Text, place: int, scores: TokenScores, alternatives: int, piece: bytes, log_prob: float | None
) -> dict[str, float] | None:
    """The most likely tokens of a place, and the one that is there."""
    own = {token_text(piece): log_prob if log_prob is not None else 0.0}
    if place >= len(scores.top_ids):
        return own
    vocabulary = column.vocabulary.token_bytes
    ids, values = scores.top_ids[place].tolist(), scores.top_log_probs[place].tolist()
    best = [(vocabulary[i], p) for i, p in zip(ids, values, strict=True)][:alternatives]
    if place == 0:
        best = [(token.removeprefix(column.prefix.encode()), p) for token, p in best]
    found: dict[str, float] = {}
    for token, p in best:
        found.setdefault(token_text(token), p)
    return {**found, **own} if token_text(piece) not in found else found


def _offsets(pieces: Sequence[bytes]) -> list[int]:
    """The character in which each token begins, counted from 0."""
    offsets, characters = [], 0
    for piece in pieces:
        inside = piece[:1] and piece[0] & 0xC0 == 0x80
        offsets.append(max(0, characters - 1) if inside else characters)
        characters += sum(1 for byte in piece if byte & 0xC0 != 0x80)
    return offsets
