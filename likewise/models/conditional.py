"""Conditional: a model with some of its sources given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from likewise.core.score import Score
from likewise.modalities.base import Row

if TYPE_CHECKING:
    from likewise.models.model import Model
    from likewise.models.pipeline import Pipeline


@dataclass(frozen=True)
class Conditional:
    """P(targets | these), of a model or a chain."""

    model: Model | Pipeline
    sources: Row

    def sample(
        self, n: int = 1, *, seed: int = 0, known: Mapping[str, Any] | None = None, **knobs: Any
    ) -> list[Row]:
        """n draws; see Model.sample."""
        return self.model.sample([self.sources] * n, seed=seed, known=known, **knobs)

    def log_prob(self, *, seed: int = 0, **given: Any) -> Score:
        """log P(targets | sources), one row: a value of every target, and knobs; see Model.log_prob."""
        missing = [n for n in self.model.targets if n not in given]
        if missing:
            raise ValueError(f"log_prob needs a value of every target; {missing[0]!r} has none")
        targets = {n: given.pop(n) for n in self.model.targets}
        return self.model.log_prob([{**self.sources, **targets}], seed=seed, **given)
