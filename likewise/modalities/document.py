"""Document: a text of any length, learned in windows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from likewise.core.spec import Spec
from likewise.modalities.columns import CellCheck, ColumnSummary
from likewise.modalities.text import BYTES, Text, learn

LONG = 4096  # characters above which a text is a document
WINDOW = 256  # tokens
PASSAGE = 800  # characters of a row, at most: about as much as a window of pairs holds
SMALL = 500_000  # characters below which bytes, of which each is seen often, beat pairs
MOST = 4096  # pairs


@dataclass(frozen=True)
class Document(Text):
    """A text whose values are passages of documents: ids on the grid (length,), from anywhere in one.

    A row is a passage, and the next row of the document goes on where it ends. What is learned are windows of
    `length` tokens that begin anywhere and end with id 0 where the document does. Unlike a Text it is taken
    as it is, without a space before it, so passages put together are the document.

    >>> text = Document.fit(["To be, or not ", "to be."])
    >>> text.spec.running, text.decode(text.encode("to be"))
    (True, 'to be')
    """

    passages = True
    lazy = True
    role = "value"
    target_rank = 0

    kind = "document"
    prefix = ""

    @classmethod
    def fit(cls, values: Sequence[str], *, vocabulary: int | None = None, length: int | None = None) -> Self:
        """Learn a byte-pair vocabulary (Sennrich et al., 2016) of `vocabulary` ids; `length` tokens a window.

        Without `vocabulary`: plain bytes below half a million characters, else these and at most 4,096 pairs.
        Without `length`: 256. Raises ValueError for a `vocabulary` without room for every byte
        and a `length` below 2.
        """
        if length is not None and length < 2:
            raise ValueError(f"length={length}: a window of a document has at least 2 tokens")
        characters = sum(map(len, values))
        if vocabulary is None:
            vocabulary = BYTES + (0 if characters < SMALL else MOST)
        return cls(learn(values, vocabulary).to_str(), length or WINDOW)

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        return 4 if column.dtype == "string" and column.max_length > LONG else 0

    @classmethod
    def check_cell(cls, cell: Any) -> CellCheck:
        """A passage of spaces alone is one; an empty document is not."""
        check = super().check_cell(cell)
        return replace(check, problem=None) if isinstance(cell, str) and cell else check

    def describe(self) -> str:
        return f"windows of {self.length} tokens of a vocabulary of {self.spec.classes:,}"

    def grow_to_fit(self, values: Sequence[str]) -> Self:
        return self  # a window ends where it ends

    @property
    def spec(self) -> Spec:
        return replace(super().spec, windowed=True)

    def num_scored_tokens(self, value: str) -> int:
        return self.tokens(value)  # it may go on

    def check(self, value: str) -> str | None:
        return self.invalid_reason(value)

    def all_ids(self, values: Sequence[str]) -> list[list[int]]:
        """The ids of several texts of any length, without ends, at once."""
        return [self.to_internal_ids(e.ids) for e in self._tokenizer.encode_batch(list(values))]

    def encode(self, value: str) -> Tensor:
        """The beginning of a text -> (length,) int64, the end after it if there is room."""
        ids = self.ids(value)[: self.length]
        return torch.nn.functional.pad(ids, (0, self.length - len(ids)))


def passages(document: str, most: int = PASSAGE) -> Iterator[str]:
    """A text in parts of about the same size, at most `most` characters, cut before a word, if possible after
    a line.

    >>> list(passages("one two\\nthree four", 12))
    ['one two\\n', 'three four']
    """
    at = 0
    while (rest := len(document) - at) > most:
        size = math.ceil(rest / math.ceil(rest / most))  # so that no small part is left in the end
        part = document[at : at + size]
        lines = [m.end() for m in re.finditer(r"\n+", part) if size // 2 <= m.end() < size]
        words = [m.start() for m in re.finditer(r"\s+", part) if m.start() > size // 2]
        cut = lines[-1] if lines else words[-1] if words else size
        yield document[at : at + cut]
        at += cut
    if at < len(document):
        yield document[at:]
