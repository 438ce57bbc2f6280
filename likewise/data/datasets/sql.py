"""Statements: the SQL in the tests of sqlglot, read out of their syntax trees; nothing of them is run.

A call `self.validate_all(sql, read={dialect: sql}, write={dialect: sql})` in a test of a dialect says that
`sql` is of that dialect and what it is in others; `self.validate_identity(sql)` that it is a statement.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

ANY = "any"  # the dialect of what every dialect reads


@dataclass
class Call:
    """What one call says. `place` is the file's dialect and the line; `others`: dialect -> statement."""

    place: str
    dialect: str
    statements: list[str]
    others: dict[str, str] = field(default_factory=dict)


def calls(source: str, name: str) -> Iterator[Call]:
    """The calls in a test file, `name` the dialect that it is about, in order.

    Statements that are put together when the test runs, and those that sqlglot does not understand but
    passes on (check_command_warning), are left out.

    >>> code = "class T:\\n dialect = 'hive'\\n def t(self): self.validate_all('A', read={'x': 'C'})"
    >>> next(calls(code, "hive"))
    Call(place='hive_3', dialect='hive', statements=['A'], others={'x': 'C'})
    """
    for group in [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]:
        dialect = (
            next(
                (
                    _text(node.value)
                    for node in group.body
                    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "dialect"
                ),
                None,
            )
            or ANY
        )
        for node in ast.walk(group):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called not in ("self.validate_all", "self.validate_identity"):
                continue
            options = {word.arg: word.value for word in node.keywords}
            arguments = [*node.args, *(options[n] for n in ("sql", "write_sql") if n in options)]
            if "check_command_warning" in options or not (arguments and _text(arguments[0])):
                continue
            found = Call(f"{name}_{node.lineno}", dialect, [s for s in map(_text, arguments) if s])
            for option in ("read", "write"):  # where both have a dialect the translation is the better one
                found.others |= dict(_texts(options.get(option)))
            yield found


def _texts(node: ast.expr | None) -> Iterator[tuple[str, str]]:
    """The pairs of a written dictionary of which both sides are written out and not empty."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None and _text(key) and _text(value):
                yield _text(key).partition(",")[0], _text(value)  # "spark, version=3.4" is spark


def _text(node: ast.expr) -> str:
    """A string that is written out, without spaces around it, else ""."""
    return node.value.strip() if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
