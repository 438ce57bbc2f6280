"""Plays: running prose, by the words and word n-grams of the training works."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from likewise.evaluation.domains.base import DomainCheck, Row, RowMetric

COPY_LENGTH = 8  # words in succession that are a copy if a training text has them


class Plays(DomainCheck):
    """Known words and new word n-grams; no tool is needed."""

    def row_metrics(self, rows: Sequence[Row]) -> list[RowMetric]:
        texts = [_words(row[self.column]) for row in rows]
        known = [_share(word in self._train_words for word in words) or 0.0 for words in texts]
        shares = [_share(ngram not in self._train_ngrams for ngram in _ngrams(words)) for words in texts]
        new = [1.0 if share is None else share for share in shares]
        return [
            RowMetric(
                "words known", np.array(known), "share of a text's words that training works have", "as real"
            ),
            RowMetric(
                f"{COPY_LENGTH} words new",
                np.array(new),
                f"share of a text's sequences of {COPY_LENGTH} words that no training work has",
                "as real",
            ),
        ]

    def comparable(self, rows: Sequence[Row], samples: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        """Passages of held-out rows, as long as the samples."""
        passages: list[Row] = []
        for i, row in enumerate(samples):
            text, length = rows[i % len(rows)][self.column], len(row[self.column])
            start = int(rng.integers(max(1, len(text) - length + 1)))
            passages.append({self.column: text[start : start + length]})
        return passages

    @cached_property
    def _train_words(self) -> set[str]:
        return {word for text in self.train for word in _words(text)}

    @cached_property
    def _train_ngrams(self) -> set[tuple[str, ...]]:
        return {ngram for text in self.train for ngram in _ngrams(_words(text))}


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def _ngrams(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[i:] for i in range(COPY_LENGTH)), strict=False)


def _share(hits: Iterator[bool]) -> float | None:
    """The share of hits, None if there are no items."""
    values = list(hits)
    return float(np.mean(values)) if values else None
