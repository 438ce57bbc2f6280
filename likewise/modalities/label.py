"""Label: one of a fixed set of classes."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import torch
from torch import Tensor

from likewise.core.errors import did_you_mean
from likewise.core.spec import Spec
from likewise.modalities.base import Modality
from likewise.modalities.columns import ColumnSummary, ColumnValues
from likewise.modalities.conditions import Condition

NAME = "label"  # a column of this name has labels, however many there are
NAMES = (NAME, "labels", "class", "category", "target", "species")  # integers in other columns are numbers
MAX_STRINGS, MAX_NUMBERS = 256, 32  # distinct values of a column of labels, each twice on average
MAX_LEVELS, MAX_LEVEL, MAX_WORDS = (
    10_000,
    40,
    3,
)  # of names: distinct ones, their characters, and words of most
MAX_LISTED = 10  # classes in a description
MAX_GROUPS = 3  # of classes that look the same, in a message


@dataclass(frozen=True)
class Label(Modality):
    """One of `classes`: one id on the grid (1,). Values are compared as strings, so 7 and "7" are one class.

    type     of the values that are decoded, as those of the data
    missing  whether None is a value, of the last id

    >>> label = Label.fit([10, 9, 9])
    >>> label.classes, label.encode("10"), label.decode(torch.tensor([0]))
    (('9', '10'), tensor([1]), 9)
    """

    classes: tuple[str, ...]
    type: Literal["string", "int", "bool"] = "string"
    missing: bool = False

    dtypes = frozenset({"string", "int", "float", "bool"})
    role = "class"
    models_missing = True
    may_misfit = True  # an unknown class
    default_family = "any_order"
    target_rank = 30

    kind = "label"
    media_type = "text/plain; charset=utf-8"
    suffix = ".txt"

    def __post_init__(self) -> None:
        if not self.classes:  # a Spec without classes would be one of floats
            raise ValueError("a label has at least one class; there is no value to learn the classes from")

    @classmethod
    def fit(cls, values: Sequence[Any]) -> Self:
        """The distinct values, in numeric order if all are integers, else in alphabetic order; None is a missing one."""
        present = [value for value in values if value is not None]
        names = {str(value) for value in present}
        integers = all(name.removeprefix("-").isdecimal() for name in names)
        ordered = tuple(sorted(names, key=int if integers else None))
        return cls(ordered, _type_of(present), len(present) < len(values))

    @property
    def has_missing(self) -> bool:
        return self.missing

    def without_missing(self) -> Self:
        return replace(self, missing=False)

    def grow_to_fit(self, values: Sequence[Any]) -> Self:
        return self if self.missing or all(v is not None for v in values) else replace(self, missing=True)

    def refit(self, values: Sequence[Any]) -> Self:
        """The same classes with the same ids, and then those that are new."""
        fitted = self.fit(values)
        new = (name for name in fitted.classes if name not in self._ids)
        kind = self.type if self.type == fitted.type else "string"
        return type(self)((*self.classes, *new), kind, fitted.missing)

    @classmethod
    def suitability(cls, column: ColumnSummary) -> int:
        """A column of the name "label", booleans, strings that repeat, and few integers in a column of such a name.

        Distinct strings are few, or short names, such as those of towns: others are texts.
        """
        if column.dtype not in ("string", "int", "bool"):
            return 0
        if column.name == NAME and column.dtype != "bool":
            return 3
        if column.dtype == "bool":
            return 2
        if column.dtype == "string":
            most = MAX_LEVELS if _are_names(column) else MAX_STRINGS
        else:
            most = MAX_NUMBERS if column.name.lower() in NAMES else 0
        return 2 if column.unique <= most and 2 * column.unique <= column.rows else 0

    @classmethod
    def reason(cls, column: ColumnSummary) -> str:
        if column.dtype == "bool":
            return "true or false"
        named = "its name, and " if column.name.lower() in NAMES and column.dtype == "int" else ""
        return f"{named}{column.unique:,} different value{'s' if column.unique != 1 else ''}"

    def describe(self) -> str:
        """
        >>> Label(("cat", "dog")).describe()
        '2 classes: cat, dog'
        """
        more = ", ..." if len(self.classes) > MAX_LISTED else ""
        count = "1 class" if len(self.classes) == 1 else f"{len(self.classes)} classes"
        return f"{count}: {', '.join(self.classes[:MAX_LISTED])}{more}"

    def findings(self, column: ColumnValues) -> list[str]:
        """A class that all values have, and classes that look the same."""
        if len(self.classes) == 1:
            return [f"{column.name}: every value is {self.classes[0]!r}, so there is nothing to learn of it"]
        alike: dict[str, list[str]] = {}
        for name in self.classes:
            alike.setdefault(_appearance(name), []).append(name)
        groups = [names for names in alike.values() if len(names) > 1]
        if not groups:
            return []
        some = "; ".join(map(_list_alike, groups[:MAX_GROUPS]))
        more = "; ..." if len(groups) > MAX_GROUPS else ""
        return [
            f"{column.name}: classes differ in case, spaces or invisible characters only, and are different ones: "
            f"{some}{more}; write them alike if they are the same"
        ]

    @property
    def spec(self) -> Spec:
        return Spec((1,), classes=len(self.classes) + self.missing)

    def check(self, value: Any) -> str | None:
        if value is None:
            return self.check_missing()
        return None if str(value) in self._ids else did_you_mean("class", str(value), self.classes)

    def tokens_within(self, condition: Condition) -> Tensor:
        if condition.low is not None or condition.high is not None:
            raise ValueError(f"its values are classes, which have no range; give some of {self.describe()}")
        for value in condition.values:
            if reason := self.check(value):
                raise ValueError(reason)
        mask = torch.zeros(self.spec.classes, dtype=torch.bool)
        mask[[self._ids[str(v)] for v in condition.values] or range(len(self.classes))] = True
        return mask

    def encode(self, value: Any) -> Tensor:
        """A class -> its id, (1,) int64. Raises ValueError for an unknown class, with the nearest name."""
        if reason := self.check(value):
            raise ValueError(reason)
        return torch.tensor([len(self.classes) if value is None else self._ids[str(value)]])

    def encode_all(self, values: Sequence[Any]) -> Tensor:
        for value in values:
            if reason := self.check(value):
                raise ValueError(reason)
        last = len(self.classes)
        return torch.tensor([[last if v is None else self._ids[str(v)]] for v in values], dtype=torch.int64)

    def decode(self, tokens: Tensor) -> str | int | bool | None:
        id = int(tokens)
        return self._typed(self.classes[id]) if id < len(self.classes) else None

    def _typed(self, name: str) -> str | int | bool:
        return int(name) if self.type == "int" else name == "True" if self.type == "bool" else name

    def load(self, data: bytes) -> str | int | bool:
        name = data.decode(errors="replace").strip()
        if self.type == "bool" and name not in self._ids:
            name = name.capitalize()  # as JSON writes it
        if reason := self.check(name):
            raise ValueError(reason)
        return self._typed(name)

    def dump(self, value: Any, metadata: Mapping[str, Any] | None = None) -> bytes:
        return str(value).encode()

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}


def _are_names(column: ColumnSummary) -> bool:
    """Whether all strings of a column are short, and most of few words."""
    if column.max_length > MAX_LEVEL or not column.sample:
        return False
    return sum(len(text.split()) <= MAX_WORDS for text in column.sample) >= 0.9 * len(column.sample)


def _appearance(name: str) -> str:
    """
    >>> _appearance("Oslo\\u00a0") == _appearance(" OSLO") == _appearance("Oslo\\u200b") == "oslo"
    True
    """
    shown = (c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    return " ".join("".join(shown).casefold().split())


def _list_alike(names: Sequence[str]) -> str:
    """Names that look the same, so that they do not: with escapes of letters only where nothing else tells."""
    show = repr if len({unicodedata.normalize("NFC", name) for name in names}) == len(names) else ascii
    return " and ".join(map(show, names[:MAX_LISTED]))


def _type_of(values: Sequence[Any]) -> Literal["string", "int", "bool"]:
    """The type that all values have; that of a string, if they have several."""
    if all(isinstance(value, bool) for value in values):
        return "bool"
    return (
        "int" if all(isinstance(value, int) and not isinstance(value, bool) for value in values) else "string"
    )
