"""The process as a whole: the memory allocator of the C library."""

from __future__ import annotations

import ctypes
import sys


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
