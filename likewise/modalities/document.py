"""Document: a text of any length, learned in windows of tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from likewise.core.options import validated
from likewise.core.ranges import VocabularySize, WindowLength
from likewise.core.spec import Spec
from likewise.modalities.columns import CellCheck, ColumnSummary
from likewise.modalities.text import Text
from likewise.modalities.tokenizer import BYTE_IDS, MAX_MERGES, train_byte_bpe

MIN_DOCUMENT = 4096  # characters; longer texts are documents
WINDOW = 256  # tokens
MAX_PASSAGE = 800  # characters of a row, about as much as a window of merged ids holds
MIN_CHARACTERS = 500_000  # of training text from which merges are learned; below it bytes are better


@dataclass(frozen=True)
class Document(Text):
    """A text whose values are passages of documents: ids on the grid (length,), from any place in one.

    A row is a passage, and the document's next row continues it. A model learns windows of `length` tokens
    that begin anywhere; where the document ends, id 0 follows. Unlike a Text it has no prefix, so that its
    passages put together are the document.

    >>> text = Document.fit(["To be, or not ", "to be."])
    >>> text.spec.windowed, text.decode(text.encode("to be"))
    (True, 'to be')
    """

    passages = True
    lazy = True
    role = "value"
    target_rank = 0

    kind = "document"
    prefix = ""

    @classmethod
    @validated
    def fit(
        cls,
        values: Sequence[str],
        *,
        vocabulary: VocabularySize | None = None,
        length: WindowLength | None = None,
    ) -> Self:
        """Learn a byte-pair vocabulary of `vocabulary` ids, for windows of `length` tokens.

        Without `vocabulary`: plain bytes below half a million characters, else at most 4,096 merges as well.
        Without `length`: 256.
        """
        characters = sum(map(len, values))
        if vocabulary is None:
            vocabulary = BYTE_IDS + (0 if characters < MIN_CHARACTERS else MAX_MERGES)
        return cls(train_byte_bpe(values, vocabulary).to_str(), length or WINDOW)

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        return 4 if column.dtype == "string" and column.max_length > MIN_DOCUMENT else 0

    @classmethod
    def reason(cls, column: ColumnSummary) -> str:
        return (
            f"a text of {column.max_length:,} characters" if column.max_length > MIN_DOCUMENT else "passages"
        )

    @classmethod
    def check_cell(cls, cell: Any) -> CellCheck:
        """A passage of spaces alone is valid; an empty document is not."""
        check = super().check_cell(cell)
        return replace(check, problem=None) if isinstance(cell, str) and cell else check

    def describe(self) -> str:
        return f"windows of {self.length} tokens of a vocabulary of {self.spec.classes:,}"

    @validated
    def refit(self, values: Sequence[str], *, length: WindowLength | None = None) -> Self:
        """The same vocabulary; positions are relative, so windows may have any length."""
        return replace(self, length=length or self.length)

    def grow_to_fit(self, values: Sequence[str]) -> Self:
        return self  # windows have one length, whatever the texts

    @property
    def spec(self) -> Spec:
        return replace(super().spec, windowed=True)

    def num_scored_tokens(self, value: str) -> int:
        return self.num_tokens(value)  # no end, since the document may continue

    def check(self, value: str) -> str | None:
        return self.invalid_reason(value)

    def encode_unpadded(self, values: Sequence[str]) -> list[list[int]]:
        return self.vocabulary.encode_batch(values)

    def encode(self, value: str) -> Tensor:
        """The first window of a text -> (length,) int64, padded with the end."""
        ids = self.ids(value)[: self.length]
        return torch.nn.functional.pad(ids, (0, self.length - len(ids)))


def split_passages(document: str, max_length: int = MAX_PASSAGE) -> Iterator[str]:
    """A text in parts of about equal size, at most `max_length` characters: cut after a line if possible, else
    before a word.

    >>> list(split_passages("one two\\nthree four", 12))
    ['one two\\n', 'three four']
    """
    start = 0
    while (rest := len(document) - start) > max_length:
        size = math.ceil(rest / math.ceil(rest / max_length))  # so that the last part is no smaller
        part = document[start : start + size]
        lines = [m.end() for m in re.finditer(r"\n+", part) if size // 2 <= m.end() < size]
        words = [m.start() for m in re.finditer(r"\s+", part) if m.start() > size // 2]
        cut = lines[-1] if lines else words[-1] if words else size
        yield document[start : start + cut]
        start += cut
    if start < len(document):
        yield document[start:]
