"""Matter: checks of sequences and structures. Proteins by HMMER, crystals by spglib."""

from __future__ import annotations

import io
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from likewise.demos.crystal import ANGLES, LENGTHS, SYMBOLS, read_crystal
from likewise.demos.texts import GLOBINS, TUTORIAL
from likewise.evaluation.checks import Check, Mark, Row, tool

AMINO_ACIDS = frozenset("ACDEFGHIKLMNPQRSTVWY")
EXPECTED, AMONG = 1e-3, 1000  # an E-value at most, in a search of so many sequences
ALIKE = 0.95  # share of places that are the same: a sequence is no new one
NEAR = 0.7  # Angstrom: two atoms are nearer in no crystal; H-H is 0.74
ROUNDED = 0.05  # Angstrom by which a place may be off for a symmetry: 3 digits of a cell of some 30


class Proteins(Check):
    """Sequences, by a profile of their family (Eddy, 2011), which no model has seen."""

    what = f"20 amino acids; HMMER's globins4 finds it with E <= {EXPECTED} among {AMONG:,} sequences"

    def __init__(self, column: str, train: Sequence[str], profile: bytes | None = None) -> None:
        """`profile`: the file of a hidden Markov model, globins4.hmm unless it is given."""
        super().__init__(column, train)
        self.tool = tool("pyhmmer", "proteins")
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

    def more(self, rows: Sequence[Row]) -> list[Mark]:
        texts = [row[self.column] for row in rows]
        return [
            Mark("amino acids", np.array(list(map(_amino, texts))), "no other letters than the 20"),
            Mark(
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


class Crystals(Check):
    """Structures (demos/crystal.py), by spglib (Togo & Tanaka, 2018) and by the distances of atoms.

    Two are the same if they have the same atoms in the cell and the same space group.
    """

    what = f"it can be read, no two atoms are nearer than {NEAR} Angstrom, and spglib finds a space group"

    def __init__(self, column: str, train: Sequence[str]) -> None:
        super().__init__(column, train)
        self.tool = tool("spglib", "crystals")
        self._groups: dict[str, int | None] = {}

    def valid(self, row: Row) -> bool:
        return self.group(row[self.column]) is not None

    def group(self, text: str) -> int | None:
        """The number of the space group of a valid crystal, else None."""
        if text not in self._groups:
            self._groups[text] = self._found(text)
        return self._groups[text]

    def _found(self, text: str) -> int | None:
        structure = _read(text)
        if structure is None or not distance(structure) >= NEAR:
            return None
        places = [site["abc"] for site in structure["sites"]]
        numbers = [SYMBOLS.index(element) + 1 for element in _elements(structure)]
        try:
            found = self.tool.get_symmetry_dataset((lattice(structure["lattice"]), places, numbers), ROUNDED)
        except self.tool.error.SpglibError:
            return None
        return None if found is None else int(found.number)  # None where errors are not raised yet

    def key(self, text: str) -> str:
        group = self.group(text)
        return text if group is None else f"{_atoms(text)} {group}"

    def more(self, rows: Sequence[Row]) -> list[Mark]:
        texts = [row[self.column] for row in rows]
        groups = [self.group(text) for text in texts]
        found = [
            Mark(
                "can be read",
                np.array([_read(text) is not None for text in texts]),
                "a cell, then elements and places",
            )
        ]
        found.append(
            Mark(
                "symmetric",
                np.array([(group or 0) > 1 for group in groups]),
                "valid, of another space group than P1, where nothing but translation is left",
            )
        )
        if "caption" in rows[0]:
            same = [_atoms(text) == row["caption"] for text, row in zip(texts, rows, strict=True)]
            found.append(Mark("of the atoms", np.array(same), "the atoms in the cell are the column caption"))
        if "group" in rows[0]:
            same = [str(group) == str(row["group"]) for group, row in zip(groups, rows, strict=True)]
            found.append(Mark("of the group", np.array(same), "spglib finds the column group"))
        return found


def lattice(cell: Mapping[str, float]) -> np.ndarray:
    """The vectors of a cell as rows, (3, 3), NaN where the three angles do not go together.

    >>> lattice({"a": 1, "b": 2, "c": 3, "alpha": 90, "beta": 90, "gamma": 90}).round(9).tolist()
    [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]]
    """
    a, b, c = (cell[name] for name in LENGTHS)
    x, y, z = (math.cos(math.radians(cell[name])) for name in ANGLES)
    sine = math.sqrt(max(1 - z * z, 0))
    with np.errstate(all="ignore"):
        side = np.divide(x - y * z, sine)
        height = np.sqrt(1 - y * y - side * side)
    return np.array([[a, 0, 0], [b * z, b * sine, 0], [c * y, c * side, c * height]])


def distance(structure: Mapping[str, Any]) -> float:
    """The smallest distance of two atoms, in Angstrom, one and its own image included; NaN for no cell."""
    cell = lattice(structure["lattice"])
    places = np.array([site["abc"] for site in structure["sites"]])
    moves = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=3)))
    between = (places[:, None] - places)[None] + moves[:, None, None]  # (125, S, S, 3)
    lengths = np.linalg.norm(between @ cell, axis=-1)
    lengths[len(moves) // 2][np.diag_indices(len(places))] = np.inf  # of an atom to itself
    return float(lengths.min())


def _read(text: str) -> dict[str, Any] | None:
    try:
        return read_crystal(text)
    except ValueError:
        return None


def _elements(structure: Mapping[str, Any]) -> list[str]:
    return [site["species"][0]["element"] for site in structure["sites"]]


def _atoms(text: str) -> str | None:
    """The atoms in a cell as the column caption has them, None for a text that cannot be read."""
    structure = _read(text)
    counts = Counter(_elements(structure)) if structure else {}
    return " ".join(f"{element}{counts[element]}" for element in sorted(counts)) or None


def _amino(text: str) -> bool:
    return bool(text) and set(text) <= AMINO_ACIDS
