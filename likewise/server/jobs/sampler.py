"""Sampler: where the batches of the queue are computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from likewise.modalities.base import Row
from likewise.server.catalog.registry import AnyModel
from likewise.server.jobs.progress import ProgressReporter
from likewise.server.jobs.work import Batch, CallWork, SampleWork, Work

Kinds = tuple[type[Work], ...]


class Sampler(Protocol):
    """Computes batches.

    lanes  of each thread of the queue the kinds of work that it takes: as many batches are computed at once as there are
           threads that take SampleWork
    """

    @property
    def lanes(self) -> Sequence[Kinds]:
        """See above."""

    def sample(self, batch: Batch, model: AnyModel, reporter: ProgressReporter) -> list[Row | None]:
        """The rows of a batch, None for those that were dropped; `model` is the one in this process.

        Raises ValueError for what is wrong with a request, APIError.
        """

    def close(self) -> None:
        """Called when all threads have ended."""


class LocalSampler:
    """Computes batches in this process, in one thread, and in turn with calls."""

    lanes: Sequence[Kinds] = ((SampleWork, CallWork),)

    def sample(self, batch: Batch, model: AnyModel, reporter: ProgressReporter) -> list[Row | None]:
        """See Sampler."""
        return model.sample_batch(batch.requests, on_step=reporter.on_step)

    def close(self) -> None:
        """Nothing has to be ended."""
