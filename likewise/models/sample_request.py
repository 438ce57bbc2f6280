"""SampleRequest: what one sample is to be, one row of a batch; SamplingProgress: a batch while it is sampled."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from likewise.core.options import validate_fields
from likewise.core.ranges import Seed
from likewise.generation.sequence.constraints import Constraint
from likewise.modalities.base import Row
from likewise.modalities.conditions import Condition
from likewise.models.text_prompt import TextPrompt


@dataclass(frozen=True)
class SampleRequest:
    """One sample: all that it depends on, so that requests of different people can be sampled as one batch.

    row         values of any sources and targets
    seed, index  the sample depends on these, and on no other request
    known       target -> its value, or (value, mask over its grid)
    negative    sources that guidance moves away from
    init        values of all targets that are not known, and a strength
    prompt      beginning of the text, or (prefix, suffix)
    stop        strings at which the text ends
    constraint  target that is a text -> what it must satisfy
    within      target -> a Condition: its range, some values, or that it is not missing
    options     sampling options
    attempt     how many samples of this seed and index did not satisfy the rules of the model

    The fields are as in `Model.sample`.
    """

    row: Row
    seed: Seed = 0
    index: int = 0
    known: Mapping[str, Any] = field(default_factory=dict)
    negative: Row | None = None
    init: tuple[Row, float] | None = None
    prompt: TextPrompt | None = None
    stop: Sequence[str] = ()
    constraint: Mapping[str, Constraint] = field(default_factory=dict)
    within: Mapping[str, Condition] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 0

    def __post_init__(self) -> None:
        validate_fields(self)


def sample_by_key(
    requests: Sequence[SampleRequest],
    keys: Sequence[Hashable],
    sample_batch: Callable[[Sequence[SampleRequest]], list[Row | None]],
    batch: int,
) -> list[Row]:
    """The samples of requests in their order, those of equal keys together, at most `batch` at once."""
    groups: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    done: dict[int, Row | None] = {}
    for group in groups.values():
        for start in range(0, len(group), batch):
            part = group[start : start + batch]
            done |= zip(part, sample_batch([requests[i] for i in part]), strict=True)
    return [row for i in range(len(requests)) if (row := done[i]) is not None]


class SamplingProgress:
    """A report after a step of a batch, with which requests can be dropped.

    step, steps  how many are done, and how many there are at most: of a text the number of its tokens
    rows         the indices of the requests that are still there

    What is not asked for is not computed.
    """

    def __init__(
        self,
        step: int,
        steps: int,
        rows: list[int],
        preview: Callable[[int], Row],
        text: Callable[[int], str],
        ids: Callable[[int], Tensor],
    ) -> None:
        self.step, self.steps, self.rows = step, steps, rows
        self.dropped: set[int] = set()
        self._preview, self._text, self._ids = preview, text, ids

    def preview(self, i: int) -> Row:
        """Request i as it is expected to become: its row, with those targets of which anything is known yet."""
        return self._preview(i)

    def text(self, i: int) -> str:
        """What has been sampled of the text of request i so far, after its prompt, in whole characters.

        What may turn out to be the beginning of a stop string is held back, so each text begins with the one before.
        """
        return self._text(i)

    def ids(self, i: int) -> Tensor:
        """The ids that have been sampled of the text of request i so far, (n,), filled up with 0 after its end.

        The first of them may spell the last of its prompt again, see token_healing.py.
        """
        return self._ids(i)

    def drop(self, i: int) -> None:
        """Leave request i out from now on: its result is None, and the others are what they would have been."""
        self.dropped.add(i)

    def stop(self) -> None:
        """Drop all requests."""
        self.dropped.update(self.rows)


OnProgress = Callable[[SamplingProgress], None]
