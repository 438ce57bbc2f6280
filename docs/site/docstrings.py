"""Extension of Griffe: the docstrings of this project, which are plain text, as Markdown.

A paragraph is escaped, so that x_0 * y is no emphasis. Lines that are indented are formulas, and lines after
`>>>` a session: both become code. A paragraph of lines `name  description`, two spaces apart, is a legend and
becomes a list.

>>> print(to_markdown("Sum of a_i * b_i.\\n\\n    s = a b\\n\\na, b   vectors\\n    of one length\\ns      a number"))
Sum of a\\_i \\* b\\_i.
<BLANKLINE>
```text
s = a b
```
<BLANKLINE>
- `a, b`: vectors of one length
- `s`: a number
"""

from __future__ import annotations

import re
from itertools import groupby
from textwrap import dedent
from typing import Any

from griffe import Extension, GriffeLoader, Module, Object

LEGEND = re.compile(r"(?P<names>\S.{0,38}?) {2,}(?P<description>\S.*)")
SPECIAL = re.compile(r"[\\*_\[\]#]")
BULLET = re.compile(r"[*-] ")


class PlainTextDocstrings(Extension):
    """Rewrites every docstring, and shows an object where it is defined only, not where a package exports it."""

    def on_object(self, *, obj: Object, loader: GriffeLoader, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)

    def on_package(self, *, pkg: Module, loader: GriffeLoader, **_: Any) -> None:
        modules = [pkg]
        while modules:
            module = modules.pop()
            modules += module.modules.values()
            for member in module.members.values():
                if member.is_alias:
                    member.public = False


def to_markdown(docstring: str) -> str:
    """Plain text -> Markdown."""
    paragraphs = re.split(r"\n\s*\n", docstring.strip("\n"))
    return "\n\n".join(part for paragraph in paragraphs for part in _paragraph(paragraph.split("\n")))


def _paragraph(lines: list[str]) -> list[str]:
    """The Markdown of a paragraph: one block, or several where formulas follow text without a gap."""
    if lines[0].startswith(">>>"):
        return [_code("pycon", lines)]
    if LEGEND.match(lines[0]):
        return [_legend(lines)]
    if BULLET.match(lines[0]):
        return ["\n".join(line[:2] + _escape(line[2:]) for line in lines)]
    blocks = []
    for indented, group in groupby(lines, key=lambda line: line.startswith("    ")):
        part = list(group)
        blocks.append(_code("text", part) if indented else _escape("\n".join(part)))
    return blocks


def _code(language: str, lines: list[str]) -> str:
    return f"```{language}\n{dedent(chr(10).join(lines))}\n```"


def _legend(lines: list[str]) -> str:
    """`name  description`, and further lines of a description, as a list."""
    items: list[str] = []
    for line in lines:
        if entry := LEGEND.match(line):
            items.append(f"- `{entry['names']}`: {_escape(entry['description'])}")
        else:
            items[-1] += " " + _escape(line.strip())
    return "\n".join(items)


def _escape(text: str) -> str:
    """Text in which only `code` has a meaning."""
    pieces = re.split(r"(`[^`]+`)", text)
    return "".join(
        p if i % 2 else SPECIAL.sub(r"\\\g<0>", p).replace("<", "&lt;") for i, p in enumerate(pieces)
    )
