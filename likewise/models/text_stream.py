"""Streaming of a sampled text: its pieces are yielded while the rest is still being sampled."""

from __future__ import annotations

import codecs
import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from likewise.generation.controls import OnStep, Step
from likewise.models.text_prompt import TextPrompts, strip_prompt

Event = int | BaseException | None  # of sampling: an id, an error, the end


def stream_text(prompts: TextPrompts, sample: Callable[[OnStep], Any]) -> Iterator[str]:
    """The text that is sampled for a single prompt, in pieces of whole characters, as they come.

    `sample` takes a function to call after each id, and runs in a thread, which ends when the iterator is closed. Text that may be the beginning of a stop string is yielded once it is not.
    Raises what `sample` raises.
    """
    events: queue.Queue[Event] = queue.Queue()
    closed = threading.Event()
    column, stop = prompts.column, prompts.stop(0)
    length, pending = prompts.prompt_length(0), prompts.pending_bytes(0)

    def on_step(step: Step) -> Tensor:
        ids = step.estimate()[prompts.name]
        if ids.shape[1] > length and ids[0, -1] != 0:
            events.put(int(ids[0, -1]))
        return torch.tensor([closed.is_set()]).to(ids.device)

    def work() -> None:
        try:
            sample(on_step)
            events.put(None)
        except BaseException as error:  # raised again where the text is read
            events.put(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = ""  # not yielded yet
    try:
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            new, pending = strip_prompt(column.vocabulary.token_bytes[event], pending)
            text += decoder.decode(new)
            if ends := [start for s in stop if (start := text.find(s)) >= 0]:
                if min(ends):
                    yield text[: min(ends)]
                return
            size = len(text) - max(
                (n for s in stop for n in range(len(s)) if text.endswith(s[:n])), default=0
            )
            if size > 0:
                yield text[:size]
                text = text[size:]
        if text := text + decoder.decode(b"", final=True):
            yield text
    finally:
        closed.set()
        thread.join()  # it ends with its next id; the interpreter must not exit before
