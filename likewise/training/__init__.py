"""The training loop: the plan, the optimizers, the processes, checkpoints of a run.

`train` is a generator of steps; whoever iterates it may stop at any time and has a model to sample from.
"""

from __future__ import annotations

from likewise.training.loss import heldout_loss
from likewise.training.plan import Plan
from likewise.training.trainer import Step, train

__all__ = ["Plan", "Step", "heldout_loss", "train"]
