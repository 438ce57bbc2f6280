"""Interpolation between the sources, and the noise, of two requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from likewise.core.rng import Rng
from likewise.generation.controls import InterpolateTo
from likewise.modalities.base import Row
from likewise.models.sample_request import SampleRequest
from likewise.models.sampling import Sampler

OnInterpolation = Callable[
    [int, int], None
]  # is called with step and steps; what it raises ends the sampling


def interpolate_rows(
    sampler: Sampler,
    first: Sequence[SampleRequest],
    last: Sequence[SampleRequest],
    seeds: tuple[int, int],
    on_step: OnInterpolation | None = None,
) -> list[Row]:
    """See `Model.interpolate_rows`: the requests of both ends differ in their rows only."""
    n, processor = len(first), sampler.processor
    if n < 2:
        raise ValueError(f"an interpolation has two ends, so at least 2 steps, not {n}")
    for request in (first[0], last[0]):
        sampler.key(request)
    sampler.warn([*first, *last])
    rows, others = ([request.row for request in end] for end in (first, last))
    rows, others = processor.truncate_sources(rows), processor.truncate_sources(others)
    for name in processor.formula.target_names:
        if any(_differ(a, b, [name]) for a, b in zip(rows, others, strict=True)):
            raise ValueError(
                f"{name} is a target, and an interpolation is between sources; give it one value"
            )
    weight = torch.linspace(0, 1, n, dtype=torch.float64)
    controls: dict[str, Any] = {}
    if on_step is not None and "on_step" in type(sampler.family).sampling_controls():
        controls["on_step"] = lambda step: on_step(step.step, step.steps)
    sources = processor.formula.source_names
    if any(_differ(a, b, sources) for a, b in zip(rows, others, strict=True)):
        sampler.require("interpolate_to")
        share = weight.float()[:, None].to(processor.device)
        controls["interpolate_to"] = InterpolateTo(processor.context(others), share)
    a, b = (Rng([0] * n, "sample", seed, device=processor.device) for seed in seeds)
    samples: dict[str, Any] = sampler.sample_encoded(first, rows, Rng.slerp(a, b, weight), controls)
    return processor.decode_rows(rows, samples, [request.known for request in first])


def _differ(a: Row, b: Row, names: Sequence[str]) -> bool:
    """Whether two rows have different values of these columns; vectors are compared by their numbers."""
    return not all(_equal(a.get(n), b.get(n)) for n in names)


def _equal(x: Any, y: Any) -> bool:
    return bool(np.array_equal(x, y) if isinstance(x, np.ndarray) or isinstance(y, np.ndarray) else x == y)
