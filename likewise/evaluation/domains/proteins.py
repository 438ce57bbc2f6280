"""TODO evaluation.domains.proteins."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from likewise.data.datasets.texts import GLOBINS, TUTORIAL
from likewise.evaluation.domains.base import DomainCheck, Row, RowMetric, import_tool

AMINO_ACIDS = frozenset("ACDEFGHIKLMNPQRSTVWY")
EXPECTED, AMONG = 1e-3, 1000  # an E-value at most, in a search of so many sequences
ALIKE = 0.95  # share of places that are the same: a sequence is no new one


class Proteins(DomainCheck):
    """Sequences, by a profile of their family (Eddy, 2011), which no model has seen."""

    what = f"20 amino acids; HMMER's globins4 finds it with E <= {EXPECTED} among {AMONG:,} sequences"

    def __init__(self, column: str, train: Sequence[str], profile: bytes | None = None) -> None:
        """`profile`: the file of a hidden Markov model, globins4.hmm unless it is given."""
        super().__init__(column, train)
        self.tool = import_tool("pyhmmer", "proteins")
        profile = profile or GLOBINS.member(f"{TUTORIAL}globins4.hmm")
        with self.tool.plan7.HMMFile(io.BytesIO(profile)) as file:
            self.hmm = file.read()

    def valid(self, row: Row) -> bool:
        return _amino(text := row[self.column]) and bool(self.found([text]))

    def found(self, texts: Sequence[str]) -> set[int]:
        """The numbers of the sequences, of amino acids, that are of the family."""
        pipeline = self.tool.plan7.Pipeline(self.hmm.alphabet, Z=AMONG, E=EXPECTED)
        return {
            int(hit.name)
            for hit in pipeline.search_hmm(self.hmm, self._block(texts))
            if hit.evalue <= EXPECTED
        }

    def identity(self, texts: Sequence[str]) -> np.ndarray:
        """Share of places where a sequence has the letter of the training sequence nearest to it, (N,).

        Both are aligned with the profile; a place counts that either has. 0 for what is no sequence.
        """
        rows = [i for i, text in enumerate(texts) if _amino(text)]
        nearest = np.zeros(len(texts))
        if rows:
            block = self._block([*self._sequences, *(texts[i] for i in rows)])
            aligned = self.tool.hmmalign(self.hmm, block).alignment
            # places of the profile are capitals and "-", what is inserted there are small letters and "."
            letters = np.array([[ord(c) for c in line if c.isupper() or c == "-"] for line in aligned])
            seen, ours = letters[: len(self._sequences)], letters[len(self._sequences) :]
            for i, own in zip(rows, ours, strict=True):
                either = (own != ord("-")) | (seen != ord("-"))
                nearest[i] = (((own == seen) & either).sum(1) / either.sum(1).clip(1)).max()
        return nearest

    def new(self, rows: Sequence[Row]) -> np.ndarray:
        return self.identity([row[self.column] for row in rows]) < ALIKE

    def more(self, rows: Sequence[Row]) -> list[RowMetric]:
        texts = [row[self.column] for row in rows]
        return [
            RowMetric("amino acids", np.array(list(map(_amino, texts))), "no other letters than the 20"),
            RowMetric(
                "identity",
                self.identity(texts),
                f"with the nearest training sequence, mean; what has less than {ALIKE} is new",
                "as real",
            ),
        ]

    @cached_property
    def _sequences(self) -> list[str]:
        return list(filter(_amino, self.train))

    def _block(self, texts: Sequence[str]) -> Any:
        easel, alphabet = self.tool.easel, self.hmm.alphabet
        named = (easel.TextSequence(name=str(i), sequence=text) for i, text in enumerate(texts))
        return easel.DigitalSequenceBlock(alphabet, [sequence.digitize(alphabet) for sequence in named])


def _amino(text: str) -> bool:
    return bool(text) and set(text) <= AMINO_ACIDS
