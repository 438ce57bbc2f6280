"""What is told of samples while they are sampled: steps, previews and texts so far."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future

from likewise.modalities.base import Row
from likewise.models.sample_request import SamplingProgress
from likewise.server.jobs.book import JobBook
from likewise.server.jobs.values import encode_value
from likewise.server.jobs.work import SampleWork

PREVIEW_SHARE = 0.25  # of the time of sampling that decoding previews may take


class ProgressReporter:
    """Reports the steps of a batch to the jobs of its rows, and drops the rows of those that are cancelled."""

    def __init__(
        self,
        rows: Sequence[tuple[SampleWork, int]],
        jobs: JobBook,
        previews: Executor,
        closing: Callable[[], bool],
    ) -> None:
        self.rows, self.jobs, self.previews, self.closing = rows, jobs, previews, closing
        self._budget = PreviewBudget()
        self._pending: Future[None] | None = None
        self._texts = {i: TextStream(work, index) for i, (work, index) in enumerate(rows) if work.stream}

    def on_step(self, progress: SamplingProgress) -> None:
        """Called after each step of sampling."""
        there = self.drop_ended(progress)
        for i in there:
            work, index = self.rows[i]
            work.steps[index] = progress.step, progress.steps
            if work.texts:
                work.job.ids[index] = progress.ids(i)
            if (stream := self._texts.get(i)) is not None:
                stream.update(self.jobs, progress.text(i))
        for work in {id(self.rows[i][0]): self.rows[i][0] for i in there}.values():
            self.jobs.publish_progress(work.job, work.progress)
        self._preview(there, progress)

    def drop_ended(self, progress: SamplingProgress) -> list[int]:
        """Drop the rows of jobs that are cancelled or have ended, or all of them if the server ends; those that stay."""
        if self.closing():
            progress.stop()
            return []
        there = []
        for i in list(progress.rows):
            job = self.rows[i][0].job
            if not job.cancelled and not job.has_ended:
                there.append(i)
                continue
            if (stream := self._texts.get(i)) is not None:
                stream.keep(self.jobs, progress.text(i))
            progress.drop(i)
        if not there:
            progress.stop()
        return there

    def _preview(self, there: Sequence[int], progress: SamplingProgress) -> None:
        """Decode those that are due, unless earlier ones are not encoded yet or it takes too much time."""
        due = [i for i in there if is_due(progress.step, progress.steps, self.rows[i][0].previews)]
        if self._pending is not None and not self._pending.done():
            return
        if estimates := self._budget.decode(progress, due):
            self._pending = self.previews.submit(self._publish, estimates)

    def _publish(self, estimates: Mapping[int, Row]) -> None:
        for i, row in estimates.items():
            work, index = self.rows[i]
            assert work.model is not None
            for name in work.model.targets:
                column = work.model.columns[name]
                if not column.visual or name not in row:
                    continue
                value = encode_value(column, row[name])
                assert isinstance(value.data, bytes)
                data = {"index": index, "column": name, "media_type": value.media_type}
                self.jobs.publish(
                    work.job, "preview", {**data, "b64_json": base64.b64encode(value.data).decode()}
                )


class PreviewBudget:
    """Limits the time of decoding previews to a share of that of sampling a batch."""

    def __init__(self) -> None:
        self._started, self._seconds = time.monotonic(), 0.0

    def decode(self, progress: SamplingProgress, rows: Sequence[int]) -> dict[int, Row]:
        """The previews of rows; none if those before took too long."""
        start = time.monotonic()
        if self._seconds > PREVIEW_SHARE * max(start - self._started, 0.05):
            return {}
        estimates = {i: progress.preview(i) for i in rows}
        self._seconds += time.monotonic() - start
        return estimates


def is_due(step: int, steps: int, previews: int) -> bool:
    """Whether one of so many previews, at even distances, falls on a step; none on the last one.

    >>> [step for step in range(1, 9) if is_due(step, 8, 3)]
    [2, 4, 6]
    """
    return step < steps and step * (previews + 1) // steps > (step - 1) * (previews + 1) // steps


class TextStream:
    """Publishes a text as it becomes longer: events "text" with what is new."""

    def __init__(self, work: SampleWork, index: int) -> None:
        self.work, self.index, self.sent = work, index, 0

    def update(self, jobs: JobBook, text: str) -> None:
        """Publish what is new in the text so far."""
        if new := text[self.sent :]:
            self.sent = len(text)
            jobs.publish(self.work.job, "text", {"index": self.index, "delta": new}, keep=False)

    def keep(self, jobs: JobBook, text: str) -> None:
        """Store the text so far, after its prompt, as the result of a job that is cancelled."""
        assert self.work.model is not None
        request, [name] = self.work.requests[self.index], self.work.model.targets
        prompt = request.prompt or ""
        begin = prompt if isinstance(prompt, str) else prompt[0]
        values = {name: begin + text}
        jobs.add_result(
            self.work.job, self.index, {"index": self.index, "seed": request.seed, "values": values}
        )
