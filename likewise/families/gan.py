"""Generative adversarial networks (Goodfellow et al., 2014), by default relativistic (Huang et al., 2024, "R3GAN").

    min_G max_D  E ln D(x) + E ln(1 - D(G(z))),   D = sigmoid(f)                                        (1)
    max_G  E ln D(G(z))                            in place of G's part of (1)                          (2)
    min_f  E max(0, 1 - f(x)) + E max(0, 1 + f(G(z))),   max_G  E f(G(z))                               (3)
    min_f E softplus(f(G(z)) - f(x)),   min_G E softplus(f(x) - f(G(z)))                                (4)
    penalty on f:  gamma / 2 (E |grad f(x)|^2 + E |grad f(G(z))|^2)                                     (5)

f(x, c) is the critic's score, z ~ N(0, I), and f compares a real and a generated row with the same sources c.
In (4) each generated row is scored against a real one, which penalises missing modes; (5), R1 and R2, makes
training converge (Mescheder et al., 2018).

A sample is one pass of G, and has no density. Known parts of the targets are further sources of G, and replace
its output there before f scores it: so the whole must look real. For a categorical token G predicts logits; f
gets the code of the most likely class, with the gradient of the mean code (straight-through).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch, Context
from likewise.core.known import (
    KnownParts,
    append_known,
    fill_unknown,
    known_specs,
    training_masks,
    where_known,
)
from likewise.core.ranges import Depth, Dimensions, NonNegativeFloat, PositiveShare, Share, Temperature, Width
from likewise.core.rng import Rng
from likewise.core.signatures import expand_dataclasses
from likewise.core.spec import Spec
from likewise.families.base import COLUMNS, ColumnOptions, Family
from likewise.nets.adversarial import Critic, Generator, augment
from likewise.nets.continuous import ContinuousCodes

Loss = Literal["minimax", "nonsaturating", "hinge", "relativistic"]


class GAN(Family):
    """P(targets | sources) as samples of a generator that a critic cannot tell from data."""

    phases = ("critic", "generator")
    betas: ClassVar[tuple[float, float]] = (0.0, 0.99)
    lr_scale: ClassVar[float] = 0.25  # at the full rate training diverges now and then
    uses_muon: ClassVar[bool] = False

    @expand_dataclasses
    def __init__(
        self,
        targets: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        width: Width = 128,
        depth: Depth = 2,
        latent_dim: Dimensions = 64,
        loss: Loss = "relativistic",
        penalty: NonNegativeFloat = 1.0,
        penalty_fraction: PositiveShare = 0.25,
        augment: Share = 0.0,
        columns: ColumnOptions = COLUMNS,
    ) -> None:
        """Build both networks.

        width    hidden width of both networks; depth: blocks of both
        latent_dim  numbers of z
        loss     of critic and generator: (1), (2), (3) or (4)
        penalty  weight of the gradient penalty (5), gamma, with any of the losses; 0 for none
        penalty_fraction  share of the rows on which the gradient penalty is computed, weighted by its inverse
        augment  probability that an image is moved, brightened or cut into before the critic
        infill   share of training rows with known parts (default 0.1, or 0.5 for several targets)
        pack_columns  compute all columns of one token, such as numbers and labels, as one token, targets and sources
            each: the cost of a row hardly grows with their number
        """
        super().__init__(targets, sources)
        self.loss_name, self.latent_dim, self.augment = loss, latent_dim, augment
        self.penalty, self.penalty_fraction = penalty, penalty_fraction
        self.column_codes = ContinuousCodes(targets)
        several = len(targets) > 1
        self.infill = columns.infill_share(targets)
        # A single token is known as a whole: nothing is left to sample.
        partly = {n: s for n, s in self.column_codes.specs.items() if several or s.tokens > 1}
        self.known_columns = partly if self.infill else {}
        self.generator = Generator(
            self.column_codes.specs,
            self.column_codes.outputs,
            {**sources, **known_specs(self.known_columns)},
            latent_dim=latent_dim,
            width=width,
            depth=depth,
            pack_columns=columns.pack_columns,
        )
        self.critic = Critic(
            self.column_codes.specs, sources, width=width, depth=depth, pack_columns=columns.pack_columns
        )

    def parameters_of(self, phase: str) -> list[tuple[str, nn.Parameter]]:
        """The parameters of the network that has the phase's name."""
        return [(n, p) for n, p in self.named_parameters() if n.startswith(f"{phase}.")]

    # ---- training

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """The loss of the generator or the critic, (B,); the critic's with (5) where gradients are enabled."""
        real = self.column_codes.encode(x)
        masks = training_masks(self.targets, x, self.infill if self.known_columns else 0.0, rng)[0]
        z = rng.normal(self.latent_dim)
        with torch.set_grad_enabled(phase == "generator" and torch.is_grad_enabled()):
            fake = self.generate(z, c, real, masks)
        real, fake = augment(self.column_codes.specs, [real, fake], self.augment, rng)
        if phase == "critic":
            return self._critic_loss(real, fake, c, rng)
        with _frozen(self.critic):
            with torch.no_grad():
                projection = self.critic.projection(c)
                f_real = self.critic(real, projection)
            return generator_loss(self.loss_name, f_real, self.critic(fake, projection))

    def _critic_loss(self, real: Batch, fake: Batch, c: Context, rng: Rng) -> Tensor:
        """The critic's loss with (5), (B,)."""
        projection = self.critic.projection(c).repeat(2, 1)
        both = {n: torch.cat([real[n].to(v), v]) for n, v in fake.items()}
        f_real, f_fake = self.critic(both, projection).chunk(2)
        loss = critic_loss(self.loss_name, f_real, f_fake)
        self.loss_terms = {"f real": f_real.detach().mean(), "f fake": f_fake.detach().mean()}
        if self.penalty and torch.is_grad_enabled():
            rows = (rng.uniform(1)[:, 0] < self.penalty_fraction).nonzero()[:, 0]
            twice = torch.cat([rows, rows + len(loss)])
            squares = gradient_norms(self.critic, {n: v[twice] for n, v in both.items()}, projection[twice])
            squares = squares.view(2, -1).sum(0) / self.penalty_fraction  # |grad f(x)|^2 + |grad f(G(z))|^2
            squares = loss.new_zeros(len(loss)).index_put((rows,), squares)
            self.loss_terms["gradients"] = squares.detach().mean()
            loss = loss + self.penalty / 2 * squares  # (5)
        return loss

    # ---- sampling

    def generate(self, z: Tensor, c: Context, known: Batch, masks: Batch) -> Batch:
        """G(z, c), with the values `known` where `masks` hold: float columns (B, T, C), differentiable in G.

        known column -> (B, T, C) floats, masks column -> (B, T) bool
        """
        out = self._generator_output(
            z, append_known(c, {n: known[n] for n in self.known_columns}, masks) if self.known_columns else c
        )
        x = {}
        for name, value in self.column_codes.mean(out).items():
            if (
                name in self.column_codes.categorical
            ):  # the most likely code, with the gradient of the mean code
                code = self.column_codes.codes(name).to(value)[out[name].argmax(-1)]
                value = value + (code - value).detach()
            x[name] = where_known(value, known[name], masks[name])
        return x

    def _generator_output(self, z: Tensor, c: Context) -> Batch:
        """Outputs of the generator; rows with known parts are run apart, as they have many more source tokens."""
        some = c.present[:, len(self.sources) :].any(1)
        groups = [rows for rows in ((~some).nonzero()[:, 0], some.nonzero()[:, 0]) if len(rows)]
        if len(groups) == 1:
            return self.generator(z, c)
        out = [self.generator(z[rows], c.take(rows)) for rows in groups]
        back = torch.cat(groups).argsort()
        return {n: torch.cat([part[n] for part in out])[back] for n in out[0]}

    @torch.no_grad()
    def sample(
        self, c: Context, *, known: KnownParts | None, rng: Rng, truncation: Temperature = 1.0
    ) -> Batch:
        """G(z, c) of one z a row.

        truncation  factor of z: below 1 trades diversity for fidelity
        """
        values, masks = fill_unknown(self.targets, known, len(rng), rng.device)
        z = truncation * rng.normal(self.latent_dim)
        x = self.column_codes.decode(self.generate(z, c, self.column_codes.encode(values), masks))
        return {n: where_known(x[n], values[n], masks[n]) for n in self.targets}


def critic_loss(loss: Loss, f_real: Tensor, f_fake: Tensor) -> Tensor:
    """The loss of the critic from its scores of real and generated rows, (B,) each -> (B,)."""
    if loss == "relativistic":
        return F.softplus(f_fake - f_real)  # (4)
    if loss == "hinge":
        return F.relu(1 - f_real) + F.relu(1 + f_fake)  # (3)
    return F.softplus(-f_real) + F.softplus(f_fake)  # -ln D(x) - ln(1 - D(G(z))), (1)


def generator_loss(loss: Loss, f_real: Tensor, f_fake: Tensor) -> Tensor:
    """The loss of the generator, (B,); only (4) depends on real rows."""
    if loss == "relativistic":
        return F.softplus(f_real - f_fake)  # (4)
    if loss == "hinge":
        return -f_fake  # (3)
    return F.softplus(-f_fake) if loss == "nonsaturating" else -F.softplus(f_fake)  # (2), (1)


def gradient_norms(critic: Critic, x: Batch, projection: Tensor) -> Tensor:
    """|grad_x f|^2 over all columns, (B,), differentiable."""
    x = {n: v.detach().requires_grad_() for n, v in x.items()}
    slopes = torch.autograd.grad(critic(x, projection).sum(), list(x.values()), create_graph=True)
    return reduce(torch.add, [slope.float().square().flatten(1).sum(1) for slope in slopes])


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Compute no gradients of the parameters of a module."""
    before = [p.requires_grad for p in module.parameters()]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for p, requires_grad in zip(module.parameters(), before, strict=True):
            p.requires_grad_(requires_grad)
