"""ColumnTrees: the fitted trees of all columns of a row in order, as tensors; leaves, samples and densities.

    P(x_1) P(x_2 | x_1) P(x_3 | x_1, x_2) ...                                                           (1)

A column is one token: a number, or the id of a category, as float32. A leaf holds the n training values that fall into
it, v_1 <= ... <= v_n. A sample of a category is one of them. A sample of a number is

    v_i,  i uniform, if REPEATS training rows or more have the value v_i                                  (2)
    else uniform between the middles of v_i and its neighbours                                          (3)

so it is no single row's value. Densities are smoother:

    p(x) = (n h(x) + s t(x)) / (n + s)                                                                  (4)

h   of a number: (2), and (3) between the middles of v_i and v_(i-m), v_(i+m), m = sqrt(n) / 2,                (5)
    as a histogram with edges between all neighbouring training values; of a category: its share of the leaf
t   of a number: Student's t with 4 degrees of freedom and the leaf's mean and deviation; of a category: its share of
    all training values and one more row of each class alike; s = `smoothing`
    rows for numbers, `pseudocount` rows for categories
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from likewise.core.spec import Spec
from likewise.generation.trees.fitting import FittedTree

FREEDOM = 4.0  # degrees of freedom of t in (4)
LEAST_STD = 0.02  # of t, as a share of the deviation of the column


@dataclass(frozen=True)
class _Density:
    """What (4) needs beside the leaves, computed from them.

    edges  of the bars of h, (E,) float64; share: of each class, (K,); mean and std of the values of each node (N,)
    """

    edges: Tensor
    share: Tensor
    mean: Tensor
    std: Tensor


class ColumnTrees(nn.Module):
    """(1) for columns of these specs, from `set_trees`; before, every column is always 0.

    Buffers hold the nodes of all trees one after the other, and the values of all leaves; their sizes are known once
    trees are fitted, so that loading resizes them.
    """

    first_node: Tensor
    first_value: Tensor
    depth: Tensor
    first_code: Tensor
    codes: Tensor
    feature: Tensor
    threshold: Tensor
    child: Tensor
    start: Tensor
    count: Tensor
    values: Tensor
    repeated: Tensor

    def __init__(self, specs: Sequence[Spec], smoothing: float, pseudocount: float) -> None:
        super().__init__()
        self.specs = list(specs)
        self.weights = [pseudocount if spec.categorical else smoothing for spec in self.specs]
        self._densities: dict[int, _Density] = {}
        count = len(self.specs)
        blank = FittedTree(
            *(torch.zeros(1, dtype=torch.int64), torch.zeros(1), torch.zeros(1, 2, dtype=torch.int64)),
            *(torch.zeros(1, dtype=torch.int64), torch.ones(1, dtype=torch.int64), torch.zeros(1)),
            *(torch.zeros(1, dtype=torch.bool), {}, 0),
        )
        for name in ("first_node", "first_value"):
            self.register_buffer(name, torch.zeros(count + 1, dtype=torch.int64))
        self.register_buffer("depth", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("first_code", torch.zeros(count, count, dtype=torch.int64))
        self.set_trees([blank] * count)

    def set_trees(self, trees: Sequence[FittedTree]) -> None:
        """Take fitted trees, one for each column, each of the columns before it."""
        device = self.depth.device
        nodes = torch.tensor([0, *(len(t.feature) for t in trees)]).cumsum(0)
        values = torch.tensor([0, *(len(t.values) for t in trees)]).cumsum(0)
        codes, starts, place = [torch.zeros(0)], torch.zeros(len(trees), len(trees), dtype=torch.int64), 0
        for j, tree in enumerate(trees):
            for k, code in tree.codes.items():
                codes.append(code)
                starts[j, k] = place
                place += len(code)
        offsets = list(zip(trees, nodes.tolist(), values.tolist(), strict=False))
        buffers = {
            "first_node": nodes,
            "first_value": values,
            "depth": torch.tensor([t.depth for t in trees]),
            "first_code": starts,
            "codes": torch.cat(codes),
            "feature": torch.cat([t.feature for t in trees]),
            "threshold": torch.cat([t.threshold for t in trees]),
            "child": torch.cat([t.child + node for t, node, _ in offsets]),
            "start": torch.cat([t.start + value for t, _, value in offsets]),
            "count": torch.cat([t.count for t in trees]),
            "values": torch.cat([t.values for t in trees]),
            "repeated": torch.cat([t.repeated for t in trees]),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value.to(device))
        self._densities.clear()

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *rest: object) -> None:
        """Resize the buffers whose sizes are those of fitted trees, as the stored trees fit one another."""
        for name in ("codes", "feature", "threshold", "child", "start", "count", "values", "repeated"):
            stored = state_dict.get(prefix + name)
            if stored is not None and stored.ndim == (here := self.get_buffer(name)).ndim:
                self.register_buffer(name, here.new_zeros(stored.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._densities.clear()

    # ---- leaves

    def leaves(self, j: int, x: Tensor) -> Tensor:
        """The leaf of column j in which each row is, by the columns before it, x (B, >= j) float32: nodes (B,)."""
        node = self.first_node[j].expand(len(x))
        if not self.depth[j]:
            return node
        features = x[:, :j].clone()
        for k, spec in enumerate(self.specs[:j]):
            if spec.categorical:
                features[:, k] = self.codes[self.first_code[j, k] + features[:, k].long()]
        child = self.child.view(-1)
        for _ in range(int(self.depth[j])):
            value = features.gather(1, self.feature[node][:, None])[:, 0]
            node = child[2 * node + (value > self.threshold[node])]
        return node

    def sample(self, j: int, leaf: Tensor, u: Tensor) -> Tensor:
        """A sample of column j in each leaf (B,) from uniform numbers (B,), (B,) float32: (2) and (3)."""
        count, start = self.count[leaf], self.start[leaf]
        place = u.double() * count
        i = place.long().clamp(max=count - 1)
        values, low, high = self._interval(start, count, i)
        if self.specs[j].categorical:
            return values
        between = low + (place - i) * (high - low)
        return torch.where(self.repeated[start + i], values.double(), between).float()

    def _interval(
        self, start: Tensor, count: Tensor, i: Tensor, reach: Tensor | int = 1
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of value i of a leaf: v_i (B,) float32, and its middles with v_(i-reach) and v_(i+reach) (B,) float64."""
        values = self.values[start + i]
        before = self.values[start + (i - reach).clamp(min=0)]
        after = self.values[start + (i + reach).minimum(count - 1)]
        return values, (before.double() + values) / 2, (values.double() + after) / 2

    # ---- densities

    def log_density(self, j: int, leaf: Tensor, x: Tensor) -> Tensor:
        """log p of values x (B,) float32 of column j in their leaves (B,): (4), (B,) float64."""
        if j not in self._densities:
            self._densities[j] = self._prepare(j)
        known, n = self._densities[j], self.count[leaf].double()
        if self.specs[j].categorical:
            rows = self._rank(leaf, x, right=True) - self._rank(leaf, x)
            share, smooth = rows / n, known.share[x.long()]
        else:
            bar = torch.searchsorted(known.edges, x.double())
            inside = (bar > 0) & (bar < len(known.edges))
            low, high = known.edges[(bar - 1).clamp(min=0)], known.edges[bar.clamp(max=len(known.edges) - 1)]
            mass = self._cumulative(leaf, high) - self._cumulative(leaf, low)
            share = torch.where(inside, mass / (high - low).where(inside, 1.0), 0.0)
            smooth = self._student(leaf - self.first_node[j], x.double(), known)
        weight = self.weights[j]
        return ((n * share + weight * smooth) / (n + weight)).log()

    def _student(self, node: Tensor, x: Tensor, known: _Density) -> Tensor:
        """t of (4), (B,)."""
        std, a = known.std[node], (FREEDOM + 1) / 2
        constant = math.lgamma(a) - math.lgamma(FREEDOM / 2) - 0.5 * math.log(FREEDOM * math.pi)
        return (constant - a * (((x - known.mean[node]) / std) ** 2 / FREEDOM).log1p()).exp() / std

    def _rank(self, leaf: Tensor, x: Tensor, *, right: bool = False) -> Tensor:
        """How many values of its leaf are below x, or, `right`, at most x: (B,), by bisection."""
        low, high = self.start[leaf], self.start[leaf] + self.count[leaf]
        begin, last = low, len(self.values) - 1
        for _ in range(int(self.count[leaf].max()).bit_length() if len(leaf) else 0):
            middle = (low + high) // 2
            value = self.values[middle.clamp(max=last)]
            below = ((value <= x) if right else (value < x)) & (middle < high)
            low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
        return low - begin

    def _cumulative(self, leaf: Tensor, t: Tensor) -> Tensor:
        """The distribution function of (5) at t (B,) float64, which is no training value: (B,) float64."""
        start, count = self.start[leaf], self.count[leaf]
        below, reach = self._rank(leaf, t), self.reach(count)
        total = (below - reach).clamp(min=0).double()
        furthest = int(reach.max()) if len(reach) else 0
        for step in range(-furthest, furthest):  # values whose intervals may contain t
            i = below + step
            counts = (i >= 0) & (i < count) & (-reach <= step) & (step < reach)
            place = i.clamp(min=0).minimum(count - 1)
            _, low, high = self._interval(start, count, place, reach)
            share = ((t - low) / (high - low).where(high > low, 1.0)).clamp(0, 1)
            share = share.where((high > low) & ~self.repeated[start + place], float(step < 0))
            total = total + share.where(counts, 0.0)
        return total / count

    @staticmethod
    def reach(count: Tensor) -> Tensor:
        """m of (5) for leaves of so many values (B,)."""
        return (count.double().sqrt() / 2).ceil().long()

    def _prepare(self, j: int) -> _Density:
        """What densities of column j need."""
        first, end = self.first_value[j : j + 2].tolist()
        values, nodes = self.values[first:end].double(), slice(*self.first_node[j : j + 2].tolist())
        none = values.new_zeros(0)
        if self.specs[j].categorical:
            classes = self.specs[j].classes
            count = torch.bincount(values.long(), minlength=classes) + 1 / classes
            return _Density(none, count / count.sum(), none, none)
        start, count = self.start[nodes] - first, self.count[nodes]
        column_std = float(values.std(correction=0)) or 1.0
        centre = values.mean()
        mean, square = (
            (sums[start + count] - sums[start]) / count.clamp(min=1)
            for sums in (
                torch.cat([none.new_zeros(1), p.cumsum(0)]) for p in (values - centre, (values - centre) ** 2)
            )
        )
        std = (square - mean**2).clamp(min=0).sqrt().clamp(min=LEAST_STD * column_std)
        return _Density(self.edges(j), none, mean + centre, std)

    def edges(self, j: int) -> Tensor:
        """The edges of the bars of h in (4): those of the column's cells, else the middles of neighbours, (E,) float64."""
        first, end = self.first_value[j : j + 2].tolist()
        distinct, cells = self.values[first:end].double().unique(), self.specs[j].cells
        given = distinct.new_tensor(cells.edges if cells else [])
        separate = torch.searchsorted(given, distinct[1:]) == torch.searchsorted(given, distinct[:-1])
        edges = torch.cat([given, ((distinct[1:] + distinct[:-1]) / 2)[separate]]).unique()
        half = float((edges[-1] - edges[0]) / len(edges)) if len(edges) > 1 else 0.5
        if not len(edges) or distinct[0] <= edges[0]:
            edges = torch.cat([distinct[:1] - half, edges])
        if distinct[-1] >= edges[-1]:
            edges = torch.cat([edges, distinct[-1:] + half])
        return edges
