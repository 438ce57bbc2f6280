"""Survey: one reading of every row of a table, which says what is broken, what is a copy, what is odd."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from likewise.modalities import image

MAX_LISTED = 10  # bad rows that a message lists


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, and why; and the file that it is from, if that is known."""

    row: int
    column: str
    reason: str
    file: str | None = None

    def __str__(self) -> str:
        return f"row {self.row}, {self.column}: {self.reason}" + (f" (in {self.file})" if self.file else "")


def format_bad_rows(said: str, bad: Sequence[BadRow]) -> str:
    """A sentence about bad rows with the first of them, a line each."""
    more = [f"and {len(bad) - MAX_LISTED} more"] if len(bad) > MAX_LISTED else []
    return "\n  ".join([said, *map(str, bad[:MAX_LISTED]), *more])


@dataclass(frozen=True)
class ValidationReport:
    """What was found.

    digests  a hash of each row's content
    broken   values that cannot be used, whatever the modalities learn
    greys    column -> how many pictures are grey
    """

    digests: list[bytes]
    broken: list[BadRow]
    greys: Counter[str]

    def warnings(self) -> list[str]:
        """What is worth a look and no error."""
        rows, doubts = len(self.digests), []
        if copies := rows - len(set(self.digests)):
            doubts.append(f"{copies} of {rows} rows are copies of others")
        for name, grey in self.greys.items():
            if 0 < grey < rows:
                doubts.append(
                    f"{name}: {grey} of {rows} pictures are grey, the others in colour; say "
                    "with channels=1 or channels=3 what all should be"
                )
        return doubts


def validate(kinds: Mapping[str, str], rows: int, cells: Callable[[str], Iterable[Any]]) -> ValidationReport:
    """Read the `cells` of every column, by its kind."""
    hashes = [hashlib.sha256() for _ in range(rows)]
    broken, greys = [], Counter()
    for name, kind in kinds.items():
        for row, cell in enumerate(cells(name)):
            data, reason = repr(cell).encode(errors="surrogatepass"), invalid_reason(cell, kind)
            if kind == "image" and reason is None:
                try:
                    data = content(cell)
                    greys[name] += image.channels_of(image.read(data)) == 1
                except ValueError as error:
                    reason = str(error)
            if reason:
                broken.append(BadRow(row, name, reason))
            hashes[row].update(b"%s %d " % (name.encode(), len(data)) + data)
    return ValidationReport([h.digest() for h in hashes], broken, greys)


def content(cell: Mapping[str, Any]) -> bytes:
    """The bytes of a picture's file. Raises ValueError if there is none."""
    if cell["bytes"] is not None:
        return cell["bytes"]
    try:
        return Path(cell["path"]).read_bytes()
    except (OSError, TypeError) as error:
        why = getattr(error, "strerror", error)
        raise ValueError(f"cannot open the picture {cell['path']!r}: {why}") from None


def invalid_reason(cell: Any, kind: str) -> str | None:
    """Why a value cannot be used, whatever the modality learns; pictures are opened elsewhere."""
    if cell is None:
        return "missing"
    if isinstance(cell, str) and not (cell if kind == "document" else cell.strip()):
        return "empty"
    if kind == "number" and not (isinstance(cell, (int, float)) and math.isfinite(cell)):
        return f"{cell!r} is not a finite number"
    return None
