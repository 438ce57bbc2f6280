"""Messages for names that do not exist, and warnings about requests."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_receiver: ContextVar[Callable[[str], object] | None] = ContextVar("_receiver", default=None)


class RequestWarning(UserWarning):
    """A request was changed before it was carried out, or its result may surprise; the message says how.

    The command line shows these as notes, and a server returns them: see `receive_warnings`.
    """


def warn(message: str) -> None:
    """Give a RequestWarning to the receiver of this context, else to Python's warnings."""
    if (receive := _receiver.get()) is None:
        warnings.warn(message, RequestWarning, stacklevel=3)
    else:
        receive(message)


@contextmanager
def receive_warnings(receive: Callable[[str], object]) -> Iterator[None]:
    """Within it `receive` is called with the message of each RequestWarning, in place of Python's warnings.

    It holds for this thread, or asynchronous task, alone: each request of a server has its own.

    >>> notes: list[str] = []
    >>> with receive_warnings(notes.append):
    ...     warn("an empty text is no prompt")
    >>> notes
    ['an empty text is no prompt']
    """
    token = _receiver.set(receive)
    try:
        yield
    finally:
        _receiver.reset(token)


def did_you_mean(what: str, name: str, known: Iterable[str]) -> str:
    """The message for an unknown name: suggests the nearest one and lists all.

    >>> did_you_mean("column", "imgae", ["image", "text"])
    "unknown column 'imgae': did you mean 'image'? There are: image, text"
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return f"unknown {what} {name!r}{hint} There are: {', '.join(known) or 'none'}"
