"""Writing files of the workspace: whole or not at all, and private folders for unfinished work with their owners."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def write_atomically(path: Path, text: str | Iterable[str]) -> None:
    """Write `text` to `path` so that a reader sees the old file or the whole new one, also after a crash.

    What UTF-8 cannot express (a file name of other bytes) is written as the escape that JSON reads back.

    Args:
        path: the file.
        text: the whole content, or its pieces.
    """
    partial = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)  # less the umask
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines((text,) if isinstance(text, str) else text)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_only_mode() -> int:
    """Return the mode of a file that is not written again: readable for whom the umask allows it."""
    return 0o444 & ~_umask()


def _umask() -> int:
    """Return the umask without setting it, which other threads would notice; elsewhere than on Linux, by setting it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    except (OSError, StopIteration, ValueError):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask


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
