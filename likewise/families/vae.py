"""Variational autoencoder (Kingma & Welling, 2014; Rezende et al., 2014): p(x | c) as a mixture over z.

    p(x | c) = int p(x | z, c) p(z | c) dz,   q(z | x, c) = N(mu(x, c), sigma(x, c)^2)                  (1)
    ELBO = E_q log p(x | z, c) - KL(q(z | x, c) || p(z | c)) <= log p(x | c)                            (2)
    log 1/K sum_k p(x | z_k, c) p(z_k | c) / q(z_k | x, c), z_k ~ q, rises from (2) to log p(x | c)
    with K in expectation (Burda et al., 2016)                                                          (3)
    known parts m of x: r(z | m, c) = N(mu(m, c), sigma(m, c)^2), the posterior given m, is learned from
    KL(q || r) (Ivanov et al., 2019); of a few z ~ r one is sampled by its weight
    p(m | z, c) p(z | c) / r(z | m, c)                                                                  (4)

Encoder and decoder attend to the sources; for the prior see priors.py. r is trained beside the model and
changes neither p nor q, so (2) and (3) hold whatever is known in training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.core.batch import Batch, Context, take
from likewise.core.known import (
    KnownParts,
    blank_values,
    fill_unknown,
    has_gaps,
    no_masks,
    present_masks,
    training_masks,
    where_known,
)
from likewise.core.options import validate_fields
from likewise.core.ranges import (
    Depth,
    Dimensions,
    Draws,
    MaxGrid,
    NonNegativeFloat,
    NumComponents,
    Share,
    Temperature,
    Width,
)
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.core.signatures import expand_dataclasses
from likewise.core.spec import Spec
from likewise.families.base import COLUMNS, ColumnOptions, Family, require_single_target
from likewise.generation import idle
from likewise.generation.controls import Init
from likewise.generation.idle import IdleRule
from likewise.generation.latents.decoder_likelihood import DecoderLikelihood
from likewise.generation.latents.priors import Gaussians, Prior, kl_normal
from likewise.nets.column_weights import Axis, Part, by_column
from likewise.nets.conditioning import ContextEncoder, EncodedContext
from likewise.nets.continuous import ContinuousCodes
from likewise.nets.layers import Linear, norm
from likewise.nets.transformer import Decoder, Encoder

INIT_LOG_VAR = -4.0  # log sigma^2 of q
CHUNK = 768  # rows decoded at a time by (3) and (4)


@dataclass(frozen=True)
class LatentOptions:
    """The latent vector z and its prior."""

    latent_dim: Dimensions = 16
    prior: Literal["standard", "learned", "mixture", "vamp"] = "learned"
    components: NumComponents = 50

    def __post_init__(self) -> None:
        validate_fields(self)


@dataclass(frozen=True)
class KLOptions:
    """The KL term of the training loss."""

    beta: NonNegativeFloat = 1.0
    free_bits: NonNegativeFloat = 0.0
    kl_warmup: Share = 0.3

    def __post_init__(self) -> None:
        validate_fields(self)


LATENT, KL = LatentOptions(), KLOptions()


class VAE(Family):
    """P(targets | sources) by one latent vector z a row."""

    learns_gaps: ClassVar[bool] = True
    idle_rules: ClassVar[Sequence[IdleRule]] = idle.LATENT_VECTOR

    @expand_dataclasses
    def __init__(
        self,
        targets: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        width: Width = 128,
        depth: Depth = 1,
        stem: Literal["conv", "patch"] = "patch",
        max_grid: MaxGrid = 4,
        latent: LatentOptions = LATENT,
        decoder: Literal["gaussian", "bernoulli"] = "gaussian",
        kl: KLOptions = KL,
        columns: ColumnOptions = COLUMNS,
    ) -> None:
        """Build encoder, prior and decoder.

        width   hidden width; depth: blocks of encoder and of decoder
        stem    for images: convolutions or linear patches; max_grid: tokens along a side of an image, at most
        latent_dim  numbers of the latent vector z
        decoder  p(x | z) of images: Gaussian of one learned variance, or continuous Bernoulli
        prior   of the latent vector, p(z | c); components: of the mixture, and of vamp
        beta    weight of the KL term in training; kl_warmup: share of the run in which this weight rises from 0
        free_bits  nats of KL for each number of z that are not penalised in training
        infill  share of training rows with known parts (default 0.1, or 0.5 for several targets)
        pack_columns  compute all columns of one token, such as numbers and labels, as one token, targets and sources
            each: the cost of a row hardly grows with their number
        """
        super().__init__(targets, sources)
        latent_dim, components = latent.latent_dim, latent.components
        self.latent_dim, self.kl_options = latent_dim, kl
        self.dims = sum(s.tokens * s.width for s in self.targets.values())
        several = len(self.targets) > 1
        self.infill = columns.infill_share(targets)
        if not several and self.dims == 1:
            self.infill = 0.0  # if it is known, nothing is left to learn
        self.column_codes = ContinuousCodes(targets)
        masked = {n: s.with_floats(s.width + 1) for n, s in self.column_codes.specs.items()}  # with a mask
        self.context_encoder = ContextEncoder(sources, width, pack_columns=columns.pack_columns)
        self.encoder = Encoder(
            masked, width=width, depth=depth, stem=stem, max_grid=max_grid, pack_columns=columns.pack_columns
        )
        self.posterior_head = Linear(self.encoder.tokens * width, 2 * latent_dim)  # q
        with torch.no_grad():  # little noise at first, or the decoder learns to ignore z
            self.posterior_head.bias[latent_dim:] = INIT_LOG_VAR
        self.partial_posterior_head = (
            Linear(self.encoder.tokens * width, 2 * latent_dim) if self.infill else None
        )  # r
        self.prior = Prior(latent.prior, latent_dim, components, width)
        self.pseudo_inputs = nn.ParameterList(
            torch.randn(components, s.tokens, s.width)
            for s in self.column_codes.specs.values()
            if latent.prior == "vamp"
        )  # u_k
        self.likelihood = DecoderLikelihood(targets, decoder)
        self.latent_proj = Linear(latent_dim, self.encoder.tokens * width)
        self.decoder = Decoder(
            self.column_codes.specs,
            self.likelihood.outputs,
            width=width,
            depth=depth,
            stem=stem,
            max_grid=max_grid,
            pack_columns=columns.pack_columns,
        )
        groups = zip(self.encoder.stems.labels, self.encoder.trunk.sizes, strict=True)
        codes = tuple(Part(n, k * width) for n, k in groups)
        self.column_axes = {
            "pseudo_inputs": by_column(targets),
            "posterior_head.weight": Axis(1, codes),
            "partial_posterior_head.weight": Axis(1, codes),
            "latent_proj.weight": Axis(0, codes),
            "latent_proj.bias": Axis(0, codes),
        }

    # ---- encoder, decoder and prior

    def encode(self, x: Batch, c: Context) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x, c), (B, latent) each; of EncodedRows given the values that are there."""
        q = self._q(self.column_codes.encode(x), self._present(x, c), self.context_encoder(c))
        return q.mean[:, 0], q.log_var[:, 0]

    def decode(self, z: Tensor, c: Context) -> Batch:
        """z (B, latent) -> encoded columns: the mean of numbers, the most likely class."""
        return self.likelihood.mode(self._decode(z, self.context_encoder(c)))

    def _present(self, x: Batch, c: Context) -> Batch:
        """Masks of the values that the rows have, column -> (B, T) bool."""
        return present_masks(self.targets, x, len(c.present), c.present.device)

    def _q(self, floats: Batch, present: Batch, context: EncodedContext) -> Gaussians:
        """q(z | x, c), of what x has; floats column -> (B, T, C), present column -> (B, T) bool."""
        return self._gaussian(self.posterior_head, floats, present, context)

    def _r(self, floats: Batch, masks: Batch, context: EncodedContext) -> Gaussians:
        """r(z | m, c) of (4); masks column -> (B, T) bool."""
        assert self.partial_posterior_head is not None
        return self._gaussian(self.partial_posterior_head, floats, masks, context)

    def _gaussian(self, head: nn.Linear, floats: Batch, masks: Batch, context: EncodedContext) -> Gaussians:
        """A Gaussian given the floats where `masks` hold, and where that is."""
        masked = {
            n: torch.cat([v * masks[n][..., None], masks[n][..., None].to(v)], dim=-1)
            for n, v in floats.items()
        }
        return Gaussians.one(head(norm(self.encoder(masked, context)).flatten(1)))

    def _p(self, c: Context, context: EncodedContext) -> Gaussians:
        """p(z | c)."""
        encoded = None
        if self.pseudo_inputs:
            rows = len(self.pseudo_inputs[0])
            values = {n: v[:1].expand(rows, *v.shape[1:]) for n, v in c.values.items()}
            absent = Context(values, c.present.new_zeros(rows, len(values)))
            u = dict(zip(self.column_codes.specs, self.pseudo_inputs, strict=True))
            encoded = self._q(u, self._present(u, absent), self.context_encoder(absent))
        return self.prior(context, len(c.present), encoded)

    def _decode(self, z: Tensor, context: EncodedContext) -> Batch:
        h = self.latent_proj(z.to(self.latent_proj.weight.dtype)).unflatten(1, (self.encoder.tokens, -1))
        return self.decoder(h, context)

    # ---- z as a view

    def code_spec(self, name: str) -> Spec:
        """The Spec of the mean of q(z | x), of the single target."""
        require_single_target(name, self.targets)
        return Spec((1,), width=self.latent_dim)

    @torch.no_grad()
    def to_codes(self, name: str, x: Tensor) -> Tensor:
        return self.encode({name: x}, self._no_sources(x))[0][:, None]

    @torch.no_grad()
    def from_codes(self, name: str, codes: Tensor) -> Tensor:
        return self.decode(codes[:, 0], self._no_sources(codes))[name]

    def _no_sources(self, x: Tensor) -> Context:
        """A Context of as many rows without any source."""
        values = {n: blank_values(s, len(x), x.device) for n, s in self.sources.items()}
        return Context(values, torch.zeros(len(x), len(values), dtype=torch.bool, device=x.device))

    # ---- learning

    def init_from_data(self, x: Batch, c: Context, rng: Rng) -> None:
        """Initialise the pseudo-inputs, (4) of priors.py, with rows of the data, missing values as 0."""
        floats, present = self.column_codes.encode(x), self._present(x, c)
        for name, u in zip(floats if self.pseudo_inputs else (), self.pseudo_inputs, strict=True):
            value = floats[name] * present[name][..., None]
            with torch.no_grad():
                u.copy_(value[torch.arange(len(u), device=value.device) % len(value)])

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """-(2) / dims, the KL term weighted, and KL(q || r) / dims of rows with known parts: (B,).

        Of a row with missing values (EncodedRows) (2) is the bound of what it has: q reads that, and log p(x | z, c) sums
        over it (Nazabal et al., 2020).
        """
        options, present = self.kl_options, self._present(x, c)
        floats, context = self.column_codes.encode(x), self.context_encoder(c)
        q, p = self._q(floats, present, context), self._p(c, context)
        z = q.sample(rng)
        nats = self.likelihood.log_prob(x, self._decode(z, context), present if has_gaps(x) else None)
        if p.mean.shape[1] == 1:
            per_dim = kl_normal(q, p)
            kl, penalty = per_dim.sum(1), per_dim.clamp(min=options.free_bits).sum(1)
        else:  # no closed form: one sample
            kl = q.log_prob(z) - p.log_prob(z)
            penalty = kl.clamp(min=options.free_bits * self.latent_dim) if options.free_bits else kl
        self.loss_terms = {"reconstruction": nats.detach().mean(), "kl": kl.detach().mean()}
        loss = options.beta * min(1.0, self.progress / max(options.kl_warmup, 1e-9)) * penalty - nats
        if self.partial_posterior_head is not None:
            masks = training_masks(self.targets, x, self.infill, rng)[0]
            loss = loss + self._partial_kl(floats, masks, context, q)
        return loss / self.dims

    def _partial_kl(self, floats: Batch, masks: Batch, context: EncodedContext, q: Gaussians) -> Tensor:
        """KL(q || r) of rows with known parts, 0 of the others: (B,)."""
        rows = torch.stack([m.any(1) for m in masks.values()]).any(0).nonzero()[:, 0]
        head = self.partial_posterior_head
        assert head is not None
        gap = q.mean.new_zeros(len(q.mean))
        if not len(rows):
            return gap + 0 * head.bias.sum()  # DistributedDataParallel waits for its gradient
        some = EncodedContext(context.tokens[rows], context.bias[rows], context.pooled[rows])
        r = self._r(take(floats, rows), take(masks, rows), some)
        fixed = Gaussians(q.log_weight[rows], q.mean[rows].detach(), q.log_var[rows].detach())
        return gap.index_put((rows,), kl_normal(fixed, r).sum(1))

    # ---- sampling

    @torch.no_grad()
    def sample(
        self,
        c: Context,
        *,
        known: KnownParts | None,
        rng: Rng,
        init: Init | None = None,
        temperature: Temperature = 0.8,
        noise: bool = False,
        candidates: Draws = 16,
    ) -> Batch:
        """z ~ p(z | c), or (4) where parts are known, then x ~ p(x | z, c).

        With an init x_0 of strength s, and m the mean of p(z | c), z becomes
        m + sqrt(1 - s^2) (mu(x_0, c) - m) + s (z - m),                                                 (5)
        and the residual of the decoder at mu(x_0, c) is kept, as in `DecoderLikelihood.vary`.

        temperature  factor of the deviation of z: below 1 trades diversity for fidelity
        noise       whether columns of several tokens, such as images, are sampled too; else they are means
        candidates  where parts are known: number of latent vectors z of which (4) chooses one
        """
        context = self.context_encoder(c)
        z = self._p(c, context).sample(rng, temperature)
        if known:
            values, masks = fill_unknown(self.targets, known, len(rng), z.device)
            some = torch.stack([m.any(1) for m in masks.values()]).any(0)
            z = torch.where(some[:, None], self._resampled(values, masks, c, context, rng, candidates), z)
        if init is None:
            x = self.likelihood.sample(self._decode(z, context), rng, noise)
        else:
            code = self.encode(init.values, c)[0]
            start, s = (init.values, self._decode(code, context)), init.strength
            out = self._decode(self._varied(code, s, z, c, context), context)
            x = self.likelihood.vary(out, start, s / math.sqrt(1 - s**2) if s < 1 else math.inf, rng, noise)
        if known:
            x = {n: where_known(v, values[n], masks[n]) for n, v in x.items()}
        return x

    def _varied(self, code: Tensor, s: float, z: Tensor, c: Context, context: EncodedContext) -> Tensor:
        """(5), (B, latent)."""
        p = self._p(c, context)
        mean = (p.log_weight.softmax(1)[..., None] * p.mean).sum(1)
        return mean + math.sqrt(1 - s**2) * (code - mean) + s * (z - mean)

    def _resampled(
        self, x: Batch, masks: Batch, c: Context, context: EncodedContext, rng: Rng, candidates: int
    ) -> Tensor:
        """(4): one z a row, (B, latent)."""
        z, weight = self._weighted(x, masks, c, context, rng, candidates)
        gumbel = -(-rng.uniform(candidates).clamp(1e-9, 1 - 1e-7).log()).log()
        rows = torch.arange(len(z), device=z.device)
        return z[rows, (weight + gumbel).argmax(1)]

    # ---- scoring

    def log_prob(
        self, x: Batch, c: Context, *, rng: Rng, samples: Draws = 64, observed: Batch | None = None
    ) -> Score:
        """(3): a bound from `samples` of z; 1 is the ELBO.

        samples   more are tighter
        observed  column -> (B, T) bool: then of these parts of x only, by z ~ r
        """
        masks = None
        if observed is not None:
            masks = no_masks(self.targets, len(rng), c.present.device) | observed
        weight = self._weighted(x, masks, c, self.context_encoder(c), rng, samples)[1]
        return Score(weight.logsumexp(1) - math.log(samples), "bound", self.dims)

    def _weighted(
        self, x: Batch, masks: Batch | None, c: Context, context: EncodedContext, rng: Rng, samples: int
    ) -> tuple[Tensor, Tensor]:
        """z (B, K, latent) from q, or from r of what is in `masks`, and log p(x, z | c) / q(z), (B, K).

        Without an r, z come from the prior.
        """
        floats, p = self.column_codes.encode(x), self._p(c, context)
        if masks is None:
            q = self._q(floats, self._present(x, c), context)
        else:
            q = p if self.partial_posterior_head is None else self._r(floats, masks, context)
        zs, weights = [], []
        for _ in range(samples):
            zs.append(q.sample(rng))
            weights.append(p.log_prob(zs[-1]) - q.log_prob(zs[-1]))
        z, weight = torch.stack(zs, dim=1), torch.stack(weights, dim=1)
        step = max(1, CHUNK // len(z))
        nats = torch.cat([self._log_prob(x, masks, part, context) for part in z.split(step, dim=1)], dim=1)
        return z, nats + weight

    def _log_prob(self, x: Batch, masks: Batch | None, z: Tensor, context: EncodedContext) -> Tensor:
        """log p(x | z, c), of what is in `masks`, z (B, k, latent) -> (B, k)."""
        k = z.shape[1]
        repeated = EncodedContext(
            context.tokens.repeat_interleave(k, dim=0),
            context.bias.repeat_interleave(k, dim=0),
            context.pooled.repeat_interleave(k, dim=0),
        )
        nats = self.likelihood.token_log_probs(
            {n: v.repeat_interleave(k, dim=0) for n, v in x.items()}, self._decode(z.flatten(0, 1), repeated)
        )
        if masks is not None:
            nats = {n: v * masks[n].repeat_interleave(k, dim=0) for n, v in nats.items()}
        return reduce(torch.add, [v.sum(1) for v in nats.values()]).unflatten(0, (-1, k))
