"""Writing files of the workspace: whole or not at all, and private folders for unfinished work with their owners."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old file or the whole new one, also after a crash.

    What UTF-8 cannot express (a file name of other bytes) is written as the escape that JSON reads back.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def new_folder(parent: Path, prefix: str) -> Path:
    """Create a private folder with a unique name that begins with `prefix` and return its path."""
    return Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=parent))


def claim(folder: Path) -> int:
    """Lock a folder and return the descriptor that holds the lock; the system releases it when the process ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def is_claimed(folder: Path) -> bool:
    """Return whether a living process has claimed a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # it is gone, or never was a folder
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
