"""Reports of work that takes long, to whoever runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far some work is.

    stage        what is done now, in a word or two
    step, steps  how many parts are done, and how many there are; None if that is not known yet
    """

    stage: str
    step: int = 0
    steps: int | None = None


_receiver: ContextVar[Callable[[Progress], object]] = ContextVar("_receiver", default=lambda progress: None)


def report_progress(stage: str, step: int = 0, steps: int | None = None) -> None:
    """Tell the receiver of this context, if there is one."""
    _receiver.get()(Progress(stage, step, steps))


@contextmanager
def receive_progress(receive: Callable[[Progress], object]) -> Iterator[None]:
    """Within it `receive` is called with each report; it holds for this thread, or asynchronous task, alone.

    >>> with receive_progress(print):
    ...     report_progress("metrics", 1, 3)
    Progress(stage='metrics', step=1, steps=3)
    """
    token = _receiver.set(receive)
    try:
        yield
    finally:
        _receiver.reset(token)
