"""Requirements: rules that a user gives, which samples satisfy whether or not all rows of the data do.

price >= 0                       arithmetic and comparisons of columns and values, see expressions.py
net + tax = total                an equation for a column: it is computed
(city, country) in data          only combinations of values that rows of the data have
id unique                        no two samples have the same value
code matches '[A-Z]{2}-[0-9]+'   a regular expression, of all of the text
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from likewise.core.errors import did_you_mean, warn
from likewise.core.formula import Formula, FormulaError
from likewise.data.structure.expressions import Expression, ExpressionError
from likewise.data.structure.rules import Combination, Comparison, Identity, Pattern, Rule, Unique
from likewise.data.structure.structure import RowRules, Structure
from likewise.modalities.base import Modality, Row
from likewise.modalities.rank_scale import decimals_of
from likewise.modalities.ranked import Ranked

_COMBINATION = re.compile(r"\s*\((?P<names>.+)\)\s+in\s+data\s*", re.DOTALL)
_UNIQUE = re.compile(r"\s*(?P<name>.+?)\s+unique\s*", re.DOTALL)
_PATTERN = re.compile(r"\s*(?P<name>.+?)\s+matches\s+'(?P<pattern>.*)'\s*", re.DOTALL)


def read_requirement(text: str, columns: Mapping[str, Modality]) -> Rule:
    """The rule that a text states, of these columns.

    Raises ExpressionError for a text that cannot be read, ValueError for an unknown column.
    """
    rule: Rule
    if match := _COMBINATION.fullmatch(text):
        rule = Combination(tuple(_names(match["names"], text)))
    elif match := _UNIQUE.fullmatch(text):
        [name] = _names(match["name"], text)
        rule = Unique(name)
    elif match := _PATTERN.fullmatch(text):
        try:
            re.compile(match["pattern"])
        except re.error as error:
            raise ExpressionError(f"{text!r} has no regular expression after 'matches': {error}") from None
        [name] = _names(match["name"], text)
        rule = Pattern(name, match["pattern"])
    else:
        rule = _comparison(text, columns)
    for name in rule.columns:
        if name not in columns:
            raise ValueError(f"{text!r}: {did_you_mean('column', name, columns)}")
    return rule


def _names(text: str, whole: str) -> list[str]:
    """Names as a formula writes them."""
    try:
        names = Formula.parse(text).target_names
    except FormulaError:
        names = []
    if not names or (len(names) > 1 and "(" not in whole):
        raise ExpressionError(f"cannot read the names of columns in {whole!r}")
    return names


def _comparison(text: str, columns: Mapping[str, Modality]) -> Rule:
    """An equation for a column of numbers as an identity, any other comparison as it is."""
    expression = Expression(text)
    if not expression.names or not expression.is_comparison:
        raise ExpressionError(
            f"{text!r} compares no column with anything; write a comparison such as 'a + b <= c', '(a, b) in data', "
            "'a unique' or \"a matches 'PATTERN'\""
        )
    for left, right in [sides, sides[::-1]] if (sides := expression.sides()) else []:
        name, column = right.single_name, columns.get(right.single_name or "")
        if name and left.names and name not in left.names and isinstance(column, Ranked):
            decimals = decimals_of(column.step) if column.step else None
            return Identity(name, left.text, 0.5 * 10.0**-decimals if decimals is not None else 0.0, decimals)
    return Comparison(text)


def require(
    structure: Structure, texts: Sequence[str], columns: Mapping[str, Modality], rows: Sequence[Row]
) -> Structure:
    """A structure with requirements, which come before rules that compute the same column.

    A RequestWarning says how many rows of the data do not satisfy one. Raises ValueError for one that cannot be read,
    and for one that no row satisfies.
    """
    added: list[Rule] = []
    for text in texts:
        rule = read_requirement(text, columns)
        if isinstance(rule, Combination):
            known = dict.fromkeys(tuple(map(str, (row.get(n) for n in rule.columns))) for row in rows)
            rule = Combination(rule.columns, tuple(known))
        elif not isinstance(rule, Unique):
            broken = sum(map(bool, RowRules(Structure((rule,)), columns).violations(rows)))
            if rows and broken == len(rows):
                raise ValueError(f"no row of the data satisfies {text!r}; correct it, or leave it out")
            if broken:
                warn(
                    f"{broken:,} of {len(rows):,} rows of the data do not satisfy {text!r}; all samples will"
                )
        added.append(rule)
    computed = {rule.column for rule in added if isinstance(rule, Identity)}
    kept = [rule for rule in structure.rules if getattr(rule, "column", None) not in computed]
    new = Structure((*added, *kept))
    _ = new.computing  # raises ValueError for a circle
    return new
