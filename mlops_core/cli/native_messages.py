"""Messages that native libraries write to standard error while they are loaded, bypassing Python's logging.

Notes of the kind "this build can use these instructions" are dropped, so that a command's answer stands alone;
warnings, errors and everything else stay. The steps of a run write into logs, where all of it is kept.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDERR = 2
_NOTE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    rb"|I\d{4} [\d:.]+ +\d+ \S+:\d+\] "  # severity, day, time, thread, place: the format of Abseil's log
    rb"|To enable the following instructions: "  # the continuation of such a note
)


@contextlib.contextmanager
def without_native_notes() -> Iterator[None]:
    """Capture standard error, of native code too, for the length of a block; then write it without the notes."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        kept = os.dup(_STDERR)
        os.dup2(held.fileno(), _STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, _STDERR)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not _NOTE.match(line):
                    sys.stderr.write(line.decode(errors="backslashreplace"))
            sys.stderr.flush()
