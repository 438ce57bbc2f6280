"""Rows of columns of one token as one vector: an encoder of what is known, and heads of every column at once.

Legend: B batch, K number columns, M components of a mixture, D width.

    numbers  p(z) = sum_m w_m logistic(z; mu_m, s_m),   P(value) = the mass of its interval                  (1)
    ids      p(x) = softmax(W h + b)_x                                                                       (2)

(1) is that of Salimans et al. (2017, "PixelCNN++"), over intervals of normal scores instead of levels of grey.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch
from likewise.core.categorical import Option, sample_categorical
from likewise.core.cells import FAR, CellTable
from likewise.core.spec import Spec
from likewise.nets.attention import attend, default_heads
from likewise.nets.column_weights import Axis, Part
from likewise.nets.conditioning import EncodedContext, RowEmbedding
from likewise.nets.cycles import CycleFeatures
from likewise.nets.layers import Linear, ModuleList, float32_parameters, linear, norm

EXPANSION = 4  # hidden floats of a block for each float of its width
FREQUENCIES = 12  # of a number's features, from slow to fast
MIN_LOG_SCALE = -6.0  # of a logistic
MAX_TOKEN = 8.0  # numbers in features are clipped to this size


class RowEncoder(nn.Module):
    """Known values of columns of one token -> (B, D): embeddings, sines and cosines of numbers, phases of dates."""

    frequencies: Tensor

    def __init__(self, specs: Mapping[str, Spec], width: int) -> None:
        super().__init__()
        self.floats = [n for n, s in specs.items() if not s.categorical]
        self.cycles = CycleFeatures(specs)
        features = {
            n: s.with_floats(s.width * (1 + 2 * FREQUENCIES) + self.cycles.sizes.get(n, 0))
            if n in self.floats
            else s
            for n, s in specs.items()
        }
        self.embedding = RowEmbedding(features, width)
        steps = torch.arange(FREQUENCIES) / (FREQUENCIES - 1)
        self.register_buffer("frequencies", 0.5 * 80.0**steps, persistent=False)

    def forward(self, values: Batch, known: Tensor) -> Tensor:
        """values column -> (B, 1) or (B, 1, C), known (B, K) bool in the order of the columns."""
        return self.embedding(self._features(values, self.floats), known)[:, 0]

    def column(self, name: str, value: Tensor, known: Tensor) -> Tensor:
        """What one column adds to that, where it is known (B,): (B, D)."""
        values = self._features({name: value}, [name] if name in self.floats else [])
        return self.embedding.column(name, values[name], known)

    def _features(self, values: Batch, floats: Sequence[str]) -> Batch:
        """The values, with the features of these numbers in their place."""
        if not floats:
            return values
        x = torch.cat([values[n].float() for n in floats], dim=1).clamp(-MAX_TOKEN, MAX_TOKEN)  # (B, K, C)
        angles = x[..., None] * self.frequencies
        features = torch.cat([x[..., None], angles.sin(), angles.cos()], dim=-1).flatten(2)
        numbers = {n: features[:, k : k + 1] for k, n in enumerate(floats)}
        for name, phases in self.cycles({n: values[n] for n in floats}).items():
            numbers[name] = torch.cat([numbers[name], phases.to(features)], dim=-1)
        return {**values, **numbers}


class ContextAttention(nn.Module):
    """Attention of a vector (B, D) to the tokens of encoded sources, or to none of them -> (B, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = default_heads(width)
        self.query, self.out = (Linear(width, width, bias=False) for _ in range(2))
        self.kv = Linear(width, 2 * width, bias=False)

    def forward(self, h: Tensor, context: EncodedContext) -> Tensor:
        """h (B, D) -> what it attends to, and the pooled sources."""
        size = h.shape[1] // self.heads
        tokens, bias = (
            F.pad(norm(context.tokens), (0, 0, 1, 0)),
            F.pad(context.bias, (1, 0)),
        )  # a token of zeros first
        q = self.query(norm(h)).view(len(h), 1, self.heads, size).transpose(1, 2)
        k, v = (
            part.unflatten(-1, (self.heads, size)).transpose(1, 2)
            for part in self.kv(tokens).chunk(2, dim=-1)
        )
        y = attend(q, k, v, bias[:, None, None], 1 / math.sqrt(size), None)
        return self.out(y[:, 0] + context.pooled)


class ResidualMLP(nn.Module):
    """Residual blocks of one hidden layer on vectors (He et al., 2016), with layer norm before each.

    The activation is relu(x)^2 (So et al., 2021, "Primer"), which costs a CPU much less than GELU.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.inner = ModuleList(Linear(width, EXPANSION * width) for _ in range(depth))
        self.outer = ModuleList(Linear(EXPANSION * width, width, bias=False) for _ in range(depth))
        for layer in self.outer:
            nn.init.normal_(layer.weight, std=0.5 / math.sqrt(EXPANSION * width * depth))

    def forward(self, h: Tensor, dropout: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """(B, D) -> (B, D), normalised; `dropout` of hidden layers."""
        for inner, outer in zip(self.inner, self.outer, strict=True):
            a = F.relu(inner(norm(h))).square()
            h = h + outer(a if dropout is None else dropout(a))
        return norm(h)


class RowHeads(nn.Module):
    """The distributions (1) and (2) of every column given h (B, D)."""

    def __init__(self, specs: Mapping[str, Spec], width: int, components: int) -> None:
        super().__init__()
        self.names = list(specs)
        self.numbers = {n: s for n, s in specs.items() if not s.categorical}
        self.labels = {n: s for n, s in specs.items() if s.categorical}
        self.components = components
        self.cells = CellTable(self.numbers)
        sizes = [3 * components if n in self.numbers else s.classes for n, s in specs.items()]
        self.sizes = dict(zip(specs, sizes, strict=True))
        self.out = Linear(width, sum(sizes))
        parts = tuple(
            Part(n, size, "append" if n in self.labels else "fixed") for n, size in self.sizes.items()
        )
        self.column_axes = {"out.weight": Axis(0, parts), "out.bias": Axis(0, parts)}
        nn.init.normal_(self.out.weight, std=0.01)
        with torch.no_grad():
            self.out.bias.zero_()
            for name, part in zip(specs, self.out.bias.split(sizes), strict=True):
                if name in self.numbers:
                    spread = torch.special.ndtri((torch.arange(components) + 0.5) / components)
                    part[components : 2 * components] = spread
                    part[2 * components :] = -1.0

    def init_from_data(self, x: Batch, present: Batch) -> None:
        """Set the biases of (2) to log frequencies, with one added to each count."""
        with torch.no_grad():
            for name, part in zip(self.names, self.out.bias.split(list(self.sizes.values())), strict=True):
                if name in self.labels:
                    ids = x[name][present[name]]
                    counts = torch.bincount(ids.flatten(), minlength=len(part)).float() + 1
                    part.copy_((counts / counts.sum()).log())

    def forward(self, h: Tensor) -> dict[str, Tensor]:
        """(B, D) -> column -> (B, 3 M) or logits (B, K), float32."""
        out = linear(h.float(), *float32_parameters(self.out))
        return dict(zip(self.names, out.split(list(self.sizes.values()), dim=1), strict=True))

    def column(self, h: Tensor, name: str) -> Tensor:
        """The part of `forward` of one column."""
        start = sum(self.sizes[n] for n in self.names[: self.names.index(name)])
        weight, bias = float32_parameters(self.out)
        part = slice(start, start + self.sizes[name])
        return linear(h.float(), weight[part], bias[part])

    def log_prob(self, outputs: Mapping[str, Tensor], x: Batch) -> Batch:
        """log P of each value, column -> (B,) nats."""
        nats: Batch = {}
        if self.numbers:
            interval = self.cells.intervals(torch.cat([x[n][..., 0].float() for n in self.numbers], dim=1))
            params = torch.stack([outputs[n] for n in self.numbers], dim=1)
            mass = interval_log_mass(params, interval.low, interval.high, interval.width)
            nats |= zip(self.numbers, mass.unbind(1), strict=True)
        for name in self.labels:
            nats[name] = -F.cross_entropy(outputs[name], x[name][:, 0], reduction="none")
        return nats

    def column_log_prob(self, h: Tensor, name: str, x: Tensor) -> Tensor:
        """log p of the tokens of one column: of a number log P of its interval less the log of its measure; (B,)."""
        outputs = self.column(h, name)
        if name in self.labels:
            return -F.cross_entropy(outputs, x[:, 0], reduction="none")
        interval = self.cells.intervals(x[..., 0].float(), self._place(name))
        mass = interval_log_mass(outputs[:, None], interval.low, interval.high, interval.width)
        return (mass - interval.log_measure)[:, 0]

    def sample(
        self, h: Tensor, name: str, u: Tensor, temperature: Option, allowed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Tokens of one column and the log-probability of the allowed ones: h (B, D), u (B, 2) uniform -> (B,) each.

        allowed  (B, K) bool of ids, the ends (B, 2) of a float; None: any
        """
        outputs = self.column(h, name)
        if name in self.labels:
            some = outputs if allowed is None else outputs.masked_fill(~allowed, -torch.inf)
            return sample_categorical(some, u[:, 0], temperature), some.logsumexp(1) - outputs.logsumexp(1)
        ends = outputs.new_tensor([-FAR, FAR]).expand(len(h), -1) if allowed is None else allowed
        low, high = ends.clamp(-FAR, FAR).unbind(1)
        z = sample_logistics(outputs, u[:, 0], u[:, 1], temperature, low, high)
        z = self.cells.middle(z[:, None], self._place(name))[:, 0]
        return z, interval_log_mass(outputs, low, high, high - low)

    def _place(self, name: str) -> slice:
        """The place of a number in the table of cells."""
        k = list(self.numbers).index(name)
        return slice(k, k + 1)


def interval_log_mass(params: Tensor, low: Tensor, high: Tensor, width: Tensor) -> Tensor:
    """log of the mass (1) of intervals, params (..., 3 M), ends (...), width high - low, more precise -> (...).

    sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b))
    """
    log_weight, mean, log_scale = split_params(params)
    inverse = (-log_scale).exp()
    a, b = (low[..., None] - mean) * inverse, (high[..., None] - mean) * inverse
    length = (width[..., None] * inverse).clamp(min=1e-12)
    log_mass = F.logsigmoid(b) + F.logsigmoid(-a) + torch.log(-torch.expm1(-length))
    return (log_weight + log_mass).logsumexp(-1)


def sample_logistics(
    params: Tensor, u: Tensor, v: Tensor, temperature: Option, low: Tensor, high: Tensor
) -> Tensor:
    """z between low and high (B,) from (1): params (B, 3 M), uniform u, v (B,) -> (B,)."""
    log_weight, mean, log_scale = split_params(params)
    inverse = (-log_scale).exp()
    a, b = (low[:, None] - mean) * inverse, (high[:, None] - mean) * inverse
    log_mass = F.logsigmoid(b) + F.logsigmoid(-a) + torch.log(-torch.expm1((a - b).clamp(max=-1e-7)))
    m = sample_categorical(log_weight + log_mass, u, temperature)[:, None]
    pick = [t.gather(1, m)[:, 0] for t in (mean, log_scale, a, b)]
    mean, log_scale, a, b = pick
    lower, upper = a.double().sigmoid(), b.double().sigmoid()
    p = (lower + (upper - lower) * v.double()).clamp(1e-12, 1 - 1e-12)
    root = temperature[:, 0] if isinstance(temperature, Tensor) else temperature
    noise = torch.logit(p) * root
    z = mean.double() + log_scale.double().exp() * noise
    return z.float().clamp(min=low, max=high)


def split_params(params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(..., 3 M) -> log w, mu, log s, (..., M) each."""
    weight, mean, log_scale = params.chunk(3, dim=-1)
    bounded = MIN_LOG_SCALE + F.softplus(log_scale - MIN_LOG_SCALE)
    return weight.log_softmax(-1), mean, bounded
