"""Values of options: checked against their annotations, read from strings, and described in words.

All that takes an option, in Python, on the command line or by a request, checks it here. An annotation is a type,
a Literal of choices, or a type with a range (ranges.py). What a type is not: True is no number, 2.0 is no whole
number, and nan and inf are no numbers at all. Types other than numbers, strings and booleans are not checked.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from annotated_types import GroupedMetadata, MultipleOf

from likewise.core.errors import did_you_mean
from likewise.core.ranges import MAX_SEED

P = ParamSpec("P")
R = TypeVar("R")

_ranges_apply: ContextVar[bool] = ContextVar("_ranges_apply", default=True)


@dataclass(frozen=True)
class OptionType:
    """What an annotation says of a value.

    type         int, float, bool, str or Literal; None for any other, which is not checked
    choices      of a Literal
    constraints  of a number: objects of annotated_types
    optional     whether None is a value
    """

    type: Any
    choices: tuple[Any, ...] = ()
    constraints: tuple[Any, ...] = ()
    optional: bool = False

    @classmethod
    def of(cls, annotation: Any) -> OptionType:
        """The kind of an annotation; a union of several types is not checked."""
        return _option_type(annotation)

    def bound(self, name: str) -> float | None:
        """The bound `ge`, `gt`, `le`, `lt`, or `multiple_of`."""
        return next((getattr(c, name) for c in self.constraints if hasattr(c, name)), None)

    @property
    def range(self) -> str:
        """
        >>> from likewise.core.ranges import ShareBelowOne, PositiveShare, Width
        >>> [OptionType.of(a).range for a in (ShareBelowOne, PositiveShare, Width, int)]
        ['from 0 to below 1', 'above 0 and at most 1', 'a multiple of 2 from 2 to 8,192', '']
        """
        ge, gt, le, lt, step = map(self.bound, ("ge", "gt", "le", "lt", "multiple_of"))
        low = f"from {_shown(ge)}" if ge is not None else f"above {_shown(gt)}" if gt is not None else ""
        high = f"at most {_shown(le)}" if le is not None else f"below {_shown(lt)}" if lt is not None else ""
        if ge is not None and high:
            both = f"{low} to {high.removeprefix('at most ')}"
        else:
            both = " and ".join(filter(None, [low if high else low.replace("from", "at least"), high]))
        return " ".join(filter(None, [f"a multiple of {step}" if step else "", both]))

    @property
    def description(self) -> str:
        """What a value must be: "a whole number from 1 to 10,000"."""
        if self.type is typing.Literal:
            return f"one of {', '.join(map(str, self.choices))}"
        noun = {int: "a whole number", float: "a number" if self.range else "a finite number"}
        words = {**noun, bool: "true or false", str: "a text"}[self.type]
        return self.range if self.bound("multiple_of") else f"{words} {self.range}".strip()

    def convert(self, value: Any) -> Any:
        """The value as its type. Raises TypeError for one of another type, StopIteration for one that is no choice."""
        if self.type is typing.Literal:
            return next(c for c in self.choices if type(c) is type(value) and c == value)
        expected = {int: numbers.Integral, float: numbers.Real, bool: bool, str: str}[self.type]
        if not isinstance(value, expected) or isinstance(value, bool) != (self.type is bool):
            raise TypeError
        return self.type(value)

    def accepts(self, number: Any) -> bool:
        """Whether a converted value is finite and, unless `stored_values`, in the range."""
        if self.type not in (int, float):
            return True
        ranged = _ranges_apply.get()
        return math.isfinite(number) and not (ranged and any(_violates(number, c) for c in self.constraints))


@dataclass(frozen=True)
class RowValues:
    """A value of an option for each row of a batch, where rows differ; see `Family.row_options`."""

    values: tuple[Any, ...]


def validate_value(name: str, value: Any, annotation: Any) -> Any:
    """The value as the type of the annotation: numbers of NumPy, and whole ones for floats, are converted.

    Raises ValueError with one sentence that names the option.

    >>> from likewise.core.ranges import Share
    >>> validate_value("infill", 1, Share)
    1.0
    >>> validate_value("infill", float("nan"), Share)
    Traceback (most recent call last):
    ValueError: infill must be a number from 0 to 1, not nan
    """
    if isinstance(value, RowValues):
        return RowValues(tuple(validate_value(name, v, annotation) for v in value.values))
    if element := _element(annotation):
        return value if value is None else _validate_elements(name, value, element)
    kind = OptionType.of(annotation)
    if kind.type is None or (value is None and kind.optional):
        return value
    try:
        converted = kind.convert(value)
        if kind.accepts(converted):
            return converted
    except (TypeError, OverflowError, StopIteration):
        pass
    shown = (
        repr(value) if isinstance(value, str) else f"{value:.15g}" if isinstance(value, float) else str(value)
    )
    raise ValueError(f"{name} must be {kind.description}, not {shown}") from None


def parse_option(name: str, text: str, annotation: Any) -> Any:
    """The value that a string stands for, checked. Raises ValueError.

    >>> parse_option("steps", "8", int), parse_option("zero_star", "no", bool)
    (8, False)
    """
    kind = OptionType.of(annotation)
    if kind.type is bool:
        words = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
        return validate_value(name, words.get(text.lower(), text), annotation)
    if kind.type in (int, float):
        try:
            number = kind.type(text)
        except ValueError:
            number = text  # refused below
        return validate_value(name, number, annotation)
    return validate_value(name, next((c for c in kind.choices if str(c) == text), text), annotation)


def validate_options(options: Mapping[str, Any], known: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The options, converted as by `validate_value`, by the parameters `known`.

    Raises ValueError for a name that is not known, with the nearest one, and for a value that does not fit.
    """
    for name in options:
        if name not in known:
            raise ValueError(did_you_mean(what, name, known))
    return {name: validate_value(name, value, known[name].annotation) for name, value in options.items()}


def validate_fields(instance: Any) -> None:
    """Convert the fields of a dataclass as by `validate_value`; for its `__post_init__`. Raises ValueError."""
    cls: Any = type(instance)
    for name, annotation in _field_annotations(cls).items():
        object.__setattr__(instance, name, validate_value(name, getattr(instance, name), annotation))


def validated(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, whose arguments are converted as by `validate_value`, and refused with ValueError.

    >>> from likewise.core.ranges import PositiveInt
    >>> @validated
    ... def half(n: PositiveInt = 2) -> float:
    ...     return n / 2
    >>> half(n=0)
    Traceback (most recent call last):
    ValueError: n must be a whole number from 1 to 1,000,000,000, not 0
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **options)
        except TypeError:
            return function(*args, **options)  # which says what is missing or unknown
        annotations = parameter_annotations(function)
        for name, value in bound.arguments.items():
            if name in annotations:
                bound.arguments[name] = validate_value(name, value, annotations[name])
        return function(*bound.args, **bound.kwargs)

    return call


@contextmanager
def stored_values() -> Iterator[None]:
    """Within it numbers must be finite and of their type, but may lie outside of their range.

    For what is read from a run folder: an earlier version may have accepted it.
    """
    token = _ranges_apply.set(False)
    try:
        yield
    finally:
        _ranges_apply.reset(token)


def parameter_annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the named parameters of a function that are annotated, resolved."""
    return _parameter_annotations(getattr(function, "__func__", function))  # the cache keeps no instances


@functools.cache
def _parameter_annotations(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    # of these alone: the annotation of the result may be a name that only type checkers import
    annotated = {
        p.name: p.annotation
        for p in parameters
        if p.annotation is not p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    holder = types.SimpleNamespace(__annotations__=annotated)
    return typing.get_type_hints(holder, inspect.unwrap(function).__globals__, include_extras=True)


@functools.cache
def _field_annotations(cls: type) -> dict[str, Any]:
    """The annotations of the fields that `validate_value` checks."""
    every = typing.get_type_hints(cls, include_extras=True)
    return {n: a for n, a in every.items() if OptionType.of(a).type is not None or _element(a)}


def _by_annotation(function: Callable[[Any], R]) -> Callable[[Any], R]:
    """The same function of an annotation, whose results are kept where it has a hash."""
    known = functools.cache(function)

    @functools.wraps(function)
    def call(annotation: Any) -> R:
        try:
            hash(annotation)
        except TypeError:
            return function(annotation)
        return known(annotation)

    return call


@_by_annotation
def _option_type(annotation: Any) -> OptionType:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        members = [a for a in arguments if a is not types.NoneType]
        inner = OptionType.of(members[0]) if len(members) == 1 else OptionType(None)
        return OptionType(inner.type, inner.choices, inner.constraints, len(members) < len(arguments))
    if origin is typing.Annotated:
        flat = [list(c) if isinstance(c, GroupedMetadata) else [c] for c in arguments[1:]]
        return OptionType(arguments[0], constraints=tuple(c for part in flat for c in part))
    if origin is typing.Literal:
        return OptionType(origin, choices=arguments)
    return OptionType(annotation if annotation in (int, float, bool, str) else None)


@_by_annotation
def _element(annotation: Any) -> Any:
    """The annotation of the elements of a sequence of numbers with a range, else None."""
    members = [a for a in typing.get_args(annotation) if a is not types.NoneType]
    if typing.get_origin(annotation) in (types.UnionType, typing.Union) and len(members) == 1:
        return _element(members[0])
    if typing.get_origin(annotation) not in (Sequence, list, tuple):
        return None
    first = members[0]
    same = all(a in (first, Ellipsis) for a in members)
    return first if same and typing.get_origin(first) is typing.Annotated else None


def _validate_elements(name: str, values: Any, element: Any) -> Any:
    """The same values. Raises ValueError for one that does not fit, and for no sequence."""
    if isinstance(values, str) or not isinstance(values, Collection):
        raise ValueError(
            f"{name} must be a list of numbers, each {OptionType.of(element).description}, not {values!r}"
        )
    for value in values:
        validate_value(f"each of {name}", value, element)
    return values


def _violates(number: float, constraint: Any) -> bool:
    """Whether a number is outside of a constraint of annotated_types."""
    if isinstance(constraint, MultipleOf):
        step: Any = constraint.multiple_of
        return bool(number % step)
    tests: dict[str, Callable[[Any, Any], bool]] = {
        "ge": lambda x, bound: x < bound,
        "gt": lambda x, bound: x <= bound,
        "le": lambda x, bound: x > bound,
        "lt": lambda x, bound: x >= bound,
    }
    return any(test(number, getattr(constraint, n)) for n, test in tests.items() if hasattr(constraint, n))


def _shown(bound: Any) -> str:
    """
    >>> _shown(10_000), _shown(0.28), _shown(2**63 - 1)
    ('10,000', '0.28', '2^63 - 1')
    """
    whole = int(bound) if bound == int(bound) else bound
    return "2^63 - 1" if whole == MAX_SEED else f"{whole:,}" if isinstance(whole, int) else f"{whole:g}"
