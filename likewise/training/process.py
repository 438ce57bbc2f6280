"""The process as a whole: Ctrl-C, and the memory allocator of the C library."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def defer_interrupt() -> Iterator[None]:
    """Delay Ctrl-C until the block has ended, so that it is executed as a whole.

    Raises KeyboardInterrupt after the block. In threads other than the main one it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: pending.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if pending:
        raise KeyboardInterrupt


def tune_malloc() -> None:
    """Have the C library reuse freed memory for the next step, not return it to the system page by page.

    On Linux with glibc this makes convolutions on a CPU about twice as fast (docs/design.md, "Speed");
    elsewhere it does nothing.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from the heap
            mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: and stay there
