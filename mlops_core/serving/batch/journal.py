"""What an interrupted call has finished: a folder beside the output, with its lines so far and a journal of them.

Lines are written and flushed to the disk before the journal says so. A call that resumes cuts the lines where the
journal ends, so that nothing is torn, doubled or lost whenever the process ended. The output appears under its own
name once it is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

from mlops_core.datasets.digests import file_digest
from mlops_core.datasets.tree_walk import file_state
from mlops_core.errors import DatasetError, StoreError, UsageError
from mlops_core.serving.batch.answers import FaultCause

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlops_core.serving.batch.answers import FileAnswer

_FORMAT = 1
_SUFFIX = ".partial"
_HEADER, _INPUTS, _LINES, _JOURNAL, _LOCK = "header.json", "inputs.jsonl", "lines", "journal.jsonl", "lock"
_FIRST = "first line bytes"
_FLUSH_S = 1.0
_FLUSH_BYTES = 1 << 20
_START_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A file that is finished: answered, or named as unusable.

    Attributes:
        end: length of the lines, in bytes, after its own.
        samples: number of its lines.
        size: of the file; None if it could not be read.
        mtime_ns: when it was changed.
        sha256: of its content; empty if it could not be read.
        fault: why it has no answer; empty if it has one.
        cause: of the fault.
    """

    end: int
    samples: int
    size: int | None
    mtime_ns: int | None
    sha256: str
    fault: str = ""
    cause: str = ""


class Journal:
    """The lines and the journal of one output file; a context manager that holds them against other processes.

    Attributes:
        finished: number of files that are finished.
        resumed: how many of them an earlier call had finished.
        samples: number of their lines.
        faults: what cannot be used: the line of each, with its cause.
    """

    def __init__(self, output: Path) -> None:
        """Open nothing yet.

        Args:
            output: the file that will be complete at the end.
        """
        self._output = output
        self._folder = output.with_name(f"{output.name}{_SUFFIX}")
        self._opened = contextlib.ExitStack()
        self._pending: list[tuple[bytes, FileAnswer, str]] = []
        self._pending_bytes = 0
        self._start = b""
        self._last_flush = time.monotonic()
        self.finished = 0
        self.resumed = 0
        self.samples = 0
        self.faults: list[tuple[str, FaultCause]] = []

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is finished and close the files."""
        with self._opened:
            if self._pending:
                self._flush()

    def check_absent(self) -> None:
        """Refuse to begin where something was begun or finished.

        Raises:
            UsageError: says what to do.
        """
        if self._has_begun():
            raise UsageError(
                f"{self._folder} is left of an interrupted call: continue it with --resume, or remove the folder to "
                "begin again"
            )
        self._check_output()

    def _check_output(self) -> None:
        if self._output.exists() or self._output.is_symlink():
            raise UsageError(f"--output {self._output} exists and is complete; name another file, or remove it first")

    def _has_begun(self) -> bool:
        return (self._folder / _HEADER).exists()

    def prepare(self, identity: Mapping[str, str], inputs: Sequence[str], *, is_resumed: bool) -> None:
        """Check everything before the model is loaded; continue where the last call ended, if there was one.

        Args:
            identity: what must be the same for a call that resumes: what it is -> its value.
            inputs: all files, in order.
            is_resumed: continue if something was begun.

        Raises:
            UsageError: another process writes this output, or the call differs from the one that began.
            DatasetError: an input was changed since.
            StoreError: the folder cannot be written.
        """
        if not is_resumed:
            self.check_absent()
        with self._writing():
            self._lock()
            if self._has_begun():
                header = self._header()
                self._check_identity(header, identity)
                self._check_inputs(inputs)
                self._continue(inputs, first=header[_FIRST])
            else:
                self._check_output()

    def begin(self, identity: Mapping[str, str], inputs: Sequence[str], *, first_line: bytes) -> None:
        """Begin, unless a call is continued.

        Args:
            identity: as for `prepare`.
            inputs: likewise.
            first_line: of the output, before the lines of the files.

        Raises:
            StoreError: the folder cannot be written.
        """
        if self._has_begun():
            return
        with self._writing():
            self._begin(identity, inputs, first_line)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self._folder} cannot be written: {error.strerror}; free space or name another --output"
            ) from error

    def _lock(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        stream = self._opened.enter_context((self._folder / _LOCK).open("wb"))
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another process is writing {self._output}; wait for it, or name another file") from None

    def _begin(self, identity: Mapping[str, str], inputs: Sequence[str], first_line: bytes) -> None:
        with (self._folder / _INPUTS).open("w", encoding="utf-8") as stream:
            stream.writelines(f"{json.dumps(path)}\n" for path in inputs)
            _synchronize(stream)
        self._lines = self._open(_LINES, "wb")
        self._journal = self._open(_JOURNAL, "wb")
        _write(self._lines, first_line)
        os.fsync(self._lines.fileno())
        draft = self._folder / f"{_HEADER}.new"
        header = {"format": _FORMAT, _FIRST: len(first_line), **identity}
        with draft.open("w", encoding="utf-8") as stream:
            json.dump(header, stream, indent=1)
            _synchronize(stream)  # a name must not reach the disk before its content
        draft.replace(self._folder / _HEADER)

    def _header(self) -> Mapping[str, Any]:
        path = self._folder / _HEADER
        with self._undamaged(path):
            header = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(header, dict) or not isinstance(header.get(_FIRST), int):
                raise ValueError(_FIRST)  # noqa: TRY004  as for damaged text
        return header

    @contextlib.contextmanager
    def _undamaged(self, path: Path) -> Iterator[None]:
        try:
            yield
        except ValueError as error:  # of JSON and of UTF-8, too
            raise StoreError(
                f"--resume: {path} is damaged, so that the interrupted call cannot be continued; remove "
                f"{self._folder} to begin again"
            ) from error

    def _open(self, name: str, mode: str) -> FileIO:
        return self._opened.enter_context(FileIO(self._folder / name, mode))

    # --- Continuing ---------------------------------------------------------------------------------------

    def _check_identity(self, header: Mapping[str, Any], identity: Mapping[str, str]) -> None:
        began = {name: value for name, value in header.items() if name != _FIRST}
        now = {"format": _FORMAT, **identity}
        for name in {**began, **now}:
            if began.get(name) != now.get(name):
                raise UsageError(
                    f"--resume: {name} is {now.get(name)}, but {self._output} was begun with {began.get(name)}; use "
                    f"the same, or remove {self._folder} to begin again"
                )

    def _check_inputs(self, inputs: Sequence[str]) -> None:
        path = self._folder / _INPUTS
        with self._undamaged(path), path.open(encoding="utf-8") as stream:
            for old, new in itertools.zip_longest(map(json.loads, stream), inputs):
                if old != new:
                    is_new = old is None or (new is not None and new < old)
                    fault = f"{new} is not among the files of" if is_new else f"{old} is gone, or not named, since"
                    raise DatasetError(
                        f"--resume: {fault} the call that began {self._output}; restore the same files, or remove "
                        f"{self._folder} to begin again"
                    )

    def _continue(self, inputs: Sequence[str], *, first: int) -> None:
        end = length = 0
        size = self._size_of_lines()
        held: list[Finished] = []
        for path, (entry, length_after) in zip(inputs, self._entries(), strict=False):
            if entry.end > size:
                break
            self._check_unchanged(path, entry)
            held.append(entry)
            if entry.cause == FaultCause.WORKER:
                continue  # at the end of the journal, these files get another chance
            for each in held:
                self._count(each.samples, each.fault, each.cause)
            end, length = entry.end, length_after
            held.clear()
        is_complete = not (self._folder / _LINES).exists()  # the output has its name, but its folder is still there
        for each in held if is_complete else ():
            self._count(each.samples, each.fault, each.cause)
        self.resumed = self.finished
        if is_complete:
            self._check_complete(len(inputs))
            return
        self._lines = self._open(_LINES, "r+b")
        self._journal = self._open(_JOURNAL, "r+b")
        for stream, size in ((self._lines, max(end, first)), (self._journal, length)):
            stream.truncate(size)
            stream.seek(size)
        self._start = os.pread(self._lines.fileno(), _START_BYTES, 0)

    def _check_complete(self, count: int) -> None:
        if self.finished < count:
            raise StoreError(
                f"--resume: {self._output} is complete by its name, but {self._folder} tells of {self.finished} of "
                f"{count} files only; remove both to begin again"
            )

    def _size_of_lines(self) -> int:
        lines = self._folder / _LINES
        return (lines if lines.exists() else self._output).stat().st_size

    def _entries(self) -> Iterator[tuple[Finished, int]]:
        """Yield the complete entries, each with the length of the journal after it."""
        length = 0
        with (self._folder / _JOURNAL).open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                length += len(line)
                yield Finished(**json.loads(line)), length

    def _check_unchanged(self, path: str, entry: Finished) -> None:
        try:
            state = file_state(path)
            is_same = (state.size, state.mtime_ns) == (entry.size, entry.mtime_ns) or (
                state.size == entry.size and bool(entry.sha256) and file_digest(Path(path)) == entry.sha256
            )
        except OSError:
            is_same = entry.size is None
        if not is_same and entry.size is not None:
            raise DatasetError(
                f"--resume: {path} was changed since it was predicted; restore it, or remove {self._folder} to begin "
                "again"
            )

    # --- Writing ------------------------------------------------------------------------------------------

    def first_bytes(self, count: int) -> bytes:
        """Return how the lines so far begin, at most `count` bytes; empty if there are none."""
        return self._start[:count]

    def add(self, path: str, answer: FileAnswer) -> None:
        """Add what the model says about the next file.

        Raises:
            StoreError: the disk is full, or cannot be written.
        """
        self._pending.append((answer.body, answer, path))
        self._pending_bytes += len(answer.body)
        self._start = self._start or answer.body[:_START_BYTES]
        self._count(answer.samples, answer.fault, answer.cause or "")
        if self._pending_bytes >= _FLUSH_BYTES or time.monotonic() - self._last_flush >= _FLUSH_S:
            self._flush()

    def _count(self, samples: int, fault: str, cause: str) -> None:
        self.finished += 1
        self.samples += samples
        if fault:
            self.faults.append((fault, FaultCause(cause)))

    def _flush(self) -> None:
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        end, entries = self._lines.tell(), []
        for body, answer, path in pending:
            end += len(body)
            entries.append(json.dumps(asdict(_finished(answer, path, end=end))) + "\n")
        try:
            _write(self._lines, b"".join(body for body, _, _ in pending))
            os.fsync(self._lines.fileno())
            _write(self._journal, "".join(entries).encode())
        except OSError as error:
            raise StoreError(
                f"{self._folder} cannot be written: {error.strerror}; free space, then continue with --resume"
            ) from error
        self._last_flush = time.monotonic()

    def complete(self) -> None:
        """Give the output its name.

        Raises:
            UsageError: another process has written a file of this name.
            StoreError: it cannot be written.
        """
        if self._pending:
            self._flush()
        lines = self._folder / _LINES
        if not lines.exists():
            return
        self._check_output()
        try:
            os.fsync(self._journal.fileno())
            lines.rename(self._output)
        except OSError as error:
            raise StoreError(f"{self._output} cannot be written: {error.strerror}; the lines are in {lines}") from error

    def discard(self) -> None:
        """Remove what a complete output needs no longer."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _finished(answer: FileAnswer, path: str, *, end: int) -> Finished:
    size, mtime_ns = answer.size, answer.mtime_ns
    if size is None:
        with contextlib.suppress(OSError):
            state = file_state(path)
            size, mtime_ns = state.size, state.mtime_ns
    return Finished(
        end=end,
        samples=answer.samples,
        size=size,
        mtime_ns=mtime_ns,
        sha256=answer.sha256,
        fault=answer.fault,
        cause=answer.cause or "",
    )


def _synchronize(stream: TextIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _write(stream: FileIO, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[stream.write(view) :]
