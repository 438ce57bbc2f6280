"""AnyOrder: columns of one token, each given any of the others (Uria et al., 2014, "A deep and tractable density
estimator"; Hoogeboom et al., 2022, "Autoregressive diffusion models").

    p(x | c) = prod_i p(x_o(i) | x_o(1), ..., x_o(i-1), c)   in any order o of the K columns                (1)
    loss = K / (K - k) sum_{i > k} -log p(x_o(i) | x_o(1), ..., x_o(k), c),   k ~ U{0, ..., K - 1}          (2)

One network of what is known of a row gives the distributions of all other columns. Numbers are in rank space, where
each value has an interval (nets/row.py). So a sample given any columns takes a pass of the network for each unknown
one, and log p is exact; samples and log p are in the order of the formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from likewise.core.batch import Batch, Context, row_values
from likewise.core.categorical import sample_categorical
from likewise.core.cells import FAR
from likewise.core.formula import FormulaError
from likewise.core.known import KnownParts, fill_unknown, present_masks
from likewise.core.ranges import Depth, NumComponents, Share, ShareBelowOne, Temperature, Width
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.core.spec import Spec
from likewise.families.base import Family
from likewise.generation.idle import IdleRule
from likewise.nets.conditioning import ContextEncoder
from likewise.nets.layers import Linear
from likewise.nets.row import EXPANSION, ResidualMLP, RowEncoder, RowHeads, sample_logistics

ROWS = 512  # of a training step
DROPOUT, MAX_DROPOUT = 0.001, 0.2  # of hidden floats: for each pass through the rows, and at most


class AnyOrder(Family):
    """P(targets | sources) of targets of one token, in any order."""

    learns_gaps: ClassVar[bool] = True
    uses_muon: ClassVar[bool] = False
    needs_float32: ClassVar[bool] = True
    idle_rules: ClassVar[Sequence[IdleRule]] = ()
    row_options: ClassVar[frozenset[str]] = frozenset({"temperature"})
    batch: int = ROWS

    def __init__(
        self,
        targets: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        width: Width = 256,
        depth: Depth = 2,
        components: NumComponents = 10,
        ordered: Share = 0.5,
        dropout: ShareBelowOne | None = None,
    ) -> None:
        """Build the network.

        width   hidden width; depth: blocks of the network; components: logistics of the mixture of a number
        ordered  share of training rows in which the known columns are the first ones of the formula, as in sampling;
                in the others they are any
        dropout  share of hidden floats that are dropped in training (default 0.001 for each pass through the rows, at
                most 0.2)

        Raises FormulaError for a target of several tokens, such as a text or a picture.
        """
        super().__init__(targets, sources)
        for name, spec in targets.items():
            if spec.tokens > 1 or spec.width > 1:
                raise FormulaError(
                    f"the family any_order learns columns of numbers and labels, and the target {name} is none; "
                    "take another family, such as flow"
                )
        rows = {n: s for n, s in sources.items() if s.tokens == 1 and not s.axes and not s.padded}
        others = {n: s for n, s in sources.items() if n not in rows}
        self.row_sources, self.other_sources = list(rows), list(others)
        self.ordered, self.dropout = ordered, dropout
        self.encoder = RowEncoder({**targets, **rows}, width)
        self.context_encoder = ContextEncoder(others, width) if others else None
        self.context_proj = Linear(width, width) if others else None
        self.trunk = ResidualMLP(width, depth)
        self.heads = RowHeads(targets, width, components)

    # ---- training

    def init_from_data(self, x: Batch, c: Context, rng: Rng) -> None:
        """Begin with the frequencies of classes; numbers in rank space are about normal."""
        self.heads.init_from_data(x, present_masks(self.targets, x, len(rng), rng.device))

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """(2); of rows that lack values, those that they have."""
        columns = len(self.targets)
        masks = present_masks(self.targets, x, len(rng), rng.device)
        present = torch.cat([masks[n] for n in self.targets], dim=1)
        u = rng.uniform(columns + 2)
        place = torch.where(
            u[:, -2:-1] < self.ordered,
            torch.arange(columns, device=u.device),
            u[:, :columns].argsort(1).argsort(1),
        )
        count = (u[:, -1:] * columns).floor()
        outputs = self.heads(self._hidden(x, (place < count) & present, c, rng))
        nats, _ = self.heads.log_prob(outputs, x)
        losses = -torch.stack([nats[n] for n in self.targets], dim=1)
        unknown = (place >= count) & present
        return (losses * unknown).sum(1) * columns / (columns - count[:, 0])

    def _hidden(self, x: Batch, known: Tensor, c: Context, noise: Rng | None = None) -> Tensor:
        """The output of the trunk (B, D) given the targets that are known, (B, K) bool; with dropout by `noise`."""
        place = {name: k for k, name in enumerate(c.values)}
        given = c.present[:, [place[n] for n in self.row_sources]].to(known.device)
        values = {**x, **{n: c.values[n] for n in self.row_sources}}
        h = self.encoder(values, torch.cat([known, given], dim=1))
        if self.context_encoder is not None and self.context_proj is not None:
            present = c.present[:, [place[n] for n in self.other_sources]]
            context = Context({n: c.values[n] for n in self.other_sources}, present)
            h = h + self.context_proj(self.context_encoder(context).pooled)
        share = min(MAX_DROPOUT, DROPOUT * self.epochs) if self.dropout is None else self.dropout
        threshold = round(256 * share) if noise is not None and self.training else 0
        if noise is None or not threshold:
            return self.trunk(h)
        masks = noise.bytes(len(self.trunk.inner), EXPANSION * h.shape[1]) >= threshold
        each = iter(masks.unbind(1))
        return self.trunk(h, lambda a: a * next(each) * (256 / (256 - threshold)))

    # ---- sampling

    @torch.no_grad()
    def sample(
        self,
        c: Context,
        *,
        known: KnownParts | None,
        rng: Rng,
        temperature: Temperature = 1.0,
    ) -> Batch:
        """Sample one column after another, in the order of the formula, each given all that is known by then.

        temperature  of every column: below 1 its likelier values are preferred, 0 takes the likeliest
        """
        x, masks = fill_unknown(self.targets, known, len(rng), rng.device)
        flags = torch.cat([masks[n] for n in self.targets], dim=1)
        u = rng.uniform(len(self.targets), 2)
        scale = row_values(temperature, rng.device)
        for k, (name, spec) in enumerate(self.targets.items()):
            fixed = flags[:, k]
            if bool(fixed.all()):
                continue
            outputs = self.heads.column(self._hidden(x, flags, c), name)
            if spec.categorical:
                ids = sample_categorical(outputs, u[:, k, 0], scale)
                x[name] = torch.where(fixed[:, None], x[name], ids[:, None])
            else:
                far = outputs.new_full((len(rng),), FAR)
                z = sample_logistics(outputs, u[:, k, 0], u[:, k, 1], scale, -far, far)
                z = self.heads.middle(name, z)
                x[name] = torch.where(fixed[:, None, None], x[name], z[:, None, None])
            flags[:, k] = True
        return x

    # ---- scoring

    @torch.no_grad()
    def log_prob(self, x: Batch, c: Context, *, rng: Rng, observed: Batch | None = None) -> Score:
        """log p(x | c) by (1).

        observed  target -> (B, 1) bool: of the others nothing is known, and log p is that of these alone
        """
        rows, device = len(rng), rng.device
        nats = torch.zeros(rows, device=device)
        flags = torch.zeros(rows, len(self.targets), dtype=torch.bool, device=device)
        for k, name in enumerate(self.targets):
            there = None if observed is None else observed[name][:, 0].to(device)
            log_p = self.heads.column_log_prob(self._hidden(x, flags, c), name, x[name])
            nats = nats + (log_p if there is None else log_p.where(there, 0.0))
            flags[:, k] = True if there is None else there
        return Score(nats, "exact", len(self.targets))
