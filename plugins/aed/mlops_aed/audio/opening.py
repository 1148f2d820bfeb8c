"""Opening an audio file with one of the formats that this plugin supports, and no other.

libsndfile chooses by content and, for a few formats, by name: it looks for a second file beside one, and takes any
bytes as samples of another. It is given an open file without a name, and only regular files are opened.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

import soundfile

from mlops_aed.file_names import printable
from mlops_core import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORMATS = frozenset({"WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "MPEG", "AIFF", "AU", "CAF"})


@contextlib.contextmanager
def open_audio(path: Path) -> Iterator[soundfile.SoundFile]:
    """Open an audio file for reading; errors of the decoder inside the block are translated, too.

    Raises:
        DatasetError: it is not a regular file, cannot be read, is damaged, or has a format that is not supported.
    """
    name = printable(path.name)
    try:
        with _regular(path, name) as descriptor, soundfile.SoundFile(descriptor, closefd=False) as file:
            if file.format not in FORMATS:
                raise DatasetError(f"{name} cannot be decoded: {file.format_info} is not supported; convert it to WAV")
            yield file
    except (soundfile.LibsndfileError, OSError, RuntimeError, MemoryError) as error:
        reason = getattr(error, "error_string", None) or str(error) or type(error).__name__
        raise DatasetError(f"{name} cannot be decoded: {reason}") from error


@contextlib.contextmanager
def _regular(path: Path, name: str) -> Iterator[int]:
    """Open a regular file and yield its descriptor; a named pipe would block for ever without ``O_NONBLOCK``."""
    descriptor = -1
    with contextlib.suppress(FileNotFoundError, ValueError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if descriptor < 0 or not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DatasetError(f"{name} cannot be decoded: no such file, or not a regular one")
        yield descriptor
    finally:
        if descriptor >= 0:
            os.close(descriptor)
