"""Flow matching (Lipman et al., 2023; Liu et al., 2023), the network predicting x_0 (Li & He, 2025, "JiT").

    x_t = (1 - t) x_0 + t e,   e ~ N(0, I),   logit t ~ N(t_mean, t_std^2)                              (1)
    loss = |v(x_t, x^_0) - v|^2 = |x^_0 - x_0|^2 / max(t, 0.05)^2,  v = (x_t - x_0) / t                 (2)
    draw: dx/dt = v(x, x^_0(x, t)) from x_1 ~ N(0, I) to x_0                                            (3)
    log p(x_0) = log N(x_1; 0, I) + int_0^1 div v dt                                                    (4)
    x^_0 = a(t) x_t + b(t) F, for few numbers: exact near t = 0, where a density needs it               (5)

Every column has a time of its own, and in a share of the rows some columns, boxes, spans or strokes are
known: clean, and marked by a mask. So one network fills in, completes, and answers every conditional of a
joint model. A categorical token is a vector, one of K fixed codes; the network predicts its class by
cross-entropy, and x^_0 is the mean code (Dieleman et al., 2022, "CDCD").
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.families.base import Family, Known, Score
from likewise.layout import Batch, Context, Layout
from likewise.nets import Net, Reading
from likewise.paths import T_MIN, noised, posterior
from likewise.rng import Rng, seed_of
from likewise.samplers import SAMPLERS, Denoise, clamp, guide, time_grid
from likewise.spec import Spec

CODE = 32  # the most floats that stand for a categorical token
FEW = 64   # numbers a column up to which (5) is what the network says
T_0 = 3e-4  # the time of data in (4): the first that is not quite 0


class Flow(Family):
    """P(targets | sources) as a flow from noise to data."""

    def __init__(self, targets: Mapping[str, Spec], sources: Mapping[str, Spec], *, width: int = 192,
                 depth: int = 6, stem: Literal["conv", "patch"] = "conv",
                 t_mean: float | None = None, t_std: float | None = None,
                 predict: Literal["auto", "x", "v"] = "auto", infill: float | None = None) -> None:
        """Build the network and the codes.

        width   floats a token in the trunk; depth: blocks of the trunk
        stem    of pictures, a U-Net's shell or linear patches
        t_mean, t_std  of the time density (1) (default 0.8 and 1; 0 and 1.5 up to 64 numbers a row)
        predict  what the network says of numbers, x: x_0, v: (5), auto: (5) up to 64 numbers a column
        infill  share of training rows with known parts (default 0.1, or 0.5 for several targets)
        """
        super().__init__(targets, sources)
        self.infill = (0.5 if len(targets) > 1 else 0.1) if infill is None else infill
        floats = {n: Spec(s.grid, min(s.classes, CODE) if s.categorical else s.width)
                  for n, s in targets.items()}
        outputs = {n: s.classes or s.width for n, s in targets.items()}
        self.layout = Layout(floats)
        few = self.layout.size <= FEW
        self.predicts_x = {n for n, s in floats.items()
                           if predict == "x" or (predict == "auto" and s.tokens * s.width > FEW)}
        self.t_mean = (0.0 if few else 0.8) if t_mean is None else t_mean
        self.t_std = (1.5 if few else 1.0) if t_std is None else t_std
        self.net = Net(floats, outputs, sources, width=width, depth=depth, stem=stem)
        for name, spec in targets.items():
            if spec.categorical:
                codes = _codes(spec.classes, floats[name].width, name)
                self.register_buffer(f"code_{name}", codes, persistent=False)

    # ---- training

    def loss(self, x: Batch, c: Context, phase: str, rng: Rng) -> Tensor:
        """(2) over what is unknown, the mean of each column, summed over columns: (B,)."""
        x0 = self._floats(x)
        columns = len(self.targets)
        t = torch.sigmoid(self.t_mean + self.t_std * rng.normal(columns + 1))
        # Half of the rows have one time for all columns, as in sampling.
        t = torch.where(rng.uniform(1) < 0.5, t[:, :1], t[:, 1:])
        known = self._known(rng) if self.infill else torch.zeros_like(x0, dtype=torch.bool)
        x_t = torch.where(known, x0, noised(x0, rng.normal(self.layout.size), self.layout.spread(t)))
        out = self._predict(x_t, t, known, self.net.read(c))
        total = torch.zeros(len(x0), device=x0.device)
        x0_of, unknown_of = self.layout.unpack(x0), self.layout.unpack(~known)
        for k, (name, spec) in enumerate(self.targets.items()):
            if spec.categorical:
                logits, ids = out[name].flatten(0, 1), x[name].flatten()
                error = F.cross_entropy(logits, ids, reduction="none").view_as(x[name])
                unknown = unknown_of[name][..., 0]
            else:
                least = T_MIN if name in self.predicts_x else T_0
                error = (out[name] - x0_of[name]).square() / t[:, k, None, None].clamp(min=least) ** 2
                unknown = unknown_of[name]
            total = total + (error * unknown).flatten(1).sum(1) / unknown.flatten(1).sum(1).clamp(min=1)
        return total

    def _known(self, rng: Rng) -> Tensor:
        """Which numbers are known, (B, N) bool.

        Nothing in most rows; in the others whole columns, or boxes, or strokes, or all but them.
        """
        known = {}
        row = rng.uniform(2)
        whole = row[:, 1] < (0.5 if len(self.targets) > 1 else 0.0)  # whole columns, or regions of them
        order = rng.uniform(len(self.targets)).argsort(1).argsort(1)
        count = 1 + (rng.uniform(1) * (len(self.targets) - 1)).floor()
        pick = order < count  # some columns, never all of them
        for k, (name, spec) in enumerate(self.layout.specs.items()):
            part = (pick[:, k] & whole)[:, None]
            if spec.tokens > 1:
                part = part | (_region(spec.grid, rng).to(row.device) & ~whole[:, None])
            part = part & (row[:, :1] < self.infill)
            known[name] = part[..., None].expand(-1, spec.tokens, spec.width)
        return self.layout.pack(known)

    # ---- prediction

    def _codes_of(self, name: str) -> Tensor:
        """The vectors that stand for the classes of a categorical column, (K, d)."""
        return getattr(self, f"code_{name}")

    def _floats(self, x: Batch) -> Tensor:
        """Encoded columns -> (B, N) floats, categorical tokens by their codes."""
        floats = {n: self._codes_of(n)[x[n]] if s.categorical else x[n] for n, s in self.targets.items()}
        return self.layout.pack(floats)

    def _predict(self, x_t: Tensor, t: Tensor, known: Tensor, reading: Reading) -> Batch:
        """What the network says of every column: floats, or logits.

        A column that is wholly known is clean: its time is 0.
        """
        masks = {n: m[..., :1].to(x_t.dtype) for n, m in self.layout.unpack(known).items()}
        clean = torch.stack([m.flatten(1).all(1) for m in masks.values()], dim=1)
        t = t.masked_fill(clean, 0.0)
        x = self.layout.unpack(x_t)
        out = self.net(x, t, masks, reading)
        a, b = posterior(t[:, :, None, None])  # (B, K, 1, 1)
        return out | {n: a[:, k] * x[n] + b[:, k] * out[n]  # (5)
                      for k, (n, s) in enumerate(self.targets.items())
                      if not s.categorical and n not in self.predicts_x}

    def denoiser(self, c: Context, known: Tensor) -> Denoise:
        """(x_t, t) -> x^_0, both (B, N), with the sources read once."""
        reading = self.net.read(c)

        def denoise(x_t: Tensor, t: float) -> Tensor:
            out = self._predict(x_t, x_t.new_full((len(x_t), len(self.targets)), t), known, reading)
            for name, spec in self.targets.items():
                if spec.categorical:
                    out[name] = out[name].softmax(-1) @ self._codes_of(name).to(out[name])
            return self.layout.pack(out)

        return denoise

    # ---- drawing

    @torch.no_grad()
    def sample(self, c: Context, *, known: Known | None, rng: Rng, steps: int = 10,
               sampler: Literal["euler", "heun", "ab2", "dpmpp_2m", "stochastic"] = "ab2",
               guidance: float = 2.0, guidance_from: float = 0.0, guidance_to: float = 0.9,
               zero_star: bool = True, shift: float = 1.0, eta: float = 1.0) -> Batch:
        """Solve (3) in `steps` steps.

        steps      more are finer; sampler: solver of (3)
        guidance   1 is the model as it is, more trades diversity for fidelity
        guidance_from, guidance_to  times between which it is guided; zero_star: see samplers.guide
        shift      above 1, more of the steps are spent on noise; eta: share of fresh noise of `stochastic`
        """
        if sampler not in SAMPLERS:
            raise ValueError(f"unknown sampler {sampler!r}: there are {', '.join(SAMPLERS)}")

        def noise() -> Tensor:
            return rng.normal(self.layout.size)

        x = noise()
        value, mask = self._clamped(known, x)
        guided = self._guided(c, mask, guidance, (guidance_from, guidance_to), zero_star)
        x = SAMPLERS[sampler](clamp(guided, value, mask), x, time_grid(steps, shift), noise, eta)
        return {n: _nearest(v, self._codes_of(n)) if self.targets[n].categorical else v
                for n, v in self.layout.unpack(x).items()}

    def _guided(self, c: Context, mask: Tensor, scale: float, interval: tuple[float, float],
                zero_star: bool) -> Denoise:
        """The denoiser, guided by `scale` while t is in the interval."""
        plain = self.denoiser(c, mask)
        if scale == 1 or not self.sources or not bool(c.present.any()):
            return plain
        double = self.denoiser(c + c.nothing(), torch.cat([mask, mask]))

        def denoise(x_t: Tensor, t: float) -> Tensor:
            if not interval[0] <= t <= interval[1]:
                return plain(x_t, t)
            return guide(x_t, *double(torch.cat([x_t, x_t]), t).chunk(2), scale, zero_star)

        return denoise

    def _clamped(self, known: Known | None, like: Tensor) -> tuple[Tensor, Tensor]:
        """Known values and their mask as (B, N); columns that are not mentioned are unknown."""
        values, masks = {}, {}
        for name, spec in self.layout.specs.items():
            shape = (len(like), spec.tokens, spec.width)
            if known is None or name not in known.values:
                values[name] = like.new_zeros(shape)
                masks[name] = like.new_zeros(shape, dtype=torch.bool)
                continue
            value = known.values[name].to(like.device)
            values[name] = self._codes_of(name)[value] if self.targets[name].categorical else value
            masks[name] = known.masks[name].to(like.device)[..., None].expand(shape)
        return self.layout.pack(values), self.layout.pack(masks)

    # ---- scoring

    def log_prob(self, x: Batch, c: Context, *, rng: Rng, steps: int = 96, probes: int = 1,
                 exact: int = 64) -> Score:
        """(4) by Heun's rule over log t, where the field t v = x - x^_0 is smooth, from t = T_0.

        The trace is exact up to `exact` dimensions, above them Hutchinson's estimate from `probes` draws.
        Raises ValueError for categorical targets, which have no density here.
        """
        categorical = [n for n, s in self.targets.items() if s.categorical]
        if categorical:
            raise ValueError("a flow has a density over numbers only; "
                             f"the target {categorical[0]!r} is categorical: "
                             "make it a source, or use the family autoregressive")
        x_t = self._floats(x)
        known = torch.zeros_like(x_t, dtype=torch.bool)
        denoise = self.denoiser(c, known)
        size = self.layout.size
        if size <= exact:
            directions = torch.eye(size, device=x_t.device)[:, None].expand(-1, len(x_t), -1)
        else:
            directions = torch.stack([rng.uniform(size).round() * 2 - 1 for _ in range(probes)])  # Rademacher

        def field(y: Tensor, t: float) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                y = y.detach().requires_grad_()
                v = y - denoise(y, t)
                pulls = (torch.autograd.grad(v, y, d, retain_graph=True)[0] for d in directions)
                trace = sum((pull * d).sum(1) for pull, d in zip(pulls, directions, strict=True))
            return v.detach(), trace.detach() / (1 if size <= exact else len(directions))

        h = -math.log(T_0) / steps
        nats = torch.zeros(len(x_t), device=x_t.device)
        for t, s in itertools.pairwise(T_0 ** (1 - i / steps) for i in range(steps + 1)):
            v, trace = field(x_t, t)
            w, trace2 = field(x_t + h * v, s)
            x_t, nats = x_t + h / 2 * (v + w), nats + h / 2 * (trace + trace2)
        nats = nats - 0.5 * (x_t.square() + math.log(2 * math.pi)).sum(1)
        return Score(nats, "exact" if size <= exact else "estimate", size)


def _codes(classes: int, floats: int, name: str) -> Tensor:
    """K fixed vectors of unit mean square, (K, d): orthogonal where they fit, else random."""
    draw = torch.randn(classes, floats, generator=torch.Generator().manual_seed(seed_of("codes", name)))
    if classes <= floats:
        return torch.linalg.qr(draw)[0] * math.sqrt(floats)
    return F.normalize(draw, dim=1) * math.sqrt(floats)


def _nearest(x: Tensor, codes: Tensor) -> Tensor:
    """(B, T, d) -> (B, T), the class of the nearest code.

    All codes have one length, so the nearest is the one of the largest product.
    """
    return (x @ codes.T).argmax(-1)


def _region(grid: tuple[int, ...], rng: Rng) -> Tensor:
    """A random box (a span, if there is one axis) or a set of strokes, or all but it: (B, T) bool."""
    rows, axes = len(rng), len(grid)
    u = rng.uniform(2 * axes + 2).cpu()
    box = torch.ones(rows, *grid, dtype=torch.bool)
    for a, n in enumerate(grid):
        ends = (u[:, 2 * a : 2 * a + 2] * (n + 1)).floor().sort(1).values
        ends[:, 1] += ends[:, 0] == ends[:, 1]
        place = torch.arange(n)
        inside = (place >= ends[:, :1]) & (place < ends[:, 1:])
        box &= inside.view(rows, *(n if b == a else 1 for b in range(axes)))
    if axes == 2:  # strokes: where a smooth random field is high
        field = F.interpolate(rng.normal(1, 5, 5).cpu(), size=grid, mode="bicubic", align_corners=False)[:, 0]
        box = torch.where((u[:, -1] < 0.5)[:, None, None], box, field > 0.3)
    return (box ^ (u[:, -2] < 0.5).view(rows, *[1] * axes)).flatten(1)
