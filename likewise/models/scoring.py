"""Log-probabilities of rows by a family, and of documents of any length in windows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

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
    """log P(targets | sources) of each row; see `Model.log_prob`."""
    columns, masks = processor.target_columns, {n: processor.mask(n, mask) for n, mask in observed.items()}
    if masks:  # then one of every target
        masks = {
            n: torch.ones(c.spec.tokens, dtype=torch.bool, device=processor.device)
            for n, c in columns.items()
        } | masks
    scores, log_scales = [], []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        rng = Rng(indices[start : start + batch], "score", seed, device=processor.device)
        x, options = processor.dequantize(part, rng), dict(scoring_options)
        if masks:
            options["observed"] = {n: mask.expand(len(part), -1) for n, mask in masks.items()}
        scores.append(family.log_prob(x, processor.context(part), rng=rng, **options))
        of_columns = [_log_scale(c, x[n], masks.get(n)) for n, c in columns.items()]
        log_scales.append(torch.stack(of_columns).sum(0))
    dims = {n: (int(masks[n].sum()) if masks else c.spec.tokens) * c.spec.width for n, c in columns.items()}
    nats = torch.cat([s.nats for s in scores])
    return Score(nats + torch.cat(log_scales).to(nats.dtype), scores[0].kind, sum(dims.values()))


def _log_scale(column: Modality, tokens: Tensor, mask: Tensor | None) -> Tensor:
    """log |d tokens / d value| of tokens (B, T, C) or (B, T), summed where the mask (T,) is True: (B,) float64."""
    log_scale = column.log_scale(tokens).double().reshape(*tokens.shape[:2], -1)
    return (log_scale if mask is None else log_scale[:, mask]).sum((1, 2))


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
