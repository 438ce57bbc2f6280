"""Formula: the distribution that a model learns, in the notation of probability. No torch.

Grammar: `targets [| sources]`, each a comma-separated list of views. A view is a column as stored, encoded by
a trained model, or with other options:

    image | text                    P(image | text)
    image, label                    P(image, label)
    image@codes | text              the column image as codes of a trained encoder `codes`
    image[size=64] | image[size=32] the column image at two sizes
    image | text, text@minilm       texts as tokens, and as embeddings of a frozen encoder
    "Age (years)" | "rate %"        names with other characters than letters, digits, _ . and -
    income | *                      all columns that the formula does not name: given them, or as targets

A quote in a quoted name is doubled: "6"" pipe". In tables and rows a column has its own name, without quotes, and
another view has the name that formulas give it: `View.name`. `*` stands for columns of a table, so a formula that has
it is expanded before it is used (modalities/all_columns.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from likewise.core.errors import did_you_mean

_WORD = r"[^\W\d][\w.-]*"
_QUOTED = r'"(?:[^"]|"")*"'
_VIEW = re.compile(
    rf"(?P<column>{_WORD}|{_QUOTED})(@(?P<through>{_WORD}))?(\[(?P<options>[^\[\]]*)\])?",
)
_TOKEN = re.compile(rf"{_QUOTED}|\[[^\]]*\]|.", re.DOTALL)  # commas and bars are separators elsewhere only


class FormulaError(ValueError):
    """A formula that does not parse, or that does not fit the columns of the data."""


def quote_name(column: str) -> str:
    """The name of a column as a formula writes it.

    >>> quote_name("age"), quote_name("Age (years)"), quote_name('6" pipe')
    ('age', '"Age (years)"', '"6"" pipe"')
    """
    return column if re.fullmatch(_WORD, column) else '"' + column.replace('"', '""') + '"'


def parse_name(text: str) -> str:
    """The name of a view as a command line gives it: in quotes as in a formula, else as it is in the table.

    >>> parse_name('"Age (years)"'), parse_name("Age (years)"), parse_name('"e@mail"@codes')
    ('Age (years)', 'Age (years)', '"e@mail"@codes')
    """
    return View.parse(text).name if text.startswith('"') and _VIEW.fullmatch(text) else text


@dataclass(frozen=True)
class View:
    """One column of a formula, with the encoder `through` which it is seen and its options; or, if `is_all`, `*`.

    >>> str(View("image", through="codes", options=(("size", "32"),)))
    'image@codes[size=32]'
    """

    column: str
    through: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    is_all: bool = False

    @classmethod
    def parse(cls, text: str) -> View:
        """Parse a view; its inverse is `str`. Raises FormulaError with what to write instead."""
        text = text.strip()
        if text == "*":
            return cls("*", is_all=True)
        if re.fullmatch(r"\*\s*[@\[].*", text, re.DOTALL):
            raise FormulaError(
                f"cannot read {text!r}: * has no options and is seen through no model; write these behind the name of a "
                "column, beside *"
            )
        match = _VIEW.fullmatch(text)
        if match is None:
            in_quotes = f"{quote_name(text)} in quotes, or " if text else ""
            raise FormulaError(
                f"cannot read {text!r} in a formula; write {in_quotes}a column name such as 'image', "
                "'image@codes' or 'image[size=32]'"
            )
        column = match["column"]
        if column.startswith('"'):
            column = column[1:-1].replace('""', '"')
        options = []
        for part in filter(None, (p.strip() for p in (match["options"] or "").split(","))):
            name, equals, value = (p.strip() for p in part.partition("="))
            if not (name and equals and value):
                raise FormulaError(
                    f"cannot read the option {part!r} of {column!r}; write [name=value], or "
                    f"{quote_name(text)} in quotes if that is the name of a column"
                )
            options.append((name, value))
        return cls(column, match["through"], tuple(options))

    @property
    def name(self) -> str:
        """The name in tables and rows: that of the column, or of another view its spelling in formulas."""
        return str(self) if self.through or self.options else self.column

    def __str__(self) -> str:
        if self.is_all:
            return "*"
        through = f"@{self.through}" if self.through else ""
        options = ", ".join(f"{k}={v}" for k, v in self.options)
        return quote_name(self.column) + through + (f"[{options}]" if options else "")


ALL = View("*", is_all=True)


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
        inner = re.fullmatch(r"\s*P\((.*)\)\s*", text, re.DOTALL)
        left, *right = _split(inner[1] if inner else text, "|")
        if len(right) > 1:
            raise FormulaError(
                f"{text!r} has two bars; write 'targets | sources' with one, and a name that has a bar in "
                'double quotes: "a|b"'
            )
        if not left.strip():
            raise FormulaError(f"{text!r} names no target; write 'image | text' to learn images given texts")
        if right and not right[0].strip():
            raise FormulaError(
                f"{text!r} has a bar and no source after it; write {left.strip()!r} alone for P(target)"
            )
        formula = cls(_parse_views(left), _parse_views(right[0]) if right else ())
        names = formula.columns
        repeated = [view for view in formula.views if names.count(view.name) > 1]
        if formula.views.count(ALL) > 1:
            raise FormulaError(
                f"* appears twice in {text!r}; it stands for all columns that the formula does not name, once"
            )
        if repeated:
            raise FormulaError(
                f"{str(repeated[0])!r} appears twice in {text!r}; a column is either a target or a source"
            )
        return formula

    @property
    def has_all(self) -> bool:
        """Whether `*` is one of its views."""
        return ALL in self.views

    def expand(self, columns: Iterable[str]) -> Formula:
        """The same with these columns in the place of `*`.

        >>> str(Formula.parse("*, image[size=32] | city").expand(["age", "income"]))
        'age, income, image[size=32] | city'
        """
        new = tuple(map(View, columns))

        def place(views: tuple[View, ...]) -> tuple[View, ...]:
            return tuple(v for view in views for v in (new if view.is_all else (view,)))

        return Formula(place(self.targets), place(self.sources))

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
        return [v.name for v in self.targets]

    @property
    def source_names(self) -> list[str]:
        """The names of the sources."""
        return [v.name for v in self.sources]

    def view(self, name: str) -> View:
        """The view of that name. Raises FormulaError without one."""
        for view in self.views:
            if view.name == name:
                return view
        raise FormulaError(did_you_mean("column", name, self.columns))

    def check(self, columns: Iterable[str]) -> None:
        """Raise FormulaError, naming the nearest column, unless every view is one of `columns`."""
        columns = list(columns)
        for view in self.views:
            if view.is_all:
                raise FormulaError(
                    f"* in {str(self)!r} stands for columns of a table: table.expand(formula) names them"
                )
            if view.name in columns:
                continue
            if view.column in columns:
                raise FormulaError(
                    f"{str(view)!r} is a view of {view.column!r} that the table does not have yet: "
                    "table.add_views(formula) adds it"
                )
            raise unknown_column(view.column, columns)

    def __str__(self) -> str:
        left, right = (", ".join(map(str, views)) for views in (self.targets, self.sources))
        return f"{left} | {right}" if right else left


def unknown_column(column: str, columns: Iterable[str]) -> FormulaError:
    """The error for a column that a formula names and a table does not have; names are as formulas write them."""
    columns = list(columns)
    message = did_you_mean("column", quote_name(column), map(quote_name, columns))
    matches = ((name, _VIEW.fullmatch(name)) for name in columns)
    meant = [name for name, match in matches if match and match["column"] == column]  # e of the column e@mail
    return FormulaError(
        message + "".join(f"; write {quote_name(name)} in quotes for that column" for name in meant)
    )


def distinct_columns(views: Iterable[View]) -> list[str]:
    """The names without further views of the same column, which would repeat its values.

    >>> distinct_columns(Formula.parse("image | text, text@minilm, label").sources)
    ['text', 'label']
    """
    first: dict[str, str] = {}
    for view in views:
        first.setdefault(view.column, view.name)
    return list(first.values())


def _parse_views(text: str) -> tuple[View, ...]:
    return tuple(map(View.parse, _split(text, ",")))


def _split(text: str, separator: str) -> list[str]:
    """Split at the separators outside of brackets and quotes. Raises FormulaError for a quote without its end."""
    parts = [""]
    for token in _TOKEN.findall(text):
        if token == '"':
            raise FormulaError(
                f'a quote in {text.strip()!r} has no end; write "NAME", and a quote in the name twice'
            )
        if token == separator:
            parts.append("")
        else:
            parts[-1] += token
    return parts
