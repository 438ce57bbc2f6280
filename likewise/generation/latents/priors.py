"""Priors: p(z | sources) of a latent vector z. Each is a mixture of K Gaussians with diagonal covariance.

standard  N(0, I)                                                                                    (1)
learned   N(mu(c), sigma(c)^2), given sources c (Sohn et al., 2015)                                   (2)
mixture   sum_k w_k(c) N(mu_k, sigma_k^2)                                                            (3)
vamp      sum_k w_k(c) q(z | u_k): the encoder's Gaussians of K learned rows (Tomczak & Welling, 2018) (4)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from likewise.core.rng import Rng
from likewise.nets.conditioning import EncodedContext, column_conditions
from likewise.nets.layers import Linear, norm
from likewise.nets.transformer import Trunk

LOG_VAR = -8.0, 4.0  # log sigma^2 lies between them


@dataclass(frozen=True)
class Gaussians:
    """K diagonal Gaussians over L numbers, with weights.

    log_weight  (B, K); mean, log_var  (B, K, L)
    """

    log_weight: Tensor
    mean: Tensor
    log_var: Tensor

    @classmethod
    def one(cls, params: Tensor) -> Gaussians:
        """K = 1, from mean and log-variance side by side, (B, 2 L); the latter is clamped to LOG_VAR."""
        mean, log_var = params.float()[:, None].chunk(2, dim=-1)
        return cls(mean.new_zeros(len(mean), 1), mean, log_var.clamp(*LOG_VAR))

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z), z (B, L) -> (B,)."""
        return (self.log_weight + log_normal(z[:, None], self.mean, self.log_var).sum(-1)).logsumexp(1)

    def sample(self, rng: Rng, temperature: float = 1.0) -> Tensor:
        """Sample (B, L): a component by its weight, then N(mean, (temperature sigma)^2)."""
        mean, log_var = self.mean[:, 0], self.log_var[:, 0]
        if self.mean.shape[1] > 1:
            gumbel = -(-rng.uniform(self.mean.shape[1]).clamp(1e-9, 1 - 1e-7).log()).log()
            pick = (self.log_weight + gumbel).argmax(1)
            rows = torch.arange(len(pick), device=pick.device)
            mean, log_var = self.mean[rows, pick], self.log_var[rows, pick]
        return mean + temperature * (0.5 * log_var).exp() * rng.normal(mean.shape[1])

    def take(self, rows: Tensor) -> Gaussians:
        """Some of the rows."""
        return Gaussians(self.log_weight[rows], self.mean[rows], self.log_var[rows])


def log_normal(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log N(z; mean, e^log_var) of each number."""
    return -0.5 * (log_var + (z - mean).square() * (-log_var).exp() + math.log(2 * math.pi))


def kl_normal(q: Gaussians, p: Gaussians) -> Tensor:
    """KL(q || p) of each number, in closed form where both are one Gaussian: (B, L)."""
    return (
        0.5
        * (p.log_var - q.log_var - 1 + ((q.log_var.exp() + (q.mean - p.mean).square()) * (-p.log_var).exp()))[
            :, 0
        ]
    )


class Prior(nn.Module):
    """One of (1) to (4) over `latent_dim` numbers; a token that attends to the sources conditions it on them."""

    def __init__(self, kind: str, latent_dim: int, components: int, width: int) -> None:
        super().__init__()
        self.kind, self.latent_dim = kind, latent_dim
        if kind == "standard":
            return
        self.token = nn.Parameter(torch.randn(1, width))
        self.condition = nn.Parameter(torch.randn(1, width))
        self.trunk = Trunk([(1,)], width, 1)
        self.head = Linear(width, 2 * latent_dim if kind == "learned" else components)
        nn.init.zeros_(self.head.weight), nn.init.zeros_(self.head.bias)
        if kind == "mixture":
            self.component_params = nn.Parameter(
                torch.cat([torch.randn(components, latent_dim), torch.zeros(components, latent_dim)], dim=1)
            )

    def forward(self, context: EncodedContext, rows: int, encoded: Gaussians | None = None) -> Gaussians:
        """p(z | sources); `encoded` are the K Gaussians of (4), K rows of one each."""
        if self.kind == "standard":  # (1)
            return Gaussians.one(context.pooled.new_zeros(rows, 2 * self.latent_dim))
        e = column_conditions(self.condition, context, rows)
        out = self.head(norm(self.trunk([self.token.expand(rows, 1, -1)], e, context)[0][:, 0]))
        if self.kind == "learned":  # (2)
            return Gaussians.one(out)
        parts = Gaussians.one(self.component_params) if encoded is None else encoded  # (3), (4)
        return Gaussians(
            out.float().log_softmax(1),
            parts.mean[:, 0].expand(rows, -1, -1),
            parts.log_var[:, 0].expand(rows, -1, -1),
        )
