"""Conditional: a model with some of its sources given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from likewise.families.base import Score
from likewise.modalities import Row

if TYPE_CHECKING:
    from likewise.chain import Chain
    from likewise.model import Model


@dataclass(frozen=True)
class Conditional:
    """P(targets | these), of a model or a chain."""

    model: Model | Chain
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
