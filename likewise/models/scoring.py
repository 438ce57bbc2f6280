"""Scores: log p of rows by a family, and of documents of any length by windows of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.families.base import Family
from likewise.modalities.base import Row
from likewise.models.processor import RowProcessor


@torch.no_grad()
def score_rows(
    family: Family,
    tokens: RowProcessor,
    rows: Sequence[Row],
    seed: int,
    indices: Sequence[int],
    observed: Mapping[str, Any],
    batch: int,
    sampling_options: Mapping[str, Any],
) -> Score:
    """log P(targets | sources) of each row; see Model.log_prob."""
    specs, masks = family.targets, {n: tokens.mask(n, mask) for n, mask in observed.items()}
    if masks:  # then of every target
        masks = {
            n: torch.ones(s.tokens, dtype=torch.bool, device=tokens.device) for n, s in specs.items()
        } | masks
    parts = []
    for first in range(0, len(rows), batch):
        part = rows[first : first + batch]
        rng = Rng(indices[first : first + batch], "score", seed, device=tokens.device)
        x, more = tokens.dequantize(part, rng), dict(sampling_options)
        if masks:
            more["observed"] = {n: mask.expand(len(part), -1) for n, mask in masks.items()}
        parts.append(family.log_prob(x, tokens.context(part), rng=rng, **more))
    dims = {n: (int(masks[n].sum()) if masks else s.tokens) * s.width for n, s in specs.items()}
    scale = sum(count * tokens.columns[n].log_scale for n, count in dims.items())
    return Score(torch.cat([p.nats for p in parts]) + scale, parts[0].kind, sum(dims.values()))


@torch.no_grad()
def score_documents(family: Family, tokens: RowProcessor, rows: Sequence[Row], batch: int) -> Score:
    """log P of the one target, a document; every id is told from half a window before it, or from all."""
    [name] = tokens.formula.target_names
    column = tokens.columns[name]
    for row in rows:
        tokens.check(name, row[name])
    cuts = ((k, *cut) for k, row in enumerate(rows) for cut in windows(column.ids(row[name]), column.length))
    nats = torch.zeros(len(rows), dtype=torch.float64, device=tokens.device)  # of millions of tokens
    while some := list(itertools.islice(cuts, batch)):
        which, ids, fresh = zip(*some, strict=True)
        told = family.token_log_prob(
            {name: torch.stack(ids).to(tokens.device)}, tokens.context([rows[k] for k in which])
        )[name]
        nats.index_add_(
            0,
            torch.tensor(which, device=tokens.device),
            (told * torch.stack(fresh).to(tokens.device)).sum(1).double(),
        )
    sizes = [len(row[name].encode()) for row in rows]
    return Score(nats.float(), "exact", torch.tensor(sizes, device=tokens.device))


def windows(ids: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows of ids (n,) that overlap by half, (length,), filled up with 0, and which are new, (length,).

    Every id is new once, and all but the first of them come after length / 2 others in their window.
    """
    half, first, at = length - length // 2, 0, 0
    while first < len(ids):
        window = ids[at : at + length]
        fresh = (torch.arange(length) >= first - at) & (torch.arange(length) < len(window))
        yield torch.nn.functional.pad(window, (0, length - len(window))), fresh
        first, at = at + len(window), at + half
