"""Heads: the distribution of one token given the output h of a network.

Legend: B batch, T tokens, D width, C floats a token, K classes, M Gaussians of a mixture.

    ids     p(x) = softmax(W h + b)_x                                                                   (1)
    floats  p(x) = sum_m w_m prod_c N(x_c; mu_mc, s_mc^2), with w, mu, log s = W h + b
            (Bishop, 1994, "mixture density networks")                                                  (2)

Heads compute in float32 whatever the type of the network. W starts almost at zero, so that a head predicts the
marginal, b; a tied W starts as its embedding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from likewise.core.categorical import sample_categorical
from likewise.nets.layers import Linear, float32_parameters, linear

INIT_STD = 0.001  # of the weights W at the start
CHUNK_LOGITS = {"cpu": 2**20, "cuda": 2**27}  # logits in memory at once: on a CPU, what its cache holds


class TiedLinear:
    """A linear layer without b whose W is the embedding of another module (Press & Wolf, 2017)."""

    bias = None

    def __init__(self, embedding: nn.Embedding) -> None:
        self.embedding = embedding

    @property
    def weight(self) -> Tensor:
        """W, (K, D)."""
        return self.embedding.weight

    def __call__(self, h: Tensor) -> Tensor:
        """(..., D) -> (..., K)."""
        return linear(h, self.weight)


class CategoricalHead(nn.Module):
    """Logits of K classes (1), with b or without, or tied to an embedding."""

    def __init__(self, width: int, classes: int, bias: bool = True, tied: nn.Embedding | None = None) -> None:
        super().__init__()
        self.out = _linear(width, classes, bias) if tied is None else TiedLinear(tied)

    def init_from_data(self, x: Tensor) -> None:
        """Set b, if there is one, to log frequencies of the ids x (n,), with one added to each count."""
        if self.out.bias is None:
            return
        counts = torch.bincount(x, minlength=len(self.out.bias)).float() + 1
        with torch.no_grad():
            self.out.bias.copy_((counts / counts.sum()).log())

    def forward(self, h: Tensor) -> Tensor:
        """(..., D) -> logits (..., K) float32."""
        return self.out(h).float()

    def log_prob(self, h: Tensor, x: Tensor) -> Tensor:
        """log p of ids, h (..., D) and x (...) -> (...), nats."""
        return ChunkedLogProb.apply(h.flatten(0, -2), self.out.weight, self.out.bias, x.flatten()).view(
            x.shape
        )


class ChunkedLogProb(torch.autograd.Function):
    """log softmax(W h + b)_x in chunks of rows, whose logits are recomputed in the backward pass.

    So the (n, K) logits and their gradients are never in memory at once (Wijmans et al., 2024, "Cut your
    losses").
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
        """h (n, D), weight (K, D), bias (K,), x (n,) -> (n,) nats, float32."""
        ctx.save_for_backward(h, weight, bias, x)
        log_probs = [
            F.linear(h[part], weight, bias).log_softmax(-1, torch.float32).gather(-1, x[part, None])[:, 0]
            for part in _chunks(h, weight)
        ]
        return torch.cat(log_probs) if log_probs else h.new_zeros(0, dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """d log p_x / d logits = one_hot(x) - softmax(logits)."""
        h, weight, bias, x = ctx.saved_tensors
        d_h, d_weight = torch.empty_like(h), torch.zeros_like(weight, dtype=torch.float32)
        d_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        for part in _chunks(h, weight):
            g = grad[part, None]
            d = F.linear(h[part], weight, bias).softmax(-1, torch.float32).mul_(-g)
            d.scatter_add_(-1, x[part, None], g)
            if d_bias is not None:
                d_bias += d.sum(0)
            d = d.to(h.dtype)
            d_h[part] = d @ weight
            d_weight += d.T @ h[part]
        return d_h, d_weight.to(weight.dtype), None if d_bias is None else d_bias.to(bias.dtype), None


def _chunks(h: Tensor, weight: Tensor) -> Iterator[slice]:
    size = max(64, CHUNK_LOGITS.get(h.device.type, CHUNK_LOGITS["cuda"]) // len(weight))
    return (slice(start, start + size) for start in range(0, len(h), size))


class MixtureHead(nn.Module):
    """A mixture of M Gaussians over C floats with diagonal covariances (2) and deviations above `min_std`."""

    def __init__(self, width: int, floats: int, components: int, min_std: float) -> None:
        super().__init__()
        self.shape, self.min_std = (components, floats), min_std
        self.out = _linear(width, components * (1 + 2 * floats))
        spread = torch.linspace(-1.5, 1.5, components) if components > 1 else torch.zeros(1)
        self._set_bias(spread[:, None].expand(self.shape), torch.ones(floats))

    def init_from_data(self, x: Tensor) -> None:
        """Set b to the marginal of x (n, C): means at the quantiles along its first float."""
        components, floats = self.shape
        order = x[:, 0].argsort()
        quantiles = ((torch.arange(components) + 0.5) / components * len(x)).long()
        self._set_bias(
            x[order[quantiles.to(order.device)]], x.std(0, correction=0) * components ** (-1 / floats)
        )

    def _set_bias(self, mean: Tensor, std: Tensor) -> None:
        """Set b to equal weights, means (M, C) and deviations (C,)."""
        components, floats = self.shape
        log_std = std.clamp(min=self.min_std).log().to(mean)
        bias = torch.cat([mean.new_zeros(components, 1), mean, log_std.expand(components, floats)], dim=1)
        with torch.no_grad():
            self.out.bias.copy_(bias.flatten())

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """h (..., D) -> log w (..., M), mu (..., M, C), log s (..., M, C), float32.

        Computed in float32, even of bf16 weights: a mean needs more than three digits.
        """
        out = linear(h.float(), *float32_parameters(self.out))
        out = out.unflatten(-1, (self.shape[0], -1))
        mean, raw = out[..., 1:].chunk(2, dim=-1)
        log_std = torch.logaddexp(raw, raw.new_tensor(math.log(self.min_std)))
        return out[..., 0].log_softmax(-1), mean, log_std

    def log_prob(self, h: Tensor, x: Tensor) -> Tensor:
        """log p of floats, h (..., D) and x (..., C) -> (...), nats."""
        log_weight, mean, log_std = self(h)
        z = (x[..., None, :] - mean) * (-log_std).exp()
        log_normal = -0.5 * z**2 - log_std - 0.5 * math.log(2 * math.pi)  # (..., M, C)
        return (log_weight + log_normal.sum(-1)).logsumexp(-1)

    def sample(self, h: Tensor, u: Tensor, noise: Tensor, temperature: float | Tensor) -> Tensor:
        """h (B, D), u (B,) uniform, noise (B, C) normal -> (B, C).

        Temperature T, a number or (B, 1) float64, makes weights w^(1/T) and variances s^2 T; 0 gives the mean of the largest weight.
        """
        log_weight, mean, log_std = self(h)
        component = sample_categorical(log_weight, u, temperature)[:, None, None].expand(-1, 1, self.shape[1])
        mean, log_std = mean.gather(1, component)[:, 0], log_std.gather(1, component)[:, 0]
        root = temperature.sqrt().float() if isinstance(temperature, Tensor) else math.sqrt(temperature)
        return mean + root * log_std.exp() * noise


TokenHead = CategoricalHead | MixtureHead


def _linear(width: int, outputs: int, bias: bool = True) -> nn.Linear:
    layer = Linear(width, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=INIT_STD)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
