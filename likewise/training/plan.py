"""The plan of a training run: its length, learning rates and schedule, batch, precision and checkpoints."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from likewise.families.base import Family


@dataclass(frozen=True)
class Plan:
    """How to train. The fields are options of the command line.

    minutes    wall time of the whole run, all interruptions left out; the schedule follows the clock
    steps      instead of minutes: a number of steps; then a run is the same to the last bit on one machine
    batch      rows a step, over all processes (default 96, fewer where a row is a long text)
    lr         learning rate of AdamW; muon: that of Muon
    warmup     steps of linear warm-up; decay: share of the run with linear decay at its end
    ema        width of the average relative to the run's length (sigma_rel of EDM2)
    drop       chance that a source of a row is forgotten, so that any subset can be asked and guided
    seed       of rows, times, noise and dropout; compile: whether torch.compile is tried
    precision  of the arithmetic; "auto" takes bf16 where the processor has it and targets are not tiny
    save       seconds between checkpoints
    """

    minutes: float | None = None
    steps: int | None = None
    batch: int | None = None
    lr: float = 2e-3
    muon: float = 0.02
    warmup: int = 50
    decay: float = 0.5
    ema: float = 0.08
    drop: float = 0.1
    seed: int = 0
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    compile: bool = False
    save: float = 60.0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("a plan has either minutes or steps; give one of the two")
        for name in ("minutes", "steps", "batch", "lr", "muon", "save"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        for name in ("decay", "drop"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is a share, in [0, 1), not {getattr(self, name)}")
        if not 0 < self.ema < 0.28:
            raise ValueError(f"ema is a share of the run's length, in (0, 0.28), not {self.ema}")

    def rows_per_step(self, family: Family) -> int:
        """The batch size: that of the family unless the plan has one."""
        return self.batch or family.batch

    def resolved(self, family: Family) -> Plan:
        """The same plan with the batch size that it has for this family."""
        return dataclasses.replace(self, batch=self.rows_per_step(family))

    # ---- the schedule

    def progress(self, step: int, elapsed: float) -> float:
        """The share of the run that is done after `step` steps and `elapsed` seconds, in [0, 1]."""
        if self.minutes is not None:
            return min(1.0, elapsed / (60 * self.minutes))
        assert self.steps is not None  # one of the two is there, as __post_init__ checks
        return min(1.0, step / self.steps)

    def seconds_left(self, progress: float, elapsed: float) -> float:
        """An estimate of the seconds until the end, after `elapsed` seconds; progress is above 0."""
        total = 60 * self.minutes if self.minutes is not None else elapsed / progress
        return max(0.0, total - elapsed)

    def lr_factor(self, step: int, progress: float) -> float:
        """By what the learning rates are multiplied: linear warm-up, constant, linear decay to zero."""
        decay = (1 - progress) / self.decay if self.decay else 1.0
        return min(1.0, (step + 1) / self.warmup, decay)
