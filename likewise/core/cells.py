"""CellTable: the cells (Spec.cells) of several columns as tensors: the intervals of their tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from likewise.core.normal import log_mass, middle
from likewise.core.spec import Cells, Spec

FAR = 40.0  # stands for infinity on the axis of tokens
NARROW = 1e-5  # width of the interval of a value without one of its own: of continuous values, and beyond all cells
EVERY = slice(None)  # all columns of a table
WHOLE = Cells((-FAR, FAR), (False,), (0.0,))  # of a column without cells


@dataclass(frozen=True)
class Intervals:
    """The intervals of tokens (B, K): their ends, lengths, and the log of their measure, see Number.log_scale."""

    low: Tensor
    high: Tensor
    width: Tensor
    log_measure: Tensor


class CellTable(nn.Module):
    """Cells of K columns of one float, padded to one table.

    edges (K, S + 1), atoms (K, S), widths (K, S), log_mass, middles (K, S): of each segment, see core/normal.py
    """

    edges: Tensor
    atoms: Tensor
    widths: Tensor
    log_mass: Tensor
    middles: Tensor
    last: Tensor

    def __init__(self, specs: Mapping[str, Spec]) -> None:
        super().__init__()
        cells = [spec.cells or WHOLE for spec in specs.values()]
        size = max((len(c.atoms) for c in cells), default=1)
        edges = torch.full((len(cells), size + 1), 2 * FAR, dtype=torch.float64)
        atoms = torch.zeros(len(cells), size, dtype=torch.bool)
        widths, masses, middles = (torch.zeros(len(cells), size, dtype=torch.float64) for _ in range(3))
        for k, c in enumerate(cells):
            edges[k, : len(c.edges)] = torch.tensor(c.edges)
            atoms[k, : len(c.atoms)] = torch.tensor(c.atoms)
            widths[k, : len(c.widths)] = torch.tensor(c.widths)
            low, high = np.array(c.edges[:-1]), np.array(c.edges[1:])
            masses[k, : len(c.atoms)] = torch.from_numpy(log_mass(low, high))
            middles[k, : len(c.atoms)] = torch.from_numpy(middle(low, high))
        for name, value in (
            ("edges", edges.float()),
            ("atoms", atoms),
            ("widths", widths.float()),
            ("log_mass", masses.float()),
            ("middles", middles.float()),
            ("last", torch.tensor([len(c.atoms) for c in cells], dtype=torch.int64)),
        ):
            self.register_buffer(name, value, persistent=False)

    def intervals(self, z: Tensor, columns: slice = EVERY) -> Intervals:
        """The intervals of tokens (B, n) of these columns. The outermost ones have no end; of continuous values it is a
        narrow one."""
        row = torch.arange(len(self.edges), device=z.device)[columns]
        k = self._segments(z, columns)
        atom, width = self.atoms[row, k], self.widths[row, k]
        begin, end = self.edges[row, k], self.edges[row, k + 1]
        first, last = self.edges[row, 0], self.edges[row, self.last[row]]
        beyond = (z < first) | (z > last)
        index = ((z - begin) / width.clamp(min=1e-12)).floor().clamp(min=0)
        lattice = (width > 0) & ~atom & ~beyond
        low = torch.where(atom, begin, torch.where(lattice, begin + index * width, z - NARROW / 2))
        high = torch.where(atom, end, torch.where(lattice, low + width, z + NARROW / 2))
        cell = torch.where(atom, end - begin, torch.where(lattice, width, torch.full_like(z, NARROW)))
        log_measure = torch.where(
            atom, self.log_mass[row, k] + 0.5 * z**2 + 0.5 * math.log(2 * math.pi), cell.log()
        )
        whole = ~beyond & (width > 0)
        lowest = whole & (k == 0) & (atom | (index == 0))
        highest = whole & (k == self.last[row] - 1) & (atom | (high >= end - cell / 4))
        low, high = low.masked_fill(lowest, -FAR), high.masked_fill(highest, FAR)
        cell = torch.where(lowest | highest, high - low, cell)
        return Intervals(low, high, cell, log_measure)

    def middle(self, z: Tensor, columns: slice = EVERY) -> Tensor:
        """The tokens that stand for the values of any tokens (B, n) of these columns, as encoding the values gives them."""
        row = torch.arange(len(self.edges), device=z.device)[columns]
        k = self._segments(z, columns)
        atom, width = self.atoms[row, k], self.widths[row, k]
        begin, end = self.edges[row, k], self.edges[row, k + 1]
        index = ((z - begin) / width.clamp(min=1e-12)).floor()
        count = ((end - begin) / width.clamp(min=1e-12)).round().clamp(min=1)
        inner = begin + (index.clamp(min=0).minimum(count - 1) + 0.5) * width
        z = z.clamp(min=begin, max=end)
        return torch.where(atom, self.middles[row, k], torch.where(width > 0, inner, z))

    def _segments(self, z: Tensor, columns: slice) -> Tensor:
        """The segment of each token (B, n)."""
        k = torch.searchsorted(self.edges[columns], z.T.contiguous(), right=True).T - 1
        return k.clamp(min=0).minimum(self.last[columns] - 1)
