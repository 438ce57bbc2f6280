"""Sampling controls: what steers a sample beside its sources, such as a negative or a prompt.

A family supports a control by a keyword of that name in its `sample`; `DenoisingControls` and `TextControls`
(sequence/decoding.py) group those that always come together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from likewise.core.batch import Batch, Context
from likewise.core.options import validate_fields
from likewise.core.ranges import Strength

# Control -> what a family does that supports it.
SAMPLING_CONTROLS = {
    "negative": "be guided away from negative sources",
    "interpolate_to": "interpolate between sources",
    "init": "start from given values",
    "prompt": "continue a prompt",
    "suffix": "fill in the middle of a text",
    "healing": "redraw the last token of a prompt",
    "constraint": "sample texts under a constraint",
    "on_step": "report its steps",
    "ranges": "sample values of a range or set",
}

IDLE_NEGATIVE = "with guidance 1 a negative has no effect; ask for more, such as guidance 3"


@dataclass(frozen=True)
class Step:
    """A report of a sampler after each of its steps.

    step, steps  how many steps, or tokens of a text, are done, and how many there are at most
    estimate     computes what the samples are at present, column -> (B, T, ...): the denoiser's x^_0, or the ids so
                 far, (B, n); columns of which nothing is known yet are left out. Rows that have ended stay as they were
    """

    step: int
    steps: int
    estimate: Callable[[], Batch]


OnStep = Callable[[Step], Tensor | None]  # -> the rows that end here, (B,) bool on any device; None: none


@dataclass(frozen=True)
class Init:
    """Where sampling starts: at given rows with noise on them (Meng et al., 2022, "SDEdit").

    values    column -> (B, T, ...), of every target
    strength  share of noise, in (0, 1]: near 0 the row comes back, 1 samples from scratch
    """

    values: Batch
    strength: Strength

    def __post_init__(self) -> None:
        validate_fields(self)

    @property
    def noise(self) -> float:
        """The deviation of the noise relative to the row: strength / (1 - strength)."""
        return self.strength / (1 - self.strength) if self.strength < 1 else math.inf


@dataclass(frozen=True)
class Ranges:
    """Which values of targets may be sampled.

    allowed  column -> (B, K) bool of ids, or the ends of tokens (B, 2) of a float
    weighed  the columns whose condition is one on the row, so that rows are sampled in which all of these hold; those of
             the others exclude missing values only, as if none were
    """

    allowed: Batch
    weighed: frozenset[str]
    dependent: Mapping[str, DependentRange] = field(default_factory=dict)

    def of(self, name: str, x: Batch, known: Mapping[str, Tensor]) -> Tensor | None:
        """What is allowed of a column, where these tokens x (B, ...) of others are known (B,); None for anything."""
        if name in self.allowed or name not in self.dependent:
            return self.allowed.get(name)
        rule = self.dependent[name]
        return rule.values_given(x[rule.by].flatten(), known[rule.by])


@dataclass(frozen=True)
class DependentRange:
    """A column that has a value exactly where another one is of some values, or where it is of none of them.

    by       the other column
    values   those values: (K,) bool of ids, or the ends of tokens (2,) of a float
    there    the same of the column itself: any value that is not missing
    present  whether it has a value there, else elsewhere
    """

    by: str
    values: Tensor
    there: Tensor
    present: bool = True

    def values_given(self, tokens: Tensor, known: Tensor) -> Tensor:
        """What is allowed of the column where the other one has these tokens (B,), and anything where it is not known."""
        if self.values.dtype == torch.bool:
            is_in = self.values[tokens.long().clamp(0, len(self.values) - 1)]
        else:
            is_in = (tokens >= self.values[0]) & (tokens <= self.values[1])
        if self.there.dtype == torch.bool:
            gone, anything = ~self.there, torch.ones_like(self.there)
        else:
            infinity = self.there.new_tensor(math.inf)
            gone, anything = torch.stack([-infinity, self.there[0]]), torch.stack([-infinity, infinity])
        allowed = torch.where((is_in == self.present)[:, None], self.there, gone)
        return torch.where(known[:, None], allowed, anything)


@dataclass(frozen=True)
class InterpolateTo:
    """Other sources to interpolate to, and their weight per row: 0 keeps the row's own sources, (B, 1)."""

    sources: Context
    share: Tensor


@dataclass(frozen=True)
class DenoisingControls:
    """Controls of families that sample by removing noise.

    negative        sources that guidance moves away from, in place of none; of rows without any they are absent
    interpolate_to  sources that the row's own are interpolated to
    init            where sampling starts
    on_step         is called after each step
    """

    negative: Context | None = None
    interpolate_to: InterpolateTo | None = None
    init: Init | None = None
    on_step: OnStep | None = None


def guided_rows(contexts: Sequence[Context], negative: Context | None, scales: Tensor) -> Tensor:
    """Which rows are guided, indices (G,): those with a scale other than 1 and sources, or negative ones.

    contexts  the sources of the samples; negative: sources that guidance moves away from, absent where there are none
    scales    of each row and column, (B, K)

    So a row is guided, or not, whatever is beside it. Raises ValueError for a negative that would have no effect.
    """
    scaled = (scales != 1).any(1)
    if negative is not None and not bool(scaled.any()):
        raise ValueError(IDLE_NEGATIVE)
    every = [*contexts] if negative is None else [*contexts, negative]
    given = torch.stack([c.present.any(1) for c in every]).any(0)
    return (scaled & given).nonzero()[:, 0]
