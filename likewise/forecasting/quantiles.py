"""A network of quantiles: of what the regression leaves over, for every step of the horizon in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

LEVELS = torch.linspace(0.05, 0.95, 19)
MIDDLE = 9  # the place of the median
ENSEMBLE, WIDTH, DROPOUT = 2, 48, 0.1
BATCH, LR, DECAY = 2048, 2e-3, 2.5
AVERAGE = 0.99  # of the moving average of weights, at most


class QuantileNet(nn.Module):
    """Rows of features (R, F) and their places in the horizon (R,) in (0, 1] -> quantiles (R, 19), which never cross.

    A median, and increments of exp(...) on both sides of it, so that they begin as those of a normal distribution
    whose deviation depends on the place. Several small networks side by side are averaged.
    """

    spread: Tensor
    steps: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()

        def weight(rows: int, columns: int, gain: float = 1.0) -> nn.Parameter:
            return nn.Parameter(torch.randn(ENSEMBLE, rows, columns) * gain / math.sqrt(rows))

        self.w1, self.w2 = weight(features, WIDTH), weight(WIDTH, WIDTH)
        self.w3 = weight(WIDTH, len(LEVELS) + 1, 0.05)
        self.b1, self.b2 = (nn.Parameter(torch.zeros(ENSEMBLE, 1, WIDTH)) for _ in range(2))
        self.b3 = nn.Parameter(torch.zeros(ENSEMBLE, 1, len(LEVELS) + 1))
        self.register_buffer("spread", torch.zeros(3))
        normal = torch.special.ndtri(LEVELS.double()).float()
        self.register_buffer("steps", normal.diff())

    def forward(self, x: Tensor, place: Tensor) -> Tensor:
        """Quantiles of each network, (E, R, 19)."""
        h = nn.functional.dropout(torch.relu(x @ self.w1 + self.b1), DROPOUT, self.training)
        h = nn.functional.dropout(h + torch.relu(h @ self.w2 + self.b2), DROPOUT, self.training)
        out = h @ self.w3 + self.b3
        log_spread = (_shape(place) @ self.spread)[None, :, None]
        sizes = self.steps * (out[..., :1] + log_spread + out[..., 2:].clamp(-3, 3)).exp()
        median = out[..., 1:2] * log_spread.exp()
        below = median - sizes[..., :MIDDLE].flip(-1).cumsum(-1).flip(-1)
        return torch.cat([below, median, median + sizes[..., MIDDLE:].cumsum(-1)], -1)

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Features (N, H, F) -> mean quantiles of the networks (N, H, 19)."""
        n, horizon, _ = x.shape
        return self(x.flatten(0, 1), places(horizon).repeat(n)).mean(0).view(n, horizon, -1)


def places(horizon: int) -> Tensor:
    """The places of H steps, (H,) in (0, 1]."""
    return torch.arange(1, horizon + 1) / horizon


def pinball(quantiles: Tensor, y: Tensor) -> Tensor:
    """The loss of quantiles (..., 19) at LEVELS for values (...), (...); twice its mean approximates the CRPS."""
    error = y[..., None] - quantiles
    return torch.maximum(LEVELS * error, (LEVELS - 1) * error).mean(-1)


def train_quantiles(
    x: Tensor,
    y: Tensor,
    steps: int,
    seed: int,
    checks: Sequence[int] = (),
    check: Callable[[QuantileNet], float] | None = None,
) -> tuple[QuantileNet, list[float]]:
    """The network after `steps` for features (N, H, F) and targets (N, H), nan where there is none.

    check   of the averaged weights after each of `checks` steps; its values are returned
    """
    n, horizon, features = x.shape
    place = places(horizon).repeat(n)
    x, y = x.flatten(0, 1), y.flatten()
    ok = ~y.isnan()
    x, y, place = x[ok], y[ok], place[ok]
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net, average = QuantileNet(features), QuantileNet(features)
        log_size = (y.abs() + 1e-3).log()
        net.spread.copy_(torch.linalg.lstsq(_shape(place), log_size[:, None]).solution[:, 0])
        net.spread[0] += 0.45  # from the mean log of a size to the log of a deviation
        average.load_state_dict(net.state_dict())
        average.eval()
        weights = [p for n, p in net.named_parameters() if n.startswith("w")]
        others = [p for n, p in net.named_parameters() if not n.startswith("w")]
        groups = [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.99))
        results = []
        net.train()
        for step in range(steps + 1):
            if check is not None and step in checks:
                results.append(check(average))
            if step == steps:
                break
            for group in optimizer.param_groups:
                group["lr"] = LR * min(1.0, (step + 1) / 20)
            rows = torch.randint(len(x), (BATCH,), generator=generator)
            loss = pinball(net(x[rows], place[rows]), y[rows][None]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            share = min(AVERAGE, (step + 1) / (step + 6))
            with torch.no_grad():
                for old, new in zip(average.parameters(), net.parameters(), strict=True):
                    old.lerp_(new, 1 - share)
    return average, results


def _shape(place: Tensor) -> Tensor:
    """What the log of the deviation is linear in, (R, 3)."""
    return torch.stack([torch.ones_like(place), place.sqrt(), place], 1)
