"""Options of the command line from function signatures, with their descriptions from docstrings.

Which options exist depends on the command line itself: `sample RUN --help` lists those of the family of RUN. click
and typer declare the options of a command before they see its arguments. jsonargparse does derive options from
signatures, but it would need the same look at the arguments first, and reads descriptions in the standard docstring
styles only; what it would replace here is `add_signature_options` and `_value_reader`, about forty lines of argparse.
"""

from __future__ import annotations

import argparse
import inspect
import re
import types
import typing
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from likewise.cli.formatting import format_value
from likewise.core.errors import did_you_mean
from likewise.core.formula import parse_name
from likewise.core.options import OptionType, parameter_annotations, parse_option
from likewise.core.signatures import parameter_descriptions
from likewise.families.registry import family_class
from likewise.models.checkpoint import PRETRAINED, family_names, is_run

_PAIR = re.compile(r'((?:"(?:[^"]|"")*")?(?:[^=\[]|\[[^\]]*\])*)(?<!^)=(.*)', re.DOTALL)  # name=value
NamedFunction = tuple[str, Callable[..., Any]]


class Parser(argparse.ArgumentParser):
    """argparse with options from signatures, in named groups, and one-line errors that name the nearest option.

    >>> def sample(c, *, steps: int = 10): "steps  of the solver"
    >>> parser = Parser("sample")
    >>> parser.add_signature_options("sampling", [("flow", sample)])
    >>> parser.values_of(parser.parse(["--steps", "8"]), "sampling")
    {'steps': 8}
    """

    def __init__(self, command: str, description: str | None = None, **options: Any) -> None:
        super().__init__(
            prog=f"likewise {command}",
            description=description,
            allow_abbrev=False,
            **options,
        )

    def add_signature_options(
        self,
        group: str,
        functions: Sequence[NamedFunction],
        *,
        only: Container[str] | None = None,
        about: str | None = None,
    ) -> None:
        """Add an option for every parameter with a default; a name that several functions have is one option.

        functions  with the name of the owner of each, which precedes the description unless all owners have the option
        only       the parameters that become options; all unless given
        about      a line below the title of the group in --help

        The options have no default of their own: one that is not on the command line is left to the function.
        """
        options = self.add_argument_group(group, about)
        functions_of: dict[str, list[NamedFunction]] = {}  # parameter -> the functions that have it
        for owner, function in functions:
            for name in parameters(function):
                if only is None or name in only:
                    functions_of.setdefault(name, []).append((owner, function))
        everyone = {owner for owner, _ in functions}
        for name, pairs in functions_of.items():
            function = pairs[0][1]
            parameter = parameters(function)[name]
            owners = list(dict.fromkeys(owner for owner, _ in pairs))
            prefix = f"[{', '.join(owners)}] " if len(owners) < len(everyone) else ""
            description = parameter_descriptions(function.__doc__ or "", parameters(function)).get(name, "")
            options.add_argument(
                flag(name),
                dest=f"{group}.{name}",
                default=argparse.SUPPRESS,
                help=_help(f"{prefix}{description}".strip(), parameter.annotation, _defaults(name, pairs)),
                **_value_reader(flag(name), parameter.annotation),
            )

    def add_value_option(
        self, *flags: str, annotation: Any, about: str, default: Any = None, metavar: str | None = None
    ) -> None:
        """Add an option of a command whose value is checked like those of signatures; --help shows the range.

        >>> from likewise.core.ranges import Share
        >>> parser = Parser("sample")
        >>> parser.add_value_option("--strength", annotation=Share, about="share of noise", default=0.5)
        >>> parser.parse(["--strength", "2"])
        Traceback (most recent call last):
        SystemExit: 2
        """
        reader = dict(_value_reader(flags[0], annotation))
        if metavar:
            reader["metavar"] = metavar
        default_words = "" if default is None else f"default {format_value(default)}"
        self.add_argument(*flags, default=default, help=_help(about, annotation, default_words), **reader)

    def add_sampling_options(self, argv: Sequence[str]) -> None:
        """Add the sampling options of the run on the command line; without one those of a flow."""
        folders = (folder / word for word in argv for folder in (Path(), PRETRAINED))
        run = next(filter(is_run, folders), None)
        about = None if run else "Those of the family flow; name the RUN before --help for its own."
        families = {name: family_class(name) for name in (family_names(run) if run else ["flow"])}
        names = {option for cls in families.values() for option in cls.sampling_options()}
        functions = [
            (name, function)
            for name, cls in families.items()
            if hasattr(cls, "sample")
            for function in (cls.sample, cls.compute_copy)
        ]
        self.add_signature_options("sampling", functions, only=names, about=about)

    def values_of(self, args: argparse.Namespace, group: str) -> dict[str, Any]:
        """The options of a group that are on the command line."""
        return {k.removeprefix(f"{group}."): v for k, v in vars(args).items() if k.startswith(f"{group}.")}

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Options and positional arguments in any order. Exits with status 2 and one line for unknown ones."""
        args, unknown = self.parse_known_intermixed_args(argv)
        for word in unknown:
            if word.startswith("-"):
                options = [s for s in self._option_string_actions if s.startswith("--")]
                self.error(did_you_mean("option", word.partition("=")[0], options))
        if unknown:
            self.error(f"unexpected argument {unknown[0]!r}; put quotes around a text of several words")
        return args

    def error(self, message: str) -> NoReturn:
        if required := re.fullmatch("the following arguments are required: (.*)", message):
            optional = {action.metavar for action in self._actions if action.nargs in ("*", "?")}
            names = [name for name in required[1].split(", ") if name not in optional]
            message = f"missing {' and '.join(names)}; `{self.prog} --help` shows what to write"
        # a message of ours names the option itself
        self.exit(2, f"{self.prog}: {re.sub(r'^argument [^ ]+: (?=-)', '', message)}\n")


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters with a default, annotations resolved."""
    function = function.__init__ if inspect.isclass(function) else function
    annotations, items = parameter_annotations(function), inspect.signature(function).parameters.items()
    return {n: p.replace(annotation=annotations[n]) for n, p in items if p.default is not p.empty}


def flag(name: str) -> str:
    """
    >>> flag("guidance_from")
    '--guidance-from'
    """
    return "--" + name.replace("_", "-")


def is_pair(word: str, names: Container[str]) -> bool:
    """Whether a word is name=value, with one of `names` or what looks like a name, and not a text with a sign in it.

    >>> [is_pair(word, ["rate %"]) for word in ("rate %=3", "label=7", '"a b"=1', "is 1 + 1 = 2?")]
    [True, True, True, False]
    """
    match = _PAIR.fullmatch(word)
    if match is None:
        return False
    return (
        parse_name(match[1]) in names
        or re.fullmatch(r'[\w.@-]+(\[[^\]]*\])?|".*', match[1], re.DOTALL) is not None
    )


def parse_pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """Words `name=value` as a dictionary. Raises ValueError for a word without "=", or a name given twice.

    >>> parse_pairs(["label=7", "image[size=8]=a.png", "rate %=3", '"a = b"=4'], "--given")
    {'label': '7', 'image[size=8]': 'a.png', 'rate %': '3', 'a = b': '4'}
    """
    pairs: dict[str, str] = {}
    for word in words:
        match = _PAIR.fullmatch(word)
        if match is None:
            raise ValueError(
                f"cannot read {option} {word!r}; write {option} name=value, and a name with = or [ in double quotes"
            )
        name, value = parse_name(match[1]), match[2]
        if name in pairs:
            raise ValueError(f"{option} names {name!r} twice; give it once")
        pairs[name] = value
    return pairs


def _defaults(name: str, functions: Sequence[NamedFunction]) -> str:
    """The default of a parameter, or those of its owners where they differ; none of a default that is None."""
    all_ = {owner: parameters(function)[name].default for owner, function in functions}
    values = {owner: format_value(default) for owner, default in all_.items() if default is not None}
    if len(values) == len(all_) and len({*values.values()}) == 1:
        return f"default {next(iter(values.values()))}"
    words = ", ".join(f"{value} of {owner}" for owner, value in values.items())
    return words and f"default {words}"


def _help(about: str, annotation: Any, default: str) -> str:
    """The text of --help: what the option is, its default unless that is described, and its range."""
    notes = "; ".join(filter(None, [default, OptionType.of(annotation).range]))
    described = re.fullmatch(r"(.*)\((default[^()]*)\)", about, re.DOTALL)
    if described and notes:
        about, notes = described[1].rstrip(), f"{described[2]}; {notes}"
    return (f"{about} ({notes})" if notes else about).strip().replace("%", "%%")


def _value_reader(option: str, annotation: Any) -> Mapping[str, Any]:
    """How argparse reads a value of this type; the message for one that does not fit names the option."""
    kind = OptionType.of(annotation)
    if kind.type is bool:
        return {"action": argparse.BooleanOptionalAction}
    if kind.type is None:  # a path, or one of several types of which the first can be written
        types_ = [a for a in typing.get_args(annotation) if a is not types.NoneType]
        return {"type": types_[0] if types_ else annotation, "metavar": "TEXT"}

    def read(text: str) -> Any:
        try:
            return parse_option(option, text, annotation)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    if kind.choices:
        return {"type": read, "choices": kind.choices}
    return {"type": read, "metavar": {int: "N", float: "X"}.get(kind.type, "TEXT")}
