"""Condition: what a sampled value of a column must be, where it is not one value: a range, or one of several."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Condition:
    """A value from `low` to `high`, where these are given, or one of `values`; and not missing.

    above, below  whether `low` and `high` themselves are excluded

    A condition without any of them is that the value is not missing.
    """

    low: Any = None
    high: Any = None
    above: bool = False
    below: bool = False
    values: tuple[Any, ...] = ()

    @property
    def excludes_missing_only(self) -> bool:
        """Whether every value satisfies it that is not missing."""
        return self.low is None and self.high is None and not self.values

    @classmethod
    def of(cls, value: Any) -> Condition:
        """A condition as it is; a pair (low, high) as a range, either of which may be None; a set as its elements.

        >>> Condition.of((60, None)), Condition.of({"Oslo"}).values
        (Condition(low=60, high=None, above=False, below=False, values=()), ('Oslo',))
        """
        if isinstance(value, Condition):
            return value
        if isinstance(value, tuple) and len(value) == 2:
            return cls(*value)
        if isinstance(value, Collection) and not isinstance(value, str | bytes | tuple) and len(value):
            return cls(values=tuple(value))
        raise ValueError(f"a condition is a pair (low, high) or a set of values, not {value!r}")

    def __str__(self) -> str:
        if self.values:
            return f"one of {', '.join(map(str, self.values))}"
        low = None if self.low is None else f"{'above' if self.above else 'at least'} {self.low}"
        high = None if self.high is None else f"{'below' if self.below else 'at most'} {self.high}"
        return " and ".join(filter(None, [low, high])) or "not missing"
