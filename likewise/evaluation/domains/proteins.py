"""Proteins, by a profile of their family and HMMER."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from likewise.data.datasets.texts import GLOBINS, TUTORIAL
from likewise.evaluation.domains.base import DomainCheck, Row, RowMetric, import_tool

AMINO_ACIDS = frozenset("ACDEFGHIKLMNPQRSTVWY")
MAX_E_VALUE, DATABASE_SIZE = 1e-3, 1000  # of a hit, in a search of so many sequences
MAX_IDENTITY = 0.95  # with the nearest training sequence, of a new one


class Proteins(DomainCheck):
    """Amino acid sequences of the globin family (Eddy, 2011); its profile is no training data."""

    criterion = (
        f"20 amino acids; a hit of HMMER's globins4, E <= {MAX_E_VALUE} among {DATABASE_SIZE:,} sequences"
    )

    def __init__(self, column: str, train: Sequence[str], profile: bytes | None = None) -> None:
        """`profile`: the file of a hidden Markov model (default globins4.hmm)."""
        super().__init__(column, train)
        self.tool = import_tool("pyhmmer", "proteins")
        profile = profile or GLOBINS.member(f"{TUTORIAL}globins4.hmm")
        with self.tool.plan7.HMMFile(io.BytesIO(profile)) as file:
            self.hmm = file.read()

    def valid(self, row: Row) -> bool:
        return _is_amino(text := row[self.column]) and bool(self.hits([text]))

    def hits(self, texts: Sequence[str]) -> set[int]:
        """The indices of the sequences, of amino acids, that belong to the family."""
        pipeline = self.tool.plan7.Pipeline(self.hmm.alphabet, Z=DATABASE_SIZE, E=MAX_E_VALUE)
        return {
            int(hit.name)
            for hit in pipeline.search_hmm(self.hmm, self._block(texts))
            if hit.evalue <= MAX_E_VALUE
        }

    def identity(self, texts: Sequence[str]) -> np.ndarray:
        """The sequence identity with the nearest training sequence, (N,).

        It is the share of equal positions of those that either has, both aligned with the profile; 0 for a
        text that is no sequence.
        """
        rows = [i for i, text in enumerate(texts) if _is_amino(text)]
        nearest = np.zeros(len(texts))
        if rows:
            block = self._block([*self._sequences, *(texts[i] for i in rows)])
            aligned = self.tool.hmmalign(self.hmm, block).alignment
            # match states are upper case and "-", insertions are lower case and "."
            letters = np.array([[ord(c) for c in line if c.isupper() or c == "-"] for line in aligned])
            train, queries = letters[: len(self._sequences)], letters[len(self._sequences) :]
            for i, query in zip(rows, queries, strict=True):
                either = (query != ord("-")) | (train != ord("-"))
                nearest[i] = (((query == train) & either).sum(1) / either.sum(1).clip(1)).max()
        return nearest

    def new(self, rows: Sequence[Row]) -> np.ndarray:
        return self.identity([row[self.column] for row in rows]) < MAX_IDENTITY

    def more_metrics(self, rows: Sequence[Row]) -> list[RowMetric]:
        texts = [row[self.column] for row in rows]
        return [
            RowMetric("amino acids", np.array(list(map(_is_amino, texts))), "no other letters than the 20"),
            RowMetric(
                "identity",
                self.identity(texts),
                f"with the nearest training sequence, mean; a sequence below {MAX_IDENTITY} is new",
                "as real",
            ),
        ]

    @cached_property
    def _sequences(self) -> list[str]:
        return list(filter(_is_amino, self.train))

    def _block(self, texts: Sequence[str]) -> Any:
        easel, alphabet = self.tool.easel, self.hmm.alphabet
        sequences = (easel.TextSequence(name=str(i), sequence=text) for i, text in enumerate(texts))
        return easel.DigitalSequenceBlock(alphabet, [sequence.digitize(alphabet) for sequence in sequences])


def _is_amino(text: str) -> bool:
    return bool(text) and set(text) <= AMINO_ACIDS
