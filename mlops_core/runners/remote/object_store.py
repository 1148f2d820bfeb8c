"""Many objects of one bucket, fast: obstore with the credentials that boto3 finds. Imports obstore on use.

Every body that is sent carries its CRC-64/NVME, which S3 compares before it keeps the object; a SHA-256 of each body in
the signature would take half of the time, and says nothing more on a connection with TLS. Faults of the service are
tried again with jitter and growing waits; what remains is a `DatasetError` of one line.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mlops_sagemaker.service.account import attempts, credential_fault, denied_action

from mlops_core.errors import DatasetError, RunnerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from mlops_sagemaker.service.account import Account
    from obstore.store import S3Config

_AT_ONCE = 48
"""Requests in flight; S3 answers each in some 20 to 100 ms, whatever the bandwidth."""
_PAGE = 1000
_CODE = re.compile(r"<Code>(.*?)</Code>")
_MESSAGE = re.compile(r"<Message>(.*?)</Message>")
_STATUS = re.compile(r"\b(?:status|status code|code)[: ]+(\d{3})\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteObject:
    """An object as a listing shows it."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A file on its way.

    Attributes:
        path: of the file.
        key: of the object.
        is_unchanged: tells whether the file still is what was promised; asked before and after it is sent.
        on_sent: is told the object's etag.
    """

    path: Path
    key: str
    is_unchanged: Callable[[], bool]
    on_sent: Callable[[str], None]


class Bucket:
    """One bucket."""

    def __init__(self, name: str, *, account: Account) -> None:
        """Open it; nothing is asked of S3 yet.

        Raises:
            RunnerError: obstore is not installed, or there are no credentials.
        """
        self.name = name
        self._account = account
        self._store = _open(name, account)

    def read(self, key: str) -> bytes | None:
        """Return the content of a small object; None when there is none.

        Raises:
            DatasetError: S3 refuses.
        """
        import obstore

        try:
            with self._faults(key):
                return bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise self._error(key, error) from error
            return None

    def write(self, key: str, content: bytes | Path) -> str:
        """Put a small object and return its etag.

        Raises:
            DatasetError: S3 refuses.
        """
        import obstore

        with self._all_faults(key):
            return _plain(obstore.put(self._store, key, content, use_multipart=False)["e_tag"])

    def objects(self, prefix: str) -> Iterator[RemoteObject]:
        """Yield the objects whose key begins with ``prefix/``, in the order of keys, page by page.

        Raises:
            DatasetError: S3 refuses.
        """
        last: str | None = None
        failures = 0
        while True:
            try:
                for found in self._listed(prefix, after=last):
                    yield found
                    last, failures = found.key, 0
            except _CutOffError as error:
                # obstore tries again until it has an answer, but not when half an answer is all that comes.
                failures += 1
                if failures >= attempts():
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
        """Remove objects, a thousand with a request.

        Raises:
            DatasetError: S3 refuses.
        """
        import obstore

        paths = list(keys)
        for start in range(0, len(paths), _PAGE):
            with self._all_faults(paths[start]):
                obstore.delete(self._store, paths[start : start + _PAGE])

    def send(self, files: Iterable[Sending]) -> None:
        """Put files, many at once; they are taken from `files` as there is room.

        Raises:
            DatasetError: S3 refuses one, or a file changed on its way. Those that were sent are known to `on_sent`.
        """
        asyncio.run(self._send_all(files))

    async def _send_all(self, files: Iterable[Sending]) -> None:
        waiting: set[asyncio.Task[None]] = set()
        try:
            for sending in files:
                waiting.add(asyncio.create_task(self._send(sending)))
                while len(waiting) >= _AT_ONCE:
                    waiting = await _next_done(waiting)
            while waiting:
                waiting = await _next_done(waiting)
        finally:
            for sending_task in waiting:
                sending_task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _send(self, sending: Sending) -> None:
        import obstore

        with self._all_faults(sending.key):
            result = await obstore.put_async(self._store, sending.key, sending.path, use_multipart=False)
        if not sending.is_unchanged():
            raise DatasetError(f"{sending.path} changed while it was sent; let nothing write there and repeat")
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
            return DatasetError(f"{error.filename}: {error.strerror}; it was there when the data set was read")
        return DatasetError(f"s3://{self.name}/{key}: {fault_text(error, bucket=self.name)}")


def fault_text(error: Exception, *, bucket: str) -> str:
    """Return what an error of obstore says, and what to do, in one line."""
    text = str(error)
    code = found[1] if (found := _CODE.search(text)) else ""
    said = found[1] if (found := _MESSAGE.search(text)) else ""
    known = credential_fault(code, said or code)
    if known:
        return known
    if code == "NoSuchBucket":
        return f"there is no bucket '{bucket}'; create it, or name another with --bucket"
    kind = type(error).__name__
    if code == "AccessDenied" or kind in ("PermissionDeniedError", "UnauthenticatedError", "PermissionError"):
        action = denied_action(said)
        return f"access denied{f' ({action})' if action else ''}: mlops sagemaker policy prints what is needed"
    if code in ("PermanentRedirect", "AuthorizationHeaderMalformed") or "incorrectly configured region" in text:
        return f"bucket '{bucket}' is in another region: {said or 'S3 redirects'}; pass that one with --region"
    status = found[1] if (found := _STATUS.search(text)) else ""
    first = " ".join(text.partition("Debug source:")[0].split())
    answer = f"S3 answers {status}: {code or ''} {said}".strip() if status else first
    return f"{answer[:400]}; {attempts()} attempts were made; what was sent is kept: repeat the command"


class _CutOffError(Exception):
    """An answer ended before its end."""


async def _next_done(waiting: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return pending


def _open(name: str, account: Account) -> Any:
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise RunnerError(f"obstore cannot be imported: {error}; pip install 'mlops-sagemaker'") from error
    endpoint = str(account.client("s3").meta.endpoint_url)
    config: S3Config = {"region": account.region, "checksum_algorithm": "CRC64NVME", "unsigned_payload": True}
    if not re.search(r"\.amazonaws\.com(\.cn)?$", endpoint):
        config["endpoint"] = endpoint
    return S3Store(
        name,
        config=config,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=10),
            "timeout": timedelta(minutes=5),
            "read_timeout": timedelta(seconds=60),
        },
        retry_config={
            "max_retries": attempts() - 1,
            "retry_timeout": timedelta(minutes=4),
            "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=15), "base": 2},
        },
        credential_provider=_credentials(account),
    )


def _credentials(account: Account) -> Any:
    from obstore.auth.boto3 import Boto3CredentialProvider

    if account.session.get_credentials() is None:
        raise RunnerError(
            "unable to locate credentials; sign in, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    # Asked again every few minutes: boto3 renews what is about to expire.
    return Boto3CredentialProvider(account.session, ttl=timedelta(minutes=5))


def _plain(etag: str | None) -> str:
    return (etag or "").strip('"')


def sorted_join(files: Iterable[Any], objects: Iterable[RemoteObject], *, strip: int) -> Iterator[tuple[Any, Any]]:
    """Yield (file, object) by path, both in its order; None where one side has nothing.

    Args:
        files: with ``path``, sorted.
        objects: of one prefix, sorted.
        strip: characters of the prefix, with its last slash.
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
