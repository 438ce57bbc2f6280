"""TODO training.plan."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from likewise.families.base import Family


@dataclass(frozen=True)
class Plan:
    """How to train. The fields are the command line's options.

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

    def resolved(self, family: Family) -> Plan:
        """The same with a batch: that of the family, if none was asked for."""
        return dataclasses.replace(self, batch=self.batch or family.batch)
