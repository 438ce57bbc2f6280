"""Tables, times and values as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """
    >>> print(align_columns([("a", "b"), ("long", "c")]))
    a     b
    long  c
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)


def printable(text: str) -> str:
    """The text with escapes for characters that would move the cursor, such as a newline.

    >>> printable("two\\nlines")
    'two\\\\nlines'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def format_duration(seconds: float) -> str:
    """
    >>> format_duration(59), format_duration(61), format_duration(3661)
    ('0:59', '1:01', '1:01:01')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def format_value(value: Any) -> str:
    """
    >>> format_value(0.10), format_value(True), format_value("auto")
    ('0.1', 'yes', 'auto')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
