"""Expression: arithmetic and comparisons over the columns of a row, read from text without running it as code.

    total = principal + interest            0 <= "Share (%)" <= 100          status in ('open', 'closed')

A name that is no word is in double quotes, as in formulas, and a text is in single ones, as in SQL. Python's grammar
reads the rest; what it allows beyond numbers, names, `+ - * / **`, comparisons, `and`, `or`, `not`, lists after `in`
and FUNCTIONS is refused.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, cast

import numpy as np

from likewise.core.formula import quote_name

MAX_LENGTH = 2000  # characters, so that nested brackets do not exhaust the stack
_TOKEN = re.compile(r'"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\'|<=|>=|==|!=|<>|=|[^"\'=<>!]+|.', re.DOTALL)

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


def annuity(amount: Any, rate: Any, periods: Any) -> Any:
    """The payment of each of so many periods that repays an amount with interest of a rate a period.

    >>> round(float(annuity(1000.0, 0.01, 12.0)), 2)
    88.85
    """
    rate, periods = np.asarray(rate, dtype=float), np.asarray(periods, dtype=float)
    return np.where(rate == 0, amount / periods, amount * rate / -np.expm1(-periods * np.log1p(rate)))


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": np.abs,
    "min": lambda *values: reduce(np.minimum, values),
    "max": lambda *values: reduce(np.maximum, values),
    "round": lambda value, decimals=0: np.round(value, int(decimals)),
    "annuity": annuity,
}


class ExpressionError(ValueError):
    """An expression that cannot be read; the message says what to write."""


@dataclass(frozen=True)
class Expression:
    """An expression as it is written.

    >>> e = Expression('"unit price" * count')
    >>> sorted(e.names), e.evaluate({"unit price": np.array([2.5]), "count": np.array([4.0])}).tolist()
    (['count', 'unit price'], [10.0])
    """

    text: str

    @cached_property
    def _parsed(self) -> tuple[ast.expr, dict[str, str]]:
        """The syntax tree, in which words stand for quoted names, and these names."""
        if len(self.text) > MAX_LENGTH:
            raise ExpressionError(f"an expression has {MAX_LENGTH:,} characters at most")
        quoted: dict[str, str] = {}
        parts = []
        for token in _TOKEN.findall(self.text):
            if token.startswith('"') and len(token) > 1:
                word = f"column_{len(quoted)}_"
                quoted[word] = token[1:-1].replace('""', '"')
                parts.append(word)
            elif token.startswith("'") and len(token) > 1:
                parts.append(repr(token[1:-1].replace("''", "'")))
            elif token in ('"', "'"):
                raise ExpressionError(f"a quote in {self.text!r} has no end")
            else:
                parts.append({"=": "==", "<>": "!="}.get(token, token))
        try:
            tree = ast.parse("".join(parts).strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ExpressionError(
                f"cannot read {self.text!r}; write a comparison such as 'a + b <= c', with a name that is no word in "
                "double quotes"
            ) from None
        self._check(tree)
        return tree, quoted

    def _check(self, node: ast.expr) -> None:
        """Raise ExpressionError for what is not allowed."""
        match node:
            case ast.BoolOp(values=parts):
                children = list(parts)
            case ast.BinOp(left=a, op=op, right=b) if type(op) in _BINARY:
                children = [a, b]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=a):
                children = [a]
            case ast.Compare(left=a, ops=ops, comparators=parts):
                if any(isinstance(op, ast.In | ast.NotIn) for op in ops):
                    self._check_membership(ops, parts)
                    children = [a]
                elif all(type(op) in _COMPARE for op in ops):
                    children = [a, *parts]
                else:
                    raise self._refuse(node)
            case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in FUNCTIONS:
                children = list(parts)
            case ast.Name():
                children = []
            case ast.Constant(value=bool() | int() | float() | str()):
                children = []
            case _:
                raise self._refuse(node)
        for child in children:
            self._check(child)

    def _check_membership(self, ops: list[ast.cmpop], parts: list[ast.expr]) -> None:
        for part in parts:
            values = part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part]
            if len(ops) > 1 or not values or not all(_is_literal(value) for value in values):
                raise ExpressionError(
                    f"cannot read what follows 'in' in {self.text!r}; write values in brackets: city in ('Oslo', 'Rome')"
                )

    def _refuse(self, node: ast.expr) -> ExpressionError:
        return ExpressionError(
            f"{self.text!r} has {ast.unparse(node)!r}, which is no comparison or arithmetic; there are + - * / **, "
            f"comparisons, and, or, not, and the functions {', '.join(FUNCTIONS)}"
        )

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the columns. Raises ExpressionError for an expression that cannot be read."""
        tree, quoted = self._parsed
        calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        words = [n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in calls]
        return frozenset(quoted.get(word, word) for word in words)

    def sides(self) -> tuple[Expression, Expression] | None:
        """Both sides of an equation; None if this is none.

        >>> Expression("a + 'x' = b").sides()
        (Expression(text="a + 'x'"), Expression(text='b'))
        """
        tree, _ = self._parsed
        if isinstance(tree, ast.Compare) and len(tree.ops) == 1 and isinstance(tree.ops[0], ast.Eq):
            return Expression(self._text_of(tree.left)), Expression(self._text_of(tree.comparators[0]))
        return None

    @property
    def single_name(self) -> str | None:
        """The column that the expression consists of; None if it is another one."""
        tree, quoted = self._parsed
        return quoted.get(tree.id, tree.id) if isinstance(tree, ast.Name) else None

    @property
    def is_comparison(self) -> bool:
        """Whether its value is true or false."""
        tree, _ = self._parsed
        return isinstance(tree, ast.Compare | ast.BoolOp) or (
            isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)
        )

    def _text_of(self, node: ast.expr) -> str:
        """A part of the tree as it could have been written."""
        _, quoted = self._parsed
        return _unparse(node, quoted)

    def evaluate(self, values: Mapping[str, Any]) -> np.ndarray:
        """The value for columns of values (N,): float64 with nan where missing, or objects with None.

        A comparison with a missing value is true, as that of SQL's CHECK.
        """
        tree, quoted = self._parsed
        with np.errstate(all="ignore"):
            return np.asarray(_evaluate(tree, values, quoted))


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant)


def _evaluate(node: ast.expr, values: Mapping[str, Any], quoted: Mapping[str, str]) -> Any:
    def inner(child: ast.expr) -> Any:
        return _evaluate(child, values, quoted)

    match node:
        case ast.Name(id=word):
            return values[quoted.get(word, word)]
        case ast.Constant(value=value):
            return (
                value if isinstance(value, str) else np.float64(cast(float, value))
            )  # no whole number of any length
        case ast.BinOp(left=a, op=op, right=b):
            return _BINARY[type(op)](inner(a), inner(b))
        case ast.UnaryOp(op=op, operand=a):
            value = inner(a)
            return (
                ~np.asarray(value, dtype=bool)
                if isinstance(op, ast.Not)
                else -value
                if isinstance(op, ast.USub)
                else value
            )
        case ast.BoolOp(op=op, values=parts):
            combine = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return reduce(combine, map(inner, parts))
        case ast.Call(func=ast.Name(id=name), args=parts):
            return FUNCTIONS[name](*map(inner, parts))
        case ast.Compare(left=left, ops=ops, comparators=parts):
            result: Any = True
            a = inner(left)
            for compare, part in zip(ops, parts, strict=True):
                if isinstance(compare, ast.In | ast.NotIn):
                    result = result & _is_in(a, part, isinstance(compare, ast.NotIn))
                else:
                    b = inner(part)
                    result = result & (
                        _compare(a, b, _COMPARE[type(compare)]) | _is_missing(a) | _is_missing(b)
                    )
                    a = b
            return result
    raise AssertionError(node)


def _compare(a: Any, b: Any, compare: Callable[[Any, Any], Any]) -> Any:
    """A comparison; objects are compared as text where one of them is a text."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind in "OUS" or b.dtype.kind in "OUS":
        a, b = np.broadcast_arrays(a.astype(object), b.astype(object))
        pairs = [compare(str(x), str(y)) for x, y in zip(a.ravel(), b.ravel(), strict=True)]
        return np.array(pairs, dtype=bool).reshape(a.shape)
    return compare(a, b)


def _is_in(a: Any, part: ast.expr, negate: bool) -> Any:
    nodes = part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part]
    found: Any = False
    for node in nodes:
        found = found | np.asarray(_compare(a, ast.literal_eval(node), operator.eq))
    return (~np.asarray(found) if negate else found) | _is_missing(a)


def _is_missing(value: Any) -> Any:
    value = np.asarray(value)
    if value.dtype.kind == "f":
        return np.isnan(value)
    if value.dtype.kind == "O":
        return np.array([v is None for v in value.ravel()], dtype=bool).reshape(value.shape)
    return False


def _unparse(node: ast.expr, quoted: Mapping[str, str]) -> str:
    """The text of a tree, with names and texts in the quotes of expressions."""

    class Renamed(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.Name:
            return ast.Name(quote_word(quoted.get(name.id, name.id)))

        def visit_Constant(self, constant: ast.Constant) -> ast.expr:
            value = constant.value
            return ast.Name("'" + value.replace("'", "''") + "'") if isinstance(value, str) else constant

    return ast.unparse(Renamed().visit(ast.parse(ast.unparse(node), mode="eval").body)).replace("==", "=")


def quote_word(column: str) -> str:
    """The name of a column as expressions write it.

    >>> quote_word("age"), quote_word("debt-ratio"), quote_word("in")
    ('age', '"debt-ratio"', '"in"')
    """
    is_word = column.isidentifier() and column not in (
        *FUNCTIONS,
        "in",
        "and",
        "or",
        "not",
        "is",
        "if",
        "else",
        "None",
    )
    return column if is_word and quote_name(column) == column else '"' + column.replace('"', '""') + '"'
