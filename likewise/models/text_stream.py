"""TODO models.text_stream."""

from __future__ import annotations

import codecs
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from likewise.models.text_prompt import TextPrompts, strip_prompt

Piece = int | BaseException | None  # of a stream: an id, what went wrong, the end


def stream_text(
    writing: TextPrompts, draw: Callable[[Callable[[str, Tensor], Tensor]], Any]
) -> Iterator[str]:
    """What `draw` writes for the one prompt of `writing`, as it comes, in pieces that are whole letters.

    `draw` takes a watch and runs in a thread of its own; closing the iterator ends it. Text that may be the
    beginning of a stop is held back until it is not. Raises what `draw` raises.
    """
    pieces: queue.Queue[Piece] = queue.Queue()
    closed = threading.Event()
    column, stop, begun, said = (
        writing.column,
        writing.stop,
        writing.prompt_length(0),
        writing.pending_bytes(0),
    )

    def stop_fn(name: str, out: Tensor) -> Tensor:
        if out.shape[1] > begun and out[0, -1] != 0:
            pieces.put(out[0, -1].item())
        return torch.tensor([closed.is_set()]).to(out.device)

    def work() -> None:
        try:
            draw(stop_fn)
            pieces.put(None)
        except BaseException as error:  # of the draw, to be raised where the text is read
            pieces.put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    spell = codecs.getincrementaldecoder("utf-8")("replace")
    held = ""
    try:
        for piece in iter(pieces.get, None):
            if isinstance(piece, BaseException):
                raise piece
            fresh, said = strip_prompt(column.vocabulary.token_bytes[piece], said)
            held += spell.decode(fresh)
            if cuts := [place for s in stop if (place := held.find(s)) >= 0]:
                if min(cuts):
                    yield held[: min(cuts)]
                return
            kept = max((n for s in stop for n in range(len(s)) if held.endswith(s[:n])), default=0)
            if len(held) > kept:
                yield held[: len(held) - kept]
                held = held[len(held) - kept :]
        if held := held + spell.decode(b"", final=True):
            yield held
    finally:
        closed.set()
        thread.join()  # it ends with its next id; Python must not end before it
