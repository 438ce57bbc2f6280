"""Prompts: what a person writes in one line -> the sources of a model.

    red apple, flat style      text: red apple; style: flat

An ending ", VALUE COLUMN" gives the label source COLUMN, in capitals or not; there may be several. What is
left is the text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from likewise.core.errors import did_you_mean
from likewise.modalities.base import Modality
from likewise.modalities.text import ARTICLES, Text

SourceStrings = dict[str, str]  # source -> its value as it was written


def split_labels(
    text: str, columns: Mapping[str, Modality], sources: Collection[str]
) -> tuple[str, SourceStrings]:
    """A prompt -> what is left of it, and the label sources that its endings give.

    Raises ValueError for a class that is not there, with the nearest, and for a source that is given twice.

    >>> split_labels("red apple, Flat style", {"style": Label(("flat", "noto"))}, ["style"])
    ('red apple', {'style': 'flat'})
    """
    names = {name.lower(): name for name in sources if columns[name].role == "class"}
    given: SourceStrings = {}
    while True:
        rest, comma, ending = text.rpartition(",")
        value, _, column = ending.strip().rpartition(" ")
        if not (comma and value and column.lower() in names):
            return text, given
        name = names[column.lower()]
        if name in given:
            raise ValueError(f"{text!r} says {name} twice; say it once")
        given[name] = _class(name, value.strip(), columns[name].classes)
        text = rest.rstrip()


def normalize_prompt(text: str, column: Text) -> str:
    """A text as the texts that the model learned from: without capitals or a leading article if they are.

    >>> normalize_prompt("A red Apple", Text.fit(["red apple", "green apple"]))
    'red apple'
    """
    text = text.lower() if column.lower else text
    article, _, rest = text.partition(" ")
    strange = article.lower() in ARTICLES and article.lower() not in column.articles
    return rest.strip() if strange and rest.strip() else text


def _class(name: str, value: str, classes: Collection[str]) -> str:
    """The class that is meant. Raises ValueError."""
    folded = {c.lower(): c for c in classes}
    if value in classes:
        return value
    if value.lower() not in folded:
        raise ValueError(did_you_mean(name, value, classes))
    return folded[value.lower()]
