"""Standard output and error of the command line: what is printed there, and what happens when nobody reads it.

Everything that a command writes passes through an `EscapingStream`, which shows control characters instead of sending
them to the terminal; only `styled_stream`, for colours and progress bars of our own, leads past it.

That nobody reads the streams, or that they are closed, changes no exit code. A command may print when its work is done:
a reader that has gone (``mlops ... | head``) must not turn a success into a failure, nor a failure into a success.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from mlops_core.control_characters import escape_controls, escape_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_STANDARD = (0, 1, 2)


def is_interactive(stream: TextIO) -> bool:
    """Return whether a stream is a terminal on which tables with borders, bars and redrawn lines are wanted.

    They are not in plain mode (``mlops --plain``, ``MLOPS_PLAIN=1``), for screen readers, nor on a dumb terminal.
    """
    if not stream.isatty():
        return False
    from mlops_core.settings import read_settings

    settings = read_settings()
    context = click.get_current_context(silent=True)
    is_plain = context is not None and bool((context.find_root().obj or {}).get("plain"))
    return not (is_plain or settings.is_plain or settings.environ.get("TERM") == "dumb")


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


class EscapingStream:
    """A text stream that shows control characters instead of writing them; all else is that of the wrapped stream."""

    def __init__(self, stream: TextIO) -> None:
        """Write to `stream`."""
        self._stream = stream

    @property
    def unescaped(self) -> TextIO:
        """The wrapped stream."""
        return self._stream

    def write(self, text: str) -> int:
        """Write a text, escaped; return the number of its characters."""
        self._stream.write(escape_controls(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, escaped."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the wrapped stream."""
        return getattr(self._stream, name)


@contextlib.contextmanager
def escaped_streams() -> Iterator[None]:
    """Let standard output and error escape control characters, where they do not yet, for the length of a block."""
    output, errors = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _escaping(output), _escaping(errors)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = output, errors


def styled_stream(stream: TextIO) -> TextIO:
    """Return where styles and cursor movements of our own are written; every text must be escaped before."""
    return stream.unescaped if isinstance(stream, EscapingStream) else stream


def _escaping(stream: TextIO) -> TextIO:
    return stream if isinstance(stream, EscapingStream) else cast("TextIO", EscapingStream(stream))


class StandardStreams:
    """Standard output and error of this process, replaced by patient ones."""

    def __init__(self) -> None:
        """Replace them; a stream that is closed leads nowhere."""
        open_closed_descriptors()
        self._output = PatientFile(1)
        sys.stdout = _escaping(_text(self._output, like=sys.stdout))
        sys.stderr = _escaping(_text(PatientFile(2), like=sys.stderr))

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


def echo_line(text: object, *, err: bool = False) -> None:
    """Print a text as one line, whatever is in it: nothing in a name can look like another line of the output."""
    click.echo(escape_line(str(text)), err=err)


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


def _text(file: PatientFile, *, like: TextIO | None) -> TextIO:
    """Return a text stream with the encoding of another one, which is None where its descriptor was closed.

    What the encoding lacks is written as its escape. ASCII, which click would replace too, becomes UTF-8.
    """
    encoding = like.encoding if like else "utf-8"
    errors = like.errors if like else None
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding="utf-8" if codecs.lookup(encoding).name == "ascii" else encoding,
        errors="backslashreplace" if errors in (None, "strict", "surrogateescape") else errors,
        line_buffering=file.isatty() or file.fileno() != 1,
    )
