"""Flow matching (Lipman et al., 2023; Liu et al., 2023), the network predicting x_0 (Li & He, 2025, "JiT").

    x_t = (1 - t) x_0 + t e,   e ~ N(0, I),   logit t ~ N(t_mean, t_std^2)                              (1)
    loss = |v(x_t, x^_0) - v|^2 = |x^_0 - x_0|^2 / max(t, 0.05)^2,  v = (x_t - x_0) / t                 (2)
    sample: dx/dt = v(x, x^_0(x, t)) from x_1 ~ N(0, I) to x_0, or in few steps (meanflow.py)           (3)
    log p(x_0) = log N(x_1; 0, I) + int_0^1 div v dt                                                    (4)

Samples may have known parts, and any subset of the sources: see Denoiser. For a column of few numbers the
network predicts v of the variance-preserving path, which is exact near t = 0, where a density needs it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from likewise.core.batch import Batch, Context, row_values
from likewise.core.known import KnownParts, training_masks
from likewise.core.options import validate_fields
from likewise.core.ranges import (
    Depth,
    Draws,
    LogitMean,
    LogitStd,
    NoiseLevel,
    NonNegativeInt,
    SamplingSteps,
    Share,
    ShareBelowOne,
    Shift,
    Width,
)
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
from likewise.generation.denoising.meanflow import sample_intervals
from likewise.generation.denoising.paths import T_MIN
from likewise.generation.denoising.samplers import log_snr_grid, time_grid
from likewise.generation.idle import IdleRule, Request

FEW_STEPS = 4  # up to which few-step sampling is better than a solver, if it was learned
GUIDANCE, CONTROLS = Guidance(), DenoisingControls()
OF_SIGNALS = 2.0  # default guidance of images and other signals


@dataclass(frozen=True)
class LogitNormal:
    """The time density (1)."""

    t_mean: LogitMean | None = None
    t_std: LogitStd | None = None

    def __post_init__(self) -> None:
        validate_fields(self)


LOGIT_NORMAL = LogitNormal()


class Flow(Family):
    """P(targets | sources) as a flow from noise to data."""

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
        times: LogitNormal = LOGIT_NORMAL,
        predict: Literal["auto", "x", "v"] = "auto",
        columns: ColumnOptions = COLUMNS,
        source_noise: ShareBelowOne = 0.0,
        few_step: bool = False,
    ) -> None:
        """Build the network.

        width   hidden width; depth: blocks of the transformer
        stem    for images: the outer levels of a U-Net, or linear patches
        t_mean  mean of logit t, the noise level in training (default 0.8, or 0 for at most 64 numbers a row)
        t_std   its standard deviation (default 1, or 1.5 for at most 64 numbers a row)
        predict  what the network predicts of numbers; auto: v up to 64 numbers a column, else x
        infill  share of training rows with known parts (default 0.1, or 0.5 for several targets)
        pack_columns  compute all columns of one token, such as numbers and labels, as one token, targets and sources
            each: the cost of a row hardly grows with their number
        source_noise  most noise on sources that are images in training
        few_step  learn mean velocities too, for sampling in 1 to 4 steps; best --from a trained model
        """
        super().__init__(targets, sources)
        self.default_guidance = default_scales(self.targets, OF_SIGNALS)
        self.infill = columns.infill_share(targets)
        self.denoiser = Denoiser(
            targets,
            sources,
            width=width,
            depth=depth,
            stem=stem,
            predict=predict,
            source_noise=source_noise,
            few_step=few_step,
            pack_columns=columns.pack_columns,
        )
        if columns.pack_columns and self.denoiser.net.trunk.sizes == [1]:
            self.batch = ROW_BATCH
        few = self.denoiser.layout.size <= FEW
        self.t_mean = (0.0 if few else 0.8) if times.t_mean is None else times.t_mean
        self.t_std = (1.5 if few else 1.0) if times.t_std is None else times.t_std

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """(2), the mean of each column, summed over columns: (B,)."""
        times = torch.sigmoid(self.t_mean + self.t_std * rng.normal(len(self.targets) + 1))  # (1)
        # Half of the rows have one time for all columns, as in sampling.
        t, step = torch.where(rng.uniform(1) < 0.5, times[:, :1], times[:, 1:]), None
        if self.denoiser.few_step:
            t, step = sample_intervals(t, times, rng)
        known = self.denoiser.spread(training_masks(self.targets, x, self.infill, rng)[0])
        return self.denoiser.loss(x, c, t, known, rng, self._weight, step, self.progress)

    def _weight(self, column: str, t: Tensor) -> Tensor:
        """1 / t^2 of (2), cut off where the network predicts x^_0."""
        return 1 / t.clamp(min=T_MIN if self.denoiser.predicts[column] == "x" else T_0) ** 2

    @torch.no_grad()
    @expand_dataclasses
    def sample(
        self,
        c: Context,
        *,
        known: KnownParts | None,
        rng: Rng,
        controls: DenoisingControls = CONTROLS,
        steps: SamplingSteps = 8,
        sampler: Literal["auto", "euler", "heun", "ab2", "dpmpp_2m", "stochastic", "jump"] = "auto",
        cfg: Guidance = GUIDANCE,
        shift: Shift = 1.0,
        eta: Share = 1.0,
        source_noise: ShareBelowOne = 0.0,
    ) -> Batch:
        """Solve (3) in `steps` steps.

        steps      number of steps, more are more accurate
        sampler    ODE solver; auto: dpmpp_2m, but jump (few-step sampling) for at most 4 steps of a model trained
            with few_step
        guidance   scale: 1 leaves the model as it is, more trades diversity for fidelity (default 2 for
            images and other signals, 1 for the rest)
        guidance_from  lowest noise level t that is guided, from 0, data, to 1, noise; guidance_to: the highest
        zero_star  scale the prediction without sources first (CFG-Zero*); not for jump
        shift      above 1, more of the steps are spent on noise; eta: share of fresh noise of `stochastic`
        source_noise  noise that is added to sources that are images, up to that of training
        """
        scales = cfg.for_columns(self.default_guidance, len(rng), rng.device)
        solver = denoising.SolverOptions(
            self._sampler(sampler, steps, float(scales.common[0]), controls.negative is not None),
            self.grid(steps, shift),
            row_values(eta, rng.device),
            source_noise,
        )
        known_parts = self.denoiser.pack_known(known, len(rng))
        return denoising.sample(self.denoiser, c, rng, known_parts, solver, scales, controls)

    def batch_key(self, request: Request) -> Hashable:
        """The sampler, as `auto` depends on the guidance and on negatives."""
        options = request.options
        guidance = 1.0 if isinstance(options["guidance"], Mapping) else options["guidance"]
        sampler = self._sampler(options["sampler"], options["steps"], guidance, request.negative)
        denoising.check(self.denoiser, request, sampler)
        return sampler

    def _sampler(self, sampler: str, steps: int, guidance: float, negative: bool) -> str:
        """The name of a sampler, for auto too; `guidance` is that of all columns."""
        if sampler != "auto":
            return sampler
        few = steps <= FEW_STEPS and self.denoiser.supports_few_steps(guidance, negative)
        return "jump" if few else "dpmpp_2m"

    def grid(self, steps: SamplingSteps, shift: Shift = 1.0) -> list[float]:
        """Times from noise to 0, even in log SNR where all columns predict x and none is categorical.

        Times near data, rare in training, would be wasted on the others.
        """
        fine = all(predicts == "x" for predicts in self.denoiser.predicts.values())
        return (log_snr_grid if fine and not self.denoiser.column_codes.categorical else time_grid)(
            steps, shift
        )

    def log_prob(
        self,
        x: Batch,
        c: Context,
        *,
        rng: Rng,
        method: Literal["auto", "ode", "bound"] = "auto",
        draws: Draws = 64,
        floor: NoiseLevel | None = None,
        steps: SamplingSteps = 96,
        probes: Draws = 1,
        exact: NonNegativeInt = 64,
    ) -> Score:
        """The density of numbers: by (4), or the variational bound of the same x^_0 (Kingma et al., 2021).

        method  "auto" is (4) up to 64 numbers a row, where it is exact, and the bound above
        draws   noise levels of the bound; floor: the first of them (default density.min_noise_level)
        steps   of the solver of (4); probes: random vectors of its trace above `exact` numbers

        Raises ValueError for categorical targets, which have no density here.
        """
        size = num_dimensions(self.denoiser)
        few = size <= FEW
        if method == "bound" or (method == "auto" and not few):
            floor = min_noise_level(self.denoiser) if floor is None else floor
            return Score(variational_bound(self.denoiser, x, c, rng, draws, floor), "bound", size)
        nats = ode_log_prob(self.denoiser, x, c, rng, steps, probes, size <= exact)
        return Score(nats, "exact" if size <= exact else "estimate", size)
