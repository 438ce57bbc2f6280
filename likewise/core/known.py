"""Known parts of the targets: masks sampled during training, and known values as additional sources.

A model trained on such rows can inpaint, complete, and sample every conditional of its joint distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.core.batch import Batch, Context, EncodedRows
from likewise.core.rng import Rng
from likewise.core.spec import Spec


@dataclass(frozen=True)
class KnownParts:
    """The part of the targets that is fixed during sampling.

    values  column -> (B, T, ...)
    masks   column -> (B, T) bool, True where the value is known
    """

    values: Batch
    masks: Batch


def sample_masks(specs: Mapping[str, Spec], share: float, rng: Rng) -> Batch:
    """Sample which tokens are known, column -> (B, T) bool: some parts in a `share` of the rows, else none.

    The parts are whole columns (half of the time, if there are several) or regions: boxes, spans, strokes, or
    their complements.
    """
    masks = {}
    row = rng.uniform(2)
    whole_columns = row[:, 1] < (0.5 if len(specs) > 1 else 0.0)  # else regions of them
    order = rng.uniform(len(specs)).argsort(1).argsort(1)
    count = 1 + (rng.uniform(1) * (len(specs) - 1)).floor()
    chosen = order < count  # some columns, never all of them
    for k, (name, spec) in enumerate(specs.items()):
        part = (chosen[:, k] & whole_columns)[:, None].expand(-1, spec.tokens)
        if spec.tokens > 1:
            part = part | (_region(spec.grid, rng).to(row.device) & ~whole_columns[:, None])
        masks[name] = part & (row[:, :1] < share)
    return masks


def training_masks(specs: Mapping[str, Spec], x: Batch, share: float, rng: Rng) -> tuple[Batch, Batch]:
    """Masks of what is known in training, by `sample_masks`, and of what x has: column -> (B, T) bool each.

    A missing value of a row (EncodedRows) is never known, and no part of the loss.
    """
    present = present_masks(specs, x, len(rng), rng.device)
    if not share:
        return no_masks(specs, len(rng), rng.device), present
    known = sample_masks(specs, share, rng)
    return {name: mask & present[name] for name, mask in known.items()}, present


def present_masks(specs: Mapping[str, Spec], x: Batch, rows: int, device: torch.device) -> Batch:
    """Masks of the tokens that the rows have, column -> (B, T) bool: all, but for missing values of EncodedRows."""
    masks = {n: torch.ones(rows, s.tokens, dtype=torch.bool, device=device) for n, s in specs.items()}
    if isinstance(x, EncodedRows):
        for name, present in x.present.items():
            if name in masks:
                masks[name] = present[:, None].expand_as(masks[name])
    return masks


def has_gaps(x: Batch) -> bool:
    """Whether a value is missing in a batch."""
    return isinstance(x, EncodedRows) and any(not present.all() for present in x.present.values())


def no_masks(specs: Mapping[str, Spec], rows: int, device: torch.device) -> Batch:
    """Masks with nothing known, column -> (B, T) bool."""
    return {n: torch.zeros(rows, s.tokens, dtype=torch.bool, device=device) for n, s in specs.items()}


def known_name(target: str) -> str:
    """The name of the source that holds the known part of a target, which no column has (a noncharacter of Unicode)."""
    return f"\ufdd0known {target}"


def known_specs(specs: Mapping[str, Spec]) -> dict[str, Spec]:
    """Specs of the sources that `append_known` adds, for columns of floats: each with a mask channel."""
    return {known_name(n): s.with_floats(s.width + 1) for n, s in specs.items()}


def append_known(c: Context, floats: Batch, masks: Batch) -> Context:
    """The sources, and the known values of the targets as additional sources.

    floats column -> (B, T, C), masks column -> (B, T) bool. A column with nothing known is absent.
    """
    parts = {
        known_name(n): torch.cat([v * masks[n][..., None], masks[n][..., None].to(v)], dim=-1)
        for n, v in floats.items()
    }
    present = torch.stack([masks[n].any(1) for n in floats], dim=1)
    return Context({**c.values, **parts}, torch.cat([c.present, present.to(c.present.device)], dim=1))


def fill_unknown(
    specs: Mapping[str, Spec], known: KnownParts | None, rows: int, device: torch.device
) -> tuple[Batch, Batch]:
    """Encoded values and masks of every target; zeros where nothing is known."""
    values, masks = {}, no_masks(specs, rows, device)
    for name, spec in specs.items():
        values[name] = blank_values(spec, rows, device)
        if known is not None and name in known.values:
            masks[name] = known.masks[name].to(device)
            values[name] = where_known(values[name], known.values[name].to(device), masks[name])
    return values, masks


def blank_values(spec: Spec, rows: int, device: torch.device) -> Tensor:
    """Zeros with the shape of an encoded column."""
    if spec.categorical:
        return torch.zeros(rows, spec.tokens, dtype=torch.int64, device=device)
    return torch.zeros(rows, spec.tokens, spec.width, device=device)


def where_known(samples: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """`values` where the mask, (B,) or (B, T), is True, else `samples`; both may have further axes."""
    return torch.where(mask.view(*mask.shape, *[1] * (samples.ndim - mask.ndim)), values.to(samples), samples)


def _region(grid: tuple[int, ...], rng: Rng) -> Tensor:
    """A random box (a span, if the grid has one axis), strokes, or the complement: (B, T) bool."""
    rows, axes = len(rng), len(grid)
    u = rng.uniform(2 * axes + 2).cpu()
    box = torch.ones(rows, *grid, dtype=torch.bool)
    for a, n in enumerate(grid):
        ends = (u[:, 2 * a : 2 * a + 2] * (n + 1)).floor().sort(1).values
        ends[:, 1] += ends[:, 0] == ends[:, 1]
        position = torch.arange(n)
        inside = (position >= ends[:, :1]) & (position < ends[:, 1:])
        box &= inside.view(rows, *(n if b == a else 1 for b in range(axes)))
    if axes == 2:  # strokes: the high part of a smooth random field
        field = F.interpolate(rng.normal(1, 5, 5).cpu(), size=grid, mode="bicubic", align_corners=False)[:, 0]
        box = torch.where((u[:, -1] < 0.5)[:, None, None], box, field > 0.3)
    return (box ^ (u[:, -2] < 0.5).view(rows, *[1] * axes)).flatten(1)
