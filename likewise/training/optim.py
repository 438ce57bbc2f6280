"""Optimizers, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from likewise.core.device import supports_bf16
from likewise.families.base import Family
from likewise.training.plan import Plan


class Muon(torch.optim.Muon):
    """PyTorch's Muon (Jordan et al., 2024), which iterates in float32 where bf16 is slow.

    In bf16 without hardware for it the iteration takes many times as long as the rest of a step.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step, for the gradients that the parameters have."""
        if all(supports_bf16(p.device) for group in self.param_groups for p in group["params"]):
            return super().step(closure)
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for p in (p for p in group["params"] if p.grad is not None):
                buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p.grad))
                buffer.lerp_(p.grad, 1 - momentum)
                update = p.grad.lerp(buffer, momentum) if group["nesterov"] else buffer
                update = orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
                p.mul_(1 - lr * group["weight_decay"])
                p.add_(update, alpha=-lr * math.sqrt(max(1, p.shape[0] / p.shape[1])))
        return loss


def orthogonalized(g: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float) -> Tensor:
    """About U V^T of G = U S V^T (m, n), by Newton-Schulz iterations X <- a X + (b A + c A^2) X, A = X X^T."""
    a, b, c = coefficients
    x = g if g.shape[0] <= g.shape[1] else g.T
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if g.shape[0] <= g.shape[1] else x.T


def make_optimizers(family: Family, phase: str, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al., 2024) for the hidden matrices of blocks, AdamW for all other parameters.

    A parameter group has its full learning rate under "base_lr".
    """
    parameters = family.parameters_of(phase)
    hidden = [
        p
        for name, p in parameters
        if family.uses_muon and "blocks." in name and p.ndim == 2 and "modulation" not in name
    ]
    ids = {id(p) for p in hidden}
    other = [p for _, p in parameters if id(p) not in ids]
    optimizers: list[torch.optim.Optimizer] = []
    if hidden:
        decay = family.weight_decay
        optimizers.append(Muon(hidden, lr=plan.muon_lr, weight_decay=decay, adjust_lr_fn="original"))
    if other:
        optimizers.append(
            torch.optim.AdamW(other, lr=plan.lr, betas=family.betas, weight_decay=0.0, fused=True)
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"] = family.lr_scale * group["lr"]
    return optimizers


def ema_gamma(sigma: float) -> float:
    """The power g of an average of width sigma: sigma^2 = (g + 1) / ((g + 2)^2 (g + 3)) (EDM2, eq. 126)."""
    roots = np.roots([1, 7, 16 - sigma**-2, 12 - sigma**-2])
    return float(roots.real.max())


@torch.no_grad()
def update_average(average: nn.Module, raw: nn.Module, step: int, gamma: float) -> None:
    """theta_ema <- beta theta_ema + (1 - beta) theta, beta = (1 - 1 / t)^(gamma + 1), t = step + 1.

    The width of the average grows with t (Karras et al., 2024, "EDM2", eq. 121).
    """
    beta = (1 - 1 / (step + 1)) ** (gamma + 1)
    averages: list[Tensor] = list(average.parameters())
    if averages:
        torch._foreach_lerp_(averages, list[Tensor](raw.parameters()), 1 - beta)
