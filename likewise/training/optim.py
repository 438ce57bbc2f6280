"""TODO training.optim."""

from __future__ import annotations

import numpy as np
import torch

from likewise.families.base import Family
from likewise.training.plan import Plan


def make_optimizers(family: Family, phase: str, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices of blocks, AdamW for the rest; `base` is a group's full learning rate."""
    parameters = family.parameters_of(phase)
    hidden = [
        p
        for n, p in parameters
        if family.uses_muon and "blocks." in n and p.ndim == 2 and "modulation" not in n
    ]
    ids = {id(p) for p in hidden}
    other = [p for _, p in parameters if id(p) not in ids]
    made: list[torch.optim.Optimizer] = []
    if hidden:
        made.append(
            torch.optim.Muon(hidden, lr=plan.muon, weight_decay=family.weight_decay, adjust_lr_fn="original")
        )
    if other:
        made.append(torch.optim.AdamW(other, lr=plan.lr, betas=family.betas, weight_decay=0.0, fused=True))
    for optimiser in made:
        for group in optimiser.param_groups:
            group["base"] = group["lr"] = family.lr_scale * group["lr"]
    return made


def ema_gamma(sigma: float) -> float:
    """The power g of an average of width sigma: sigma^2 = (g + 1) / ((g + 2)^2 (g + 3)) (EDM2, eq. 126)."""
    roots = np.roots([1, 7, 16 - sigma**-2, 12 - sigma**-2])
    return float(roots.real.max())
