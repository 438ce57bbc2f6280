"""Work of the sampling threads: rows that may share batches, and calls that run alone."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from likewise.modalities.base import Row
from likewise.models.sample_request import SampleRequest
from likewise.server.catalog.registry import AnyModel
from likewise.server.jobs.book import Job, JobBook

FinishRow = Callable[[JobBook, Job, AnyModel, int, Row], None]
Call = Callable[[AnyModel, Job, JobBook], None]


class Work:
    """What a sampling thread has to do for a job.

    client       whose turn it is
    remaining    rows that are not begun
    outstanding  rows that are begun and not ended
    """

    remaining = 0
    outstanding = 0

    def __init__(self, job: Job, client: str) -> None:
        self.job, self.client, self.arrived = job, client, time.monotonic()


class SampleWork(Work):
    """Samples of a job, a request for each.

    keys      of the batches that each may be in, see Model.batch_key
    previews  of each sample
    stream    whether texts are published while they are sampled
    texts     whether the ids of texts are kept, see Job
    finish    encodes and stores a sample
    """

    def __init__(
        self,
        job: Job,
        client: str,
        requests: Sequence[SampleRequest],
        keys: Sequence[Hashable],
        finish: FinishRow,
        *,
        previews: int = 0,
        stream: bool = False,
        texts: bool = False,
    ) -> None:
        super().__init__(job, client)
        self.requests, self.previews, self.stream, self.texts = list(requests), previews, stream, texts
        self.model: AnyModel | None = None
        self.steps: dict[int, tuple[int, int]] = {}  # of the rows that are begun: step, steps
        self._finish, self._done = finish, 0
        self._pending: dict[Hashable, deque[int]] = {}  # by batch key
        for index, key in enumerate(keys):
            self._pending.setdefault(key, deque()).append(index)

    @property
    def remaining(self) -> int:  # type: ignore[override]
        """Rows that are not begun."""
        return sum(map(len, self._pending.values()))

    @property
    def complete(self) -> bool:
        """Whether every row has ended."""
        return self._done == len(self.requests)

    @property
    def key(self) -> Hashable:
        """The batch key of the row that is the next."""
        return next(iter(self._pending))

    def rows_for(self, other: SampleWork) -> int:
        """How many of its rows may be in a batch with the next row of another work."""
        return len(self._pending.get(other.key, ())) if self.job.model == other.job.model else 0

    def take(self, key: Hashable, most: int) -> list[int]:
        """The numbers of at most so many rows with this batch key, which are begun now."""
        rows = self._pending[key]
        taken = [rows.popleft() for _ in range(min(most, len(rows)))]
        if not rows:
            del self._pending[key]
        self.outstanding += len(taken)
        return taken

    def finish_row(self, jobs: JobBook, index: int, row: Row) -> None:
        """Store a sample."""
        assert self.model is not None
        self._done += 1
        if not self.job.cancelled:
            self._finish(jobs, self.job, self.model, index, row)

    @property
    def progress(self) -> Mapping[str, Any]:
        """The steps of all rows together, and how many rows have ended."""
        step, steps = max(list(self.steps.values()), default=(0, 0))  # of several threads
        return {"step": step, "steps": steps, "done": self._done, "total": len(self.requests)}


@dataclass
class Batch:
    """Rows that are sampled at once: of each its work, and its number in that."""

    rows: list[tuple[SampleWork, int]] = field(default_factory=list)

    @property
    def works(self) -> list[SampleWork]:
        """The works that rows are of."""
        return list(OrderedDict((id(work), work) for work, _ in self.rows).values())

    @property
    def requests(self) -> list[SampleRequest]:
        """The request of each row."""
        return [work.requests[index] for work, index in self.rows]


class CallWork(Work):
    """A function of the model, which adds its results to the job; `size` is about how many rows it computes."""

    def __init__(self, job: Job, client: str, call: Call, size: int = 1) -> None:
        super().__init__(job, client)
        self.call, self.size = call, size
        self.remaining = size

    def run(self, model: AnyModel, jobs: JobBook) -> None:
        """Call the function."""
        self.call(model, self.job, jobs)
