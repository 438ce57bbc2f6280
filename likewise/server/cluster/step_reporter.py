"""StepReporter: the reports of a batch in a replica."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from likewise.models.sample_request import SamplingProgress
from likewise.server.cluster.messages import RowReports, StepReport
from likewise.server.jobs.progress import PreviewBudget, is_due

REPORT_SECONDS = 0.05  # between two reports without previews


class StepReporter:
    """Sends reports of the steps of a batch, not of all, and drops rows.

    dropped  rows that are to be dropped with the next step
    stopped  whether all are
    """

    def __init__(self, reports: Sequence[RowReports], send: Callable[[StepReport], None]) -> None:
        self.reports, self.send = reports, send
        self.dropped: set[int] = set()
        self.stopped = False
        self._budget, self._last_time = PreviewBudget(), -float("inf")
        self._texts: dict[int, str] = {}
        self._sent: dict[int, int] = {}  # characters of each text
        self._ids: dict[int, list[int]] = {}
        self._rows: set[int] = set()  # that were there since the last report
        self._step: tuple[int, int] | None = None  # that was not reported

    def on_step(self, progress: SamplingProgress) -> None:
        """Called after each step of sampling."""
        for i in list(progress.rows):
            if self.stopped or i in self.dropped:
                progress.drop(i)
                continue
            self._rows.add(i)
            if self.reports[i].text:
                self._texts[i] = progress.text(i)
            if self.reports[i].ids:
                self._ids[i] = progress.ids(i).tolist()
        self._step = progress.step, progress.steps
        there = [i for i in progress.rows if i in self._rows and i not in progress.dropped]
        due = [i for i in there if is_due(progress.step, progress.steps, self.reports[i].previews)]
        previews = self._budget.decode(progress, due)
        if previews or time.monotonic() - self._last_time >= REPORT_SECONDS:
            self._report(previews)

    def finish(self) -> None:
        """Send what was not reported yet."""
        if self._step is not None:
            self._report({})

    def _report(self, previews: dict[int, dict[str, object]]) -> None:
        assert self._step is not None
        texts = {i: text[self._sent.get(i, 0) :] for i, text in self._texts.items()}
        self._sent |= {i: len(text) for i, text in self._texts.items()}
        new = {i: text for i, text in texts.items() if text}
        self.send(StepReport(*self._step, sorted(self._rows), new, self._ids, previews))
        self._texts, self._ids, self._rows, self._step = {}, {}, set(), None
        self._last_time = time.monotonic()
