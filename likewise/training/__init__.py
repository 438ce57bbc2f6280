"""Training: the plan of a run, the loop, optimizers, processes, checkpoints and metrics.

`train` yields a `Step` per optimizer step; whoever iterates may stop at any time and has a model to sample
from. A new optimizer goes into optim.py, a new number of a step into metrics.py.
"""

from __future__ import annotations

from likewise.training.loss import heldout_loss
from likewise.training.metrics import Step
from likewise.training.plan import Plan
from likewise.training.trainer import train

__all__ = ["Plan", "Step", "heldout_loss", "train"]
