"""How messages write an option: as on the command line, or as a field of a request, as whoever runs the code says."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from likewise.core.formula import parse_name

FIELDS = {"kind": "kinds", "view": "views", "from": "model", "out": "suffix"}  # where they have another name
WriteOption = Callable[..., str]  # (name, [[key,] value])


def as_flag(name: str, *value: Any) -> str:
    """An option of the command line.

    >>> as_flag("save_seconds"), as_flag("header", False), as_flag("length", 80), as_flag("kind", "price", "text")
    ('--save-seconds', '--no-header', '--length 80', '--kind price=text')
    """
    flag = name.replace("_", "-")
    if not value or value == (True,):
        return f"--{flag}"
    if value == (False,):
        return f"--no-{flag}"
    text = "=".join(map(str, value))
    if text.isprintable():
        return f"--{flag} {shlex.quote(text)}"
    return f"--{flag} {text!r}"


def as_field(name: str, *value: Any) -> str:
    """A field of a request, in JSON.

    >>> as_field("save_seconds"), as_field("header", False), as_field("kind", "price", "text")
    ('save_seconds', '"header": false', '"kinds": {"price": "text"}')
    """
    field = FIELDS.get(name, name)
    if not value:
        return field
    content = value[0] if len(value) == 1 else {parse_name(value[0]): value[1]}
    return f'"{field}": {json.dumps(content, ensure_ascii=False)}'


_write: ContextVar[WriteOption] = ContextVar("_write", default=as_flag)


def option_text(name: str, *value: Any) -> str:
    """An option as the reader of a message would write it: its name, with a value, or with an entry `key, value`.

    A key is a name as in a formula. Of a value that is true or false the option says which.
    """
    return _write.get()(name, *value)


@contextmanager
def write_options(write: WriteOption) -> Iterator[None]:
    """Within it messages write options by `write`; it holds for this thread, or asynchronous task, alone.

    >>> with write_options(as_field):
    ...     f"learn longer with {option_text('minutes', 20)}"
    'learn longer with "minutes": 20'
    """
    token = _write.set(write)
    try:
        yield
    finally:
        _write.reset(token)
