"""Prompts: one line of text -> the sources of a model.

    red apple, flat style      text: red apple; style: flat

An ending ", VALUE COLUMN" gives the label source COLUMN, in any case; there may be several. The rest is the text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from likewise.core.errors import did_you_mean
from likewise.modalities.base import Modality
from likewise.modalities.text import ARTICLES, Text

SourceStrings = dict[str, str]  # source -> its value as a string


def split_labels(
    text: str, columns: Mapping[str, Modality], sources: Collection[str]
) -> tuple[str, SourceStrings]:
    """A prompt -> its text, and the label sources that its endings give.

    Raises ValueError for an unknown class, with the nearest one, and for a source that is given twice.

    >>> from likewise.modalities import Label
    >>> split_labels("red apple, Flat style", {"style": Label(("flat", "noto"))}, ["style"])
    ('red apple', {'style': 'flat'})
    """
    names = {name.lower(): name for name in sources if columns[name].role == "class"}
    labels: SourceStrings = {}
    while True:
        rest, comma, ending = text.rpartition(",")
        value, _, column = ending.strip().rpartition(" ")
        if not (comma and value and column.lower() in names):
            return text, labels
        name = names[column.lower()]
        if name in labels:
            raise ValueError(f"{text!r} gives {name} twice; give it once")
        labels[name] = _match_class(name, value.strip(), columns[name].class_names())
        text = rest.rstrip()


def normalize_prompt(text: str, column: Text) -> str:
    """A text in the style of the training texts: without capitals or a leading article if they have none.

    >>> normalize_prompt("A red Apple", Text.fit(["red apple", "green apple"]))
    'red apple'
    """
    text = text.lower() if column.lower else text
    article, _, rest = text.partition(" ")
    unusual = article.lower() in ARTICLES and article.lower() not in column.articles
    return rest.strip() if unusual and rest.strip() else text


def _match_class(name: str, value: str, classes: Sequence[str]) -> str:
    """The class with this name, in any case. Raises ValueError."""
    if value in classes:
        return value
    by_lower_case = {c.lower(): c for c in classes}
    if value.lower() not in by_lower_case:
        raise ValueError(did_you_mean(name, value, classes))
    return by_lower_case[value.lower()]
