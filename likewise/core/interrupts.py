"""Ctrl-C and the signals that end a process, as exceptions, and blocks of code that they do not interrupt."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP: the terminal was closed; Windows has none


class Terminated(KeyboardInterrupt):
    """A signal that ends the process, handled like Ctrl-C so that what is done is saved."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def signal_of(error: KeyboardInterrupt) -> int:
    """The number of the signal that an exception stands for. The exit status of a shell is 128 more."""
    return error.number if isinstance(error, Terminated) else int(signal.SIGINT)


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Raise Terminated on SIGTERM and SIGHUP within the block.

    A signal that is ignored (nohup) or has a handler keeps it. In threads other than the main one it does nothing.
    """

    def handle(number: int, frame: FrameType | None) -> NoReturn:
        raise Terminated(number)

    signals = [s for s in _signals() if signal.getsignal(s) == signal.SIG_DFL]
    for number in signals:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in signals:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def defer_interrupts() -> Iterator[None]:
    """Delay Ctrl-C, SIGTERM and SIGHUP until the block has ended, so that it is executed as a whole.

    Raises KeyboardInterrupt or Terminated after the block. In threads other than the main one it does nothing.
    """
    pending: list[int] = []
    handlers = {s: h for s in _signals() if callable(h := signal.getsignal(s))}
    for number in handlers:
        signal.signal(number, lambda number, frame: pending.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for caught in dict.fromkeys(pending):
            signal.raise_signal(caught)


def _signals() -> list[signal.Signals]:
    """The signals that can be handled here: none outside of the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
