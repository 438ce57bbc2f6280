"""TODO models.requests."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from likewise.core.errors import did_you_mean
from likewise.core.formula import distinct_columns
from likewise.modalities.base import Modality, Row
from likewise.modalities.text import Text
from likewise.models.model import Model
from likewise.models.pipeline import Pipeline
from likewise.models.prompts import SourceStrings, normalize_prompt, split_labels

# ---- what is asked


def parse_prompts(model: Model | Pipeline, texts: Sequence[str], given: SourceStrings) -> list[SourceStrings]:
    """The sources of each prompt."""
    check_names(given, "source", model.sources)
    return [_parse_prompt(model, text, given) for text in texts] or [given]


def _parse_prompt(model: Model | Pipeline, text: str, given: SourceStrings) -> SourceStrings:
    """The sources that one text gives, beside those that are given anyway."""
    names = text_sources(model, text, given)
    rest, labels = split_labels(text, model.columns, model.sources)
    for label in labels:
        if label in given:
            raise ValueError(f"both --given and {text!r} say {label}; say it once")
    learned = [column for n in names if isinstance(column := model.columns[n], Text)]
    plain = (
        normalize_prompt(rest, learned[0]) if learned else rest
    )  # a frozen encoder has read texts of all kinds
    if plain != rest:
        print(
            f"note: {rest!r} is read as {plain!r}, as the texts that the model learned from are written",
            file=sys.stderr,
        )
    return {**dict.fromkeys(names, plain), **labels, **given}


def text_sources(model: Model | Pipeline, text: str, given: SourceStrings) -> list[str]:
    """The text source that is not given, all its views. Raises ValueError for none, or several."""
    free = [n for n in model.sources if model.columns[n].role == "prompt" and n not in given]
    if len(distinct_columns(free)) != 1:
        none = "no text source that is not given already" if given else "no text source"
        what = "several text sources" if free else none
        advice = " ".join(f"--given {n}=..." for n in model.sources) or "nothing, it draws by itself"
        raise ValueError(
            f"{str(model.formula)!r} has {what}, so it is not clear what {text!r} is for; give it {advice}"
        )
    return free


def check_names(given: SourceStrings, what: str, names: Sequence[str]) -> SourceStrings:
    """The same, if every name is one of `names`. Raises ValueError with the nearest."""
    for name in given:
        if name not in names:
            raise ValueError(did_you_mean(what, name, names))
    return given


def parse_sources(model: Model | Pipeline, prompt: SourceStrings) -> Row:
    """The sources that were written. Words that are new to the model are named on stderr."""
    found = {}
    for name, written in check_names(prompt, "source", model.sources).items():
        column = model.columns[name]
        found[name] = parse_value(column, written)
        if new := column.unseen_words(written) if isinstance(column, Text) else []:
            words = ", ".join(map(repr, new))
            print(f"note: no text that the model learned from has {words}", file=sys.stderr)
    return model.given(**found).sources


def parse_value(column: Modality, written: str) -> Any:
    """The value that was written: of a picture, its file, which an error names."""
    if column.media_type.startswith("text/"):
        return column.parse(written)
    try:
        return column.parse(written)
    except OSError as error:
        raise ValueError(f"{written}: {(error.strerror or str(error)).lower()}; name a file") from None
    except ValueError as error:
        raise ValueError(f"{written}: {error}") from None
