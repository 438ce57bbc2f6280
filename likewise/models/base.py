"""Protocols of whatever can be sampled given sources: one model, or several combined.

Evaluation, the command line and a server need no more than these; `Model` and `Pipeline` implement them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from likewise.core.formula import Formula
from likewise.core.score import Score
from likewise.modalities.base import Modality, Row


@runtime_checkable
class Distribution(Protocol):
    """P(targets | sources), as its formula states, that can be sampled."""

    formula: Formula

    def sample(self, rows: Sequence[Row], *, seed: int = 0, **options: Any) -> list[Row]:
        """One sample for each row of sources; see `Model.sample`."""


@runtime_checkable
class Density(Distribution, Protocol):
    """A distribution with a log-probability."""

    def log_prob(self, rows: Sequence[Row], *, seed: int = 0, **options: Any) -> Score:
        """log P(targets | sources) of each row; see `Model.log_prob`."""


class TypedDistribution(Distribution, Protocol):
    """A distribution whose columns are known, so that requests for samples can be read and checked."""

    @property
    def targets(self) -> list[str]:
        """The names of the targets."""

    @property
    def sources(self) -> list[str]:
        """The names of the sources."""

    @property
    def columns(self) -> Mapping[str, Modality]:
        """The columns of the formula by name."""

    @property
    def target_columns(self) -> Mapping[str, Modality]:
        """All columns that are sampled, those on the way to the targets too."""

    def sampling_options(self) -> dict[str, inspect.Parameter]:
        """The options of `sample` that depend on the family, with types and defaults."""

    def validate_sources(self, sources: Row) -> Row:
        """The sources as they are read; see `Model.validate_sources`."""

    def validate_values(self, values: Row) -> Row:
        """The same for values of sources and targets."""

    def interpolate(self, first: Row, last: Row, n: int = 7, **options: Any) -> list[Row]:
        """n samples from P(targets | first) to P(targets | last); see `Model.interpolate`."""
