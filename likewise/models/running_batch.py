"""RunningBatch: a batch of requests while it is sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from likewise.generation.controls import Init, Step
from likewise.modalities.base import Row
from likewise.models.processor import RowProcessor
from likewise.models.sample_request import OnProgress, SampleRequest, SamplingProgress
from likewise.models.text_prompt import TextPrompts


class RunningBatch:
    """A batch of requests while it is sampled, and what its reports need."""

    def __init__(
        self,
        processor: RowProcessor,
        requests: Sequence[SampleRequest],
        rows: Sequence[Row],
        texts: TextPrompts | None,
    ) -> None:
        """`rows` are those of the requests as they are read, `texts` their prompts and stop strings, if any has some."""
        self.processor, self.requests, self.rows, self.texts = processor, requests, rows, texts
        self.left = list(range(len(requests)))
        self.reported = False

    def controls(self, on_progress: OnProgress | None, reports: bool) -> dict[str, Any]:
        """Controls of a family: prompts and, if it `reports` and someone listens or texts have stop strings, steps."""
        controls = self.texts.controls if self.texts else {}
        stopping = self.texts is not None and self.texts.stopping
        if reports and (on_progress is not None or stopping):
            controls["on_step"] = lambda step: self.report(step, on_progress)
        return controls

    def report(self, step: Step, on_progress: OnProgress | None) -> Tensor | None:
        """Which rows end, (B,) bool: those that were dropped, and texts that have come to a stop string."""
        self.reported, ended = True, None
        if self.texts is not None and self.texts.stopping:
            ended = self.texts.stopped(step.estimate()[self.texts.name])
        if on_progress is not None and self.left:
            cached: list[dict[str, Tensor]] = []

            def estimate() -> dict[str, Tensor]:
                if not cached:
                    cached.append(step.estimate())
                return cached[0]

            progress = SamplingProgress(
                step.step,
                step.steps,
                list(self.left),
                lambda i: self._decode(estimate(), [i])[0],
                lambda i: self._text(estimate(), i),
                lambda i: self._ids(estimate(), i),
            )
            on_progress(progress)
            self.left = [i for i in self.left if i not in progress.dropped]
        if len(self.left) == len(self.requests):
            return ended
        dropped = torch.ones(len(self.requests), dtype=torch.bool, device=self.processor.device)
        dropped[self.left] = False
        return dropped if ended is None else dropped | ended

    def finish(self, samples: dict[str, Tensor]) -> list[Row | None]:
        """The rows of the requests that are left."""
        done: list[Row | None] = [None] * len(self.requests)
        for i, row in zip(self.left, self._decode(samples, self.left), strict=True):
            done[i] = row
            if self.texts is not None:
                name = self.texts.name
                done[i] = {**row, name: self.texts.truncate_at_stop(row[name], i)}
        return done

    def _decode(self, samples: dict[str, Tensor], places: list[int]) -> list[Row]:
        """Some of the rows, with their samples."""
        requests = [self.requests[i] for i in places]
        if not requests:
            return []
        part = {n: v[places] for n, v in samples.items()}
        rows = [self.rows[i] for i in places]
        rows = self.processor.decode_rows(rows, part, [r.known for r in requests])
        return rows if requests[0].init is None else self._restore_residuals(rows, requests)

    def _restore_residuals(self, rows: list[Row], requests: Sequence[SampleRequest]) -> list[Row]:
        """Variations, each with what its tokens cannot represent of the value it began with; see Modality."""
        restored = []
        for row, request in zip(rows, requests, strict=True):
            start, strength = request.init or ({}, 1.0)
            noise = Init({}, strength).noise
            if not math.isinf(noise):
                columns = {n: c for n, c in self.processor.target_columns.items() if n in start}
                row = row | {n: c.restore_residual([row[n]], start[n], noise)[0] for n, c in columns.items()}
            restored.append(row)
        return restored

    def _text(self, samples: dict[str, Tensor], i: int) -> str:
        """What is new of the text of request i."""
        texts = self._prompts()
        return texts.sampled_text(i, samples[texts.name][i])

    def _ids(self, samples: dict[str, Tensor], i: int) -> Tensor:
        """The ids of the text of request i after its prompt."""
        texts = self._prompts()
        return samples[texts.name][i, texts.prompt_length(i) :]

    def _prompts(self) -> TextPrompts:
        return self.texts or TextPrompts(self.processor.target_columns, None)
