"""Writing: what a text that is drawn begins with, where it stops, and how it is seen while it is drawn."""

from __future__ import annotations

import codecs
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from likewise.modalities import Modality, Text

Piece = int | BaseException | None      # of a stream: an id, what went wrong, the end


def windows(ids: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows of ids (n,) that overlap by half, (length,), filled up with 0, and which are new, (length,).

    Every id is new once, and all but the first of them come after length / 2 others in their window.
    """
    half, first, at = length - length // 2, 0, 0
    while first < len(ids):
        window = ids[at : at + length]
        fresh = (torch.arange(length) >= first - at) & (torch.arange(length) < len(window))
        yield torch.nn.functional.pad(window, (0, length - len(window))), fresh
        first, at = at + len(window), at + half


class Writing:
    """Texts of one column, one a row of `prompts`, that go on until one of `stop` comes."""

    def __init__(self, targets: Mapping[str, Modality], prompts: Sequence[str] | None,
                 stop: Sequence[str] = ()) -> None:
        """Raises ValueError unless the one target is a text, and for a prompt that leaves no room."""
        self.column = next(iter(targets.values()))
        if len(targets) != 1 or not isinstance(self.column, Text):
            raise ValueError(f"a prompt and stops are for a model whose one target is a text, and this one "
                             f"draws {', '.join(f'{n} ({c.kind})' for n, c in targets.items())}")
        if isinstance(stop, str):
            raise ValueError(f"stop is a list of texts; write [{stop!r}]")
        if "" in stop:
            raise ValueError("an empty stop would end every text before it begins; leave it out")
        self.name, self.stop = next(iter(targets)), tuple(stop)
        self.ids = None if prompts is None else [self._begun(prompt) for prompt in prompts]

    def _begun(self, prompt: str) -> Tensor:
        if reason := self.column.fault(prompt):
            raise ValueError(f"the prompt: {reason}")
        ids = self.column.ids(prompt) if prompt else torch.zeros(0, dtype=torch.int64)
        if len(ids) >= self.column.length:
            raise ValueError(f"the prompt has {len(ids)} tokens, and the model sees {self.column.length} at "
                             f"once, as it was trained: give the end of the prompt, or train with a longer "
                             "--length")
        return ids

    @property
    def prompt(self) -> dict[str, Tensor] | None:
        """The prompts as a family takes them, (B, P) filled up with 0."""
        if self.ids is None:
            return None
        return {self.name: torch.nn.utils.rnn.pad_sequence(self.ids, batch_first=True)}

    def begun(self, row: int) -> int:
        """How many ids the prompt of a row has."""
        return 0 if self.ids is None else len(self.ids[row])

    def watch(self, name: str, out: Tensor) -> Tensor:
        """Which texts (B, n) have come to a stop."""
        longest = max(len(stop.encode()) for stop in self.stop)     # an id is a byte at least
        first = max(0, out.shape[1] - longest)
        tails = [self.column.letters([i for i in ids[max(0, self.begun(k) - first) :] if i])
                 for k, ids in enumerate(out[:, first:].tolist())]
        if not first:
            tails = [tail if self.begun(k) else tail.removeprefix(self.column.opening)
                     for k, tail in enumerate(tails)]
        return torch.tensor([any(stop in tail for stop in self.stop) for tail in tails]).to(out.device)

    def stopped(self, text: str, row: int) -> str:
        """A text up to the first stop after its prompt."""
        first = len(self.column.decode(self.ids[row])) if self.ids is not None else 0
        cuts = [place for stop in self.stop if (place := text.find(stop, first)) >= 0]
        return text[: min(cuts)] if cuts else text


def streamed(column: Text, begun: int, stop: Sequence[str],
             draw: Callable[[Callable[[str, Tensor], Tensor]], Any]) -> Iterator[str]:
    """What `draw` writes after the `begun` ids of the prompt, as it comes, in pieces that are whole letters.

    `draw` takes a watch and runs in a thread of its own; closing the iterator ends it. Text that may be the
    beginning of a stop is held back until it is not. Raises what `draw` raises.
    """
    pieces: queue.Queue[Piece] = queue.Queue()
    closed = threading.Event()

    def watch(name: str, out: Tensor) -> Tensor:
        if out.shape[1] > begun and out[0, -1] != 0:
            pieces.put(out[0, -1].item())
        return torch.tensor([closed.is_set()]).to(out.device)

    def work() -> None:
        try:
            draw(watch)
            pieces.put(None)
        except BaseException as error:      # of the draw, to be raised where the text is read
            pieces.put(error)

    threading.Thread(target=work, daemon=True).start()
    spell = codecs.getincrementaldecoder("utf-8")("replace")
    held, first = "", not begun
    try:
        for piece in iter(pieces.get, None):
            if isinstance(piece, BaseException):
                raise piece
            text = spell.decode(column.pieces[piece])
            held += text.removeprefix(column.opening) if first else text
            first = first and not text
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
