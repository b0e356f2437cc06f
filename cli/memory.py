"""How a long command keeps its memory: pages given back must be cleared to be had again."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT_BYTES = 128 << 20
_LARGEST_BYTES = 32 << 20  # the most that glibc takes
_YOUNG_OBJECTS = 50_000


def keep_memory() -> None:
    """Let the C library keep what a chunk took for the next one, and the collector look seldom.

    Where the C library has no such setting nothing happens.
    """
    gc.freeze()  # what is loaded stays: it need not be looked at again
    gc.set_threshold(_YOUNG_OBJECTS)
    with suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
