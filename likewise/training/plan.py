"""The plan of a training run: its length, learning rates and schedule, batch, precision and checkpoints."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from likewise.core.options import validate_fields
from likewise.core.ranges import (
    BatchSize,
    EMASigma,
    LearningRate,
    Minutes,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Seed,
    ShareBelowOne,
)
from likewise.families.base import Family


@dataclass(frozen=True)
class Plan:
    """How to train. The fields are options of the command line.

    minutes    wall time of the whole run without interruptions, by which the schedule goes
    steps      number of steps, instead of minutes: such a run can be repeated to the last bit on one machine
    epochs     number of passes through the training rows, instead of minutes or steps
    batch      rows per step, over all processes (default 96, fewer for long texts)
    lr         learning rate of AdamW; muon_lr: learning rate of Muon
    warmup     steps of linear warm-up, 0 for none; cooldown: share of the run in which learning rates fall linearly to 0
    ema_sigma  width of the moving average of the weights, as a share of the run (sigma_rel of EDM2)
    source_dropout  probability that a source of a row is hidden, so that the model can do without it
    seed       of the order of rows, noise levels, noise and dropout; compile: use torch.compile
    precision  of the arithmetic: "auto" is bf16 where the processor has it and rows are not tiny
    save_seconds  seconds between checkpoints
    """

    minutes: Minutes | None = None
    steps: PositiveInt | None = None
    epochs: PositiveFloat | None = None
    batch: BatchSize | None = None
    lr: LearningRate = 2e-3
    muon_lr: LearningRate = 0.02
    warmup: NonNegativeInt = 50
    cooldown: ShareBelowOne = 0.5
    ema_sigma: EMASigma = 0.08
    source_dropout: ShareBelowOne = 0.1
    seed: Seed = 0
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    compile: bool = False
    save_seconds: PositiveFloat = 60.0

    def __post_init__(self) -> None:
        validate_fields(self)
        if [self.minutes, self.steps, self.epochs].count(None) != 2:
            raise ValueError("a plan has either minutes or steps or epochs; give one of them")

    def rows_per_step(self, family: Family) -> int:
        """The batch size: that of the family unless the plan has one."""
        return self.batch or family.batch

    def resolved(self, family: Family, rows: int) -> Plan:
        """The same plan with the batch size that it has for this family, and epochs of so many rows as steps."""
        batch = self.rows_per_step(family)
        if self.epochs is None:
            return dataclasses.replace(self, batch=batch)
        steps = max(1, math.ceil(self.epochs * rows / batch))
        return dataclasses.replace(self, batch=batch, steps=steps, epochs=None)

    # ---- the schedule

    def progress(self, step: int, elapsed: float) -> float:
        """The share of the run that is done after `step` steps and `elapsed` seconds, in [0, 1]."""
        if self.minutes is not None:
            return min(1.0, elapsed / (60 * self.minutes))
        assert self.steps is not None  # of a plan that is `resolved`
        return min(1.0, step / self.steps)

    def seconds_left(self, progress: float, elapsed: float) -> float:
        """An estimate of the seconds until the end, after `elapsed` seconds; progress is above 0."""
        total = 60 * self.minutes if self.minutes is not None else elapsed / progress
        return max(0.0, total - elapsed)

    def lr_factor(self, step: int, progress: float) -> float:
        """The factor of all learning rates: linear warm-up, constant, linear cooldown to zero."""
        cooldown = (1 - progress) / self.cooldown if self.cooldown else 1.0
        return min(1.0, (step + 1) / max(1, self.warmup), cooldown)
