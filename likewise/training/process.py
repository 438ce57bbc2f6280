"""Machine: the device and its arithmetic, the processes of a run, Ctrl-C, and the C library's memory.

What depends on the computer and not on what is trained: one function each, plain arguments, no state. What
one of them changes, it changes for the whole process, and only when it is called.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def defer_interrupt() -> Iterator[None]:
    """Put Ctrl-C off until the block is done, so that what it does has happened or has not."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if caught:
        raise KeyboardInterrupt


def tune_malloc() -> None:
    """Have the C library keep freed memory for the next step, not give it back to the system page by page.

    On Linux with glibc this makes convolutions on a CPU about twice as fast (docs/design.md, "Speed");
    elsewhere it does nothing.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from the heap
            mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: and stay there
