"""Flags: signatures become options of the command line, their docstrings its help."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from likewise.core.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """argparse with options from signatures, in named sets, and one-line errors that name the nearest option.

    >>> def draw(c, *, steps: int = 10): "Solve in `steps` steps."
    >>> parser = Parser("sample")
    >>> parser.add_signature_options("sampling", [draw])
    >>> parser.values_of(parser.read(["--steps", "8"]), "sampling")
    {'steps': 8}
    """

    def __init__(self, command: str, about: str | None = None, **more: Any) -> None:
        super().__init__(prog=f"likewise {command}", description=about, allow_abbrev=False, **more)

    def add_signature_options(
        self, title: str, sources: Sequence[Callable[..., Any]], but: Collection[str] = ()
    ) -> None:
        """An option for every parameter with a default; a name that several `sources` have is one option.

        The options have no default of their own: what is not on the command line is left to the signature.
        """
        group = self.add_argument_group(title)
        done = set()
        for source in sources:
            said = documented_parameters(source.__doc__ or "")
            for name, parameter in parameters(source).items():
                if name not in done and name not in but:
                    done.add(name)
                    default = (
                        "" if parameter.default is None else f" (default {format_value(parameter.default)})"
                    )
                    about = (said.get(name, "") + default).strip().replace("%", "%%")
                    group.add_argument(
                        flag(name),
                        dest=f"{title}.{name}",
                        default=argparse.SUPPRESS,
                        help=about,
                        **_reader(parameter.annotation),
                    )

    def values_of(self, args: argparse.Namespace, title: str) -> dict[str, Any]:
        """What the command line says of the options under `title`."""
        return {k.removeprefix(f"{title}."): v for k, v in vars(args).items() if k.startswith(f"{title}.")}

    def add_sampling_options(self, argv: Sequence[str]) -> None:
        """Options for the knobs of the run or chain on the command line; without one those of a flow."""
        from likewise.families.base import Family
        from likewise.families.registry import family_class
        from likewise.generation.controls import SAMPLING_CONTROLS
        from likewise.models.checkpoint import PRETRAINED, family_names, is_run

        folders = (folder / word for word in argv for folder in (Path(), PRETRAINED))
        run = next(filter(is_run, folders), None)
        names = family_names(run) if run else ["flow"]
        drawn = [family_class(name).sample for name in names if hasattr(family_class(name), "sample")]
        self.add_signature_options("sampling", [*drawn, Family.compute_copy], but=SAMPLING_CONTROLS)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Options and words in any order. Exits with status 2 and one line if anything is unknown."""
        args, rest = self.parse_known_intermixed_args(argv)
        for word in rest:
            if word.startswith("-"):
                options = [s for s in self._option_string_actions if s.startswith("--")]
                self.error(did_you_mean("option", word.partition("=")[0], options))
        if rest:
            self.error(f"one word too many: {rest[0]!r}; put quotes around what belongs together")
        return args

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parameters(source: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters with a default, annotations resolved."""
    function = source.__init__ if inspect.isclass(source) else source
    found = {n: p for n, p in inspect.signature(function).parameters.items() if p.default is not p.empty}
    # only theirs: the annotation of what is returned may be a name for type checkers
    own = types.SimpleNamespace(__annotations__={n: p.annotation for n, p in found.items()})
    hints = typing.get_type_hints(own, vars(sys.modules[function.__module__]))
    return {n: p.replace(annotation=hints[n]) for n, p in found.items()}


def documented_parameters(doc: str) -> dict[str, str]:
    """What a docstring says of the names it lists: `name  text` on a line, or `name: text` after a semicolon.

    >>> listed("width  floats a token; depth: blocks")
    {'width': 'floats a token', 'depth': 'blocks'}
    """
    parts = re.split(r"\n(?!\s)|;\s", inspect.cleandoc(doc))
    items = filter(None, (re.match(r"(\w+(?:, \w+)*)(?:  +|: )(.+)", part, re.DOTALL) for part in parts))
    return {name: " ".join(item[2].split()).rstrip(".") for item in items for name in item[1].split(", ")}


def flag(name: str) -> str:
    """
    >>> flag("guidance_from")
    '--guidance-from'
    """
    return "--" + name.replace("_", "-")


def format_value(value: Any) -> str:
    """
    >>> shown(0.10), shown(True), shown("auto")
    ('0.1', 'yes', 'auto')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def parse_pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """Words `name=value` as a dictionary. Raises ValueError for a word without "=", or a name given twice.

    >>> pairs(["label=7", "image[size=8]=a.png"], "--given")
    {'label': '7', 'image[size=8]': 'a.png'}
    """
    found: dict[str, str] = {}
    for word in words:
        match = re.fullmatch(r"([^=\[]+(?:\[[^\]]*\])?)=(.*)", word, re.DOTALL)
        if match is None:
            raise ValueError(f"cannot read {option} {word!r}; write {option} name=value")
        name, value = match.groups()
        if name in found:
            raise ValueError(f"{option} names {name!r} twice; give it once")
        found[name] = value
    return found


def _reader(annotation: Any) -> Mapping[str, Any]:
    """How argparse reads a value of this type."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(a for a in typing.get_args(annotation) if a is not types.NoneType)
    if annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if typing.get_origin(annotation) is typing.Literal:
        return {"choices": typing.get_args(annotation)}
    return {"type": annotation, "metavar": {int: "N", float: "X"}.get(annotation, "TEXT")}
