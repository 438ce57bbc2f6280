"""Matter: checks of sequences and structures. Proteins by HMMER, crystals by spglib."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from likewise.data.datasets.crystal import ANGLES, LENGTHS, SYMBOLS, read_crystal
from likewise.evaluation.domains.base import DomainCheck, Row, RowMetric, import_tool

NEAR = 0.7  # Angstrom: two atoms are nearer in no crystal; H-H is 0.74
ROUNDED = 0.05  # Angstrom by which a place may be off for a symmetry: 3 digits of a cell of some 30


class Crystals(DomainCheck):
    """Structures (demos/crystal.py), by spglib (Togo & Tanaka, 2018) and by the distances of atoms.

    Two are the same if they have the same atoms in the cell and the same space group.
    """

    what = f"it can be read, no two atoms are nearer than {NEAR} Angstrom, and spglib finds a space group"

    def __init__(self, column: str, train: Sequence[str]) -> None:
        super().__init__(column, train)
        self.tool = import_tool("spglib", "crystals")
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

    def more(self, rows: Sequence[Row]) -> list[RowMetric]:
        texts = [row[self.column] for row in rows]
        groups = [self.group(text) for text in texts]
        found = [
            RowMetric(
                "can be read",
                np.array([_read(text) is not None for text in texts]),
                "a cell, then elements and places",
            )
        ]
        found.append(
            RowMetric(
                "symmetric",
                np.array([(group or 0) > 1 for group in groups]),
                "valid, of another space group than P1, where nothing but translation is left",
            )
        )
        if "caption" in rows[0]:
            same = [_atoms(text) == row["caption"] for text, row in zip(texts, rows, strict=True)]
            found.append(
                RowMetric("of the atoms", np.array(same), "the atoms in the cell are the column caption")
            )
        if "group" in rows[0]:
            same = [str(group) == str(row["group"]) for group, row in zip(groups, rows, strict=True)]
            found.append(RowMetric("of the group", np.array(same), "spglib finds the column group"))
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
