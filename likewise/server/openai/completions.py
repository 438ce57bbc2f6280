"""POST /v1/completions: its body as texts to be written, and texts as its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from likewise.server.http.errors import invalid
from likewise.server.jobs.book import new_id
from likewise.server.jobs.events import event_text
from likewise.server.limits import MAX_SAMPLES
from likewise.server.openai.bodies import CompletionBody, TextFields
from likewise.server.openai.events import Chunk
from likewise.server.openai.options import Extras
from likewise.server.openai.text_requests import Completion, TextRequest, usage_json, usage_of
from likewise.server.openai.tokens import Prompt

NAMES = {"": "prompt", "text": "prompt"}  # native field -> field of the client


def add_sampling_fields(body: TextFields, extras: Extras) -> None:
    """The sampling options among the fields of a body."""
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
        extras.add(name, getattr(body, name))


def stop_strings(body: TextFields) -> list[str]:
    """The stop strings of a body: one, or a list."""
    return [body.stop] if isinstance(body.stop, str) and body.stop else list(body.stop)


def translate_completion(body: CompletionBody) -> list[TextRequest]:
    """A text for each prompt. Raises APIError for what cannot be combined."""
    candidates = body.n if body.best_of is None else body.best_of
    if candidates < body.n:
        raise invalid(f"best_of is at least n, and {candidates} is less than {body.n}", "best_of")
    prompts = prompts_of(body.prompt)
    if len(prompts) * candidates > MAX_SAMPLES:
        raise invalid(
            f"{len(prompts)} prompts with {candidates} texts each are more than {MAX_SAMPLES:,}", "n"
        )
    scored = body.logprobs is not None or candidates > body.n
    if body.suffix is not None and scored:
        raise invalid(
            "there are no log-probabilities of a middle; leave suffix out, or logprobs and best_of", "suffix"
        )
    return [
        TextRequest(
            prompt,
            suffix=body.suffix,
            values=body.given,
            n=body.n,
            candidates=candidates,
            seed=body.seed,
            stop=stop_strings(body),
            max_tokens=body.max_tokens,
            alternatives=body.logprobs,
            echo=body.echo,
        )
        for prompt in prompts
    ]


def prompts_of(prompt: Any) -> list[Prompt]:
    """One prompt or several, each a text or token ids."""
    if isinstance(prompt, list) and not all(isinstance(part, int) for part in prompt):
        return list(prompt)
    return [prompt]


def logprobs_json(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The log-probabilities of a choice."""
    return {name: scores[name] for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}


def completion_json(
    model: str, created: int, completions: Sequence[Sequence[Completion]], texts: Sequence[TextRequest]
) -> dict[str, Any]:
    """The answer."""
    pairs = [(one, text) for choices, text in zip(completions, texts, strict=True) for one in choices]
    return {
        "id": new_id("cmpl").replace("_", "-", 1),
        "object": "text_completion",
        "created": created,
        "model": model,
        "choices": [choice_json(i, one, text) for i, (one, text) in enumerate(pairs)],
        "usage": usage_json(completions),
    }


def choice_json(index: int, one: Completion, text: TextRequest) -> dict[str, Any]:
    """A text, with its prompt if it is to be echoed."""
    wanted = one.scores is not None and text.alternatives is not None
    return {
        "index": index,
        "text": one.prompt + one.text + one.suffix if text.echo else one.text,
        "finish_reason": one.finish,
        "logprobs": logprobs_json(one.scores) if wanted and one.scores else None,
        "seed": one.seed,
    }


class CompletionChunk(Chunk):
    """The events of a stream of completions."""

    def __init__(self, model: str, created: int, echo: bool, usage: bool) -> None:
        self.echo, self.usage = echo, usage
        self.head = {
            "id": new_id("cmpl").replace("_", "-", 1),
            "object": "text_completion",
            "created": created,
            "model": model,
        }

    def _event(self, index: int, text: str, finish: str | None, logprobs: Any = None) -> str:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return event_text({**self.head, "choices": [choice], **({"usage": None} if self.usage else {})})

    def first(self, index: int, prompt: str) -> list[str]:
        """The prompt, if it is to be echoed."""
        return [self.delta(index, prompt)] if self.echo and prompt else []

    def delta(self, index: int, text: str) -> str:
        """A piece of a text."""
        return self._event(index, text, None)

    def last(self, index: int, finish: str, logprobs: Any = None) -> str:
        """The end of a text."""
        return self._event(index, "", finish, logprobs)

    def end(self, tokens: tuple[int, int]) -> list[str]:
        """The number of tokens, if it is wanted."""
        return [event_text({**self.head, "choices": [], "usage": usage_of(tokens)})] if self.usage else []
