"""TODO core.errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(what: str, name: str, known: Iterable[str]) -> str:
    """The one sentence for a name that is not known: says the nearest and lists the rest.

    >>> unknown("column", "imgae", ["image", "text"])
    "unknown column 'imgae': did you mean 'image'? There are: image, text"
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return f"unknown {what} {name!r}{hint} There are: {', '.join(known) or 'none'}"
