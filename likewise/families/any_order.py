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
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from likewise.core.batch import Batch, Context, row_values
from likewise.core.categorical import Option
from likewise.core.errors import warn
from likewise.core.formula import FormulaError
from likewise.core.known import KnownParts, fill_unknown, present_masks, where_known
from likewise.core.ranges import Depth, NumComponents, Share, ShareBelowOne, Temperature, Width
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.core.spec import Spec
from likewise.families.base import Family
from likewise.generation.controls import Ranges
from likewise.generation.idle import IdleRule
from likewise.nets.column_weights import Adopting, Columns
from likewise.nets.conditioning import EMBEDDING_STD, ContextEncoder, EncodedContext
from likewise.nets.row import EXPANSION, ContextAttention, ResidualMLP, RowEncoder, RowHeads

MAX_ROUNDS = 500  # of sampling rows again that do not satisfy all conditions
ROWS = 512  # of a training step
DROPOUT, MAX_DROPOUT = 0.001, 0.2  # of hidden floats: for each pass through the rows, and at most


@dataclass
class RowState:
    """Rows that are being sampled.

    x            tokens, column -> (B, 1) or (B, 1, 1); known (B, K) bool, in the order of `names`
    h            the embedding of what is known (B, D); context: the encoded sources of several tokens
    temperature  a number, or (B, 1)
    ranges       conditions on columns
    """

    x: Batch
    known: Tensor
    names: Sequence[str]
    h: Tensor
    context: EncodedContext | None
    temperature: Option
    ranges: Ranges | None


class AnyOrder(Family, Adopting):
    """P(targets | sources) of targets of one token, in any order."""

    learns_cells: ClassVar[bool] = True
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
        rows = {n: s for n, s in sources.items() if s.tokens == s.width == 1 and not s.axes and not s.padded}
        others = {n: s for n, s in sources.items() if n not in rows}
        self.row_sources, self.other_sources = list(rows), list(others)
        self.ordered, self.dropout = ordered, dropout
        inputs = {**(targets if len(targets) > 1 else {}), **rows}  # of a single target nothing is ever known
        self.start = nn.Parameter(EMBEDDING_STD * torch.randn(width))
        self.encoder = RowEncoder(inputs, width) if inputs else None
        self.context_encoder = ContextEncoder(others, width) if others else None
        self.attention = ContextAttention(width) if others else None
        self.trunk = ResidualMLP(width, depth)
        self.heads = RowHeads(targets, width, components)

    def adopt(self, old: nn.Module, columns: Columns) -> None:
        """Without sources of several tokens: what the network of an old one with some adds where none is given."""
        assert isinstance(old, AnyOrder)
        if self.context_encoder is None and old.context_encoder is not None and old.attention is not None:
            pooled = old.context_encoder.missing.sum(0) + old.context_encoder.left_out
            self.start.add_(old.attention.out(pooled))

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
        nats = self.heads.log_prob(outputs, x)
        losses = -torch.stack([nats[n] for n in self.targets], dim=1)
        unknown = (place >= count) & present
        return (losses * unknown).sum(1) * columns / (columns - count[:, 0])

    def _hidden(self, x: Batch, known: Tensor, c: Context, noise: Rng) -> Tensor:
        """The output of the trunk (B, D) given the targets that are known, (B, K) bool; with dropout by `noise`."""
        h = self._attend(self._embed(x, known, c), self._context(c))
        share = min(MAX_DROPOUT, DROPOUT * self.epochs) if self.dropout is None else self.dropout
        threshold = round(256 * share) if self.training else 0
        if not threshold:
            return self.trunk(h)
        masks = noise.bytes(len(self.trunk.inner), EXPANSION * h.shape[1]) >= threshold
        each = iter(masks.unbind(1))
        return self.trunk(h, lambda a: a * next(each) * (256 / (256 - threshold)))

    def _embed(self, x: Batch, known: Tensor, c: Context) -> Tensor:
        """The embedding (B, D) of the targets that are known, (B, K) bool, and of the sources of one token."""
        h = self.start.expand(len(known), -1)
        if self.encoder is None:
            return h
        place = {name: k for k, name in enumerate(c.values)}
        given = c.present[:, [place[n] for n in self.row_sources]].to(known.device)
        values = {**x, **{n: c.values[n] for n in self.row_sources}}
        known = known if len(self.targets) > 1 else known[:, :0]
        return h + self.encoder(values, torch.cat([known, given], dim=1))

    def _embed_column(self, name: str, tokens: Tensor, known: Tensor) -> Tensor | float:
        """What a target adds to the embedding where it is known, (B,) bool."""
        if self.encoder is None or len(self.targets) == 1:
            return 0.0
        return self.encoder.column(name, tokens, known)

    def _context(self, c: Context) -> EncodedContext | None:
        """The sources of several tokens, encoded."""
        if self.context_encoder is None:
            return None
        place = {name: k for k, name in enumerate(c.values)}
        present = c.present[:, [place[n] for n in self.other_sources]]
        return self.context_encoder(Context({n: c.values[n] for n in self.other_sources}, present))

    def _attend(self, h: Tensor, context: EncodedContext | None) -> Tensor:
        return h if context is None or self.attention is None else h + self.attention(h, context)

    # ---- sampling

    @torch.no_grad()
    def sample(
        self,
        c: Context,
        *,
        known: KnownParts | None,
        rng: Rng,
        ranges: Ranges | None = None,
        temperature: Temperature = 1.0,
    ) -> Batch:
        """Sample one column after another, in the order of the formula, each given all that is known by then.

        ranges       conditions: the first one is exact, as its column is sampled first; where there are several, rows are
                     sampled until all hold (rejection), and how often is said
        temperature  of every column: below 1 its likelier values are preferred, 0 takes the likeliest

        Raises ValueError for conditions that hold together in no sample.
        """
        x, masks = fill_unknown(self.targets, known, len(rng), rng.device)
        flags = torch.cat([masks[n] for n in self.targets], dim=1)
        first = [n for n in self.targets if ranges is not None and n in ranges.weighed]
        h, context, scale = self._embed(x, flags, c), self._context(c), row_values(temperature, rng.device)
        row = RowState(x, flags, list(self.targets), h, context, scale, ranges)
        self._sample_conditions(row, first, rng)
        others = [n for n in self.targets if n not in first]
        self._sample_columns(row, others, rng.uniform(len(others), 2))
        return row.x

    def _sample_columns(self, row: RowState, names: Sequence[str], u: Tensor) -> Tensor:
        """Sample columns in order, with uniform u (B, n, 2) -> the log-probability of the ranges of all but the first."""
        log_p = torch.zeros(len(u), device=u.device)
        for i, name in enumerate(names):
            k = row.names.index(name)
            fixed = row.known[:, k]
            if bool(fixed.all()):
                continue
            known = dict(zip(row.names, row.known.unbind(1), strict=True))
            allowed = None if row.ranges is None else row.ranges.of(name, row.x, known)
            out = self.trunk(self._attend(row.h, row.context))
            tokens, mass = self.heads.sample(out, name, u[:, i], row.temperature, allowed)
            tokens = tokens.view(-1, *[1] * (row.x[name].ndim - 1))
            row.x[name] = torch.where(fixed.view_as(tokens), row.x[name], tokens)
            row.h = row.h + self._embed_column(name, row.x[name], ~fixed)
            row.known[:, k] = True
            log_p = log_p + mass * (i > 0)
        return log_p

    def _sample_conditions(self, row: RowState, names: Sequence[str], rng: Rng) -> None:
        """Sample the columns with conditions: in each round those rows are kept that (1) would have with all of them."""
        if not names:
            return
        places = [row.names.index(n) for n in names]
        before, h, kept = row.known, row.h, torch.zeros(len(rng), dtype=torch.bool, device=rng.device)
        tokens, accepted, tried = {n: row.x[n] for n in names}, 0, 0
        for _ in range(MAX_ROUNDS):
            row.known, row.h = before.clone(), h
            u = rng.uniform(len(names), 2)
            log_p, chance = self._sample_columns(row, names, u), rng.uniform(1)[:, 0]
            new = ~kept & (chance < log_p.exp())
            for n in names:
                tokens[n] = where_known(tokens[n], row.x[n], new)
            tried, accepted = tried + int((~kept).sum()), accepted + int(new.sum())
            kept = kept | new
            if bool(kept.all()):
                break
        else:
            raise ValueError(
                f"the conditions on {' and '.join(names)} hold together in {accepted} of {tried:,} samples, which is "
                "too rarely; give wider ones"
            )
        if accepted < tried:
            warn(
                f"the conditions on {' and '.join(names)} hold together in {100 * accepted / tried:.2g} % of samples of the first; the others were sampled again"
            )
        row.x |= tokens
        row.known, row.h = before.clone(), h
        for n, k in zip(names, places, strict=True):
            row.h = row.h + self._embed_column(n, tokens[n], ~before[:, k])
            row.known[:, k] = True

    # ---- scoring

    @torch.no_grad()
    def log_prob(self, x: Batch, c: Context, *, rng: Rng, observed: Batch | None = None) -> Score:
        """log p(x | c) by (1).

        observed  target -> (B, 1) bool: of the others nothing is known, and log p is that of these alone
        """
        rows, device = len(rng), rng.device
        nats = torch.zeros(rows, device=device)
        flags = torch.zeros(rows, len(self.targets), dtype=torch.bool, device=device)
        h, context = self._embed(x, flags, c), self._context(c)
        for name in self.targets:
            there = torch.ones_like(flags[:, 0]) if observed is None else observed[name][:, 0].to(device)
            log_p = self.heads.column_log_prob(self.trunk(self._attend(h, context)), name, x[name])
            nats = nats + log_p.where(there, 0.0)
            h = h + self._embed_column(name, x[name], there)
        return Score(nats, "exact", len(self.targets))
