"""CellTable: the cells (Spec.cells) of several columns as tensors: the intervals of their tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from likewise.core.spec import Cells, Spec

FAR = 40.0  # stands for infinity on the axis of tokens
NARROW = 1e-5  # width of the interval of a value without one of its own: of continuous values, and beyond all cells
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

    edges (K, S + 1), atoms (K, S), widths (K, S), log_mass (K, S): normal log-mass of each segment
    """

    edges: Tensor
    atoms: Tensor
    widths: Tensor
    log_mass: Tensor
    last: Tensor

    def __init__(self, specs: Mapping[str, Spec]) -> None:
        super().__init__()
        cells = [spec.cells or WHOLE for spec in specs.values()]
        size = max((len(c.atoms) for c in cells), default=1)
        edges = torch.full((len(cells), size + 1), 2 * FAR, dtype=torch.float64)
        atoms = torch.zeros(len(cells), size, dtype=torch.bool)
        widths = torch.zeros(len(cells), size, dtype=torch.float64)
        for k, c in enumerate(cells):
            edges[k, : len(c.edges)] = torch.tensor(c.edges)
            atoms[k, : len(c.atoms)] = torch.tensor(c.atoms)
            widths[k, : len(c.widths)] = torch.tensor(c.widths)
        for name, value in (
            ("edges", edges.float()),
            ("atoms", atoms),
            ("widths", widths.float()),
            ("log_mass", _log_mass(edges).float()),
            ("last", torch.tensor([len(c.atoms) for c in cells], dtype=torch.int64)),
        ):
            self.register_buffer(name, value, persistent=False)

    def intervals(self, z: Tensor) -> Intervals:
        """The intervals of tokens (B, K). The outermost ones have no end; of continuous values it is a narrow one."""
        k = self._segments(z)
        row = torch.arange(len(self.edges), device=z.device)
        atom, width = self.atoms[row, k], self.widths[row, k]
        begin, end = self.edges[row, k], self.edges[row, k + 1]
        first, last = self.edges[:, 0], self.edges[row, self.last]
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
        highest = whole & (k == self.last - 1) & (atom | (high >= end - cell / 4))
        low, high = low.masked_fill(lowest, -FAR), high.masked_fill(highest, FAR)
        cell = torch.where(lowest | highest, high - low, cell)
        return Intervals(low, high, cell, log_measure)

    def middle(self, z: Tensor) -> Tensor:
        """The token that stands for the value of any tokens (B, K), as encoding the value gives it."""
        k = self._segments(z)
        row = torch.arange(len(self.edges), device=z.device)
        atom, width = self.atoms[row, k], self.widths[row, k]
        begin, end = self.edges[row, k], self.edges[row, k + 1]
        index = ((z - begin) / width.clamp(min=1e-12)).floor()
        count = ((end - begin) / width.clamp(min=1e-12)).round().clamp(min=1)
        inner = begin + (index.clamp(min=0).minimum(count - 1) + 0.5) * width
        z = z.clamp(min=begin, max=end)
        return torch.where(atom, _middle(begin, end), torch.where(width > 0, inner, z))

    def _segments(self, z: Tensor) -> Tensor:
        """The segment of each token (B, K)."""
        k = torch.searchsorted(self.edges, z.T.contiguous(), right=True).T - 1
        return k.clamp(min=0).minimum(self.last - 1)


def _log_mass(edges: Tensor) -> Tensor:
    """log of the normal mass between edges (K, S + 1) float64 -> (K, S)."""
    low, high = edges[:, :-1], edges[:, 1:]
    flip = low + high > 0
    a = torch.special.log_ndtr(torch.where(flip, -high, low))
    b = torch.special.log_ndtr(torch.where(flip, -low, high))
    return b + torch.log(-torch.expm1((a - b).clamp(max=-1e-300)))


def _middle(low: Tensor, high: Tensor) -> Tensor:
    """z that halves the normal mass of [low, high]."""
    flip = low + high > 0
    a, b = torch.where(flip, -high, low).double(), torch.where(flip, -low, high).double()
    z = torch.special.ndtri((torch.special.ndtr(a) + torch.special.ndtr(b)) / 2)
    z = torch.where(z.isfinite(), z, (a + b) / 2)
    return torch.where(flip, -z, z).to(low)
