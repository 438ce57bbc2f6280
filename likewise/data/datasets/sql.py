"""SQL statements in the tests of sqlglot, read from their syntax trees; no code is run.

`self.validate_all(sql, read={dialect: sql}, write={dialect: sql})` in a test of a dialect declares `sql` to be
of that dialect, with its translations; `self.validate_identity(sql)` declares it to be a statement.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

ANY = "any"  # the dialect of statements that every dialect reads
METHODS = ("self.validate_all", "self.validate_identity")


@dataclass
class Call:
    """One call in a test.

    place         the file's dialect and the line
    translations  dialect -> statement
    """

    place: str
    dialect: str
    statements: list[str]
    translations: dict[str, str] = field(default_factory=dict)


def calls(source: str, name: str) -> Iterator[Call]:
    """The calls in the source of a test file about the dialect `name`, in order.

    Statements that are computed at run time are left out, and those that sqlglot passes on without parsing them
    (check_command_warning).

    >>> code = "class T:\\n dialect = 'hive'\\n def t(self): self.validate_all('A', read={'x': 'C'})"
    >>> next(calls(code, "hive"))
    Call(place='hive_3', dialect='hive', statements=['A'], translations={'x': 'C'})
    """
    for group in [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]:
        dialects = (
            _text(node.value)
            for node in group.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "dialect"
        )
        dialect = next(dialects, "") or ANY
        for node in ast.walk(group):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in METHODS:
                continue
            options = {word.arg: word.value for word in node.keywords}
            arguments = [*node.args, *(options[n] for n in ("sql", "write_sql") if n in options)]
            if "check_command_warning" in options or not (arguments and _text(arguments[0])):
                continue
            call = Call(f"{name}_{node.lineno}", dialect, [s for s in map(_text, arguments) if s])
            for option in ("read", "write"):  # where both have a dialect, the translation is the better one
                call.translations |= dict(_texts(options.get(option)))
            yield call


def _texts(node: ast.expr | None) -> Iterator[tuple[str, str]]:
    """The pairs of a dictionary literal whose sides are both non-empty string literals."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None and _text(key) and _text(value):
                yield _text(key).partition(",")[0], _text(value)  # "spark, version=3.4" is spark


def _text(node: ast.expr) -> str:
    """A string literal without surrounding spaces, "" for another node."""
    return node.value.strip() if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
