"""The queue: bounded, fair, with batches of compatible requests, and the threads that have them sampled."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from likewise.core.errors import receive_warnings
from likewise.modalities.base import Row
from likewise.server.catalog.registry import ModelRegistry
from likewise.server.http.errors import APIError
from likewise.server.http.metrics import Metrics
from likewise.server.jobs.book import Job, JobBook
from likewise.server.jobs.progress import ProgressReporter
from likewise.server.jobs.sampler import Kinds, Sampler
from likewise.server.jobs.work import Batch, CallWork, SampleWork, Work
from likewise.server.settings import ServerSettings

IDLE_SECONDS = 1.0  # after which an idle thread looks for models to unload
MAX_RETRY_AFTER = 60  # seconds
log = logging.getLogger("likewise.server")


class SamplingQueue:
    """What waits to be sampled, and a thread for each of the `sampler.lanes`, which takes work of some kinds.

    Clients take turns, and the jobs of a client are in the order of their arrival; a job of several batches goes to
    the end after each. A batch may have rows of any jobs of the same model and batch key; what waits is shared out
    among the threads that are idle.
    """

    def __init__(
        self,
        settings: ServerSettings,
        registry: ModelRegistry,
        jobs: JobBook,
        metrics: Metrics,
        sampler: Sampler,
    ) -> None:
        self.settings, self.registry, self.jobs, self.metrics = settings, registry, jobs, metrics
        self.sampler = sampler
        # by client; the turn of the first one is next
        self._waiting: OrderedDict[str, deque[Work]] = OrderedDict()
        self._running: dict[str, list[Work]] = {}  # by the name of the thread
        self._idle = 0  # threads that wait for batches
        self._condition = threading.Condition()
        self._closing = False
        self._seconds: dict[str, float] = {}  # for a row of each model, averaged
        self._output = ThreadPoolExecutor(1, "results")  # so that sampling goes on while results are encoded
        self._previews = ThreadPoolExecutor(1, "previews")
        self._threads = [
            threading.Thread(target=self._loop, args=(kinds,), name=f"sampling-{i}", daemon=True)
            for i, kinds in enumerate(sampler.lanes)
        ]
        self._places = sum(SampleWork in kinds for kinds in sampler.lanes)

    def start(self) -> None:
        """Start to sample."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop at the next step. What is queued or running in the background stays so in the store."""
        with self._condition:
            self._closing = self.jobs.closing = True
            self._condition.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        for executor in (self._output, self._previews):
            executor.shutdown(wait=True)
        self.sampler.close()

    # ---- what waits

    def require_room(self) -> None:
        """Raise APIError with status 429 if the queue is full."""
        with self._condition:
            waiting = sum(map(len, self._waiting.values()))
        if waiting >= self.settings.queue_size:
            seconds = self._estimate_seconds(list(self._fair_order()))
            after = str(max(1, min(MAX_RETRY_AFTER, math.ceil(seconds))))
            raise APIError(
                429,
                f"{waiting} requests are waiting, which is the most; try again in {after} s",
                code="queue_full",
                headers={"Retry-After": after},
            )

    def put(self, work: Work, *, force: bool = False) -> None:
        """Add work. Raises APIError with status 429 if the queue is full, unless `force`."""
        if not force:
            self.require_room()
        work.job.on_cancel = lambda: self._on_cancel(work)
        with self._condition:
            self._waiting.setdefault(work.client, deque()).append(work)
            self._condition.notify_all()
        if work.job.cancelled or work.job.has_ended:  # while it was prepared
            self._on_cancel(work)

    def position(self, job: Job) -> tuple[int | None, float | None]:
        """How many jobs are before this one, and in how many seconds it will probably have ended."""
        with self._condition:
            order = list(self._fair_order())
            running = [work for works in self._running.values() for work in works]
        for i, work in enumerate(order):
            if work.job is job:
                return i, self._estimate_seconds([*running, *order[: i + 1]])
        return (0, self._estimate_seconds(running)) if any(w.job is job for w in running) else (None, None)

    def length(self) -> int:
        """The number of works that wait."""
        with self._condition:
            return sum(map(len, self._waiting.values()))

    def _fair_order(self) -> Iterator[Work]:
        """The works in the order in which they are begun: one of each client in turn."""
        queues = [list(queue) for queue in self._waiting.values()]
        for turn in range(max(map(len, queues), default=0)):
            for queue in queues:
                if turn < len(queue):
                    yield queue[turn]

    def _estimate_seconds(self, works: Sequence[Work]) -> float:
        seconds = sum(self._seconds.get(w.job.model, 0.5) * w.remaining for w in works)
        return round(seconds / self._places, 1)

    def _remove(self, work: Work) -> bool:
        with self._condition:
            queue = self._waiting.get(work.client)
            if queue is None or work not in queue:
                return False
            queue.remove(work)
            if not queue:
                del self._waiting[work.client]
            return True

    def _on_cancel(self, work: Work) -> None:
        """End a job that waits; one that runs ends with its next step."""
        waited = self._remove(work)
        if waited and work.outstanding == 0:
            self.jobs.finish(work.job, "cancelled")

    # ---- the threads

    def _loop(self, kinds: Kinds) -> None:
        if self.settings.threads is not None:
            torch.set_num_threads(self.settings.threads)
        while (taken := self._take(kinds)) is not None:
            try:
                if isinstance(taken, CallWork):
                    self._call(taken)
                else:
                    self._sample(taken)
            except BaseException:  # nothing may end this thread
                log.exception("the sampling thread")
            finally:
                with self._condition:
                    self._running.pop(threading.current_thread().name, None)

    def _take(self, kinds: Kinds) -> Batch | CallWork | None:
        """The next thing to do of these kinds, None when the queue is closed."""
        name, samples = threading.current_thread().name, SampleWork in kinds
        with self._condition:
            self._idle += samples
            try:
                while (first := self._wait_for_first(kinds)) is not None:
                    if isinstance(first, CallWork):
                        self._turn(first, ended=True)
                        self._running[name] = [first]
                        return first
                    assert isinstance(first, SampleWork)
                    rest = first.arrived + self.settings.batch_wait / 1000 - time.monotonic()
                    if rest > 0 and self._compatible_rows(first) < self.settings.max_batch:
                        self._condition.wait(rest)
                        continue
                    batch = self._gather(first)
                    self._running[name] = list(batch.works)
                    return batch
                return None
            finally:
                self._idle -= samples

    def _wait_for_first(self, kinds: Kinds) -> Work | None:
        """The first work of these kinds, when there is one; None when the queue is closed."""
        while not self._closing:
            first = next((work for work in self._fair_order() if isinstance(work, kinds)), None)
            if first is not None:
                return first
            self._condition.wait(IDLE_SECONDS)
            self.registry.unload_idle()
        return None

    def _compatible_rows(self, first: SampleWork) -> int:
        works = [work for work in self._fair_order() if isinstance(work, SampleWork)]
        return sum(work.rows_for(first) for work in works)

    def _gather(self, first: SampleWork) -> Batch:
        """The rows of a batch, taken out of the queue; what is left of a job goes behind the others of its client."""
        batch, key = Batch(), first.key
        most = min(self.settings.max_batch, math.ceil(self._compatible_rows(first) / self._idle))
        works = [work for work in self._fair_order() if isinstance(work, SampleWork) and work.rows_for(first)]
        for work in works:
            room = most - len(batch.rows)
            if room <= 0:
                break
            batch.rows += [(work, index) for index in work.take(key, room)]
            self._turn(work, ended=work.remaining == 0)
        return batch

    def _turn(self, work: Work, ended: bool) -> None:
        """Take a work out, or put it to the end, and its client behind the others."""
        queue = self._waiting[work.client]
        queue.remove(work)
        if not ended:
            queue.append(work)
        if queue:
            self._waiting.move_to_end(work.client)
        else:
            del self._waiting[work.client]

    # ---- sampling

    def _sample(self, batch: Batch) -> None:
        for work in batch.works:
            self.jobs.set_status(work.job, "running")
        start = time.perf_counter()
        try:
            rows = self._sample_rows(batch)
        except BaseException as error:
            self._on_error(batch, error)
            return
        seconds = time.perf_counter() - start
        self.metrics.observe_batch(len(batch.rows), seconds)
        self._learn_speed(batch.rows[0][0].job.model, seconds / len(batch.rows))
        for (work, index), row in zip(batch.rows, rows, strict=True):
            self._output.submit(self._finish_row, work, index, row)

    def _sample_rows(self, batch: Batch) -> list[Row | None]:
        """Sample the rows; None for those that were dropped."""
        reporter = ProgressReporter(batch.rows, self.jobs, self._previews, lambda: self._closing)
        notes: list[str] = []
        with self.registry.acquire(batch.rows[0][0].job.model) as model:
            for work in batch.works:
                work.model = model
            with receive_warnings(notes.append):
                rows = self.sampler.sample(batch, model, reporter)
        # of several works it is not known whose a warning is; `batch_key` has given those of each request
        if len(batch.works) == 1:
            for note in notes:
                self.jobs.warn(batch.works[0].job, note)
        return rows

    def _on_error(self, batch: Batch, error: BaseException) -> None:
        """Of a batch of several jobs each is sampled alone, so that only those fail that are to blame."""
        if len(batch.works) > 1:
            for work in batch.works:
                self._sample(Batch([(w, index) for w, index in batch.rows if w is work]))
            return
        if not isinstance(error, ValueError | APIError):
            log.error("sampling", exc_info=error)
        [work] = batch.works
        self._remove(work)
        self._output.submit(self.jobs.fail, work.job, error)

    def _finish_row(self, work: SampleWork, index: int, row: Row | None) -> None:
        """Encode and store a sample; the last one ends the job."""
        try:
            with self._condition:
                work.outstanding -= 1
            if row is not None:
                work.finish_row(self.jobs, index, row)
            if work.job.cancelled:
                if work.outstanding == 0:
                    self.jobs.finish(work.job, "cancelled")
            elif self._closing and row is None:
                return  # it is sampled by the next process
            elif work.complete:
                self.jobs.finish(work.job, "succeeded")
        except BaseException as error:
            log.error("results", exc_info=error)
            self.jobs.fail(work.job, error)

    def _call(self, work: CallWork) -> None:
        job = work.job
        self.jobs.set_status(job, "running")
        start = time.perf_counter()
        try:
            with (
                self.registry.acquire(job.model) as model,
                receive_warnings(lambda m: self.jobs.warn(job, m)),
            ):
                work.run(model, self.jobs)
        except BaseException as error:
            if not isinstance(error, ValueError | APIError):
                log.error("sampling", exc_info=error)
            self.jobs.fail(job, error)
            return
        if self._closing and not job.cancelled:
            return  # it is done by the next process
        seconds = time.perf_counter() - start
        self._learn_speed(job.model, seconds / max(1, work.size))
        self._output.submit(self.jobs.finish, job, "cancelled" if job.cancelled else "succeeded")

    def _learn_speed(self, model: str, seconds: float) -> None:
        before = self._seconds.get(model, seconds)
        self._seconds[model] = 0.7 * before + 0.3 * seconds
