"""Autoencoder with a prior on its codes: a codec makes codes z of x, a flow learns p(z | c).

    codes     z = bottleneck(encoder(x)), vectors or ids of codebooks (codec.py, bottlenecks.py)        (1)
    prior     p(z | c, known parts of x), flow matching in the space of codes:
              z_t = (1 - t) z + t e, loss |z^(z_t, t, c) - z|^2 / max(t, 0.1)^2                          (2)
    sample    z by (2), rounded to the nearest code where codes are ids, then x ~ p(x | z)              (3)

This is latent diffusion (Rombach et al., 2022), with both parts trained together: the prior learns from the
first step; half-way the codes are frozen, so that the prior converges, and only the decoder still learns, on a
share of the rows. There is no log_prob: a deterministic encoder gives no bound for continuous codes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from likewise.core.batch import Batch, Context, row_values, take
from likewise.core.known import (
    KnownParts,
    append_known,
    fill_unknown,
    known_specs,
    training_masks,
    where_known,
)
from likewise.core.options import validate_fields
from likewise.core.ranges import (
    CodebookSize,
    Depth,
    Dimensions,
    LogitMean,
    LogitStd,
    MaxGrid,
    NumCodebooks,
    SamplingSteps,
    Share,
    Shift,
    Width,
)
from likewise.core.rng import Rng
from likewise.core.signatures import expand_dataclasses
from likewise.core.spec import Spec
from likewise.families.base import Family, require_single_target
from likewise.generation import idle
from likewise.generation.controls import DenoisingControls, Init, InterpolateTo, OnStep, Step
from likewise.generation.denoising import sampling as denoising
from likewise.generation.denoising.denoiser import Denoiser
from likewise.generation.denoising.guidance import Guidance
from likewise.generation.denoising.samplers import time_grid
from likewise.generation.idle import IdleRule, Request
from likewise.generation.latents.codec import Codec

GUIDANCE, CONTROLS = Guidance(), DenoisingControls()
OF_SIGNALS = 1.5  # default guidance of images and other signals
T_MIN = 0.1  # of (2): a decoder that is trained with noise is insensitive to smaller errors


@dataclass(frozen=True)
class CodecOptions:
    """Options of the codec, as in `Codec`."""

    codec_depth: Depth = 1
    stem: Literal["conv", "patch"] = "conv"
    bottleneck: Literal["continuous", "fsq", "vq", "rvq"] = "continuous"
    max_grid: MaxGrid = 4
    code_dim: Dimensions = 8
    codebook_size: CodebookSize = 1000
    num_codebooks: NumCodebooks = 4

    def __post_init__(self) -> None:
        validate_fields(self)


CODEC = CodecOptions()


class Autoencoder(Family):
    """P(targets | sources) as a flow over the codes of an autoencoder."""

    idle_rules: ClassVar[Sequence[IdleRule]] = (*idle.GUIDED, idle.SINGLE_TOKENS)
    row_options: ClassVar[frozenset[str]] = frozenset({"guidance", "eta"})

    phases = ("codec", "prior")

    @expand_dataclasses
    def __init__(
        self,
        targets: Mapping[str, Spec],
        sources: Mapping[str, Spec],
        *,
        width: Width = 128,
        depth: Depth = 4,
        codec: CodecOptions = CODEC,
        freeze_codes_at: Share = 0.5,
        t_mean: LogitMean = 1.0,
        t_std: LogitStd = 1.0,
        infill: Share | None = None,
    ) -> None:
        """Build codec and prior.

        width   hidden width of autoencoder and prior; depth: blocks of the prior
        codec_depth  blocks of encoder and of decoder
        stem    for images: convolutions or linear patches; max_grid: codes along a side of an image, at most
        bottleneck  what a code is: a vector, or an id by fsq, vq or rvq
        code_dim  numbers of a code (of fsq, codebook_size decides); codebook_size: number of different codes
        num_codebooks  of rvq: ids a position, each of its own codebook
        freeze_codes_at  share of the training after which codes are frozen, so that the prior converges
        t_mean  mean of logit t, the noise level in training of the prior; t_std: its standard deviation
        infill  share of training rows with known parts (default 0.1, or 0.5 for several targets)
        """
        super().__init__(targets, sources)
        signals = all(spec.is_signal for spec in self.targets.values())  # they share their codes
        self.default_guidance = dict.fromkeys(self.targets, OF_SIGNALS if signals else 1.0)
        several = len(self.targets) > 1
        self.infill = (0.5 if several else 0.1) if infill is None else infill
        if not several and next(iter(self.targets.values())).tokens == 1:
            self.infill = 0.0  # if it is known, nothing is left to learn
        self.freeze_codes_at, self.t_mean, self.t_std = freeze_codes_at, t_mean, t_std
        options = asdict(codec)
        self.codec = Codec(targets, width=width, depth=options.pop("codec_depth"), **options)
        known = known_specs(self.codec.column_codes.specs) if self.infill else {}
        self.prior = Denoiser(
            {"z": self.codec.vector_spec},
            {**self.sources, **known},
            width=width,
            depth=depth,
            stem="patch",
            predict="x",
        )

    def parameters_of(self, phase: str) -> list[tuple[str, torch.nn.Parameter]]:
        return [(n, p) for n, p in self.named_parameters() if n.startswith(f"{phase}.")]

    # ---- learning

    def init_from_data(self, x: Batch, c: Context, rng: Rng) -> None:
        """Initialise discrete codes so that different rows have different codes."""
        if self.codec.discrete:
            self.codec.init_from_data(x)

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """The codec's loss, or (2) of its codes: (B,)."""
        if phase == "prior":
            return self._prior_loss(x, c, rng)
        loss = self.codec.loss(x, rng, frozen=self.freeze_codes_at < self.progress < 1)
        self.loss_terms = dict(self.codec.loss_terms)
        return loss

    def _prior_loss(self, x: Batch, c: Context, rng: Rng) -> Tensor:
        """(2), of the present codes."""
        rows = len(rng)
        with torch.no_grad():
            z = self.codec.vectors(self.codec.encode(x)).float()
        t = torch.sigmoid(self.t_mean + self.t_std * rng.normal(1))
        masks = training_masks(self.targets, x, self.infill, rng)[0]
        some = torch.stack([m.any(1) for m in masks.values()]).any(0)
        loss = torch.zeros(rows, device=z.device)
        for part in (some, ~some):  # rows without known parts have fewer source tokens
            if len(index := part.nonzero()[:, 0]):
                known = self._append_known(take(x, index), take(masks, index), c.take(index))
                nothing = torch.zeros(len(index), self.prior.layout.size, dtype=torch.bool, device=z.device)
                own = self.prior.loss({"z": z[index]}, known, t[index], nothing, rng.take(index), _weight)
                loss = loss.index_put((index,), own)
        self.loss_terms["prior"] = loss.detach().mean()
        return loss

    def _append_known(self, x: Batch, masks: Batch, c: Context) -> Context:
        """The sources, and the known parts of x as further sources."""
        return append_known(c, self.codec.column_codes.encode(x), masks) if self.infill else c

    # ---- the codec as a view

    def code_spec(self, name: str) -> Spec:
        """The Spec of the codes of the single target."""
        require_single_target(name, self.targets)
        return self.codec.spec

    @torch.no_grad()
    def to_codes(self, name: str, x: Tensor) -> Tensor:
        return self.codec.encode({name: x})

    @torch.no_grad()
    def from_codes(self, name: str, codes: Tensor) -> Tensor:
        return self.codec.decode(codes)[name]

    # ---- sampling

    @torch.no_grad()
    @expand_dataclasses
    def sample(
        self,
        c: Context,
        *,
        known: KnownParts | None,
        rng: Rng,
        controls: DenoisingControls = CONTROLS,
        steps: SamplingSteps = 10,
        sampler: Literal["euler", "heun", "ab2", "dpmpp_2m", "stochastic"] = "ab2",
        cfg: Guidance = GUIDANCE,
        shift: Shift = 1.0,
        eta: Share = 1.0,
        noise: bool = False,
    ) -> Batch:
        """Sample by (3), with `steps` steps of the flow.

        steps      number of steps, more are more accurate; sampler: ODE solver
        guidance   scale: 1 leaves the model as it is, more trades diversity for fidelity (default 1.5 for
            targets that are all images or other signals, else 1)
        guidance_from  lowest noise level t that is guided, from 0, data, to 1, noise; guidance_to: the highest
        zero_star  scale the prediction without sources first (CFG-Zero*)
        shift      above 1, more of the steps are spent on noise; eta: share of fresh noise of `stochastic`
        noise      whether columns of several tokens, such as images, are sampled too; else they are means
        """
        values, masks = fill_unknown(self.targets, known, len(rng), rng.device)
        of_codes = self._controls_of_codes(controls, values, masks)
        scales = cfg.for_columns({"z": max(self.default_guidance.values())}, len(rng), rng.device)
        no_codes = self.prior.pack_known(None, len(rng))  # known parts are sources, not codes
        solver = denoising.SolverOptions(sampler, time_grid(steps, shift), row_values(eta, rng.device))
        sources = self._append_known(values, masks, c)
        v = denoising.sample(self.prior, sources, rng, no_codes, solver, scales, of_codes)["z"]
        params = self.codec.decode_params(self.codec.vectors(self.codec.codes(v)))
        if controls.init is None or of_codes.init is None:
            x = self.codec.likelihood.sample(params, rng, noise)
        else:
            start = controls.init.values, self.codec.decode_params(of_codes.init.values["z"])
            x = self.codec.likelihood.vary(params, start, controls.init.noise, rng, noise)
        return {n: where_known(x[n], values[n], masks[n]) for n in self.targets}

    def _controls_of_codes(
        self, controls: DenoisingControls, values: Batch, masks: Batch
    ) -> DenoisingControls:
        """Controls of the targets as controls of the prior: contexts with known parts, codes of an `init`."""
        negative, interpolate_to, init = controls.negative, controls.interpolate_to, controls.init
        if negative is not None:
            negative = self._append_known(values, masks, negative)
        if interpolate_to is not None:
            other = self._append_known(values, masks, interpolate_to.sources)
            interpolate_to = InterpolateTo(other, interpolate_to.share)
        if init is not None:
            z = self.codec.vectors(self.codec.encode(init.values)).float()
            init = Init({"z": z}, init.strength)
        on_step = controls.on_step and self._decode_steps(controls.on_step, values, masks)
        return DenoisingControls(negative, interpolate_to, init, on_step)

    def _decode_steps(self, on_step: OnStep, values: Batch, masks: Batch) -> OnStep:
        """The same function for steps of which the samples are codes."""

        def decode(step: Step) -> Batch:
            params = self.codec.decode_params(self.codec.vectors(self.codec.codes(step.estimate()["z"])))
            x = self.codec.likelihood.mode(params)
            return {n: where_known(x[n], values[n], masks[n]) for n in self.targets}

        return lambda step: on_step(Step(step.step, step.steps, lambda: decode(step)))

    def batch_key(self, request: Request) -> Hashable:
        """Whether anything is known, as known parts are sources, and then negative ones as well."""
        denoising.check(self.prior, request, request.options["sampler"])
        return request.known, request.known and request.negative


def _weight(column: str, t: Tensor) -> Tensor:
    """1 / max(t, T_MIN)^2 of (2)."""
    return 1 / t.clamp(min=T_MIN) ** 2
