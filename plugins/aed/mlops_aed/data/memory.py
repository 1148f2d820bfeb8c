"""How a process that makes the same large arrays again and again keeps their memory."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # glibc, malloc.h
_LARGEST_BYTES = 32 << 20  # glibc refuses a larger threshold
_KEPT_BYTES = 128 << 20


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next array, instead of giving it back to the system.

    By default every array of more than some 100 KiB may get pages that are new to the process; to fault them in costs
    as much as the arithmetic on them. For processes of our own only: the setting is the whole process's.

    Returns:
        False where the C library is another one than glibc; nothing has changed then.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_THRESHOLD, _LARGEST_BYTES), (_TRIM_THRESHOLD, _KEPT_BYTES), (_TOP_PAD, _LARGEST_BYTES))
    return all(mallopt(option, value) == 1 for option, value in settings)
