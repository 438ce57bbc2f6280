"""Text for a terminal: characters that can be printed, and columns that are aligned."""

from __future__ import annotations

from collections.abc import Sequence


def align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines, in columns as wide as their widest cell.

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
