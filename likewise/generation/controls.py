"""Sampling controls: what steers a sample beside its sources, such as a negative or a prompt.

A family supports a control by a keyword of that name in its `sample`; `DenoisingControls` and `TextControls`
(sequence/decoding.py) group those that always come together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
    "stop_fn": "be stopped by a function of the samples",
}


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
class InterpolateTo:
    """Other sources to interpolate to, and their weight per row: 0 keeps the row's own sources, (B, 1)."""

    sources: Context
    share: Tensor


@dataclass(frozen=True)
class DenoisingControls:
    """Controls of families that sample by removing noise.

    negative        sources that guidance moves away from, in place of none
    interpolate_to  sources that the row's own are interpolated to
    init            where sampling starts
    """

    negative: Context | None = None
    interpolate_to: InterpolateTo | None = None
    init: Init | None = None


def negative_context(
    contexts: Sequence[Context], negative: Context | None, guidance: float
) -> Context | None:
    """The sources that guidance moves away from: `negative`, else none at all; None if nothing is guided.

    `contexts` are the sources of the samples. Raises ValueError for a negative that would have no effect.
    """
    if negative is None:
        guided = guidance != 1 and any(bool(c.present.any()) for c in contexts)
        return contexts[0].unconditional() if guided else None
    if guidance == 1:
        raise ValueError("with guidance 1 a negative has no effect; ask for more, such as guidance 3")
    return negative
