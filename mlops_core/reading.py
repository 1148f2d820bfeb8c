"""Reading a file that somebody else wrote: without waiting for it, and only up to a limit.

A path may lead to a named pipe, a device or a file of any size. Opening a pipe waits for its writer, and a device has
no end. Whatever reads a configuration, a table or what a step left behind reads it here.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT_LIMIT_BYTES = 64 << 20
LINE_LIMIT = 16 << 20
_OPEN_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/(?:fd/(\d+)|stdin)\Z")


def read_bytes(path: Path, *, limit_bytes: int, accepts_descriptors: bool = False) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        limit_bytes: a larger file is not read.
        accepts_descriptors: also read an open descriptor of this process, ``/dev/stdin`` or ``/dev/fd/63``, as a shell
            passes the output of another command.

    Raises:
        OSError: the file is missing, is not a regular file, is larger than the limit, or cannot be read; ``strerror``
            says which.
    """
    descriptor = _opened(path, accepts_descriptors=accepts_descriptors)
    with os.fdopen(descriptor, "rb") as stream, naming(path):
        size = os.fstat(stream.fileno()).st_size
        content = stream.read(limit_bytes + 1) if size <= limit_bytes else b""
    if size > limit_bytes or len(content) > limit_bytes:
        shown = f"{size:,}" if size > limit_bytes else f"more than {limit_bytes:,}"
        raise OSError(errno.EFBIG, f"it has {shown} bytes; at most {limit_bytes:,} are read", str(path))
    return content


def is_descriptor(path: str | Path) -> bool:
    """Return whether a path names an open descriptor of this process, such as ``/dev/stdin``."""
    return _OPEN_DESCRIPTOR.match(str(path)) is not None


def read_text(path: Path, *, limit_bytes: int = TEXT_LIMIT_BYTES, encoding: str = "utf-8") -> str:
    """Return the text of a regular file.

    Raises:
        OSError: as for `read_bytes`.
        UnicodeDecodeError: it has another encoding.
    """
    return read_bytes(path, limit_bytes=limit_bytes).decode(encoding)


def read_json(path: Path, *, limit_bytes: int = TEXT_LIMIT_BYTES) -> Any:
    """Return the value in a JSON file.

    Raises:
        OSError: as for `read_bytes`.
        ValueError: it is not UTF-8, not JSON, nested too deeply, or holds a number with more digits than Python reads.
    """
    return parse_json(read_bytes(path, limit_bytes=limit_bytes))


def parse_json(content: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: as for `read_json`.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def bounded_lines(path: Path, *, newline: str | None = None, errors: str = "strict") -> Iterator[str]:
    """Yield the lines of a regular UTF-8 file of any size; no line is longer than `LINE_LIMIT`.

    Args:
        path: the file.
        newline: as for `open`.
        errors: as for `open`.

    Raises:
        OSError: the file is missing, is not a regular file, cannot be read, or has a longer line.
        UnicodeDecodeError: it is not UTF-8.
    """
    descriptor = _opened(path, accepts_descriptors=False)
    with os.fdopen(descriptor, encoding="utf-8", newline=newline, errors=errors) as stream:
        while line := stream.readline(LINE_LIMIT):
            if len(line) == LINE_LIMIT:
                raise OSError(errno.EFBIG, f"it has a line of more than {LINE_LIMIT:,} characters", str(path))
            yield line


def replace_text(path: Path, text: str) -> None:
    """Write a UTF-8 file under a new name and rename it, so that whatever is at `path` is replaced and never opened.

    Raises:
        OSError: it cannot be written, for example because `path` is a folder.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Let an error of the disk name the file: the system does so where one is opened, not where it is read."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def fault_of(path: Path) -> str:
    """Return what a path is where it leads to neither a file nor a folder; empty otherwise, or if nothing is there.

    Example:
        >>> Path("current").symlink_to("version-1")
        >>> fault_of(Path("current"))
        'a link to version-1, which does not exist'
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads to itself"
        with contextlib.suppress(OSError):
            return f"a link to {path.readlink()}, which does not exist"
        return ""
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "a pipe, socket or device"


def open_regular(path: str | Path) -> int:
    """Return a descriptor of a regular file, opened for reading without waiting.

    Raises:
        OSError: the file is missing, is not a regular file, or cannot be opened.
    """
    return _opened(path, accepts_descriptors=False)


def _opened(path: str | Path, *, accepts_descriptors: bool) -> int:
    open_here = _OPEN_DESCRIPTOR.match(str(path)) if accepts_descriptors else None
    if open_here:
        return os.dup(int(open_here[1] or 0))
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def copying_fault(error: OSError) -> str:
    """Return why a file or folder cannot be copied or written, as a person reads it.

    `shutil` reports a folder as a list with an entry for each file; a link to itself or a file in the place of a folder
    is reported as a name that exists.

    Example:
        >>> copying_fault(OSError(28, "No space left on device", "/data/x"))
        'No space left on device'
    """
    if error.args and isinstance(error.args[0], list) and error.args[0]:  # a `shutil.Error`
        first, *others = error.args[0]
        reason = re.sub(r"^\[Errno \d+\] ", "", str(first[-1])).partition(": '")[0]
        return f"{reason} ({first[0]}{f' and {len(others)} others' if others else ''})"
    if error.errno == errno.EEXIST and error.filename:
        try:
            is_folder = stat.S_ISDIR(os.stat(error.filename).st_mode)  # noqa: PTH116  the name of anything
        except OSError as fault:
            return f"{fault.strerror} ({error.filename})"
        if not is_folder:
            return f"{os.strerror(errno.ENOTDIR)} ({error.filename})"
    return error.strerror or str(error)
