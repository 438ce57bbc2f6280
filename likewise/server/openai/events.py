"""Events of streams that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from likewise.server.http.errors import APIError
from likewise.server.jobs.book import public_error
from likewise.server.jobs.events import event_text


def error_event(error: Mapping[str, Any] | None) -> str:
    """The event that ends a stream with an error; without one it was cancelled."""
    shown = public_error(error) or APIError(409, "the job was cancelled", code="cancelled").to_json()
    return event_text({"error": shown}, "error")


class Chunk:
    """The events of a stream of texts."""

    def first(self, index: int, prompt: str) -> list[str]:
        """Those before a text."""
        raise NotImplementedError

    def delta(self, index: int, text: str) -> str:
        """A piece of a text."""
        raise NotImplementedError

    def last(self, index: int, finish: str, logprobs: Any = None) -> str:
        """The end of a text."""
        raise NotImplementedError

    def end(self, tokens: tuple[int, int]) -> list[str]:
        """Those after all texts."""
        raise NotImplementedError
