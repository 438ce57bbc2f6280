"""Denoising diffusion (Ho et al., 2020) and its variational bound (Kingma et al., 2021, "VDM").

    x_t = alpha x_0 + sigma e,   alpha^2 + sigma^2 = 1,   (alpha / sigma)^2 = SNR(u),   u ~ U(0, 1)     (1)
    loss = w |x^_0 - x_0|^2,   w = SNR + 1: of v;   w = SNR: of the noise, |e^ - e|^2                   (2)
    sample: x_s ~ q(x_s | x_t, x_0 = x^_0(x_t)), s < t, along a grid of u from noise to data            (3)
    log p(x_0) >= E log p(x_0 | x_t0) - sum KL(q(x_s | x_t, x_0), p(x_s | x_t)) - KL(q(x_1 | x_0), p)   (4)

The points of (1) are those of the rectified path up to scale, at the time of equal SNR: so network, samplers,
guidance and bound are those of Denoiser, as in flow. What differs is the density of times in training, (1),
the weight w, and that (3) samples a Markov chain with fresh noise where flow solves an ODE.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from likewise.core.batch import Batch, Context, row_values
from likewise.core.known import KnownParts, training_masks
from likewise.core.options import validated
from likewise.core.ranges import Depth, Draws, NoiseLevel, SamplingSteps, Share, ShareBelowOne, Width
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.core.signatures import expand_dataclasses
from likewise.core.spec import Spec
from likewise.families.base import COLUMNS, ROW_BATCH, ColumnOptions, Family
from likewise.generation import idle
from likewise.generation.controls import DenoisingControls
from likewise.generation.denoising import sampling as denoising
from likewise.generation.denoising.denoiser import FEW, Denoiser
from likewise.generation.denoising.density import (
    T_0,
    min_noise_level,
    num_dimensions,
    ode_log_prob,
    variational_bound,
)
from likewise.generation.denoising.guidance import Guidance, default_scales
from likewise.generation.denoising.paths import T_MIN, log_snr, scheduled
from likewise.generation.idle import IdleRule, Request

GUIDANCE, CONTROLS = Guidance(), DenoisingControls()
OF_SIGNALS = 3.0  # default guidance of images and other signals
GAMMA = 5.0  # at which Hang et al. (2023), "Min-SNR", cut off the weight


class Diffusion(Family):
    """P(targets | sources) as a Markov chain that removes noise step by step."""

    learns_gaps: ClassVar[bool] = True
    idle_rules: ClassVar[Sequence[IdleRule]] = idle.DENOISING
    row_options: ClassVar[frozenset[str]] = frozenset({"guidance", "eta"})

    @expand_dataclasses
    def __init__(
        self,
        targets: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        width: Width = 192,
        depth: Depth = 6,
        stem: Literal["conv", "patch"] = "conv",
        schedule: Literal["cosine", "linear", "even"] = "cosine",
        predict: Literal["v", "noise", "x"] = "v",
        weighting: Literal["velocity", "simple", "min_snr", "bound"] = "velocity",
        columns: ColumnOptions = COLUMNS,
        source_noise: ShareBelowOne = 0.0,
    ) -> None:
        """Build the network.

        width   hidden width; depth: blocks of the transformer
        stem    for images: the outer levels of a U-Net, or linear patches
        schedule  of the noise, in training and in sampling: log SNR over u (paths.SCHEDULES)
        predict  what the network predicts of numbers
        weighting  of the loss (2): errors of v; of noise, "simple" (Ho et al., eq. 14); of x_0 cut off at SNR 5,
            "min_snr"; or the bound (4), which is "simple" with log SNR uniform, whatever the schedule
        infill  share of training rows with known parts (default 0.1, or 0.5 for several targets)
        pack_columns  compute all columns of one token, such as numbers and labels, as one token, targets and sources
            each: the cost of a row hardly grows with their number
        source_noise  most noise on sources that are images in training
        """
        super().__init__(targets, sources)
        self.default_guidance = default_scales(self.targets, OF_SIGNALS)
        self.infill = columns.infill_share(targets)
        self.schedule, self.weighting = schedule, weighting
        self.denoiser = Denoiser(
            targets,
            sources,
            width=width,
            depth=depth,
            stem=stem,
            predict=predict,
            source_noise=source_noise,
            pack_columns=columns.pack_columns,
        )
        if columns.pack_columns and self.denoiser.net.trunk.sizes == [1]:
            self.batch = ROW_BATCH

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """(2), the mean of each column, summed over columns: (B,)."""
        u = rng.uniform(len(self.targets) + 1)
        # Half of the rows have one time for all columns, as in sampling.
        u = torch.where(rng.uniform(1) < 0.5, u[:, :1], u[:, 1:])
        t = scheduled("even" if self.weighting == "bound" else self.schedule, u)
        known = self.denoiser.spread(training_masks(self.targets, x, self.infill, rng)[0])
        return self.denoiser.loss(x, c, t, known, rng, self._weight)

    def _weight(self, column: str, t: Tensor) -> Tensor:
        """w of (2); cut off as in flow where the network predicts x^_0."""
        snr = log_snr(t.clamp(min=T_MIN if self.denoiser.predicts[column] == "x" else T_0)).exp()
        match self.weighting:
            case "velocity":
                return snr + 1
            case "min_snr":
                return snr.clamp(max=GAMMA)
        return snr

    @torch.no_grad()
    @expand_dataclasses
    def sample(
        self,
        c: Context,
        *,
        known: KnownParts | None,
        rng: Rng,
        controls: DenoisingControls = CONTROLS,
        steps: SamplingSteps = 20,
        sampler: Literal["stochastic", "euler", "heun", "ab2", "dpmpp_2m"] = "stochastic",
        eta: Share = 1.0,
        cfg: Guidance = GUIDANCE,
        source_noise: ShareBelowOne = 0.0,
    ) -> Batch:
        """Sample along the schedule in `steps` steps.

        steps      number of steps, more are more accurate
        sampler    stochastic, as in (3), or a solver of the ODE with the same marginals
        eta        share of fresh noise of `stochastic`: 1 is ancestral sampling, 0 is DDIM (Song et al., 2021)
        guidance   scale: 1 leaves the model as it is, more trades diversity for fidelity (default 3 for
            images and other signals, 1 for the rest)
        guidance_from  lowest noise level t that is guided, from 0, data, to 1, noise; guidance_to: the highest
        zero_star  scale the prediction without sources first (CFG-Zero*)
        source_noise  noise that is added to sources that are images, up to that of training
        """
        scales = cfg.for_columns(self.default_guidance, len(rng), rng.device)
        solver = denoising.SolverOptions(sampler, self.grid(steps), row_values(eta, rng.device), source_noise)
        known_parts = self.denoiser.pack_known(known, len(rng))
        return denoising.sample(self.denoiser, c, rng, known_parts, solver, scales, controls)

    def batch_key(self, request: Request) -> Hashable:
        denoising.check(self.denoiser, request, request.options["sampler"])
        return None

    @validated
    def grid(self, steps: SamplingSteps) -> list[float]:
        """Times from noise to 0, even in u."""
        u = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1]
        return [*scheduled(self.schedule, u).tolist(), 0.0]

    def log_prob(
        self,
        x: Batch,
        c: Context,
        *,
        rng: Rng,
        method: Literal["auto", "ode", "bound"] = "auto",
        steps: SamplingSteps | None = None,
        draws: Draws = 64,
        floor: NoiseLevel | None = None,
    ) -> Score:
        """The density of numbers: the bound (4), or that of the ODE with the same marginals (density.py).

        method  "auto" is the ODE's up to 64 numbers a row, where it is exact, and (4) above or with `steps`
        steps   KL terms of (4), or None for the integral, the limit of many
        draws   noise levels of (4) that are evaluated; floor: the first, t_0 (default density.min_noise_level)

        Raises ValueError for categorical targets, which have no density here.
        """
        size = num_dimensions(self.denoiser)
        few = size <= FEW
        if method == "bound" or (method == "auto" and (steps or not few)):
            floor = min_noise_level(self.denoiser) if floor is None else floor
            return Score(variational_bound(self.denoiser, x, c, rng, draws, floor, steps), "bound", size)
        return Score(ode_log_prob(self.denoiser, x, c, rng, 96, 1, few), "exact" if few else "estimate", size)
