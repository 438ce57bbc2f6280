"""Masks: which parts of the targets are known. Drawn while training, and read as sources of their own.

Whoever has seen such rows in training can fill in, complete, and answer every conditional of a joint model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.core.batch import Batch, Context
from likewise.core.rng import Rng
from likewise.core.spec import Spec


@dataclass(frozen=True)
class KnownParts:
    """The part of the targets that is given while drawing.

    values  column -> (B, T, ...)
    masks   column -> (B, T) bool, True where the value holds
    """

    values: Batch
    masks: Batch


def sample_masks(specs: Mapping[str, Spec], share: float, rng: Rng) -> Batch:
    """Which tokens are known, column -> (B, T) bool: nothing in most rows, in `share` of them some parts.

    Those are whole columns where there are several, else boxes, spans or strokes, or all but them.
    """
    masks = {}
    row = rng.uniform(2)
    whole = row[:, 1] < (0.5 if len(specs) > 1 else 0.0)  # whole columns, or regions of them
    order = rng.uniform(len(specs)).argsort(1).argsort(1)
    count = 1 + (rng.uniform(1) * (len(specs) - 1)).floor()
    pick = order < count  # some columns, never all of them
    for k, (name, spec) in enumerate(specs.items()):
        part = (pick[:, k] & whole)[:, None].expand(-1, spec.tokens)
        if spec.tokens > 1:
            part = part | (_region(spec.grid, rng).to(row.device) & ~whole[:, None])
        masks[name] = part & (row[:, :1] < share)
    return masks


def no_masks(specs: Mapping[str, Spec], rows: int, device: torch.device) -> Batch:
    """Nothing known, column -> (B, T) bool."""
    return {n: torch.zeros(rows, s.tokens, dtype=torch.bool, device=device) for n, s in specs.items()}


def known_specs(specs: Mapping[str, Spec]) -> dict[str, Spec]:
    """The sources that `with_known` adds, for float columns `specs`: each with a mask channel."""
    return {f"known {n}": Spec(s.grid, s.width + 1) for n, s in specs.items()}


def append_known(c: Context, floats: Batch, masks: Batch) -> Context:
    """The sources, and what is known of the targets as further sources.

    floats column -> (B, T, C), masks column -> (B, T) bool. A column of which nothing is known is not given.
    """
    parts = {
        f"known {n}": torch.cat([v * masks[n][..., None], masks[n][..., None].to(v)], dim=-1)
        for n, v in floats.items()
    }
    given = torch.stack([masks[n].any(1) for n in floats], dim=1)
    return Context({**c.values, **parts}, torch.cat([c.present, given.to(c.present.device)], dim=1))


def fill_unknown(
    specs: Mapping[str, Spec], known: KnownParts | None, rows: int, device: torch.device
) -> tuple[Batch, Batch]:
    """Values and masks of every target, encoded; zero where nothing is known."""
    values, masks = {}, no_masks(specs, rows, device)
    for name, spec in specs.items():
        values[name] = blank_values(spec, rows, device)
        if known is not None and name in known.values:
            masks[name] = known.masks[name].to(device)
            values[name] = where_known(values[name], known.values[name].to(device), masks[name])
    return values, masks


def blank_values(spec: Spec, rows: int, device: torch.device) -> Tensor:
    """Zeros in the place of an encoded column."""
    if spec.categorical:
        return torch.zeros(rows, spec.tokens, dtype=torch.int64, device=device)
    return torch.zeros(rows, spec.tokens, spec.width, device=device)


def where_known(drawn: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """`value` where `mask` holds, (B,) or (B, T), else what is drawn, which may have further axes."""
    return torch.where(mask.view(*mask.shape, *[1] * (drawn.ndim - mask.ndim)), value.to(drawn), drawn)


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
