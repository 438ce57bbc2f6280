"""Densities of a Denoiser over numbers: the variational bound, and the exact density of the flow's ODE."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from likewise.core.batch import Batch, Context
from likewise.core.rng import Rng
from likewise.generation.denoising import paths
from likewise.generation.denoising.denoiser import FEW, Denoiser
from likewise.generation.denoising.samplers import Denoise

T_0 = 3e-4  # time at which the ODE ends and counts as data
T_1 = 0.999  # noisiest level of the bound


def num_dimensions(denoiser: Denoiser) -> int:
    """N, the numbers of a row. Raises ValueError for categorical targets, which have no density here."""
    if categorical := denoiser.column_codes.categorical:
        raise ValueError(
            "a flow or diffusion has a density over numbers only; "
            f"the target {categorical[0]!r} is categorical: make it a source, or use the family autoregressive"
        )
    return denoiser.layout.size


def min_noise_level(denoiser: Denoiser) -> float:
    """The time at which the bound should end: below it the decoder p(x_0 | x_t) is as good as x^_0.

    It is higher where the network predicts x_0 itself, as it does not learn to copy x_t to the last digit.
    Measured by benchmarks/bound.py; for images the other value is about one of 255 grey levels.
    """
    if "x" in denoiser.predicts.values():
        return 0.07
    return 0.005 if denoiser.layout.size <= FEW else 0.002


def variational_bound(
    denoiser: Denoiser, x: Batch, c: Context, rng: Rng, samples: int, t_min: float, steps: int | None = None
) -> Tensor:
    """A lower bound of log p(x_0 | c), (B,): see paths.py, of `steps` KL terms, or None for the integral.

    Levels are uniform in log SNR from `t_min` to T_1. Each of the `samples` evaluates one level; they are
    stratified, so that as many samples as steps evaluate each level once.
    """
    x0, size = denoiser.pack(x), num_dimensions(denoiser)
    denoise = _unguided(denoiser, c, x0, rng)
    low, high = paths.log_snr(torch.tensor([T_1, t_min], dtype=torch.float64)).tolist()
    offset, total = rng.uniform(1), torch.zeros(len(x0), device=x0.device)
    for i in range(samples):
        u = (i + offset) / samples  # (B, 1), of the way from noise to data
        if steps is None:
            snr = low + (high - low) * u
            weight = (high - low) * snr.exp()
        else:  # from the noisier end of a step, x_t, to the other, x_s
            step = (u * steps).floor().clamp(max=steps - 1)
            snr = low + (high - low) * step / steps
            weight = steps * snr.exp() * math.expm1((high - low) / steps)  # T (SNR(s) - SNR(t))
        t = paths.time_of(snr)
        error = (x0 - denoise(paths.add_noise(x0, rng.normal(size), t), t)).square().sum(1)
        total += 0.5 * weight.squeeze(1) * error
    return -(total / samples) - paths.decoder_term(size, t_min) - paths.prior_term(x0, T_1)


def ode_log_prob(
    denoiser: Denoiser, x: Batch, c: Context, rng: Rng, steps: int, probes: int, exact: bool
) -> Tensor:
    """log p(x_0 | c) along the flow's path, (B,): log N(x_1; 0, I) + int div v dt (Chen et al., 2018).

    By Heun's rule over log t, where the field t v = x - x^_0 is smooth, from t = T_0. The divergence is the
    exact trace, or Hutchinson's estimate of it from `probes` random vectors (Grathwohl et al., 2019).
    """
    x_t, size = denoiser.pack(x), num_dimensions(denoiser)
    denoise = _unguided(denoiser, c, x_t, rng)
    if exact:
        directions = torch.eye(size, device=x_t.device)[:, None].expand(-1, len(x_t), -1)
    else:
        directions = torch.stack([rng.uniform(size).round() * 2 - 1 for _ in range(probes)])  # Rademacher

    def field(y: Tensor, t: float) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            v = y - denoise(y, t)
            products = (torch.autograd.grad(v, y, d, retain_graph=True)[0] for d in directions)
            terms = [(product * d).sum(1) for product, d in zip(products, directions, strict=True)]
        return v.detach(), sum(terms, torch.zeros_like(terms[0])).detach() / (1 if exact else len(directions))

    h = -math.log(T_0) / steps
    nats = torch.zeros(len(x_t), device=x_t.device)
    for i in range(steps):
        t, s = T_0 ** (1 - i / steps), T_0 ** (1 - (i + 1) / steps)
        v, trace = field(x_t, t)
        w, trace2 = field(x_t + h * v, s)
        x_t, nats = x_t + h / 2 * (v + w), nats + h / 2 * (trace + trace2)
    return nats - 0.5 * (x_t.square() + math.log(2 * math.pi)).sum(1)


def _unguided(denoiser: Denoiser, c: Context, x0: Tensor, rng: Rng) -> Denoise:
    """The denoiser with nothing known, clean sources and no guidance."""
    if denoiser.source_noise:
        c = denoiser.noise_sources(rng, torch.zeros((), device=x0.device))(c)
    return denoiser.denoise(c, torch.zeros_like(x0, dtype=torch.bool))
