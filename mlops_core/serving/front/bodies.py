"""Receiving the body of a request into a file of a private folder, with limits on its size and its duration.

The folder is in memory (``/dev/shm``) where there is room, else below the folder for temporary files. A file exists for
the length of one request. Folders that killed servers have left behind are removed at the next start: their lock is
free.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_core.quantities import format_size
from mlops_core.serving.refusals import RefusedRequestError, overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

_MEMORY = Path("/dev/shm")  # noqa: S108  a private folder of an unguessable name is created in it
_PREFIX = "mlops-serve-"
_LOCK = "lock"
_LINGER_S = 2.0
_LINGER_BYTES = 64 << 20
_MOST_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """Limits of the body of a request.

    Attributes:
        max_bytes: its largest size.
        timeout_s: time from the headers to the end of the body.
    """

    max_bytes: int
    timeout_s: float = 30.0


class BodyFolder:
    """The private folder of one server."""

    def __init__(self, *, room_bytes: int) -> None:
        """Create the folder, where there is room for this many bytes; remove those that killed servers left behind."""
        place = _place(room_bytes)
        _remove_left_over(place)
        new = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}{os.getuid()}-", dir=place))
        self._lock = os.open(new / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = new.rename(new.with_name(new.name.removeprefix(".")))  # only now do other servers see it
        self._receiving = 0
        self._count = 0

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def new_file(self, suffix: str) -> Path:
        """Return the name of a new file."""
        self._count += 1
        return self.path / f"body-{self._count}{suffix}"

    async def receive(self, request: Request, path: Path, limits: BodyLimits) -> int:
        """Write the body of a request to `path`; return its size.

        Raises:
            RefusedRequestError: it is empty, too large, too slow, cut off or of unknown length, or there is no room.
        """
        _check_headers(request, limits)
        if self._receiving >= _MOST_AT_ONCE:
            raise overloaded(f"{self._receiving} request bodies are being received; send the request again later")
        self._receiving += 1
        try:
            async with asyncio.timeout(limits.timeout_s):
                size = await _write(request, path, limits)
        except TimeoutError:
            raise RefusedRequestError(
                HTTPStatus.REQUEST_TIMEOUT,
                f"the body was not complete after {limits.timeout_s:g} s; send it faster or make it smaller",
                headers={"Connection": "close"},
            ) from None
        finally:
            self._receiving -= 1
        if not size:
            raise RefusedRequestError(HTTPStatus.BAD_REQUEST, "the body is empty; send the content of one file")
        return size


async def discard_rest(request: Request) -> bool:
    """Read what a refused request still sends, for a short time; return whether its end was reached.

    A connection that is closed while its peer is sending loses the response.
    """
    if request.headers.get("expect", "").lower() == "100-continue":
        return False  # it waits for permission to send
    size, begun = 0, time.monotonic()
    with contextlib.suppress(TimeoutError, Exception):
        async with asyncio.timeout(_LINGER_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > _LINGER_BYTES or time.monotonic() - begun > _LINGER_S:
                    return False
            return True
    return False


def _check_headers(request: Request, limits: BodyLimits) -> None:
    headers = request.headers
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RefusedRequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Content-Encoding is not supported; send the body as it is"
        )
    declared = headers.get("content-length")
    if declared is None and "transfer-encoding" not in headers:
        raise RefusedRequestError(HTTPStatus.LENGTH_REQUIRED, "the request has no body; send it with a Content-Length")
    if declared is not None and declared.isdecimal() and int(declared) > limits.max_bytes:
        raise _too_large(limits)


async def _write(request: Request, path: Path, limits: BodyLimits) -> int:
    from starlette.requests import ClientDisconnect

    size = 0
    try:
        with path.open("xb", buffering=0) as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > limits.max_bytes:
                    raise _too_large(limits)
                if chunk:
                    file.write(chunk)
    except ClientDisconnect:
        raise RefusedRequestError(
            HTTPStatus.BAD_REQUEST, "the body was cut off; send all of it", headers={"Connection": "close"}
        ) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise overloaded("the server has no room for the body; send the request again later") from error
        raise
    return size


def _too_large(limits: BodyLimits) -> RefusedRequestError:
    return RefusedRequestError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is larger than {format_size(limits.max_bytes)} ({limits.max_bytes} bytes), the limit of this server",
    )


def _place(room_bytes: int) -> Path:
    with contextlib.suppress(OSError):
        if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= room_bytes:
            return _MEMORY
    return Path(tempfile.gettempdir())


def _remove_left_over(place: Path) -> None:
    for folder in _own_folders(place):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _own_folders(place: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for folder in place.glob(f"{_PREFIX}{os.getuid()}-*"):
            status = folder.lstat()
            if status.st_uid == os.getuid() and folder.is_dir() and not folder.is_symlink():
                yield folder
