"""Writing: what a text that is drawn begins with, where it stops, and how it is seen while it is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from likewise.generation.sequence.token_healing import HealingMask, backtrack
from likewise.modalities.base import Modality
from likewise.modalities.text import Text

TextPrompt = str | tuple[str, str]  # what a text begins with, or what stands before and after a gap


def is_single_text(targets: Mapping[str, Modality]) -> bool:
    """Whether there is one target, and it is drawn letter by letter: a text or a document, no codes of it."""
    return [isinstance(column, Text) for column in targets.values()] == [True]


class TextPrompts:
    """Texts of one column, one a row of `prompts`, that go on until one of `stop` comes.

    Where a prompt is a pair, what stands between the two is written. To `heal` a prompt its last ids may be
    drawn anew, so that what is drawn begins with what they spell.
    """

    def __init__(
        self,
        targets: Mapping[str, Modality],
        prompts: Sequence[TextPrompt] | None,
        stop: Sequence[str] = (),
        heal: bool = True,
    ) -> None:
        """Raises ValueError unless the one target is a text, and for a prompt that leaves no room."""
        column = next(iter(targets.values()))
        if len(targets) > 1 or not isinstance(column, Text):
            raise ValueError(
                f"a prompt and stops are for a model whose one target is a text, and this one "
                f"draws {', '.join(f'{n} ({c.kind})' for n, c in targets.items())}"
            )
        if isinstance(stop, str):
            raise ValueError(f"stop is a list of texts; write [{stop!r}]")
        if "" in stop:
            raise ValueError("an empty stop would end every text before it begins; leave it out")
        self.name, self.column, self.stop = next(iter(targets)), column, tuple(stop)
        self.is_infill = any(isinstance(prompt, tuple) for prompt in prompts or ())
        if not all(
            isinstance(prompt, tuple) and len(prompt) == 2 if self.is_infill else isinstance(prompt, str)
            for prompt in prompts or ()
        ):
            raise ValueError("prompts are texts, or all of them pairs (prefix, suffix) of texts")
        self.pairs = prompts if self.is_infill or prompts is None else [(prompt, "") for prompt in prompts]
        self.ids = [self._begun(*pair, heal) for pair in self.pairs or ()]

    def _begun(self, prefix: str, suffix: str, heal: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The ids of both, which are tokens apart, and those that are taken back of the first."""
        for part in (prefix, suffix):
            if reason := self.column.invalid_reason(part):
                raise ValueError(f"the prompt: {reason}")
        ids = (
            self.column.ids(prefix) if prefix else self.column.encode_continuation(""),
            self.column.encode_continuation(suffix),
        )
        if (n := sum(map(len, ids))) >= self.column.length:
            raise ValueError(
                f"the prompt has {n} tokens, and the model sees {self.column.length} at "
                f"once, as it was trained: give {'less of it' if self.is_infill else 'its end'}, "
                "or train with a longer --length"
            )
        kept, taken = backtrack(self.column.vocabulary, ids[0]) if heal else (ids[0], ids[0][:0])
        return kept, ids[1], taken

    @property
    def controls(self) -> dict[str, Any]:
        """Prompts and stops as a family takes them: ids (B, P) filled up with 0, what is owed, who stops."""
        controls: dict[str, Any] = {"stop_fn": self.stop_fn} if self.stop else {}
        names = ("prompt", "suffix") if self.is_infill else ("prompt",)
        for name, ids in zip(names, zip(*self.ids, strict=True), strict=False):
            controls[name] = {self.name: torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)}
        if any(len(taken) for *_, taken in self.ids):
            controls["healing"] = HealingMask(self.column.vocabulary, [taken for *_, taken in self.ids])
        return controls

    def prompt_length(self, row: int) -> int:
        """How many ids a row has before what is drawn: those of its prompt, of a pair a mark after each."""
        return sum(map(len, self.ids[row][:2])) + 2 * self.is_infill if self.ids else 0

    def pending_bytes(self, row: int) -> bytes:
        """What the drawn ids of a row spell first that is not new: the end of its prompt, or the opening."""
        if self.pairs is None or not self.pairs[row][0]:
            return self.column.prefix.encode()
        return self.column.vocabulary.ids_to_bytes(self.ids[row][2].tolist())

    def stop_fn(self, name: str, out: Tensor) -> Tensor:
        """Which texts (B, n) have come to a stop."""
        stops, said = (
            [stop.encode() for stop in self.stop],
            [self.pending_bytes(row) for row in range(len(out))],
        )
        first = max(0, out.shape[1] - max(map(len, stops)) - max(map(len, said)))  # an id is a byte at least
        tails = []
        for row, ids in enumerate(out[:, first:].tolist()):
            at = self.prompt_length(row) - first
            tails.append(
                strip_prompt(self.column.vocabulary.ids_to_bytes(ids[at:]), said[row])[0]
                if at >= 0
                else self.column.vocabulary.ids_to_bytes(ids[len(said[row]) :])
            )
        return torch.tensor([any(stop in tail for stop in stops) for tail in tails]).to(out.device)

    def truncate_at_stop(self, text: str, row: int) -> str:
        """A text whose written part ends at the first stop in it."""
        prefix, suffix = ("", "") if self.pairs is None else self.pairs[row]
        middle = text[len(prefix) : max(len(prefix), len(text) - len(suffix))]
        cuts = [place for stop in self.stop if (place := middle.find(stop)) >= 0]
        return prefix + middle[: min(cuts, default=len(middle))] + suffix


def strip_prompt(drawn: bytes, said: bytes) -> tuple[bytes, bytes]:
    """What of the bytes that are drawn comes after those that were said, and what of these is left.

    >>> new(b" Ham", b" Hamle"), new(b"let", b"le")
    ((b'', b'le'), (b't', b''))
    """
    return (b"", said[len(drawn) :]) if said.startswith(drawn) else (drawn.removeprefix(said), b"")
