"""Formula: the distribution that a model learns, in the notation of probability. No torch.

Grammar: `targets [| sources]`, each a comma-separated list of views. A view is a column as stored, encoded by
a trained model, or with other options:

    image | text                    P(image | text)
    image, label                    P(image, label)
    image@codes | text              the column image as codes of a trained encoder `codes`
    image[size=64] | image[size=32] the column image at two sizes
    image | text, text@minilm       texts as tokens, and as embeddings of a frozen encoder
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from likewise.core.errors import did_you_mean

_VIEW = re.compile(r"(?P<column>[^\W\d][\w.-]*)(@(?P<through>[^\W\d][\w.-]*))?(\[(?P<options>[^\[\]]*)\])?")


class FormulaError(ValueError):
    """A formula that does not parse, or that does not fit the columns of the data."""


@dataclass(frozen=True)
class View:
    """One column of a formula, with the encoder `through` which it is seen and its options.

    >>> str(View("image", through="codes", options=(("size", "32"),)))
    'image@codes[size=32]'
    """

    column: str
    through: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> View:
        """Parse a view; its inverse is `str`. Raises FormulaError with what to write instead."""
        match = _VIEW.fullmatch(text.strip())
        if match is None:
            raise FormulaError(
                f"cannot read {text.strip()!r} in a formula; "
                "write a column name such as 'image', 'image@codes' or 'image[size=32]'"
            )
        options = []
        for part in filter(None, (p.strip() for p in (match["options"] or "").split(","))):
            name, equals, value = (p.strip() for p in part.partition("="))
            if not (name and equals and value):
                column = match["column"]
                raise FormulaError(f"cannot read the option {part!r} of {column!r}; write [name=value]")
            options.append((name, value))
        return cls(match["column"], match["through"], tuple(options))

    def __str__(self) -> str:
        through = f"@{self.through}" if self.through else ""
        options = ", ".join(f"{k}={v}" for k, v in self.options)
        return self.column + through + (f"[{options}]" if options else "")


@dataclass(frozen=True)
class Formula:
    """P(targets | sources).

    >>> f = Formula.parse("image, label | text")
    >>> f.targets[1].column, [str(v) for v in f.sources], str(f)
    ('label', ['text'], 'image, label | text')
    """

    targets: tuple[View, ...]
    sources: tuple[View, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Formula:
        """Parse a formula; its inverse is `str`. Raises FormulaError with what to write instead."""
        left, bar, right = text.strip().removeprefix("P(").removesuffix(")").partition("|")
        if "|" in right:
            raise FormulaError(f"{text!r} has two bars; write 'targets | sources' with one")
        if not left.strip():
            raise FormulaError(f"{text!r} names no target; write 'image | text' to learn images given texts")
        if bar and not right.strip():
            raise FormulaError(
                f"{text!r} has a bar and no source after it; write {left.strip()!r} alone for P(target)"
            )
        targets = tuple(map(View.parse, _split(left)))
        sources = tuple(map(View.parse, _split(right))) if bar else ()
        formula = cls(targets, sources)
        views = [str(v) for v in formula.views]
        repeated = sorted({v for v in views if views.count(v) > 1})
        if repeated:
            raise FormulaError(
                f"{repeated[0]!r} appears twice in {text!r}; a column is either a target or a source"
            )
        return formula

    @property
    def views(self) -> tuple[View, ...]:
        """All views, targets first."""
        return self.targets + self.sources

    @property
    def columns(self) -> list[str]:
        """The names of all views, targets first."""
        return self.target_names + self.source_names

    @property
    def target_names(self) -> list[str]:
        """The names of the targets."""
        return [str(v) for v in self.targets]

    @property
    def source_names(self) -> list[str]:
        """The names of the sources."""
        return [str(v) for v in self.sources]

    def check(self, columns: Iterable[str]) -> None:
        """Raise FormulaError, naming the nearest column, unless every view is one of `columns`."""
        columns = list(columns)
        for view in self.views:
            if str(view) in columns:
                continue
            if view.column in columns:
                raise FormulaError(
                    f"{str(view)!r} is a view of {view.column!r} that the table does not have yet: "
                    "table.add_views(formula) adds it"
                )
            raise FormulaError(did_you_mean("column", view.column, columns))

    def __str__(self) -> str:
        left, right = (", ".join(map(str, views)) for views in (self.targets, self.sources))
        return f"{left} | {right}" if right else left


def distinct_columns(names: Iterable[str]) -> list[str]:
    """The names without further views of the same column, which would repeat its values.

    >>> distinct_columns(["text", "text@minilm", "label"])
    ['text', 'label']
    """
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(View.parse(name).column, name)
    return list(first.values())


def _split(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    return re.split(r",(?![^\[]*\])", text)
