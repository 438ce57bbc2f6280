"""Crystals, by spglib and by the distances of atoms."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from likewise.data.datasets.crystal import ANGLES, LENGTHS, SYMBOLS, read_crystal
from likewise.evaluation.domains.base import DomainCheck, Row, RowMetric, import_tool

MIN_DISTANCE = 0.7  # Angstrom between two atoms: no crystal has less; H-H is 0.74
TOLERANCE = 0.05  # Angstrom, of positions in a symmetry: 3 digits of a cell of some 30


class Crystals(DomainCheck):
    """Structures as text, their symmetry by spglib (Togo & Tanaka, 2018).

    Two are the same if they have the same atoms in the cell and the same space group.
    """

    criterion = (
        f"it can be read, no two atoms are nearer than {MIN_DISTANCE} Angstrom, "
        "and spglib determines a space group"
    )

    def __init__(self, column: str, train: Sequence[str]) -> None:
        super().__init__(column, train)
        self.tool = import_tool("spglib", "crystals")
        self._groups: dict[str, int | None] = {}

    def valid(self, row: Row) -> bool:
        return self.space_group(row[self.column]) is not None

    def space_group(self, text: str) -> int | None:
        """The number of the space group of a valid crystal, else None."""
        if text not in self._groups:
            self._groups[text] = self._compute_space_group(text)
        return self._groups[text]

    def _compute_space_group(self, text: str) -> int | None:
        structure = _read(text)
        if structure is None or not smallest_distance(structure) >= MIN_DISTANCE:
            return None
        positions = [site["abc"] for site in structure["sites"]]
        numbers = [SYMBOLS.index(element) + 1 for element in _elements(structure)]
        cell = lattice(structure["lattice"]), positions, numbers
        try:
            symmetry = self.tool.get_symmetry_dataset(cell, TOLERANCE)
        except self.tool.error.SpglibError:
            return None
        return None if symmetry is None else int(symmetry.number)  # None in versions that do not raise

    def key(self, text: str) -> str:
        group = self.space_group(text)
        return text if group is None else f"{_composition(text)} {group}"

    def more_metrics(self, rows: Sequence[Row]) -> list[RowMetric]:
        texts = [row[self.column] for row in rows]
        groups = [self.space_group(text) for text in texts]
        metrics = [
            RowMetric(
                "can be read",
                np.array([_read(text) is not None for text in texts]),
                "a cell, then elements and positions",
            ),
            RowMetric(
                "symmetric",
                np.array([(group or 0) > 1 for group in groups]),
                "valid, of another space group than P1, which has translations alone",
            ),
        ]
        if "caption" in rows[0]:
            same = [_composition(text) == row["caption"] for text, row in zip(texts, rows, strict=True)]
            metrics.append(
                RowMetric(
                    "atoms correct", np.array(same), "the atoms in the cell are those of the column caption"
                )
            )
        if "group" in rows[0]:
            same = [str(group) == str(row["group"]) for group, row in zip(groups, rows, strict=True)]
            metrics.append(
                RowMetric(
                    "space group correct", np.array(same), "the space group is that of the column group"
                )
            )
        return metrics


def lattice(cell: Mapping[str, float]) -> np.ndarray:
    """The vectors of a cell as rows, (3, 3), NaN where the three angles are impossible together.

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


def smallest_distance(structure: Mapping[str, Any]) -> float:
    """The smallest distance of two atoms, or of one and its own image, in Angstrom; NaN for no cell."""
    cell = lattice(structure["lattice"])
    positions = np.array([site["abc"] for site in structure["sites"]])
    shifts = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=3)))
    differences = (positions[:, None] - positions)[None] + shifts[:, None, None]  # (125, S, S, 3)
    lengths = np.linalg.norm(differences @ cell, axis=-1)
    lengths[len(shifts) // 2][np.diag_indices(len(positions))] = np.inf  # of an atom to itself
    return float(lengths.min())


def _read(text: str) -> dict[str, Any] | None:
    try:
        return read_crystal(text)
    except ValueError:
        return None


def _elements(structure: Mapping[str, Any]) -> list[str]:
    return [site["species"][0]["element"] for site in structure["sites"]]


def _composition(text: str) -> str | None:
    """The atoms in a cell in the form of the column caption, None for a text that cannot be read."""
    structure = _read(text)
    counts = Counter(_elements(structure)) if structure else {}
    return " ".join(f"{element}{counts[element]}" for element in sorted(counts)) or None
