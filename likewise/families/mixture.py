"""A mixture model of the joint of targets and sources, initialised by EM (Dempster et al., 1977).

    p(x, c) = sum_k w_k p_k(floats) prod_columns prod_tokens p_k(token)                                 (1)
    p_k(floats) = N(mu_k, S_k),   S_k = W_k W_k^T + diag(d_k)                                           (2)
    P(unknown | known) = sum_k P(k | known) p_k(unknown | known),  P(k | known) ~ w_k p_k(known)        (3)
    sample: k from (3), z ~ N(M^-1 u, M^-1), x = mu + W z + sqrt(d) e, where x is not known             (4)

All float columns of a row are one vector of N numbers, one Gaussian in which any of them may be known: every
conditional is exact. W has no columns (independent numbers: latent classes), a few (mixture of factor
analysers, Ghahramani & Hinton, 1996; of pictures, Richardson & Weiss, 2018), or N (any covariance); M is as
gaussians.py has it.

EM (em.py) fits the joint to the first training rows. Then (1) is trained by gradients, in units in which every
number has a deviation of 1, which keeps steps small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.core.batch import Batch, Context, Layout
from likewise.core.known import KnownParts, has_gaps, present_masks
from likewise.core.ranges import (
    Dimensions,
    MinStd,
    NonNegativeFloat,
    NumComponents,
    PositiveFloat,
    Temperature,
)
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.core.spec import Spec
from likewise.families.base import Family
from likewise.generation import idle
from likewise.generation.idle import IdleRule
from likewise.generation.mixtures.em import EMFit, Rows
from likewise.generation.mixtures.gaussians import Components, eye, marginal
from likewise.nets.column_weights import Axis, Part, by_column
from likewise.nets.continuous import CODE_DIM, fixed_codes

FEW = 32  # numbers a row up to which covariances are full and held-out rows decide the number of components
MIN_ROWS = 10  # rows a component, at least
CLASS_WEIGHT = 10.0  # of a categorical column in the first clustering, beside 1 of one of numbers
COARSE_STD = 0.25  # `min_std` of many numbers while EM clusters rows, see EMFit.refine
RESTARTS = 3  # fits of few numbers of which the best is taken
POOLINGS = 2  # of the prior of covariances, where values are missing
MAX_WORK = 1e11  # multiplications of EM: with many numbers a row, fewer rounds


class Mixture(Family):
    """P(targets | sources) from a mixture model of their joint distribution."""

    idle_rules: ClassVar[Sequence[IdleRule]] = idle.MIXTURE

    learns_gaps: ClassVar[bool] = True
    needs_float32: ClassVar[bool] = True
    pads_rows: ClassVar[bool] = True
    uses_muon: ClassVar[bool] = False
    separable: ClassVar[bool] = False

    def __init__(
        self,
        targets: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        components: NumComponents = 100,
        covariance: Literal["auto", "diagonal", "low_rank", "full"] = "auto",
        rank: Dimensions = 8,
        method: Literal["em", "gradient"] = "em",
        min_std: MinStd = 0.01,
        shrinkage: NonNegativeFloat | None = None,
        pseudocount: PositiveFloat = 0.01,
    ) -> None:
        """Allocate the components.

        components  of the mixture, at most: fewer if there are fewer than 10 rows for each, or if, up to 32 numbers a row,
                    rows held out of EM say so
        covariance  of the numbers of a row, auto: full up to 32 numbers, then low rank; rank: columns of W
        method   of the initialisation: EM until it converges, or clustering only, and gradients do the rest
        min_std  least deviation of a number, as a share of that of its column
        shrinkage  rows with the pooled covariance in that of each component (default 10, 3 above 32 numbers)
        pseudocount  rows with the overall class frequencies in those of each component
        """
        super().__init__(targets, sources)
        self.columns = self.targets | self.sources
        self.numbers = Layout({n: s for n, s in self.columns.items() if not s.categorical})
        self.classes = {n: s for n, s in self.columns.items() if s.categorical}
        numbers = self.numbers.size
        self.many = numbers > FEW
        self.full = covariance == "full" or (covariance == "auto" and not self.many)
        self.em, self.min_std, self.pseudocount = method == "em", min_std, pseudocount
        self.shrinkage = (3.0 if self.many else 10.0) if shrinkage is None else shrinkage
        ranks = numbers if self.full else 0 if covariance == "diagonal" else min(rank, numbers)

        def parameter(*shape: int) -> nn.Parameter:
            values = 0.1 * torch.randn(components, *shape)  # so close that each has a share of the rows
            return nn.Parameter(values, requires_grad=values.numel() > 0)

        self.logits = nn.Parameter(torch.zeros(components))
        self.class_logits = nn.ParameterList(parameter(s.tokens, s.classes) for s in self.classes.values())
        self.mean, self.loadings, self.log_std = (
            parameter(numbers),
            parameter(numbers, ranks),
            parameter(numbers),
        )
        # the units of (2): x = centre + scale x', and the least deviation of x'
        self.centre = nn.Parameter(torch.zeros(numbers), requires_grad=False)
        self.log_scale = nn.Parameter(torch.zeros(numbers), requires_grad=False)
        self.log_min_std = nn.Parameter(torch.full((numbers,), math.log(min_std)), requires_grad=False)
        floats = tuple(Part(n, k) for n, k in zip(self.numbers.specs, self.numbers.sizes, strict=True))
        self.column_axes = {
            "class_logits": by_column(self.classes),
            **dict.fromkeys(("mean", "loadings", "log_std"), Axis(1, floats)),
            **dict.fromkeys(("centre", "log_scale", "log_min_std"), Axis(0, floats)),
        }

    # ---- the density

    def components(self) -> Components:
        """The parameters of (1) and (2)."""
        noise = (2 * self.log_std.double()).exp() + (2 * self.log_min_std.double()).exp()
        return Components(
            self.logits.double().log_softmax(0),
            [t.double().log_softmax(-1) for t in self.class_logits],
            self.mean.double(),
            self.loadings.double(),
            noise,
        )

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """-log p(x | c) / dims by `log_prob`, of the values that x has: (B,)."""
        observed = present_masks(self.targets, x, len(rng), c.present.device) if has_gaps(x) else None
        score = self.log_prob(x, c, rng=rng, observed=observed)
        return -score.nats / score.dims

    def log_prob(self, x: Batch, c: Context, *, rng: Rng, observed: Batch | None = None) -> Score:
        """log p(x, c) - log p(c) by (1), where c are the present sources: exact.

        observed  column -> (B, T) bool: then log p of the parts of x where these masks hold
        """
        parts, masks = self.components(), _whole(x) if observed is None else observed
        given = self._evidence(parts, *self._known(c, None))
        both = self._evidence(parts, *self._known(c, KnownParts(x, masks)))
        nats = (parts.weight + both).logsumexp(1) - (parts.weight + given).logsumexp(1)
        return Score(nats.float(), "exact", sum(s.tokens * s.width for s in self.targets.values()))

    def _known(self, c: Context, known: KnownParts | None) -> tuple[Batch, Batch]:
        """Values of all columns, zero where unknown, and masks of what is known: (B, T, ...), (B, T)."""
        values, masks = {}, {}
        rows, device = len(c.present), self.logits.device
        given = {n: c.present[:, i, None] for i, n in enumerate(c.values)}
        for name, spec in self.columns.items():
            blank = torch.zeros(
                rows,
                spec.tokens,
                *(() if spec.categorical else (spec.width,)),
                dtype=torch.int64 if spec.categorical else torch.float64,
                device=device,
            )
            mask = torch.zeros(rows, spec.tokens, dtype=torch.bool, device=device)
            value = blank
            if name in self.sources:
                value, mask = c.values[name].to(device), given[name].to(device).expand(-1, spec.tokens)
            elif known is not None and name in known.values:
                value, mask = known.values[name].to(device), known.masks[name].to(device)
            here = mask if spec.categorical else mask[..., None]
            values[name], masks[name] = torch.where(here, value.to(blank.dtype), blank), mask
        return values, masks

    def _flat(self, values: Batch, masks: Batch) -> tuple[Tensor, Tensor]:
        """The float columns as (B, N) in the units of (2), and which are known."""
        if not self.numbers.specs:
            like = next(iter(masks.values()))
            return like.new_zeros(len(like), 0, dtype=torch.float64), like.new_zeros(len(like), 0)
        wide = {n: masks[n][..., None].expand(-1, -1, s.width) for n, s in self.numbers.specs.items()}
        flat = (self.numbers.pack(values) - self.centre.double()) * (-self.log_scale.double()).exp()
        return flat, self.numbers.pack(wide)

    def _evidence(self, parts: Components, values: Batch, masks: Batch) -> Tensor:
        """log p_k(what is known), (B, K)."""
        x, known = self._flat(values, masks)
        total = marginal(x, known, parts) - (known * self.log_scale.double()).sum(1, keepdim=True)
        for table, name in zip(parts.tables, self.classes, strict=True):
            places = torch.arange(table.shape[1], device=x.device)
            mass = table.permute(1, 2, 0)[places, values[name]]  # (B, T, K)
            total = total + (mass * masks[name][..., None]).sum(1)
        return total

    # ---- sampling

    @torch.no_grad()
    def sample(
        self,
        c: Context,
        *,
        known: KnownParts | None,
        rng: Rng,
        temperature: Temperature = 1.0,
        noise: bool = True,
    ) -> Batch:
        """Sample by (4): exact, whatever is known.

        temperature  factor of deviations within a component
        noise        whether the noise e is added; without it images are smoother
        """
        parts, (values, masks) = self.components(), self._known(c, known)
        posterior = (parts.weight + self._evidence(parts, values, masks)).softmax(1).cumsum(1)
        k = (posterior < rng.uniform(1) * posterior[:, -1:]).sum(1).clamp(max=posterior.shape[1] - 1)
        samples = {}
        for table, (name, spec) in zip(parts.tables, self.classes.items(), strict=True):
            mass = table[k].exp().cumsum(-1)  # (B, T, V)
            ids = (mass < (rng.uniform(spec.tokens)[..., None] * mass[..., -1:])).sum(-1)
            samples[name] = torch.where(masks[name], values[name], ids.clamp(max=spec.classes - 1))
        if self.numbers.specs:
            x, seen = self._flat(values, masks)
            x = self._sample_floats(parts, k, x, seen, rng, temperature, temperature if noise else 0.0)
            x = self.centre + self.log_scale.exp() * x.float()
            for name, value in self.numbers.unpack(x).items():
                samples[name] = torch.where(masks[name][..., None], values[name].float(), value)
        return {n: samples[n] for n in self.targets}

    def _sample_floats(
        self, parts: Components, k: Tensor, x: Tensor, known: Tensor, rng: Rng, deviation: float, noise: float
    ) -> Tensor:
        """(4) for one component k (B,) a row, (B, N)."""
        mean, factor, variance = parts.mean[k], parts.factor[k], parts.noise[k]
        weighed = factor * (known / variance)[..., None]  # D^-1 W over what is known
        root = torch.linalg.cholesky(eye(factor) + factor.mT @ weighed)
        z = torch.cholesky_solve(weighed.mT @ (x - mean)[..., None], root)
        fresh = rng.normal(factor.shape[2] + factor.shape[1]).double()
        e_z, e = fresh.split([factor.shape[2], factor.shape[1]], dim=1)
        z = z + deviation * torch.linalg.solve_triangular(root.mT, e_z[..., None], upper=True)
        return mean + (factor @ z)[..., 0] + noise * variance.sqrt() * e

    # ---- fitting

    @torch.no_grad()
    def init_from_data(self, x: Batch, c: Context, rng: Rng) -> None:
        """Cluster the rows, then EM until it converges, where values of targets and sources may be missing.

        For few numbers a row, one row in five is held out to choose the number of components: 1, 2, 4 ...
        until twice as many have been no better two times.
        """
        rows = len(rng)
        if rows < 2:
            return
        present = present_masks(self.targets, x, rows, c.present.device)
        values, masks = self._known(c, KnownParts(x, present))
        self._init_units(values, masks)
        flat, seen = self._flat(values, masks)
        data = Rows(
            flat * seen,
            seen,
            {n: values[n] for n in self.classes},
            {n: masks[n] for n in self.classes},
            *self._features(values, masks),
            rng.uniform(1)[:, 0],
            rng.normal(self.loadings.shape[2]).double(),
        )
        most = min(len(self.logits), max(1, rows // MIN_ROWS))
        if self.em and not self.many:
            most = self._choose_size(data, most)
        self._set_parameters(self._fit(data, most).parts)

    def _choose_size(self, data: Rows, most: int) -> int:
        """The number of components, up to `most`, with the best density of held-out rows."""
        test = torch.arange(len(data.x), device=data.x.device) % 5 == 0
        best, chosen, worse, used = -math.inf, 1, 0, 1
        while worse < 2:
            fit = self._fit(data.of(~test), used)
            score = float((fit.parts.weight + fit.evidence(data.of(test))).logsumexp(1).mean())
            best, chosen, worse = (score, used, 0) if score > best else (best, chosen, worse + 1)
            if used == most:
                break
            used = min(2 * used, most)
        return chosen

    def _fit(self, data: Rows, used: int) -> EMFit:
        """The best of a few fits where they are cheap: EM finds a local optimum."""
        restarts = RESTARTS if self.em and not self.many and used <= FEW else 1
        fits = [self._fit_once(replace(data, pick=data.pick.roll(i)), used) for i in range(restarts)]
        return max(fits, key=lambda fit: fit.objective)

    def _fit_once(self, data: Rows, used: int) -> EMFit:
        """Components from clusters, and, with the method "em", EM until a step gains almost nothing."""
        floor = (2 * self.log_min_std.double()).exp()
        coarse = floor * (COARSE_STD / self.min_std) ** 2 if self.many else floor
        fit = EMFit(
            data,
            self.classes,
            used,
            coarse.clamp(max=1.0).maximum(floor),
            full=self.full,
            shrinkage=self.shrinkage,
            pseudocount=self.pseudocount,
        )
        numbers, rank = max(1, data.x.shape[1]), self.loadings.shape[2]
        size = len(data.x) * used * numbers * (1 + rank)
        if fit.patterns is not None:
            size += len(fit.patterns.patterns) * used * numbers * rank**2
        least = 1e-3 + 1e-5 * data.x.shape[1]  # nats a row
        rounds = min(100, max(5, int(MAX_WORK / size))) if self.em else 0
        for again in range(1 if fit.patterns is None else POOLINGS):
            if again and self.full:
                fit.pool_again()
            for _ in range(rounds):
                before = fit.objective
                if fit.em_step() - before < least:
                    break
        if self.many:
            fit.refine(floor)
        return fit

    def _init_units(self, values: Batch, masks: Batch) -> None:
        """Set centre, scale and least deviation of every number, from the values that are known.

        Values on a lattice, such as grey levels, stand for cells as wide as their least distance, of variance
        cell^2 / 12: no number may vary less.
        """
        centre, unit, least = [], [], []
        for name in self.numbers.specs:
            value = values[name].flatten(1).double()[masks[name][:, 0]]  # (n, T C)
            if not len(value):
                value = values[name].new_zeros(1, values[name][0].numel())
            levels = value.flatten().unique()
            cell = float(levels.diff().min()) if len(levels) > 1 else 0.0
            scale = float(value.std(correction=0)) or 1.0
            least.append(torch.full_like(value[0], max(self.min_std * scale, cell / math.sqrt(12))))
            centre.append(value.mean(0))
            unit.append(value.std(0, correction=0).maximum(least[-1]))
        if centre:
            self.centre.copy_(torch.cat(centre))
            self.log_scale.copy_(torch.cat(unit).log())
            self.log_min_std.copy_((torch.cat(least) / torch.cat(unit)).log())

    def _features(self, values: Batch, masks: Batch) -> tuple[Tensor, Tensor]:
        """Features for clustering, columns of one variance, categorical ones of more; and which are known: (n, F)."""
        parts, seen = [], []
        for name, value in values.items():
            spec, known = self.columns[name], masks[name][:, :1]
            if spec.categorical:
                value = fixed_codes(spec.classes, min(spec.classes, CODE_DIM), name).to(value.device)[value]
            part, count = value.flatten(1).double(), known.sum().clamp(min=1)
            part = (part - (part * known).sum(0) / count) * known
            part = part / (part.square().sum() / count).sqrt().clamp(min=1e-9)
            parts.append(part * (CLASS_WEIGHT if spec.categorical else 1.0))
            seen.append(known.expand_as(part))
        return torch.cat(parts, dim=1), torch.cat(seen, dim=1)

    def _set_parameters(self, parts: Components) -> None:
        """Set the parameters to the result of EM; unused components are copies of almost no weight."""
        place = torch.arange(len(self.logits), device=parts.weight.device)
        index = place % len(parts.weight)
        self.logits.copy_(parts.weight[index] - 30.0 * (place >= len(parts.weight)))
        for parameter, table in zip(self.class_logits, parts.tables, strict=True):
            parameter.copy_(table[index])
        self.mean.copy_(parts.mean[index])
        self.loadings.copy_(parts.factor[index])
        floor = (2 * self.log_min_std.double()).exp()
        self.log_std.copy_((parts.noise[index] - floor).maximum(1e-4 * floor).log() / 2)


def _whole(batch: Batch) -> Batch:
    """Masks in which everything is known, column -> (B, T)."""
    return {n: torch.ones(v.shape[:2], dtype=torch.bool, device=v.device) for n, v in batch.items()}
