"""The likelihood p(x | output of a decoder), of columns of numbers and of ids.

a number  N(x; m, s^2), m from the decoder, s^2 one learned variance a column (Rybkin et al., 2021)  (1)
          or, of a picture, the continuous Bernoulli (Loaiza-Ganem & Cunningham, 2019), eq. 6 and 8:
          p(y) = C(l) l^y (1 - l)^(1 - y), C(l) = 2 artanh(1 - 2 l) / (1 - 2 l), y in [0, 1]         (2)
an id     softmax of K logits                                                                       (3)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.core.batch import Batch
from likewise.core.residual import shrink_residual
from likewise.core.rng import Rng
from likewise.core.spec import IMAGE, Spec
from likewise.nets.column_weights import by_column
from likewise.nets.continuous import ContinuousCodes

RATE = 16.0  # log s^2 = 16 p: a variance falls by orders of magnitude while a weight moves by tenths
INIT_LOG_VAR = -2.4  # below that of data, so that reconstruction counts from the beginning
MIN_LOG_VAR = -10.0  # a deviation of 0.007, under a level of 8-bit pictures
LIMIT = 256 / 255  # (2): levels of 8-bit pictures in [-1, 1], each spread over its cell, fill +- LIMIT


class DecoderLikelihood(nn.Module):
    """log p(x | out) of every token, its mode, and samples from it.

    outputs  column -> numbers a token in the output of a decoder
    """

    def __init__(self, targets: Mapping[str, Spec], kind: str = "gaussian") -> None:
        super().__init__()
        self.column_codes = ContinuousCodes(targets)
        self.outputs = self.column_codes.outputs
        self.categorical = {n for n, s in targets.items() if s.categorical}
        self.bounded = {
            n
            for n, s in targets.items()
            if kind == "bernoulli" and s.axes == IMAGE and n not in self.categorical
        }
        self.gaussian = [n for n in targets if n not in self.categorical | self.bounded]
        some = bool(self.gaussian)  # DistributedDataParallel waits for the gradient of whatever requires one
        self.raw_log_var = nn.Parameter(
            torch.full((len(self.gaussian),), INIT_LOG_VAR / RATE), requires_grad=some
        )
        self.column_axes = {"raw_log_var": by_column(self.gaussian)}

    def log_var(self, name: str) -> Tensor:
        """log s^2 of (1) of a column, ()."""
        return MIN_LOG_VAR + F.softplus(
            RATE * self.raw_log_var[self.gaussian.index(name)].float() - MIN_LOG_VAR
        )

    def token_log_probs(self, x: Batch, out: Batch) -> Batch:
        """log p of every token: column -> (B, T), in the tokens' units; out column -> (B, T, outputs)."""
        return {n: self._log_prob(n, x[n], out[n]) for n in self.outputs}

    def mean_log_prob(self, x: Batch, out: Batch) -> Tensor:
        """The mean of log p over the numbers of each column, summed over columns, (B,)."""
        means = [
            v.mean(1) / (1 if n in self.categorical else self.outputs[n])
            for n, v in self.token_log_probs(x, out).items()
        ]
        return reduce(torch.add, means)

    def log_prob(self, x: Batch, out: Batch, masks: Batch | None = None) -> Tensor:
        """log p(x | out), (B,), of the tokens where `masks`, column -> (B, T) bool, hold."""
        nats = self.token_log_probs(x, out)
        if masks is not None:
            nats = {n: v * masks[n] for n, v in nats.items()}
        return reduce(torch.add, [v.sum(1) for v in nats.values()])

    def mode(self, out: Batch) -> Batch:
        """Output of a decoder -> encoded columns: the mean of a number, the most likely class."""
        return {n: self._mode(n, v) for n, v in out.items()}

    def sample(self, out: Batch, rng: Rng, noise: bool = True) -> Batch:
        """Sample encoded columns from p(x | out); without `noise` columns of several tokens are their modes."""
        return {
            n: self._sample(n, v, rng) if noise or v.shape[1] == 1 else self._mode(n, v)
            for n, v in out.items()
        }

    def vary(
        self, out: Batch, start: tuple[Batch, Batch], deviation: float, rng: Rng, noise: bool = True
    ) -> Batch:
        """`sample`, with what the decoder cannot represent of given rows kept by `shrink_residual`.

        start      the rows x_0, and the output of the decoder for their code
        deviation  of the noise on the code, relative to it

        The residual is that of a sample for x_0 with the same random numbers: without noise x_0 comes back.
        """
        x0, out0 = start
        samples, again = self.sample(out, rng.copy(), noise), self.sample(out0, rng, noise)
        x, origin, base = (self.column_codes.encode(v) for v in (samples, x0, again))
        kept = {n: v + shrink_residual(origin[n] - base[n], deviation) for n, v in x.items()}
        return self.column_codes.decode(kept)

    def _log_prob(self, name: str, x: Tensor, out: Tensor) -> Tensor:
        if name in self.categorical:  # (3)
            return -F.cross_entropy(out.flatten(0, 1), x.flatten(), reduction="none").view_as(x)
        if name in self.bounded:  # (2), log density of x = LIMIT (2 y - 1)
            y = (x / LIMIT + 1) / 2
            return (y * out - F.softplus(out) + log_normaliser(out) - math.log(2 * LIMIT)).sum(-1)
        log_var = self.log_var(name)  # (1)
        return -0.5 * ((x - out).square() * (-log_var).exp() + log_var + math.log(2 * math.pi)).sum(-1)

    def _mode(self, name: str, out: Tensor) -> Tensor:
        if name in self.categorical:
            return out.argmax(-1)
        return LIMIT * (2 * bounded_mean(out) - 1) if name in self.bounded else out

    def _sample(self, name: str, out: Tensor, rng: Rng) -> Tensor:
        shape = out.shape[1:]
        if name in self.categorical:  # the Gumbel-max trick
            u = rng.uniform(*shape).clamp(1e-9, 1 - 1e-7)
            return (out - (-u.log()).log()).argmax(-1)
        if name in self.bounded:  # the inverse of the distribution function of (2), eq. 12 of its source
            u = rng.uniform(*shape).double()
            a = torch.where(out.abs() < 1e-4, 1e-4, out.double())
            y = torch.where(
                a < 0, torch.log1p(u * torch.expm1(a)) / a, 1 + torch.log(u + (1 - u) * torch.exp(-a)) / a
            )
            return LIMIT * (2 * y.clamp(0, 1).float() - 1)
        return out + (0.5 * self.log_var(name)).exp() * rng.normal(*shape)


def log_normaliser(a: Tensor) -> Tensor:
    """log C of (2) where l = sigmoid(a): log (a / tanh(a / 2)), by its series around a = 0."""
    wide = torch.where(a.abs() < 0.1, 1.0, a)
    return torch.where(
        a.abs() < 0.1, math.log(2) + a.square() / 12, wide.abs().log() - torch.tanh(wide.abs() / 2).log()
    )


def bounded_mean(a: Tensor) -> Tensor:
    """E y of (2) where l = sigmoid(a): l / (2 l - 1) + 1 / (2 artanh(1 - 2 l)) = 1 / (1 - e^-a) - 1 / a."""
    wide = torch.where(a.abs() < 0.1, 1.0, a)
    return torch.where(a.abs() < 0.1, 0.5 + a / 12, 0.5 / torch.tanh(wide / 2) + 0.5 - 1 / wide)
