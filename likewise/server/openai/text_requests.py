"""Texts that are to be written, what was written, and how both are counted and constrained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from likewise.generation.sequence.constraints import Constraint
from likewise.modalities.text import Text
from likewise.server.http.errors import invalid
from likewise.server.openai.tokens import Prompt, Written, prompt_text, read_prompt_ids, read_written

WHITESPACE_KEY = "x-guidance"  # of a JSON schema, for llguidance
WHITESPACE = r"\n? {0,8}"  # in JSON, so that a model that has not seen any comes to an end


@dataclass(frozen=True)
class TextRequest:
    """A text that is to be written, n times.

    prompt      its beginning
    suffix      its end, of which the middle is written
    text        the value of the text source
    values      of further columns
    candidates  how many are sampled, of which the n most likely for each token are kept
    schema      JSON schema of the text after the prompt
    alternatives  to each token, None for no log-probabilities
    echo        whether tokens of the prompt are among these
    """

    prompt: Prompt = ""
    suffix: str | None = None
    text: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    n: int = 1
    candidates: int = 1
    seed: int = -1
    stop: Sequence[str] = ()
    max_tokens: int | None = None
    schema: Mapping[str, Any] | None = None
    alternatives: int | None = None
    echo: bool = False

    @property
    def scores_only(self) -> bool:
        """Whether nothing is sampled but the most likely token after the prompt, or not even that."""
        return self.max_tokens == 0


@dataclass(frozen=True)
class Completion:
    """A text that was written after a prompt.

    prompt, text, suffix  the whole text
    tokens     of the prompt and of the text
    written    what was sampled
    scores     see `tokens.score_call`
    """

    prompt: str
    text: str
    suffix: str
    finish: str
    seed: int | None
    tokens: tuple[int, int]
    written: Written | None = None
    scores: Mapping[str, Any] | None = None


def shown_prompt(prompt: Prompt, column: Text) -> str:
    """The text of a prompt; what is no whole character is U+FFFD."""
    if isinstance(prompt, str):
        return prompt_text(column, prompt)
    ids = read_prompt_ids(column, prompt).ids.tolist()
    shown: str = column.vocabulary.ids_to_bytes(ids).decode(errors="replace").removeprefix(column.prefix)
    return shown


def read_text(text: TextRequest, written: str, sampled: Tensor, column: Text) -> Written:
    """What was sampled of a text."""
    found = read_written(column, text.prompt, text.suffix, written, sampled, text.max_tokens)
    return found if text.schema is None else replace(found, finish="stop")


def best_of(completions: Sequence[Completion], text: TextRequest) -> list[Completion]:
    """The n completions that are most likely for each token, if there are more."""
    if text.candidates <= text.n:
        return list(completions)
    return sorted(completions, key=lambda c: -(c.scores or {})["mean"])[: text.n]


def constraint_after(prompt: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The native constraint of a text that is a prompt and then JSON of a schema. Raises APIError."""
    schema = {WHITESPACE_KEY: {"whitespace_pattern": WHITESPACE}, **schema}
    try:
        Constraint.json(schema)
    except ValueError as error:
        raise invalid(error, "response_format") from None
    if not prompt:
        return {"kind": "json", "value": schema}
    start, rest = json.dumps(prompt, ensure_ascii=False), json.dumps(schema, ensure_ascii=False)
    return {"kind": "grammar", "value": f"start: PROMPT answer\nPROMPT: {start}\nanswer: %json {rest}\n"}


def usage_json(completions: Sequence[Sequence[Completion]]) -> dict[str, int]:
    """Tokens of the prompts, each counted once, and of what was written."""
    before = sum(choices[0].tokens[0] for choices in completions if choices)
    after = sum(one.tokens[1] for choices in completions for one in choices)
    return usage_of((before, after))


def usage_of(tokens: tuple[int, int]) -> dict[str, int]:
    """Tokens of the prompt and of what was written, as clients read them."""
    return {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
