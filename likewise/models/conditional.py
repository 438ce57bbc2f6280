"""Conditional: a distribution with values of its sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from likewise.core.options import validated
from likewise.core.ranges import NonNegativeInt, Seed
from likewise.core.score import Score
from likewise.modalities.base import Row
from likewise.models.base import Density, Distribution


@dataclass(frozen=True)
class Conditional:
    """P(targets | these sources), of a model or a pipeline.

    model    the distribution
    sources  values by name; sources that are missing are not given
    """

    model: Distribution
    sources: Row

    @validated
    def sample(
        self,
        n: NonNegativeInt = 1,
        *,
        seed: Seed = 0,
        known: Mapping[str, Any] | None = None,
        **sampling_options: Any,
    ) -> list[Row]:
        """n samples, rows of the sources and the targets; see `Model.sample` for the keywords."""
        return self.model.sample([self.sources] * n, seed=seed, known=known, **sampling_options)

    @validated
    def log_prob(self, *, seed: Seed = 0, **values: Any) -> Score:
        """log P(targets | sources) of one row: a value of every target, and options of `Model.log_prob`.

        Raises ValueError for a target without a value, and for a distribution without a density.
        """
        if not isinstance(self.model, Density):
            raise ValueError(f"{str(self.model.formula)!r} is not a single model, so it has no density")
        missing = [n for n in self.model.formula.target_names if n not in values]
        if missing:
            raise ValueError(f"log_prob needs a value of every target; {missing[0]!r} has none")
        targets = {n: values.pop(n) for n in self.model.formula.target_names}
        return self.model.log_prob([{**self.sources, **targets}], seed=seed, **values)
