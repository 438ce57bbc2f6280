"""The rules that rows of a table satisfy, as JSON values: what Structure is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from likewise.core.formula import quote_name
from likewise.data.structure.expressions import Expression, quote_word

MAX_NAMED = 6  # values in a description


@dataclass(frozen=True)
class Rule:
    """What the rows of a table satisfy.

    rows        in which it was checked
    exceptions  among them; none but for identities that hold in nearly all rows
    """

    rule: ClassVar[str]

    rows: int = field(default=0, kw_only=True)
    exceptions: int = field(default=0, kw_only=True)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it is about."""
        raise NotImplementedError

    @property
    def where(self) -> str:
        """In which rows it holds, in words."""
        if self.exceptions:
            return f"in {self.rows - self.exceptions:,} of {self.rows:,} rows"
        return f"in all {self.rows:,} rows"

    def to_json(self) -> dict[str, Any]:
        """The fields and the name of the rule, as JSON values."""
        return {"rule": self.rule, **dataclasses.asdict(self)}


@dataclass(frozen=True)
class Identity(Rule):
    """A column that is computed from others: an expression of them, rounded.

    tolerance  by which values may differ from it
    decimals   to which it is rounded, None for none

    >>> print(Identity("total", "a + b", 0.005, 2))
    total = a + b
    """

    column: str
    expression: str
    tolerance: float
    decimals: int | None = None
    rule: ClassVar[str] = "identity"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column, *self.inputs)

    @property
    def inputs(self) -> list[str]:
        """The columns that it is computed from."""
        return sorted(Expression(self.expression).names)

    def __str__(self) -> str:
        return f"{quote_word(self.column)} = {self.expression}"


@dataclass(frozen=True)
class Dependency(Rule):
    """A column that a class determines.

    by      the column of that class
    values  class -> value; None for none

    >>> print(Dependency("grade", "sub_grade", {"A1": "A", "A2": "A"}))
    grade follows from sub_grade
    """

    column: str
    by: str
    values: Mapping[str, Any]
    rule: ClassVar[str] = "dependency"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.column, self.by

    @property
    def inputs(self) -> list[str]:
        """The column that it is computed from."""
        return [self.by]

    def __str__(self) -> str:
        return f"{quote_name(self.column)} follows from {quote_name(self.by)}"


@dataclass(frozen=True)
class Constant(Rule):
    """A column that always has the same value, never a missing one.

    >>> print(Constant("version", 2))
    version is always 2
    """

    column: str
    value: Any
    rule: ClassVar[str] = "constant"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def inputs(self) -> list[str]:
        """The columns that it is computed from: none."""
        return []

    def __str__(self) -> str:
        return f"{quote_name(self.column)} is always {self.value}"


@dataclass(frozen=True)
class Presence(Rule):
    """A column that has a value exactly where another one has some value, has none, or is of some classes.

    by       the other column
    classes  those of it; None for any value
    present  whether it is there that the column has a value, else that it has none

    >>> print(Presence("income_joint", "kind", ("joint",)))
    income_joint has a value exactly where kind is joint
    """

    column: str
    by: str
    classes: tuple[str, ...] | None = None
    present: bool = True
    rule: ClassVar[str] = "presence"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.column, self.by

    def is_present(self, value: Any) -> bool:
        """Whether the column has a value where the other one has this value, None for a missing one."""
        there = value is not None if self.classes is None else str(value) in self.classes
        return there is self.present

    def __str__(self) -> str:
        what = "has a value" if self.present else "is missing"
        if self.classes is None:
            return f"{quote_name(self.column)} {what} exactly where {quote_name(self.by)} has one"
        some = " or ".join(self.classes[:MAX_NAMED]) + (" ..." if len(self.classes) > MAX_NAMED else "")
        return f"{quote_name(self.column)} {what} exactly where {quote_name(self.by)} is {some}"


@dataclass(frozen=True)
class Order(Rule):
    """A column that is never above another one, where both have values.

    >>> print(Order("start", "end"))
    start <= end
    """

    low: str
    high: str
    rule: ClassVar[str] = "order"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.low, self.high

    def __str__(self) -> str:
        return f"{quote_word(self.low)} <= {quote_word(self.high)}"


@dataclass(frozen=True)
class Requirement(Rule):
    """A rule that a user gives: every sample satisfies it."""

    @property
    def where(self) -> str:
        return "is required"


@dataclass(frozen=True)
class Comparison(Requirement):
    """A comparison that is true, or one of whose columns is missing."""

    text: str
    rule: ClassVar[str] = "comparison"

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(sorted(Expression(self.text).names))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Combination(Requirement):
    """Columns that have together one of the combinations of values of the data, as texts."""

    names: tuple[str, ...]
    known: tuple[tuple[str, ...], ...] = ()
    rule: ClassVar[str] = "combination"

    @property
    def columns(self) -> tuple[str, ...]:
        return self.names

    def __str__(self) -> str:
        return f"({', '.join(map(quote_name, self.names))}) in data"


@dataclass(frozen=True)
class Unique(Requirement):
    """A column of which no two samples have the same value."""

    column: str
    rule: ClassVar[str] = "unique"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def __str__(self) -> str:
        return f"{quote_name(self.column)} unique"


@dataclass(frozen=True)
class Pattern(Requirement):
    """A column whose values, as texts, match a regular expression as a whole."""

    column: str
    pattern: str
    rule: ClassVar[str] = "pattern"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def __str__(self) -> str:
        return f"{quote_name(self.column)} matches '{self.pattern}'"


Computed = Identity | Dependency | Constant
RULES: Mapping[str, type[Rule]] = {
    r.rule: r
    for r in (Identity, Dependency, Constant, Presence, Order, Comparison, Combination, Unique, Pattern)
}


def rule_from_json(state: Mapping[str, Any]) -> Rule:
    """The inverse of `Rule.to_json`. Raises ValueError for an unknown rule."""
    fields: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in state.items() if name != "rule"
    }
    if state["rule"] not in RULES:
        raise ValueError(f"there is no rule {state['rule']!r}; a newer version has written it")
    return RULES[state["rule"]](**fields)


def _tuples(value: Any) -> Any:
    """JSON with tuples for lists."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
