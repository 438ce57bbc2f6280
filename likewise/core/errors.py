"""Messages for names that do not exist, and the category of warnings about requests."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RequestWarning(UserWarning):
    """A request was changed before it was carried out, or its result may surprise; the message says how.

    The command line shows these as notes; a server can return them.
    """


def did_you_mean(what: str, name: str, known: Iterable[str]) -> str:
    """The message for an unknown name: suggests the nearest one and lists all.

    >>> did_you_mean("column", "imgae", ["image", "text"])
    "unknown column 'imgae': did you mean 'image'? There are: image, text"
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return f"unknown {what} {name!r}{hint} There are: {', '.join(known) or 'none'}"
