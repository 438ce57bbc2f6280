"""Checks: what an independent tool says of the texts of one domain, row by row.

A check knows rows of a table and no model. The tools are the optional extra `judges`; Python's functions and
the plays need none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from likewise.evaluation.domains.base import COPIED_WORDS, DomainCheck, Row, RowMetric


class Plays(DomainCheck):
    """Running prose, by the words and the rows of words that the training works have."""

    def row_metrics(self, rows: Sequence[Row]) -> list[RowMetric]:
        said = [_words(row[self.column]) for row in rows]
        spelt = [float(np.mean([w in self._words for w in words])) if words else 0.0 for words in said]
        runs = [[*zip(*(words[i:] for i in range(COPIED_WORDS)), strict=False)] for words in said]
        fresh = [float(np.mean([run not in self._runs for run in found])) if found else 1.0 for found in runs]
        return [
            RowMetric(
                "words known", np.array(spelt), "share of a text's words that training works have", "as real"
            ),
            RowMetric(
                f"{COPIED_WORDS} words new",
                np.array(fresh),
                f"share of a text's rows of {COPIED_WORDS} words that stand in no training work",
                "as real",
            ),
        ]

    def real(self, rows: Sequence[Row], drawn: Sequence[Row], rng: np.random.Generator) -> list[Row]:
        """Passages of rows held out, as long as the drawn texts."""
        found = []
        for i, row in enumerate(drawn):
            text, long = rows[i % len(rows)][self.column], len(row[self.column])
            start = int(rng.integers(max(1, len(text) - long + 1)))
            found.append({self.column: text[start : start + long]})
        return found

    @cached_property
    def _words(self) -> set[str]:
        return {word for text in self.train for word in _words(text)}

    @cached_property
    def _runs(self) -> set[tuple[str, ...]]:
        return {
            run
            for text in self.train
            for run in zip(*(_words(text)[i:] for i in range(COPIED_WORDS)), strict=False)
        }


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())
