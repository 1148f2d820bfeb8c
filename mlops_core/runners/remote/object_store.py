"""Many objects of one bucket or container, fast: `Bucket`, on top of obstore, which is imported on use.

An engine says where the store is and what its errors mean (`StoreAccess`). Requests that fail are retried with jitter
and growing waits; what remains is a `DatasetError` of one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from mlops_core.errors import DatasetError, RunnerError
from mlops_core.runners.remote.places import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from mlops_core.runners.remote.upload_index import Receipts


_AT_ONCE = 48
"""Requests in flight; a store answers each in some 20 to 100 ms, whatever the bandwidth."""
_PAGE = 1000
_CHUNK = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteObject:
    """An object in a listing."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A file to send.

    Attributes:
        path: path of the file.
        key: key of the object.
        is_unchanged: returns whether the file still has the announced content; called after it was sent.
        on_sent: called with the object's etag.
    """

    path: Path
    key: str
    is_unchanged: Callable[[], bool]
    on_sent: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAccess:
    """How an engine's object store is reached.

    Attributes:
        url: of the bucket or container, for example ``scheme://name``.
        config: obstore's configuration of the store.
        credentials: obstore's credential provider: a callable that returns a mapping; None for none.
        allow_http: allow connections without TLS, for a service on this machine.
        attempts: how often a request is tried.
        explain: returns what an error of obstore means and what to do, in one line.
        missing_code: the store's code for a bucket or container that does not exist.
    """

    url: str
    config: Mapping[str, Any]
    credentials: Callable[[], Any] | None
    allow_http: bool
    attempts: int
    explain: Callable[[Exception], str]
    missing_code: str = "NoSuchBucket"


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeFile:
    """A file that is sent in parts.

    Attributes:
        path: path of the file.
        key: key of the object.
        name: name in the upload index.
        sha256: digest of its content.
        size: in bytes.
    """

    path: Path
    key: str
    name: str
    sha256: str
    size: int


class Bucket:
    """The objects of one bucket or container.

    Attributes:
        url: of the bucket, for example ``scheme://name``.
        large_bytes: a file of more than this is sent in parts.
    """

    large_bytes: ClassVar[int] = 16 << 20

    def __init__(self, access: StoreAccess) -> None:
        """Open it; nothing is sent yet.

        Raises:
            RunnerError: obstore is not installed.
        """
        self.url = access.url
        self._access = access
        self._store = _open(access)

    def place(self, address: str) -> Place:
        """Return the prefix of an address; an engine with addresses of another form overrides it.

        Raises:
            DatasetError: it is not an address of a prefix.
        """
        return Place.parse(address)

    def read(self, key: str) -> bytes | None:
        """Return the content of a small object; None when it does not exist.

        Raises:
            DatasetError: the store refuses.
        """
        import obstore

        try:
            with self._faults(key):
                return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError as error:
            if self._access.missing_code in str(error):
                raise self._error(key, error) from error
            return None

    def download(self, key: str, path: Path) -> None:
        """Copy an object of any size to a file, which appears when it is complete.

        Raises:
            DatasetError: the object does not exist, or the store refuses.
        """
        import obstore

        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        try:
            for attempt in range(1, self._access.attempts + 1):
                try:
                    with self._all_faults(key), partial.open("wb") as stream:
                        for chunk in obstore.get(self._store, key).stream(min_chunk_size=_CHUNK):
                            stream.write(chunk)
                    break
                except DatasetError as error:
                    if attempt == self._access.attempts or "response body" not in str(error.__cause__):
                        raise
                    time.sleep(min(0.2 * 2**attempt, 5.0) * random.uniform(0.5, 1.0))  # noqa: S311  jitter
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def write(self, key: str, content: bytes | Path) -> str:
        """Write a small object and return its etag.

        Raises:
            DatasetError: the store refuses.
        """
        import obstore

        with self._all_faults(key):
            return _plain(obstore.put(self._store, key, content, use_multipart=False)["e_tag"])

    def objects(self, prefix: str) -> Iterator[RemoteObject]:
        """Yield the objects whose key begins with ``prefix/``, in the order of keys, page by page.

        Raises:
            DatasetError: the store refuses.
        """
        last: str | None = None
        failures = 0
        while True:
            try:
                for found in self._listed(prefix, after=last):
                    yield found
                    last, failures = found.key, 0
            except _CutOffError as error:
                # obstore retries until it has an answer, but not when the answer is cut off.
                failures += 1
                if failures >= self._access.attempts:
                    raise self._error(prefix, error) from error
                time.sleep(min(0.2 * 2**failures, 5.0) * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
            else:
                return

    def _listed(self, prefix: str, *, after: str | None) -> Iterator[RemoteObject]:
        import obstore
        from obstore.exceptions import GenericError

        with self._all_faults(prefix):
            try:
                for page in obstore.list(self._store, prefix.rstrip("/"), offset=after, chunk_size=_PAGE):
                    for item in page:
                        yield RemoteObject(key=item["path"], size=item["size"], etag=_plain(item["e_tag"]))
            except GenericError as error:
                if "response body" in str(error):
                    raise _CutOffError(str(error)) from error
                raise

    def remove(self, keys: Iterable[str]) -> None:
        """Remove objects, a thousand per request.

        Raises:
            DatasetError: the store refuses.
        """
        import obstore

        paths = list(keys)
        for start in range(0, len(paths), _PAGE):
            with self._all_faults(paths[start]):
                obstore.delete(self._store, paths[start : start + _PAGE])

    def send(self, files: Iterable[Sending]) -> None:
        """Send files, many in parallel; they are taken from `files` one by one.

        Raises:
            DatasetError: the store refuses one, or a file changed on its way. `on_sent` was called
                for those that were sent.
        """
        asyncio.run(self._send_all(files))

    def send_large(
        self, file: LargeFile, *, receipts: Receipts, on_part: Callable[[int, int], None] | None = None
    ) -> str:
        """Send a large file in parts and return the object's etag; an engine may override it to resume uploads.

        Args:
            file: the file and its key.
            receipts: the index of uploads, for one that was cut off.
            on_part: called with (parts sent, all parts).

        Raises:
            MlopsError: the store refuses.
        """
        import obstore

        del receipts  # obstore cannot resume
        with self._all_faults(file.key):
            result = obstore.put(self._store, file.key, file.path, use_multipart=True)
        if on_part:
            on_part(1, 1)
        return _plain(result["e_tag"])

    async def _send_all(self, files: Iterable[Sending]) -> None:
        waiting = iter(files)  # shared: each worker takes the next one

        async def work() -> None:
            for sending in waiting:
                await self._send(sending)

        workers = [asyncio.create_task(work()) for _ in range(_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _send(self, sending: Sending) -> None:
        import obstore

        with self._all_faults(sending.key):
            result = await obstore.put_async(self._store, sending.key, sending.path, use_multipart=False)
        if not sending.is_unchanged():
            raise DatasetError(f"{sending.path} changed during the upload; stop other writers and repeat the command")
        sending.on_sent(_plain(result["e_tag"]))

    @contextlib.contextmanager
    def _all_faults(self, key: str) -> Iterator[None]:
        try:
            with self._faults(key):
                yield
        except FileNotFoundError as error:
            raise self._error(key, error) from error

    @contextlib.contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, TimeoutError, ValueError, ConnectionError, PermissionError) as error:
            raise self._error(key, error) from error

    def _error(self, key: str, error: Exception) -> DatasetError:
        if isinstance(error, FileNotFoundError) and error.filename:
            return DatasetError(f"{error.filename}: {error.strerror}; it existed when the data set was read")
        return DatasetError(f"{self.url}/{key}: {self._access.explain(error)}")


class _CutOffError(Exception):
    """The answer to a request was cut off."""


def _open(access: StoreAccess) -> Any:
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise RunnerError(f"obstore cannot be imported: {error}; pip install 'mlops-usecases[store]'") from error
    provider = {} if access.credentials is None else {"credential_provider": access.credentials}
    return from_url(  # type: ignore[call-overload]  # the types depend on the store
        access.url,
        config=dict(access.config),
        client_options={
            "allow_http": access.allow_http,
            "connect_timeout": timedelta(seconds=10),
            "timeout": timedelta(minutes=5),
            "read_timeout": timedelta(seconds=60),
        },
        retry_config={
            "max_retries": access.attempts - 1,
            "retry_timeout": timedelta(minutes=4),
            "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=15), "base": 2},
        },
        **provider,
    )


def _plain(etag: str | None) -> str:
    return (etag or "").strip('"')


def sorted_join(files: Iterable[Any], objects: Iterable[RemoteObject], *, strip: int) -> Iterator[tuple[Any, Any]]:
    """Yield pairs (file, object) in the order of paths; None where one side is missing.

    Args:
        files: items with ``path``, sorted.
        objects: objects of one prefix, sorted.
        strip: length of the prefix, including its last slash.
    """
    rest = iter(objects)
    other = next(rest, None)
    for file in files:
        while other is not None and other.key[strip:] < file.path:
            yield None, other
            other = next(rest, None)
        if other is not None and other.key[strip:] == file.path:
            yield file, other
            other = next(rest, None)
        else:
            yield file, None
    while other is not None:
        yield None, other
        other = next(rest, None)
