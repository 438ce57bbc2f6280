"""Prompts: one line of text -> the values of a model's columns.

    red apple, flat style      text: red apple; style: flat

An ending ", VALUE COLUMN" gives the class VALUE of a label COLUMN, in any case; there may be several. The rest is the
text. An ending is a part of the text if COLUMN has no such class, or if training texts have that ending.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from likewise.core.errors import warn
from likewise.core.formula import quote_name
from likewise.core.option_names import option_text
from likewise.modalities.base import Modality
from likewise.modalities.text import ARTICLES, Text, clauses_of

Strings = dict[str, str]  # column -> its value as a string


class _Ending(NamedTuple):
    """An ending ", VALUE COLUMN" of a prompt: where it begins, and the class, None if COLUMN has no such class."""

    start: int
    column: str
    value: str
    label: str | None


def split_labels(
    text: str, columns: Mapping[str, Modality], names: Iterable[str], texts: Iterable[Modality] = ()
) -> tuple[str, Strings]:
    """A prompt -> its text, and the labels that its endings give.

    names  the columns that may be given
    texts  columns of texts that the prompt may be for, whose training texts may have such endings

    An ending that is a part of the text is reported by a RequestWarning. Raises ValueError for a label that is given
    twice.

    >>> from likewise.modalities import Label
    >>> split_labels("red apple, Flat style", {"style": Label(("flat", "noto"))}, ["style"])
    ('red apple', {'style': 'flat'})
    """
    labels: Strings = {}
    learned = {clause for column in texts if isinstance(column, Text) for clause in column.clauses}
    classes = {name: columns[name] for name in names if columns[name].role == "class"}
    rest = text
    while (ending := _find_ending(rest, classes)) is not None:
        clauses = clauses_of(rest[ending.start :])
        if ending.label is None or not learned.isdisjoint(clauses):
            _warn_of_clause(", ".join(clauses), ending, classes[ending.column])
            break
        if ending.column in labels:
            raise ValueError(f"{text!r} gives {ending.column} twice; give it once")
        labels[ending.column] = ending.label
        rest = rest[: ending.start].rstrip()
    return rest, labels


def _find_ending(text: str, classes: Mapping[str, Modality]) -> _Ending | None:
    """The ending of a text, one with a class if there is any; of a class with a comma in its name all of it."""
    found: list[_Ending] = []
    for name, column in classes.items():
        for written in {name, quote_name(name)}:
            if (ending := re.search(rf"\s{re.escape(written)}\s*\Z", text, re.IGNORECASE)) is None:
                continue
            names = column.class_names()
            commas = [match.start() for match in re.finditer(",", text[: ending.start()])]
            most = 1 + max(name.count(",") for name in names)  # commas of an ending
            for start in commas[-most:]:
                value = text[start + 1 : ending.start()].strip()
                label = _match(value, names)
                if value and (label is not None or start == commas[-1]):
                    found.append(_Ending(start, name, value, label))
    return min(found, key=lambda e: (e.label is None, -len(e.column), e.start), default=None)


def match_class(value: str, column: Modality) -> str | None:
    """The class that a string names, in any case if one alone has that name; None without one."""
    return _match(value, column.class_names())


def _match(value: str, names: Sequence[str]) -> str | None:
    same = [value] if value in names else [name for name in names if name.lower() == value.lower()]
    return same[0] if len(same) == 1 else None


def _warn_of_clause(clause: str, ending: _Ending, column: Modality) -> None:
    """Report an ending that is read as a part of the text, and how to give the label."""
    if ending.label is not None:
        reason, label = "as in training texts", ending.label
    else:
        near = difflib.get_close_matches(ending.value.lower(), column.class_names(), n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        reason, label = (
            f"as {ending.column} has no class {ending.value!r}{hint}",
            near[0] if near else "CLASS",
        )
    warn(
        f"{clause!r} is read as a part of the text, {reason}; "
        f"{option_text('given', quote_name(ending.column), label)} gives the label"
    )


def normalize_prompt(text: str, column: Text) -> str:
    """A text in the style of the training texts: without capitals or a leading article if they have none.

    >>> normalize_prompt("A red Apple", Text.fit(["red apple", "green apple"]))
    'red apple'
    """
    text = text.lower() if column.lower else text
    article, _, rest = text.partition(" ")
    unusual = article.lower() in ARTICLES and article.lower() not in column.articles
    return rest.strip() if unusual and rest.strip() else text
