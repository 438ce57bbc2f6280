"""Formulas while they are typed: what is wrong and where, what they mean, and how a word may go on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.core.errors import did_you_mean
from likewise.core.formula import Formula, FormulaError, View, quote_name, unknown_column
from likewise.data.encoders import ENCODERS
from likewise.data.views import view_options
from likewise.modalities import KINDS

MAX_COMPLETIONS = 50
_WORD = re.compile(r'("(?:[^"]|"")*|[^\s,|@"\[\]()]*)$')  # that is being written, at the end of a text
_OPTION = re.compile(r"\[[^\]]*$")


@dataclass(frozen=True)
class Piece:
    """A view of a formula as it is written: its text from `start` to `end`."""

    text: str
    start: int
    end: int


def check_formula(
    text: str, columns: Mapping[str, str], view_names: Callable[[], Sequence[str]], cursor: int | None = None
) -> dict[str, Any]:
    """Whether a formula can be read and fits the columns, name -> kind; none to be fitted if there are none.

    view_names  of trained models that columns may be seen through, looked up where a formula has one
    cursor      where the next letter is typed, by default at the end
    """
    answer: dict[str, Any] = {"valid": False, "formula": None, "meaning": None, "error": None}
    answer["completions"] = complete(text, columns, view_names, len(text) if cursor is None else cursor)
    try:
        formula = Formula.parse(text)
        check_columns(formula, columns, view_names)
    except FormulaError as error:
        found = find_error(text, columns, view_names)
        place = {"start": found.start, "end": found.end} if found else None
        return {**answer, "error": {"message": str(error), "position": place}}
    return {**answer, "valid": True, "formula": str(formula), "meaning": meaning(formula)}


def check_columns(
    formula: Formula, columns: Mapping[str, str], view_names: Callable[[], Sequence[str]]
) -> None:
    """Raise FormulaError for a view of a column, with an option, or through a model, that there is not."""
    for view in formula.views:
        if view.is_all:
            if columns and not columns.keys() - {v.column for v in formula.views if not v.is_all}:
                raise FormulaError(
                    f"there is no column that * in {str(formula)!r} stands for; all are named already, so leave it out"
                )
            continue
        if columns and view.column not in columns:
            raise unknown_column(view.column, columns)
        if view.through is not None and view.through not in ENCODERS:
            names = view_names()
            if view.through not in names:
                raise FormulaError(did_you_mean("model to see through", view.through, [*names, *ENCODERS]))
        if columns and view.options and columns[view.column] in KINDS:
            view_options(view, columns[view.column])


def find_error(
    text: str, columns: Mapping[str, str], view_names: Callable[[], Sequence[str]]
) -> Piece | None:
    """The part of a formula that is wrong, None if it is the formula as a whole."""
    seen: set[str] = set()
    for piece in pieces(text):
        try:
            view = View.parse(piece.text)
            check_columns(Formula((view,)), columns, view_names)
        except FormulaError:
            return piece
        if view.name in seen:
            return piece
        seen.add(view.name)
    return None


def pieces(text: str) -> Iterator[Piece]:
    """The views of a formula as they are written, without the spaces around them.

    >>> [(p.text, p.start) for p in pieces('P("a|b", c | d[x=1, y=2])')]
    [('"a|b"', 2), ('c', 9), ('d[x=1, y=2]', 13)]
    """
    outer = re.fullmatch(r"\s*P\((.*)\)\s*", text, re.DOTALL)
    start, end = outer.span(1) if outer else (0, len(text))
    first, quoted, bracket = start, False, False
    for i in range(start, end + 1):
        character = text[i] if i < end else ","
        if i < end and character == '"':
            quoted = not quoted
        elif not quoted and character in "[]":
            bracket = character == "["
        elif i == end or (not quoted and not bracket and character in ",|"):
            piece = text[first:i]
            left = len(piece) - len(piece.lstrip())
            yield Piece(piece.strip(), first + left, first + len(piece.rstrip()))
            first = i + 1


def meaning(formula: Formula) -> str:
    """
    >>> meaning(Formula.parse("image, label | text"))
    'P(image, label | text): image and label together, given text'
    >>> meaning(Formula.parse("income | *")), meaning(Formula.parse("*"))
    ('P(income | *): income, given all other columns', 'P(*): all columns together')
    """
    every = "all columns" if len(formula.views) == 1 else "all other columns"
    sides = ([every if view.is_all else str(view) for view in v] for v in (formula.targets, formula.sources))
    targets, sources = map(" and ".join, sides)
    together = " together" if len(formula.targets) > 1 or formula.targets[0].is_all else ""
    return f"P({formula}): {targets}{together}" + (f", given {sources}" if sources else "")


def complete(
    text: str, columns: Mapping[str, str], view_names: Callable[[], Sequence[str]], cursor: int
) -> list[str]:
    """What the word before the cursor may become: names of columns and `*`, and of models and options where these stand.

    >>> complete("im", {"image": "image", "Alter (Jahre)": "number"}, list, 2)
    ['image']
    >>> complete('image | "al', {"image": "image", "Alter (Jahre)": "number"}, list, 11)
    ['"Alter (Jahre)"']
    """
    before = text[:cursor]
    match = _WORD.search(before)
    word = match[1] if match else ""
    head = before[: len(before) - len(word)]
    if not word and head and head[-1] in ')]"':
        return []  # a view is complete there
    if _OPTION.search(head):
        column = next((p.text.partition("[")[0] for p in pieces(text) if p.start <= cursor <= p.end), "")
        offered = _options(column, columns)
    elif head.endswith("@"):
        offered = [*ENCODERS, *view_names()]
    else:
        others = {p.text for p in pieces(text) if not p.start <= cursor <= p.end}
        names = [*map(quote_name, columns), *(["*"] if len(columns) > 1 else [])]
        offered = [name for name in names if name not in others]
    wanted = word.strip('"').casefold()
    fitting = [name for name in offered if name.strip('"').casefold().startswith(wanted) and name != word]
    return fitting[:MAX_COMPLETIONS]


def _options(written: str, columns: Mapping[str, str]) -> list[str]:
    """The options of the kind of a column, as `name=`."""
    try:
        kind = columns.get(View.parse(written).column)
    except FormulaError:
        return []
    return [f"{name}=" for name in KINDS[kind].options()] if kind in KINDS else []
