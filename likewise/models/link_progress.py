"""LinkProgress: the reports of the links of a pipeline."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from likewise.modalities.base import Row
from likewise.models.sample_request import OnProgress, SamplingProgress


class LinkProgress:
    """The reports of the links of a pipeline as those of the whole.

    steps  of each link, at most
    """

    def __init__(self, on_step: OnProgress | None, steps: list[int]) -> None:
        self.on_step, self.steps = on_step, steps

    def of_link(self, i: int, rows: Mapping[int, Row], targets: Collection[str]) -> OnProgress | None:
        """What the i-th link, which samples these requests with these rows, is to call."""
        on_step, places = self.on_step, list(rows)
        if on_step is None:
            return None

        def report(link: SamplingProgress) -> None:
            self.steps[i] = link.steps
            here = {places[k]: k for k in link.rows}
            progress = SamplingProgress(
                sum(self.steps[:i]) + link.step,
                sum(self.steps),
                list(here),
                lambda k: {**rows[k], **{n: v for n, v in link.preview(here[k]).items() if n in targets}},
                lambda k: link.text(here[k]),
                lambda k: link.ids(here[k]),
            )
            on_step(progress)
            for k in progress.dropped & here.keys():
                link.drop(here[k])

        return report
