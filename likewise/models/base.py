"""Distribution: what can be sampled given some sources, whether it is one model or several put together.

`Model` and `Pipeline` are distributions; evaluation, the command line and a server ask no more of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from likewise.core.formula import Formula
from likewise.core.score import Score
from likewise.modalities.base import Row


@runtime_checkable
class Distribution(Protocol):
    """P(targets | sources), as its formula says, by its samples."""

    formula: Formula

    def sample(self, rows: Sequence[Row], *, seed: int = 0, **options: Any) -> list[Row]:
        """One sample for each row of sources; see `Model.sample`."""


@runtime_checkable
class Density(Distribution, Protocol):
    """A distribution of which the log-probability of given rows can be computed."""

    def log_prob(self, rows: Sequence[Row], *, seed: int = 0, **options: Any) -> Score:
        """log P(targets | sources) of each row; see `Model.log_prob`."""
