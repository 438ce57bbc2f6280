"""Conditional: a distribution given values of its sources, and of some of its targets."""

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
    """P(other targets | these values), of a model or a pipeline.

    model   the distribution
    values  of sources and targets, by name; sources that are missing are absent
    """

    model: Distribution
    values: Row

    @validated
    def sample(
        self,
        n: NonNegativeInt = 1,
        *,
        seed: Seed = 0,
        known: Mapping[str, Any] | None = None,
        **sampling_options: Any,
    ) -> list[Row]:
        """n samples, rows of the given values and the targets; see `Model.sample` for the keywords.

        Raises ValueError if every target is given.
        """
        if self.values.keys() >= set(names := self.model.formula.target_names):
            raise ValueError(
                f"every target of {str(self.model.formula)!r} is given; leave {names[-1]} out to sample it"
            )
        return self.model.sample([self.values] * n, seed=seed, known=known, **sampling_options)

    @validated
    def log_prob(self, *, seed: Seed = 0, **values: Any) -> Score:
        """log P(other targets | given values) of one row: a value of each other target, and options of `log_prob`.

        Where targets are given it is log P(all targets) - log P(those that are given), for families that can
        marginalise the others. Raises ValueError for a target without a value, or given twice, and for a distribution
        without such a density.
        """
        if not isinstance(self.model, Density):
            raise ValueError(f"{str(self.model.formula)!r} is not a single model, so it has no density")
        names = self.model.formula.target_names
        given = [n for n in names if n in self.values]
        if twice := [n for n in given if n in values]:
            raise ValueError(f"{twice[0]!r} is given already; leave it out of log_prob")
        if missing := [n for n in names if n not in values and n not in given]:
            raise ValueError(f"log_prob needs a value of every target; {missing[0]!r} has none")
        row = self.values | {n: values.pop(n) for n in names if n not in given}
        score = self.model.log_prob([row], seed=seed, **values)
        if not given:
            return score
        part = self.model.log_prob([row], seed=seed, observed={n: n in given for n in names}, **values)
        kind = "exact" if score.kind == part.kind == "exact" else "estimate"
        return Score(score.nats - part.nats, kind, score.dims - part.dims)
