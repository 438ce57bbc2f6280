"""Requests: the prompts and values of a command line or an HTTP request -> values of a model's columns.

Sources may be given, and targets, which are known then. What is changed on the way, and words that a model does not
know, are reported by a RequestWarning.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.core.errors import did_you_mean, warn
from likewise.core.formula import View, distinct_columns, quote_name
from likewise.core.option_names import option_text
from likewise.modalities.base import Modality, Row
from likewise.modalities.text import Text
from likewise.models.base import TypedDistribution
from likewise.models.prompts import Strings, match_class, normalize_prompt, split_labels
from likewise.models.text_prompt import is_single_text

MAX_SHOWN = 60  # characters of a text in a message
MAX_UNSEEN = 10  # words in a message


@dataclass(frozen=True)
class Prompt:
    """What a request gives for a sample.

    strings  column -> its value as a string, as it is read
    values   column -> its value
    """

    strings: Strings
    values: Row


def parse_prompts(model: TypedDistribution, texts: Sequence[str], given: Strings) -> list[Prompt]:
    """What is given by each prompt and by `given`, which all have; without prompts by these alone.

    Raises ValueError for an unknown column, one that is given twice, and a value that does not fit.
    """
    columns = all_columns(model)
    check_names(given, "column", columns)
    prompts = []
    for strings in [_parse_prompt(model, text, given) for text in texts] or [given]:
        values = model.validate_values(_parse(columns, strings))
        _note_unseen_words(columns, values)
        strings = {name: v if isinstance(v, str) else strings[name] for name, v in values.items()}
        prompts.append(Prompt(strings, values))
    return prompts


def _parse_prompt(model: TypedDistribution, text: str, given: Strings) -> Strings:
    names, columns = text_columns(model, text, given), all_columns(model)
    prompt, labels = split_labels(text, columns, columns, [columns[name] for name in names])
    for label in labels:
        if label in given:
            raise ValueError(
                f"{label} is given twice, in {shorten(text)!r} and by itself; give it once, and the text by its name if "
                f"all of it is meant: {given_option(model, names[0], text)}"
            )
    if not prompt.strip():
        warn("an empty text is no prompt: it is left out")
        return {**labels, **given}
    # Only texts that the model itself was trained on have a style; a frozen encoder reads any text.
    trained = [column for name in names if isinstance(column := columns[name], Text)]
    normalized = normalize_prompt(prompt, trained[0]) if trained else prompt
    if normalized != prompt:
        warn(f"{shorten(prompt)!r} is read as {shorten(normalized)!r}, in the style of the training texts")
    return {**dict.fromkeys(names, normalized), **labels, **given}


def text_columns(model: TypedDistribution, text: str, given: Collection[str] = ()) -> list[str]:
    """The column that a prompt is for, with all its views: the text source that is not given, else the text target.

    Raises ValueError, which says what to write instead, for none and for several.
    """
    sources = _texts(model, model.formula.sources)
    targets = [] if is_single_text(model.target_columns) else _texts(model, model.formula.targets)
    views = sources or targets
    free = [view for view in views if view.name not in given]
    if len(distinct_columns(free)) == 1:
        return [view.name for view in free]
    formula, shown = str(model.formula), shorten(text)
    if free:
        ways = " or ".join(given_option(model, name, text) for name in distinct_columns(free))
        raise ValueError(
            f"{formula!r} has several texts, so it is not clear which {shown!r} is; write {ways}"
        )
    if views:
        raise ValueError(f"the text of {formula!r} is given already; leave {shown!r} out")
    names = [name for name in all_columns(model) if name not in given and name in model.columns]
    ways = " ".join(
        given_option(model, name) for name in names if name in model.sources or len(model.targets) > 1
    )
    advice = f"leave it out, or give values by name: {ways}" if ways else "leave it out"
    raise ValueError(f"{formula!r} has no text that {shown!r} could be; {advice}")


def _texts(model: TypedDistribution, views: Sequence[View]) -> list[View]:
    return [view for view in views if model.columns[view.name].role == "prompt"]


def given_option(model: TypedDistribution, name: str, value: str = "...", option: str = "given") -> str:
    """The option that gives a value of a column of the formula."""
    return option_text(option, str(model.formula.view(name)), shorten(value))


def require_unknown(model: TypedDistribution, names: Collection[str]) -> None:
    """Raise ValueError unless there is a target that is not among `names`, those that are given."""
    if set(model.targets) <= set(names):
        raise ValueError(
            f"every target of {str(model.formula)!r} is given, so there is nothing to sample; leave "
            f"{quote_name(model.targets[-1])} out"
        )


def all_columns(model: TypedDistribution) -> dict[str, Modality]:
    """The columns of which a request may give values: the sources, and the targets of a model or of any link."""
    return {name: model.columns[name] for name in model.sources} | dict(model.target_columns)


def check_names(strings: Strings, what: str, names: Collection[str]) -> Strings:
    """The same, if every name is one of `names`. Raises ValueError with the nearest one."""
    for name in strings:
        if name not in names:
            raise ValueError(did_you_mean(what, shorten(name), names))
    return strings


def parse_sources(model: TypedDistribution, strings: Strings) -> Row:
    """The values of sources. Raises ValueError for an unknown source, and for a value that does not fit."""
    columns = {name: model.columns[name] for name in model.sources}
    values = model.validate_sources(_parse(columns, check_names(strings, "source", columns)))
    _note_unseen_words(columns, values)
    return values


def _parse(columns: Mapping[str, Modality], strings: Strings) -> Row:
    """The values that strings stand for; of an empty text none."""
    values: Row = {}
    for name, string in strings.items():
        column = columns[name]
        if column.role == "prompt" and not string.strip():
            warn(f"{name}: an empty text is none, so it is left out")
            continue
        if column.role == "class":
            string = match_class(string, column) or string
        values[name] = parse_value(column, string, name)
    return values


def _note_unseen_words(columns: Mapping[str, Modality], values: Row) -> None:
    """Report the words of texts that no training text contains."""
    for name, value in values.items():
        column = columns[name]
        if unseen := column.unseen_words(value) if isinstance(column, Text) else []:
            words = ", ".join(repr(shorten(word)) for word in unseen[:MAX_UNSEEN])
            more = f" and {len(unseen) - MAX_UNSEEN} further words" if len(unseen) > MAX_UNSEEN else ""
            warn(f"no training text contains {words}{more}")


def parse_value(column: Modality, string: str, name: str | None = None) -> Any:
    """The value that a string stands for: of a picture it is the name of its file, which errors mention.

    Raises ValueError, which begins with the `name` of the column if it is given.
    """
    is_text = column.media_type.startswith("text/")
    where = ": ".join(filter(None, [name, None if is_text else shorten(string)]))
    prefix = f"{where}: " if where else ""
    if not is_text and "://" in string:
        raise ValueError(f"{prefix}an address is not read; download it and name the file")
    try:
        return column.parse(string)
    except OSError as error:
        raise ValueError(f"{prefix}{(error.strerror or str(error)).lower()}; name a file") from None
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from None


def shorten(text: str) -> str:
    """A text for a message.

    >>> shorten("a" * 100)[-5:]
    'aa...'
    """
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."
