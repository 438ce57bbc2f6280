"""Conditional: a model with some of its sources given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from likewise.core.score import Score
from likewise.modalities.base import Row
from likewise.models.base import Density, Distribution


@dataclass(frozen=True)
class Conditional:
    """P(targets | these), of a model or a chain."""

    model: Distribution
    sources: Row

    def sample(
        self, n: int = 1, *, seed: int = 0, known: Mapping[str, Any] | None = None, **sampling_options: Any
    ) -> list[Row]:
        """n draws; see Model.sample."""
        return self.model.sample([self.sources] * n, seed=seed, known=known, **sampling_options)

    def log_prob(self, *, seed: int = 0, **given: Any) -> Score:
        """log P(targets | sources), one row: a value of every target, and knobs; see Model.log_prob."""
        if not isinstance(self.model, Density):
            raise ValueError(f"{str(self.model.formula)!r} is no one model, so it has no density")
        missing = [n for n in self.model.formula.target_names if n not in given]
        if missing:
            raise ValueError(f"log_prob needs a value of every target; {missing[0]!r} has none")
        targets = {n: given.pop(n) for n in self.model.formula.target_names}
        return self.model.log_prob([{**self.sources, **targets}], seed=seed, **given)
