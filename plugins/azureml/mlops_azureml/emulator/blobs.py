"""Blobs as files of a folder: the part of the storage account's REST interface that obstore and azure-storage-blob use.

A blob is written to a temporary file and renamed; blocks are visible when their list is committed, never before.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import email.utils
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from mlops_azureml.emulator.web.errors import CallError, ConflictError, InvalidError, NotFoundError, UnsupportedError
from mlops_azureml.emulator.web.http import Response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlops_azureml.emulator.web.access import Access
    from mlops_azureml.emulator.web.http import Request

_PARTIAL = ".partial-"
_BLOCKS = ".blocks"
_PAGE = 5000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)\Z")
_REQUEST_LINE = re.compile(r"^([A-Z]+) (\S+) HTTP/1\.1\r?$", re.MULTILINE)
_XML = "application/xml"


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A container, and a key in it; empty for the container itself."""

    container: str
    key: str


class Blobs:
    """The storage account of the endpoint."""

    def __init__(self, folder: Path, *, account: str, access: Access) -> None:
        """Keep containers as folders below `folder`; the containers are those that exist."""
        self._folder = folder
        self._account = account
        self._access = access
        self._metadata: dict[_Place, dict[str, str]] = {}
        self._lock = threading.Lock()

    def container_folder(self, name: str) -> Path:
        """Return the folder of a container, which is created if it is missing."""
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def answer(self, request: Request) -> Response:
        """Answer a request for the account.

        Raises:
            CallError: it is refused.
        """
        place = self._place(request)
        self._access.require_blob_access(
            request.query, request.headers.get("authorization", ""), container=place.container
        )
        if not (self._folder / place.container).is_dir():
            raise NotFoundError("The specified container does not exist.", code="ContainerNotFound")
        return self._container(request, place) if not place.key else self._blob(request, place)

    def _place(self, request: Request) -> _Place:
        path = request.path.strip("/") if not request.path.endswith("//") else request.path
        if ".blob." not in request.host:
            account, _, path = path.partition("/")
            if account != self._account:
                raise NotFoundError(f"account '{account}' does not exist", code="AccountNotFound")
        container, _, key = path.partition("/")
        if not re.fullmatch(r"[a-z0-9$](-?[a-z0-9])*", container):
            raise InvalidError(f"{container!r} is not a valid container name", code="InvalidResourceName")
        parts = key.split("/") if key else []
        if any(part in ("", ".", "..") or part.startswith(_PARTIAL) for part in parts) or _CONTROL.search(key):
            raise InvalidError("the name of the blob cannot be a file here", code="InvalidResourceName")
        return _Place(container=container, key=key)

    def _path(self, place: _Place) -> Path:
        return self._folder / place.container / place.key

    # --- Containers ---------------------------------------------------------------------------------------

    def _container(self, request: Request, place: _Place) -> Response:
        comp = request.query.get("comp", "")
        if request.method in ("GET", "HEAD") and comp in ("", "metadata"):
            return Response(headers=_times(self._folder / place.container))
        if request.method == "GET" and comp == "list":
            return self._list(request.query, place)
        if request.method == "POST" and comp == "batch":
            return self._batch(request, place)
        raise UnsupportedError(f"{request.method} of a container with comp={comp!r}")

    def _list(self, query: Mapping[str, str], place: _Place) -> Response:
        prefix, delimiter, marker = (query.get(name, "") for name in ("prefix", "delimiter", "marker"))
        start = query.get("startFrom", "")
        limit = min(int(query["maxresults"]), _PAGE) if query.get("maxresults", "").isdigit() else _PAGE
        folder = self._folder / place.container
        names = sorted(_keys(folder, prefix))
        items: list[str] = []
        seen, following = "", ""
        for name in names:
            rest = name.removeprefix(prefix)
            is_group = bool(delimiter) and delimiter in rest
            shown = prefix + rest.partition(delimiter)[0] + delimiter if is_group else name
            if shown <= marker or shown < start or shown == seen:
                continue
            if len(items) >= limit:
                following = seen
                break
            seen = shown
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                items.append(_group(shown) if is_group else _item(shown, folder / shown))
        text = (
            f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{place.container}">'
            f"<Prefix>{escape(prefix)}</Prefix><Blobs>{''.join(items)}</Blobs>"
            f"<NextMarker>{escape(following)}</NextMarker></EnumerationResults>"
        )
        return Response(content=text.encode(), kind=_XML)

    def _batch(self, request: Request, place: _Place) -> Response:
        """Delete the blobs of a batch; a batch with anything else is refused."""
        targets = re.findall(
            r"^([A-Z]+) (\S+) HTTP/1\.1\r?$", request.content().decode("utf-8", "replace"), re.MULTILINE
        )
        boundary = f"batchresponse_{secrets.token_hex(8)}"
        parts = []
        for index, (method, target) in enumerate(targets):
            if method != "DELETE":
                raise UnsupportedError(f"{method} in a batch")
            path = unquote(urlsplit(target).path).strip("/")
            key = path.removeprefix(f"{self._account}/").removeprefix(f"{place.container}/")
            status, code = "202 Accepted", ""
            try:
                self._delete(_Place(container=place.container, key=key))
            except CallError as error:
                status, code = f"{error.status} {error.code}", error.code
            lines = [
                f"--{boundary}",
                "Content-Type: application/http",
                f"Content-ID: {index}",
                "",
                f"HTTP/1.1 {status}",
            ]
            lines += [f"x-ms-error-code: {code}"] if code else []
            parts.append("\r\n".join([*lines, "x-ms-request-id: batch", "Content-Length: 0", "", ""]))
        content = "\r\n".join([*parts, f"--{boundary}--", ""]).encode()
        return Response(status=202, content=content, kind=f"multipart/mixed; boundary={boundary}")

    # --- Blobs --------------------------------------------------------------------------------------------

    def _blob(self, request: Request, place: _Place) -> Response:
        comp = request.query.get("comp", "")
        call = (request.method, comp)
        if call == ("PUT", "") and "x-ms-copy-source" not in request.headers:
            return self._put(request, place)
        if call == ("PUT", "block"):
            return self._put_block(request, place)
        if call == ("PUT", "blocklist"):
            return self._put_block_list(request, place)
        if call == ("PUT", "metadata"):
            return self._put_metadata(request, place)
        if call in (("GET", ""), ("HEAD", ""), ("HEAD", "metadata"), ("GET", "metadata")):
            return self._get(request, place)
        if call == ("DELETE", ""):
            self._delete(place)
            return Response(status=202)
        raise UnsupportedError(f"{request.method} of a blob with comp={comp!r}")

    def _put(self, request: Request, place: _Place) -> Response:
        kind = request.headers.get("x-ms-blob-type", "")
        if kind != "BlockBlob":
            raise UnsupportedError(f"a blob of type {kind!r}")
        self._keep_metadata(request, place)
        return self._store(place, request.chunks(), is_new=request.headers.get("if-none-match") == "*")

    def _store(self, place: _Place, chunks: Iterator[bytes], *, is_new: bool) -> Response:
        target = self._path(place)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=_PARTIAL, dir=target.parent)
            digest = hashlib.md5(usedforsecurity=False)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    for chunk in chunks:
                        digest.update(chunk)
                        stream.write(chunk)
                with self._lock:
                    if is_new and target.exists():
                        raise ConflictError("The specified blob already exists.", code="BlobAlreadyExists")
                    Path(name).replace(target)
            finally:
                Path(name).unlink(missing_ok=True)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise ConflictError(
                f"{place.key}: {error.strerror}: a blob cannot be the folder of another one here",
                code="BlobTypeConflict",
            ) from error
        md5 = base64.b64encode(digest.digest()).decode()
        return Response(status=201, headers={**_times(target), "Content-MD5": md5})

    def _blocks(self, place: _Place) -> Path:
        name = hashlib.sha256(f"{place.container}/{place.key}".encode()).hexdigest()
        return self._folder / _BLOCKS / name

    def _put_block(self, request: Request, place: _Place) -> Response:
        folder = self._blocks(place)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _block_name(request.query.get("blockid", ""))
        partial = path.with_name(f"{_PARTIAL}{secrets.token_hex(8)}")
        try:
            with partial.open("wb") as stream:
                for chunk in request.chunks():
                    stream.write(chunk)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return Response(status=201)

    def _put_block_list(self, request: Request, place: _Place) -> Response:
        folder = self._blocks(place)
        try:
            root = ET.fromstring(request.content())  # noqa: S314  expat expands no external entities
        except ET.ParseError as error:
            raise InvalidError(f"the block list is not XML: {error}", code="InvalidXmlDocument") from error
        paths = [folder / _block_name(each.text or "") for each in root]
        if not all(path.is_file() for path in paths):
            raise InvalidError("The specified block list is invalid.", code="InvalidBlockList")
        self._keep_metadata(request, place)
        answer = self._store(place, _contents(paths), is_new=request.headers.get("if-none-match") == "*")
        shutil.rmtree(folder, ignore_errors=True)
        return answer

    def _put_metadata(self, request: Request, place: _Place) -> Response:
        self._existing(place)
        self._keep_metadata(request, place)
        return Response(headers=_times(self._path(place)))

    def _keep_metadata(self, request: Request, place: _Place) -> None:
        found = {name: value for name, value in request.headers.items() if name.startswith("x-ms-meta-")}
        with self._lock:
            self._metadata[place] = found

    def _get(self, request: Request, place: _Place) -> Response:
        path = self._existing(place)
        headers = {**_times(path), "x-ms-blob-type": "BlockBlob", "Accept-Ranges": "bytes"}
        with self._lock:
            headers |= self._metadata.get(place, {})
        size = path.stat().st_size
        kind = "application/octet-stream"
        match = _RANGE.match(request.headers.get("x-ms-range") or request.headers.get("range") or "")
        if match is None:
            return Response(content=path, length=size, kind=kind, headers=headers)
        start, end = int(match[1]), min(int(match[2] or size), size - 1)
        if start > end:
            raise CallError(416, "InvalidRange", "the range is not within the blob")
        headers["Content-Range"] = f"bytes {start}-{end}/{size}"
        return Response(status=206, content=path, start=start, length=end - start + 1, kind=kind, headers=headers)

    def _existing(self, place: _Place) -> Path:
        path = self._path(place)
        if not path.is_file():
            raise NotFoundError("The specified blob does not exist.", code="BlobNotFound")
        return path

    def _delete(self, place: _Place) -> None:
        path = self._existing(place)
        path.unlink(missing_ok=True)
        with self._lock:
            self._metadata.pop(place, None)
        root = self._folder / place.container
        for parent in path.parents:
            if parent == root:
                return
            try:
                parent.rmdir()
            except OSError:
                return


def _block_name(identifier: str) -> str:
    try:
        name = base64.b64decode(identifier, validate=True).hex()
    except (binascii.Error, ValueError):
        name = ""
    if not name or len(name) > 128:
        raise InvalidError("the id of the block is not base64", code="InvalidQueryParameterValue")
    return name


def _contents(paths: list[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                yield chunk


def _keys(folder: Path, prefix: str) -> Iterator[str]:
    base = prefix.rpartition("/")[0]
    if {"..", "."} & set(base.split("/")):
        return
    for path, _, names in os.walk(folder / base):
        relative = Path(path).relative_to(folder)
        for name in names:
            key = (relative / name).as_posix()
            if key.startswith(prefix) and not name.startswith(_PARTIAL):
                yield key


def _times(path: Path) -> dict[str, str]:
    state = path.stat()
    etag = f'"0x8D{state.st_mtime_ns:X}{state.st_size:X}"'
    return {"ETag": etag, "Last-Modified": email.utils.formatdate(state.st_mtime, usegmt=True)}


def _item(key: str, path: Path) -> str:
    times, size = _times(path), path.stat().st_size
    return (
        f"<Blob><Name>{escape(key)}</Name><Properties><Creation-Time>{times['Last-Modified']}</Creation-Time>"
        f"<Last-Modified>{times['Last-Modified']}</Last-Modified><Etag>{times['ETag'].strip(chr(34))}</Etag>"
        f"<Content-Length>{size}</Content-Length><Content-Type>application/octet-stream</Content-Type>"
        "<BlobType>BlockBlob</BlobType></Properties></Blob>"
    )


def _group(prefix: str) -> str:
    return f"<BlobPrefix><Name>{escape(prefix)}</Name></BlobPrefix>"
