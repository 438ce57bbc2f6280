"""Log-probabilities of rows by a family, and of documents of any length in windows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from likewise.core.batch import Batch
from likewise.core.rng import Rng
from likewise.core.score import Score
from likewise.families.capabilities import CanScore, CanScoreTokens
from likewise.modalities.base import Modality, Row
from likewise.modalities.text import Text
from likewise.models.processor import RowProcessor


@torch.no_grad()
def score_rows(
    family: CanScore,
    processor: RowProcessor,
    rows: Sequence[Row],
    seed: int,
    indices: Sequence[int],
    observed: Mapping[str, Any],
    batch: int,
    scoring_options: Mapping[str, Any],
) -> Score:
    """log P(targets | sources) of each row, of the targets that it has; see `Model.log_prob`."""
    columns, device = processor.target_columns, processor.device
    parts = {n: processor.mask(n, mask) for n, mask in observed.items()}
    lacking = {n: [processor.lacks(n, row) for row in rows] for n in columns}
    masks: Batch | None = None
    if parts or any(map(any, lacking.values())):  # then one of every target, (B, T)
        masks = {}
        for n, c in columns.items():
            whole = torch.ones(c.spec.tokens, dtype=torch.bool, device=device)
            there = ~torch.tensor(lacking[n], dtype=torch.bool, device=device)
            masks[n] = parts.get(n, whole) & there[:, None]
    scores, log_scales = [], []
    for start in range(0, len(rows), batch):
        part = slice(start, start + batch)
        rng = Rng(indices[part], "score", seed, device=device)
        x, options = processor.dequantize(rows[part], rng), dict(scoring_options)
        some = None if masks is None else {n: mask[part] for n, mask in masks.items()}
        if some is not None:
            options["observed"] = some
        scores.append(family.log_prob(x, processor.context(rows[part]), rng=rng, **options))
        of_columns = [_log_scale(c, x[n], None if some is None else some[n]) for n, c in columns.items()]
        log_scales.append(torch.stack(of_columns).sum(0))
    dims: int | Tensor = sum(c.spec.tokens * c.spec.width for c in columns.values())
    if masks is not None:
        counts = torch.stack([masks[n].sum(1) * c.spec.width for n, c in columns.items()]).sum(0)
        dims = counts if any(map(any, lacking.values())) else int(counts[0])
    nats = torch.cat([s.nats for s in scores])
    return Score(nats + torch.cat(log_scales).to(nats.dtype), scores[0].kind, dims)


def _log_scale(column: Modality, tokens: Tensor, mask: Tensor | None) -> Tensor:
    """log |d tokens / d value| of tokens (B, T, C) or (B, T), summed where the mask (B, T) is True: (B,) float64."""
    log_scale = column.log_scale(tokens).double().reshape(*tokens.shape[:2], -1).sum(2)
    return (log_scale if mask is None else log_scale.where(mask, 0.0)).sum(1)


@torch.no_grad()
def score_documents(
    family: CanScoreTokens, processor: RowProcessor, rows: Sequence[Row], batch: int
) -> Score:
    """log P of the one target, a document: each token is conditioned on half a window before it, or on all."""
    [(name, column)] = processor.target_columns.items()
    assert isinstance(column, Text)
    for row in rows:
        processor.check(name, row[name])
    cuts = (
        (i, ids, new)
        for i, row in enumerate(rows)
        for ids, new in windows(column.ids(row[name]), column.length)
    )
    device = processor.device
    nats = torch.zeros(len(rows), dtype=torch.float64, device=device)  # sums over millions of tokens
    while part := list(itertools.islice(cuts, batch)):
        numbers, ids, new = zip(*part, strict=True)
        context = processor.context([rows[i] for i in numbers])
        log_probs = family.token_log_prob({name: torch.stack(ids).to(device)}, context)[name]
        sums = (log_probs * torch.stack(new).to(device)).sum(1).double()
        nats.index_add_(0, torch.tensor(numbers, device=device), sums)
    num_bytes = [len(row[name].encode()) for row in rows]
    return Score(nats.float(), "exact", torch.tensor(num_bytes, device=device))


def windows(ids: Tensor, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows of ids (n,) that overlap by half, (length,), padded with 0, and which of them are new, (length,).

    Each id is new in one window, in which at least length / 2 ids precede it, except in the first one.
    """
    half, scored, start = length - length // 2, 0, 0
    while scored < len(ids):
        window = ids[start : start + length]
        new = (torch.arange(length) >= scored - start) & (torch.arange(length) < len(window))
        yield F.pad(window, (0, length - len(window))), new
        scored, start = start + len(window), start + half
