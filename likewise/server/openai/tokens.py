r"""Tokens of texts as OpenAI's clients read them: ids, pieces of text, log-probabilities.

Ids are those of the model, and of the tokenizer that `likewise export` writes: id 0 ends a text, and stands for the
beginning where it comes first, also written out, "<|end|>". A token that is no whole character is "bytes:\xe2\x82".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from likewise.interop.transformers_export import tokenizer_json
from likewise.modalities.text import Text
from likewise.models.text_prompt import TextPrompts, strip_prompt
from likewise.models.token_scores import TokenScores, score_ids, text_column
from likewise.server.catalog.registry import AnyModel
from likewise.server.http.errors import invalid
from likewise.server.jobs.book import Job, JobBook
from likewise.server.jobs.store import Store
from likewise.server.jobs.values import ValueReader
from likewise.server.jobs.work import Call

Prompt = str | list[int]
MAX_TOKENIZERS = 8  # that are kept
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
        started, text = split_start(column, prompt)
        ids = column.ids(text) if text else torch.zeros(0, dtype=torch.int64)
        return PromptTokens(ids, started)
    started = prompt[:1] == [0]
    rest = prompt[1:] if started else prompt
    if not all(0 < i < column.spec.classes for i in rest):
        raise invalid(
            f"token ids are from 1 to {column.spec.classes - 1}, and 0 is the first one only", param
        )
    return PromptTokens(torch.tensor(rest, dtype=torch.int64), started)


@lru_cache(maxsize=MAX_TOKENIZERS)
def end_text(column: Text) -> str:
    """Id 0, written out as in the tokenizer that is exported."""
    return tokenizer_json(column)[1]


def split_start(column: Text, prompt: str) -> tuple[bool, str]:
    """Whether a text begins with id 0 written out, and the rest of it."""
    end = end_text(column)
    return prompt.startswith(end), prompt.removeprefix(end)


def prompt_text(column: Text, prompt: Prompt, param: str = "prompt") -> str:
    """The text of a prompt. Raises APIError for ids that the model does not have, or that are no whole characters."""
    if isinstance(prompt, str):
        return split_start(column, prompt)[1]
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
class Written:
    """What was sampled after a prompt.

    before  ids of the prompt that stayed, (n,)
    ids     ids that were sampled, (m,), without an end
    again   bytes at the beginning of these that spell the end of the prompt again
    finish  "stop" where the text ended by itself, "length" where it had no more room
    ended   whether the end was sampled
    tokens  how many the client has sent, and how many came after them
    """

    before: Tensor
    ids: Tensor
    again: bytes
    finish: str
    ended: bool
    tokens: tuple[int, int]


def read_written(
    column: Text, prompt: Prompt, suffix: str | None, written: str, sampled: Tensor, max_tokens: int | None
) -> Written:
    """What was sampled: the text that came of it, and its ids, filled up with 0."""
    text, sent = prompt_text(column, prompt), read_prompt_ids(column, prompt)
    pair = (text, suffix) if suffix is not None else text
    texts = TextPrompts({"text": column}, [pair] if pair else None)
    before = texts.ids[0].prefix if texts.ids else sent.ids[:0]
    healed = len(sent.ids) - len(before)
    ids, ended = sampled[sampled != 0], bool((sampled == 0).any())
    room = column.length if column.spec.windowed else column.length - len(sent.ids)
    limit = healed + (
        room if max_tokens is None else max_tokens if column.spec.windowed else min(room, max_tokens)
    )
    again, cut = texts.pending_bytes(0), False
    while (
        len(ids)
        and _text_of(column, ids[:-1], again).startswith(written)
        and _text_of(column, ids, again) != written
    ):
        ids, cut = ids[:-1], True  # after a stop string
    if (
        _text_of(column, ids, again) != written and not cut and "\ufffd" not in written
    ):  # completed under a constraint
        ids, again, ended, cut = column.encode_continuation(written), b"", True, True
    ended = ended and not cut and len(ids) < limit
    finish = "length" if len(ids) >= limit and not cut else "stop"
    suffix_ids = len(column.encode_continuation(suffix or ""))
    return Written(before, ids, again, finish, ended, (len(sent) + suffix_ids, max(0, len(ids) - healed)))


def _text_of(column: Text, ids: Tensor, again: bytes) -> str:
    """The text of sampled ids after what they spell again."""
    return strip_prompt(column.vocabulary.ids_to_bytes(ids.tolist()), again)[0].decode(errors="replace")


@dataclass(frozen=True)
class ScoreItem:
    """A text whose tokens are to be scored.

    prompt      its beginning
    written     what was sampled after it, if anything was
    echo        whether tokens of the prompt are wanted
    next_token  the most likely token after the prompt is a part of the result
    values      of sources, as the client gives them; and `text`, that of the text source
    """

    prompt: Prompt
    written: Written | None = None
    echo: bool = True
    next_token: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    text: str | None = None


def score_call(
    store: Store, files: Mapping[str, bytes], items: Sequence[ScoreItem], alternatives: int
) -> Call:
    """The work of the sampling thread that scores texts: a result for each, see `_result`."""

    def call(model: AnyModel, job: Job, jobs: JobBook) -> None:
        name, column = text_column(model)  # type: ignore[arg-type]
        rows, ids, starts = [], [], []
        for item in items:
            row, _ = ValueReader(store, files).read_row(model, item.values, "given", item.text)
            row.pop(name, None)
            prompt = read_prompt_ids(column, item.prompt)
            rows.append(row)
            starts.append(prompt.started)
            ids.append(
                prompt.ids if item.written is None else torch.cat([item.written.before, item.written.ids])
            )
        scores = score_ids(model, rows, ids, alternatives=max(1, alternatives))  # type: ignore[arg-type]
        for i, (item, started, scored) in enumerate(zip(items, starts, scores, strict=True)):
            jobs.add_result(job, i, {"index": i, **_result(column, item, started, scored, alternatives)})

    return call


def _result(
    column: Text, item: ScoreItem, started: bool, scores: TokenScores, alternatives: int
) -> dict[str, Any]:
    """Tokens, their log p and alternatives, and the characters in which they begin; and what comes after a prompt."""
    vocabulary, tokens = column.vocabulary.token_bytes, scores.ids.tolist()
    log_probs: list[float | None] = list(scores.log_probs.tolist())
    following = _following(item, scores)
    if following is not None:
        tokens.append(following)
        log_probs.append(0.0 if scores.after is None else float(scores.after[following]))
    first = 0 if item.echo or item.written is None else len(item.written.before)
    pieces = [vocabulary[i] for i in tokens]
    skipped = column.prefix.encode() if first == 0 else b""
    if not item.echo and item.written is not None:
        skipped = item.written.again
    top = [
        _alternatives(column, place, scores, alternatives, token_text(pieces[place]), log_probs[place])
        for place in range(len(pieces))
    ]
    offsets, shown = _offsets(pieces), [token_text(piece) for piece in _without(pieces[first:], skipped)]
    found: dict[str, Any] = {
        "tokens": shown,
        "token_logprobs": log_probs[first:],
        "top_logprobs": [
            _renamed(t, token_text(p), s) for t, p, s in zip(top[first:], pieces[first:], shown, strict=True)
        ],
        "text_offset": [max(0, n - len(column.prefix)) for n in offsets[first:]],
    }
    if started and item.echo:
        for name, value in {
            "tokens": "",
            "token_logprobs": None,
            "top_logprobs": None,
            "text_offset": 0,
        }.items():
            found[name] = [value, *found[name]]
    own = log_probs[0 if item.written is None else len(item.written.before) :]
    return {
        **found,
        "prompt_tokens": len(scores.ids) + started,
        "mean": sum(p for p in own if p is not None) / len(own) if own else 0.0,
        "next": None if following is None else vocabulary[following].decode(errors="replace"),
        "next_id": following,
    }


def _without(pieces: Sequence[bytes], skipped: bytes) -> list[bytes]:
    """The tokens without bytes at their beginning."""
    shown = []
    for piece in pieces:
        new, skipped = strip_prompt(piece, skipped)
        shown.append(new)
    return shown


def _renamed(top: dict[str, float], token: str, shown: str) -> dict[str, float]:
    """The alternatives with the token that is there as it is shown."""
    return {shown if name == token else name: p for name, p in top.items()}


def _following(item: ScoreItem, scores: TokenScores) -> int | None:
    """The id after the text: its end, or the most likely one."""
    if item.next_token:
        return 0 if scores.after is None else int(scores.after.argmax())
    return 0 if item.written is not None and item.written.ended else None


def _alternatives(
    column: Text, place: int, scores: TokenScores, alternatives: int, token: str, log_prob: float | None
) -> dict[str, float]:
    """The most likely tokens of a place, and the one that is there."""
    found: dict[str, float] = {}
    if place < len(scores.top_ids):
        ids, values = scores.top_ids[place].tolist(), scores.top_log_probs[place].tolist()
        for i, p in zip(ids[:alternatives], values, strict=False):
            found.setdefault(token_text(column.vocabulary.token_bytes[i]), p)
    if token not in found:
        found[token] = log_prob if log_prob is not None else 0.0
    return found


def _offsets(pieces: Sequence[bytes]) -> list[int]:
    """The character in which each token begins, counted from 0."""
    offsets, characters = [], 0
    for piece in pieces:
        inside = piece[:1] and piece[0] & 0xC0 == 0x80
        offsets.append(max(0, characters - 1) if inside else characters)
        characters += sum(1 for byte in piece if byte & 0xC0 != 0x80)
    return offsets
