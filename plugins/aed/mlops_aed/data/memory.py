"""Memory of a process that allocates the same large arrays again and again."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # glibc, malloc.h
_LARGEST_BYTES = 32 << 20  # glibc refuses a larger threshold
_KEPT_BYTES = 128 << 20


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next array instead of returning it to the system.

    By default every array of more than some 100 KiB may get new pages; the page faults cost
    as much as the arithmetic on them. Only for worker processes: the setting applies to the whole process.

    Returns:
        False if the C library is not glibc and nothing has changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES), (_TOP_PAD, _LARGEST_BYTES))
    return all(mallopt(option, value) == 1 for option, value in settings)
