"""Standard output and error of the command line: that nobody reads them, or that they are closed, changes no exit code.

A command may print when its work is done: a reader that has gone (``mlops ... | head``) must not turn a success into a
failure, nor a failure into a success.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

import click

_STANDARD = (0, 1, 2)


class OutputClosedError(BrokenPipeError):
    """Nobody reads standard output any more, and there is nothing else to do."""


class PatientFile(io.FileIO):
    """A file whose writes never fail; what cannot be written is dropped.

    Attributes:
        count: number of bytes that were written or dropped.
        is_abandoned: the reader has gone.
        error: another reason why something was dropped.
    """

    def __init__(self, descriptor: int) -> None:
        """Write to a descriptor, which stays open."""
        super().__init__(descriptor, "w", closefd=False)
        self.count = 0
        self.is_abandoned = False
        self.error: OSError | None = None

    def write(self, data: object, /) -> int:
        """Write bytes, or drop them."""
        size = memoryview(data).nbytes  # type: ignore[arg-type]  # the class in the standard library has no better type
        self.count += size
        try:
            return super().write(data) if not (self.is_abandoned or self.error) else size  # type: ignore[arg-type]
        except BrokenPipeError:
            self.is_abandoned = True
        except OSError as error:
            self.error = error
        return size


class StandardStreams:
    """Standard output and error of this process, replaced by patient ones."""

    def __init__(self) -> None:
        """Replace them; a stream that is closed leads nowhere."""
        open_closed_descriptors()
        self._output = PatientFile(1)
        sys.stdout = _text(self._output, like=sys.stdout, errors="strict")
        sys.stderr = _text(PatientFile(2), like=sys.stderr, errors="backslashreplace")

    @property
    def has_output(self) -> bool:
        """Whether anything was written to standard output."""
        sys.stdout.flush()
        return self._output.count > 0

    def close(self) -> OSError | None:
        """Write what is buffered; return why standard output is incomplete, unless its reader has left."""
        sys.stdout.flush()
        sys.stderr.flush()
        return self._output.error


def open_closed_descriptors() -> None:
    """Let closed standard descriptors lead to the null device, so that no file opened later takes their place."""
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number, which is this one


def echo_while_read(text: str) -> None:
    """Print a line of an output that may have no end.

    Raises:
        OutputClosedError: the reader of standard output has gone.
    """
    click.echo(text)
    if _is_output_abandoned():
        raise OutputClosedError


def _is_output_abandoned() -> bool:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, PatientFile) and raw.is_abandoned


def _text(file: PatientFile, *, like: TextIO | None, errors: str) -> TextIO:
    """Return a text stream with the encoding of another one, which is None where its descriptor was closed."""
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=like.encoding if like else "utf-8",
        errors=(like.errors if like else None) or errors,
        line_buffering=file.isatty() or file.fileno() != 1,
    )
