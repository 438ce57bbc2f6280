"""Leads: what may lead a draw beside its sources: where it starts, what it goes toward, what it goes against.

A family that can be led so has a keyword of that name in its `sample`: start, toward, against (a Context),
constraint (target -> constraints.Bound), prompt and suffix (target -> ids), owed (healing.Owed: what comes
after the prompt at first), watch (who ends there).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from likewise.core.batch import Batch, Context


@dataclass(frozen=True)
class Init:
    """Where a draw begins: at a given row with noise on it (Meng et al., 2022, "SDEdit").

    values    column -> (B, T, ...), of every target
    strength  share of noise, in (0, 1]: near 0 the row comes back, 1 is a draw from scratch
    """

    values: Batch
    strength: float

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise ValueError(
                f"strength is in (0, 1], not {self.strength:g}: near 0 what is given comes "
                "back, 1 draws from scratch"
            )


@dataclass(frozen=True)
class InterpolateTo:
    """Other sources, and how much is theirs: a `share` of 0 leaves a row to its own, 1 to these, (B, 1)."""

    sources: Context
    share: Tensor


def negative_context(ways: Sequence[Context], negative: Context | None, guidance: float) -> Context | None:
    """The sources that guidance goes away from: `against`, else none at all; or None if nothing is guided.

    `ways` are the sources that are asked. Raises ValueError for a negative that would have no effect.
    """
    if negative is None:
        asked = guidance != 1 and any(bool(c.present.any()) for c in ways)
        return ways[0].unconditional() if asked else None
    if guidance == 1:
        raise ValueError("with guidance 1 a negative has no effect; ask for more, such as guidance 3")
    return negative


# What may lead a draw beside its sources (leads.py), for families whose `sample` has the keyword.
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
