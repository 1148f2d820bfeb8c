"""The progress file of a step, as the driver reads it: without waiting, in small pieces, and believing nothing.

A step appends to the file through its context. Its code may also put anything else there; such a step fails by name.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from mlops_core.errors import StepError
from mlops_core.reading import open_regular, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_TAIL_BYTES = 1 << 16
"""Only the newest line counts, so no more than this is read at once."""
_LONGEST_LABEL = 200
_LARGEST = 1 << 53


class ProgressReader:
    """Reads what a step appends to its progress file."""

    def __init__(self, path: Path | None, on_progress: Callable[[str, int, int], None]) -> None:
        """Read the file at `path`; call `on_progress` with (label, done, total)."""
        self._path = path
        self._on_progress = on_progress
        self._offset = 0

    def read(self) -> None:
        """Pass on the newest complete line since the last call.

        Raises:
            StepError: the file is not one that `mlops_core.StepContext.progress` wrote.
        """
        line = self._newest_line()
        if line is None:
            return
        try:
            event = parse_json(line)
            label, done, total = event["label"], _count(event["done"]), _count(event["total"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._fault(f"{line[:80]!r} is not a line of progress") from error
        if not isinstance(label, str):
            raise self._fault(f"the label {label!r:.80} is not a text")
        shown = "".join(letter if letter.isprintable() else " " for letter in label[:_LONGEST_LABEL])
        self._on_progress(shown, done, total)

    def _newest_line(self) -> bytes | None:
        if self._path is None:
            return None
        try:
            descriptor = open_regular(self._path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._fault(str(error.strerror)) from error
        with os.fdopen(descriptor, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            start = max(self._offset, size - _TAIL_BYTES)
            stream.seek(start)
            data = stream.read(_TAIL_BYTES)
        end = data.rfind(b"\n") + 1
        if not end:
            if len(data) == _TAIL_BYTES:
                raise self._fault(f"it has a line of more than {_TAIL_BYTES:,} bytes")
            return None
        self._offset = start + end
        return data[:end].split(b"\n")[-2]

    def _fault(self, reason: str) -> StepError:
        name = self._path.name if self._path else ""
        return StepError(f"its file {name} is not what StepContext.progress writes: {reason}")


def _count(value: object) -> int:
    """Return a number of things as an integer.

    Raises:
        ValueError: it is not a number from 0 to 2^53.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is not a number")
    if not 0 <= value <= _LARGEST:
        raise ValueError("a number below 0 or above 2^53")
    return int(value)
