"""Requests: the prompts and values of a command line or an HTTP request -> the sources of a model.

What is changed on the way, and words that a model does not know, are reported by a RequestWarning.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from likewise.core.errors import RequestWarning, did_you_mean
from likewise.core.formula import distinct_columns
from likewise.modalities.base import Modality, Row
from likewise.modalities.text import Text
from likewise.models.base import TypedDistribution
from likewise.models.prompts import SourceStrings, normalize_prompt, split_labels


def parse_prompts(
    model: TypedDistribution, texts: Sequence[str], sources: SourceStrings
) -> list[SourceStrings]:
    """The sources of each prompt, with those of `sources`, which all have; without prompts these alone.

    Raises ValueError for an unknown source or class, and for a source that is given twice.
    """
    check_names(sources, "source", model.sources)
    return [_parse_prompt(model, text, sources) for text in texts] or [sources]


def _parse_prompt(model: TypedDistribution, text: str, sources: SourceStrings) -> SourceStrings:
    names = text_sources(model, text, sources)
    prompt, labels = split_labels(text, model.columns, model.sources)
    for label in labels:
        if label in sources:
            raise ValueError(f"{label} is given twice, in {text!r} and by itself; give it once")
    # Only texts that the model itself was trained on have a style; a frozen encoder reads any text.
    trained = [column for name in names if isinstance(column := model.columns[name], Text)]
    normalized = normalize_prompt(prompt, trained[0]) if trained else prompt
    if normalized != prompt:
        warnings.warn(
            f"{prompt!r} is read as {normalized!r}, in the style of the training texts",
            RequestWarning,
            stacklevel=1,
        )
    return {**dict.fromkeys(names, normalized), **labels, **sources}


def text_sources(model: TypedDistribution, text: str, sources: SourceStrings) -> list[str]:
    """The text source that is not in `sources`, with all its views. Raises ValueError for none, or several."""
    views = [
        view
        for view in model.formula.sources
        if model.columns[view.name].role == "prompt" and view.name not in sources
    ]
    free = [view.name for view in views]
    if len(distinct_columns(views)) != 1:
        none = "no text source that is not given already" if sources else "no text source"
        reason = "several text sources" if free else none
        advice = " ".join(f"--given {name}=..." for name in model.sources) or "nothing, it has no sources"
        raise ValueError(
            f"{str(model.formula)!r} has {reason}, so it is not clear what {text!r} is for; give it {advice}"
        )
    return free


def check_names(strings: SourceStrings, what: str, names: Sequence[str]) -> SourceStrings:
    """The same, if every name is one of `names`. Raises ValueError with the nearest one."""
    for name in strings:
        if name not in names:
            raise ValueError(did_you_mean(what, name, names))
    return strings


def parse_sources(model: TypedDistribution, strings: SourceStrings) -> Row:
    """The values of sources. Raises ValueError for an unknown source, and for a value that does not fit."""
    values = {}
    for name, string in check_names(strings, "source", model.sources).items():
        column = model.columns[name]
        values[name] = parse_value(column, string)
        if unseen := column.unseen_words(string) if isinstance(column, Text) else []:
            words = ", ".join(map(repr, unseen))
            warnings.warn(f"no training text contains {words}", RequestWarning, stacklevel=1)
    return model.validate_sources(values)


def parse_value(column: Modality, string: str) -> Any:
    """The value that a string stands for: of a picture it is the name of its file, which errors mention."""
    if column.media_type.startswith("text/"):
        return column.parse(string)
    try:
        return column.parse(string)
    except OSError as error:
        raise ValueError(f"{string}: {(error.strerror or str(error)).lower()}; name a file") from None
    except ValueError as error:
        raise ValueError(f"{string}: {error}") from None
