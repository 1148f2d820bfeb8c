"""Writing files of the workspace: whole or not at all, and private folders for unfinished work."""

from __future__ import annotations

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
