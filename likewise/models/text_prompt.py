"""Text prompts: what a sampled text begins with, or surrounds, and the strings at which it stops."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from likewise.core.option_names import option_text
from likewise.generation.sequence.token_healing import HealingMask, backtrack
from likewise.modalities.base import Modality
from likewise.modalities.text import Text

TextPrompt = str | tuple[str, str]  # the beginning of a text, or what precedes and follows a gap in it


def is_single_text(targets: Mapping[str, Modality]) -> bool:
    """Whether there is one target, and its tokens are those of a text or a document, not codes of it."""
    return [isinstance(column, Text) for column in targets.values()] == [True]


@dataclass(frozen=True)
class PromptIds:
    """The ids of a prompt, each (n,).

    prefix  before the sampled ids
    suffix  after them
    healed  the last ids of the prefix, which are sampled again, see token_healing.py
    """

    prefix: Tensor
    suffix: Tensor
    healed: Tensor


class TextPrompts:
    """Prompts of texts of one column, one per row, and the strings at which each text ends.

    prompts  beginnings, or pairs (prefix, suffix) of which the middle is sampled; None: texts from their beginning
    stop     the strings of all rows, or, as a list of lists, those of each
    heal     whether the last ids of a prompt may be sampled again, as ids that spell the same and more
    """

    def __init__(
        self,
        targets: Mapping[str, Modality],
        prompts: Sequence[TextPrompt] | None,
        stop: Sequence[str] | Sequence[Sequence[str]] = (),
        heal: bool = True,
    ) -> None:
        """Raises ValueError unless the one target is a text, and for a prompt that leaves no room."""
        column = next(iter(targets.values()))
        if len(targets) > 1 or not isinstance(column, Text):
            raise ValueError(
                f"prompts and stop strings are for a model whose one target is a text, and this one "
                f"samples {', '.join(f'{n} ({c.kind})' for n, c in targets.items())}"
            )
        if isinstance(stop, str):
            raise ValueError(f"stop is a list of texts; write [{stop!r}]")
        self.shared = tuple(s for s in stop if isinstance(s, str))
        each = [tuple(s) for s in stop if not isinstance(s, str)]
        self.stops = each or None
        if any("" in strings for strings in self.stops or [self.shared]):
            raise ValueError("an empty stop would end every text before it begins; leave it out")
        self.name, self.column = next(iter(targets)), column
        self.is_infill = any(isinstance(prompt, tuple) for prompt in prompts or ())
        self.pairs = None if prompts is None else [self._pair(prompt) for prompt in prompts]
        self.ids = [self._encode(*pair, heal) for pair in self.pairs or ()]

    def _pair(self, prompt: TextPrompt) -> tuple[str, str]:
        """The text before and after the gap. Raises ValueError for a prompt that is unlike the others."""
        if isinstance(prompt, str) and not self.is_infill:
            return prompt, ""
        if isinstance(prompt, tuple) and len(prompt) == 2:
            return prompt
        raise ValueError("prompts are texts, or all of them pairs (prefix, suffix) of texts")

    def _encode(self, prefix: str, suffix: str, heal: bool) -> PromptIds:
        """The ids of both, encoded separately."""
        for part in (prefix, suffix):
            if reason := self.column.invalid_reason(part):
                raise ValueError(f"the prompt: {reason}")
        before = self.column.ids(prefix) if prefix else self.column.encode_continuation("")
        after = self.column.encode_continuation(suffix)
        if (n := len(before) + len(after)) >= self.column.length:
            raise ValueError(
                f"the prompt has {n} tokens, and the model sees {self.column.length} at "
                f"once, as it was trained: give {'less of it' if self.is_infill else 'its end'}, "
                f"or train with a longer {option_text('length')}"
            )
        stay, healed = backtrack(self.column.vocabulary, before) if heal else (before, before[:0])
        return PromptIds(stay, after, healed)

    @property
    def controls(self) -> dict[str, Any]:
        """The SAMPLING_CONTROLS of a family: ids (B, P) padded with 0, and what is healed."""
        controls: dict[str, Any] = {}
        if self.ids:
            controls["prompt"] = {self.name: pad_sequence([ids.prefix for ids in self.ids], batch_first=True)}
            if self.is_infill:
                suffixes = pad_sequence([ids.suffix for ids in self.ids], batch_first=True)
                controls["suffix"] = {self.name: suffixes}
        if any(len(ids.healed) for ids in self.ids):
            controls["healing"] = HealingMask(self.column.vocabulary, [ids.healed for ids in self.ids])
        return controls

    def stop(self, row: int) -> tuple[str, ...]:
        """The strings at which the text of a row ends."""
        return self.shared if self.stops is None else self.stops[row]

    @property
    def stopping(self) -> bool:
        """Whether any text ends at a string."""
        return bool(self.shared) or any(self.stops or ())

    def prompt_length(self, row: int) -> int:
        """How many ids of a row precede the sampled ones: its prompt; of a pair also a sentinel after each part."""
        if not self.ids:
            return 0
        ids = self.ids[row]
        return len(ids.prefix) + len(ids.suffix) + 2 * self.is_infill

    def pending_bytes(self, row: int) -> bytes:
        """The bytes at the beginning of a row's sampled ids that are not new: the healed end of its prompt.

        Without a prompt it is the prefix that every text of the column has.
        """
        if self.pairs is None or not self.pairs[row][0]:
            return self.column.prefix.encode()
        return self.column.vocabulary.ids_to_bytes(self.ids[row].healed.tolist())

    def stopped(self, ids: Tensor) -> Tensor:
        """Which texts, of ids so far (B, n), have come to a stop string: (B,) bool."""
        stopped = []
        for row in range(len(ids)):
            stops = [stop.encode() for stop in self.stop(row)]
            pending, start = self.pending_bytes(row), self.prompt_length(row)
            # Only the last ids matter, each of which has one byte at least.
            first = max(0, ids.shape[1] - max(map(len, stops), default=0) - len(pending))
            last = ids[row, first:].tolist() if stops else []
            if start >= first:
                new, _ = strip_prompt(self.column.vocabulary.ids_to_bytes(last[start - first :]), pending)
            else:
                new = self.column.vocabulary.ids_to_bytes(last[len(pending) :])
            stopped.append(any(stop in new for stop in stops))
        return torch.tensor(stopped).to(ids.device)

    def sampled_text(self, row: int, ids: Tensor, final: bool = False) -> str:
        """What of a row's ids so far, (n,), is new, in whole characters, up to its first stop string.

        Unless it is `final`, what may be the beginning of a stop string is held back.
        """
        sampled = self.column.vocabulary.ids_to_bytes(ids[self.prompt_length(row) :].tolist())
        new, _ = strip_prompt(sampled, self.pending_bytes(row))
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(new, final)
        if ends := [start for stop in self.stop(row) if (start := text.find(stop)) >= 0]:
            return text[: min(ends)]
        if final:
            return text
        held = (n for stop in self.stop(row) for n in range(1, len(stop)) if text.endswith(stop[:n]))
        return text[: len(text) - max(held, default=0)]

    def truncate_at_stop(self, text: str, row: int) -> str:
        """A text of which the sampled part ends before the first stop string in it."""
        prefix, suffix = ("", "") if self.pairs is None else self.pairs[row]
        middle = text[len(prefix) : max(len(prefix), len(text) - len(suffix))]
        ends = [start for stop in self.stop(row) if (start := middle.find(stop)) >= 0]
        return prefix + middle[: min(ends, default=len(middle))] + suffix


def strip_prompt(sampled: bytes, pending: bytes) -> tuple[bytes, bytes]:
    """Sampled bytes without those that repeat the end of a prompt, `pending`, and what of these is still pending.

    >>> strip_prompt(b" Ham", b" Hamle"), strip_prompt(b"let", b"le")
    ((b'', b'le'), (b't', b''))
    """
    if pending.startswith(sampled):
        return b"", pending[len(sampled) :]
    return sampled.removeprefix(pending), b""
