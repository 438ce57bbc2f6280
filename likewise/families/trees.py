"""Decision trees, column after column: sequential CART synthesis (Reiter, 2005; Nowok et al., 2016, "synthpop").

    P(x | c) = P(x_1 | c) P(x_2 | x_1, c) P(x_3 | x_1, x_2, c) ...                                      (1)

Each factor is a decision tree, fitted to the training rows at once. A number is sampled between the sorted values of
a leaf, so that no row's value is repeated; a category by the frequencies in the leaf (column_trees.py).

The sources have trees too, before the targets: one that is absent is sampled with the targets. What is known of later
columns conditions those before by particles (particles.py), exactly in the limit of many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from likewise.core.batch import Batch, Context
from likewise.core.known import KnownParts, present_masks
from likewise.core.ranges import Draws, MinLeaf, PositiveFloat, PositiveInt
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.core.spec import Spec
from likewise.families.base import Family
from likewise.generation import idle
from likewise.generation.idle import IdleRule
from likewise.generation.trees.column_trees import ColumnTrees
from likewise.generation.trees.fitting import fit_tree
from likewise.generation.trees.particles import Rows, log_evidence, sample_rows


class Trees(Family):
    """P(targets | sources) as a decision tree of each column given those before it, for columns of one token."""

    idle_rules: ClassVar[Sequence[IdleRule]] = idle.TREES

    learns_cells: ClassVar[bool] = True
    learns_gaps: ClassVar[bool] = True
    learns_by_gradients: ClassVar[bool] = False
    needs_float32: ClassVar[bool] = True
    uses_muon: ClassVar[bool] = False
    separable: ClassVar[bool] = False

    def __init__(
        self,
        targets: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        min_leaf: MinLeaf = 12,
        order: Literal["numbers_first", "formula"] = "numbers_first",
        smoothing: PositiveFloat = 15.0,
        pseudocount: PositiveFloat = 0.5,
        rows: PositiveInt = 100_000,
    ) -> None:
        """Make room for a tree of each column.

        min_leaf  training rows of a leaf, at least: with fewer, samples are nearer to training rows
        order     of the targets in (1): numbers, then categories, or as in the formula
        smoothing  rows with Student's t of a number beside those in a leaf, in log P
        pseudocount  rows with the overall frequencies of a category beside those in a leaf, in log P
        rows      training rows that trees are fitted to, at most

        Raises ValueError for a column of more than one token, such as a picture or a text.
        """
        super().__init__(targets, sources)
        for name, spec in (self.targets | self.sources).items():
            if spec.tokens * spec.width > 1 or spec.padded or spec.windowed:
                raise ValueError(
                    f"the family trees learns numbers and labels, and {name!r} is neither: leave it out, or take "
                    "another family"
                )
        ordered = sorted(self.targets, key=lambda n: order == "numbers_first" and self.targets[n].categorical)
        self.order = [*self.sources, *ordered]
        self.specs = [(self.sources | self.targets)[name] for name in self.order]
        self.min_leaf, self.init_rows = min_leaf, rows
        self.trees = ColumnTrees(self.specs, smoothing, pseudocount)

    def compute_copy(self, *, precision: Literal["auto", "bfloat16", "float32"] = "auto") -> Self:
        """The family itself: thresholds and values are float32 in any precision."""
        return self

    # ---- fitting

    @torch.no_grad()
    def init_from_data(self, x: Batch, c: Context, rng: Rng) -> None:
        """Fit the trees, each to the rows that have a value of its column."""
        present = present_masks(self.targets, x, len(rng), c.present.device)
        rows = self._rows(c, KnownParts(x, present))
        columns = rows.values.where(rows.known, torch.nan).cpu().numpy().astype(np.float32)
        classes = [spec.classes for spec in self.specs]
        self.trees.set_trees(
            [
                fit_tree(columns[:, : j + 1], classes[: j + 1], self.min_leaf, seed=j)
                for j in range(len(classes))
            ]
        )

    def _rows(self, c: Context, known: KnownParts | None) -> Rows:
        """Values of all columns in the order of the trees, and which are known."""
        device = self.trees.depth.device
        blank = torch.zeros(len(c.present), device=device)
        values, masks = [], []
        present = {name: c.present[:, k] for k, name in enumerate(c.values)}
        for name in self.order:
            value, mask = blank, blank.bool()
            if name in self.sources:
                value, mask = c.values[name].flatten(), present[name]
            elif known is not None and name in known.values:
                value, mask = known.values[name].flatten(), known.masks[name].flatten()
            mask = mask.to(device)
            masks.append(mask)
            values.append(torch.where(mask, value.to(blank), blank))
        return Rows(torch.stack(values, 1), torch.stack(masks, 1))

    # ---- densities and samples

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """-log p(x | c) / dims by `log_prob`, of the values that x has: (B,)."""
        observed = present_masks(self.targets, x, len(rng), c.present.device)
        score = self.log_prob(x, c, rng=rng, observed=observed)
        return -score.nats / score.dims

    @torch.no_grad()
    def log_prob(
        self,
        x: Batch,
        c: Context,
        *,
        rng: Rng,
        observed: Mapping[str, Tensor] | None = None,
        particles: Draws = 64,
    ) -> Score:
        """log p(x | c), smoothed: exact where no value is missing that comes before others in (1), else an estimate.

        observed   column -> (B, T) bool: log p of the parts where it is True, given the sources
        particles  of each row, where a value is missing
        """
        masks = {name: torch.ones(len(rng), 1, dtype=torch.bool) for name in self.targets}
        masks |= dict(observed or {})
        rows = self._rows(c, KnownParts(x, masks))
        nats, exact = log_evidence(self.trees, rows, len(self.sources), particles, rng)
        return Score(nats.float(), "exact" if exact else "estimate", len(self.targets))

    @torch.no_grad()
    def sample(self, c: Context, *, known: KnownParts | None, rng: Rng, particles: Draws = 64) -> Batch:
        """Sample column after column: exact where what is known, or given, comes first in (1).

        particles  of each row, where other columns are known: more are nearer to P(unknown | known)
        """
        rows = self._rows(c, known)
        values = sample_rows(self.trees, rows, particles, rng)
        samples = {}
        for k, name in enumerate(self.order):
            if name in self.targets:
                value = values[:, k, None]
                samples[name] = value.long() if self.targets[name].categorical else value[..., None]
        return {name: samples[name] for name in self.targets}
