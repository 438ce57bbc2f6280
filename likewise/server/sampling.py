"""Sampling of a batch by whatever model there is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from likewise.modalities.base import Row
from likewise.models.sample_request import SampleRequest, SamplingProgress

OnStep = Callable[[SamplingProgress], None]


def batch_key(model: Any, request: SampleRequest) -> Hashable:
    """Model.batch_key."""
    if hasattr(model, "batch_key"):
        key: Hashable = model.batch_key(request)
        return key
    return id(request)


def sample_batch(
    model: Any, requests: Sequence[SampleRequest], on_step: OnStep | None = None
) -> list[Row | None]:
    """Model.sample_batch."""
    if hasattr(model, "sample_batch"):
        rows: list[Row | None] = model.sample_batch(requests, on_step=on_step)
        return rows
    return [_sample(model, request) for request in requests]


def _sample(model: Any, request: SampleRequest) -> Row:
    texts = {"prompts": None if request.prompt is None else [request.prompt], "stop": list(request.stop)}
    row: Row
    [row] = model.sample(
        [dict(request.row)],
        seed=request.seed,
        indices=[request.index],
        known=dict(request.known) or None,
        negative=request.negative,
        init=request.init,
        constraint=dict(request.constraint) or None,
        **{n: v for n, v in texts.items() if v},
        **request.options,
    )
    return row
