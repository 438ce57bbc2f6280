"""ClassifierPlan: the settings of `compare_classifiers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from likewise.core.errors import did_you_mean
from likewise.core.options import validate_fields
from likewise.core.ranges import Draws, Minutes, PositiveInt, RowsToCompare, Seed
from likewise.families.registry import FAMILIES

DIRECT = "autoregressive"  # family of P(Y | X)
GENERATIVE = ("flow", "diffusion", "vae", "mixture")  # families of P(X | Y)


@dataclass(frozen=True)
class ClassifierPlan:
    """How classifiers are trained and measured.

    minutes      of training of each model, however many rows it has
    seed         of the choice of rows, training, scores and intervals
    sizes        training rows per class, each set part of the next; where a class has fewer, all it has
    n            held-out rows that are classified; calibration: others, to fit the temperature of each model
    draws, completions  of Bayes' rule, see Bayes.likelihoods
    methods      families, of which "autoregressive" is the direct classifier (default all that there are)
    options      of families, by family

    Raises ValueError for numbers out of their range and unknown methods.
    """

    minutes: Minutes
    seed: Seed = 0
    sizes: Sequence[RowsToCompare] = (5, 20, 100, 500)
    n: PositiveInt = 300
    calibration: PositiveInt = 100
    draws: Draws = 2
    completions: Draws = 2
    methods: Sequence[str] | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        validate_fields(self)
        if not self.sizes:
            raise ValueError("there are no sizes; give numbers of rows per class, such as sizes=[5, 20]")
        for method in self.methods or ():
            if method not in available_methods():
                raise ValueError(did_you_mean("family to compare", method, available_methods()))


def available_methods() -> list[str]:
    """The families that can be compared."""
    return [method for method in (DIRECT, *GENERATIVE) if method in FAMILIES]
