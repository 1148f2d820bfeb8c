"""Downloads over http(s): resumed after an interruption, retried, checked against size and checksum."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING

from mlops_core.datasets.addresses import FILE_SCHEMES, address_fault, file_fault, name_in_address, public_address
from mlops_core.datasets.fetching.archives import SIZE_LIMIT_BYTES
from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.datasets.catalogue import Progress, Source

ATTEMPTS = 5
TIMEOUT_S = 30.0
_BACKOFF_S = 0.5
_CHUNK = 1 << 18
_LENGTH_DIGITS = 18
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
_PAGE_NAMES = (".html", ".htm", ".xhtml")
_LONGEST_REASON = 300
_SECRET_HEADERS = ("Authorization", "Proxy-authorization", "Cookie")
"""As urllib spells them; meant for one server, or for the proxy in front of it."""
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


def download(source: Source, folder: Path, *, name: str, progress: Progress) -> Path:
    """Download `source` into `folder` and return the file.

    What arrived is kept in ``<file>.part`` with its ETag beside it; a later call asks only for the rest. A file that
    is there under its own name was complete and right, and is not asked for again.

    Raises:
        DatasetError: the server does not answer, refuses or sends a web page, or the content differs from the size or
            the checksum of the source.

    Example:
        >>> source = Source(url="https://example.org/labels.csv", sha256="0" * 64)
        >>> download(source, Path("data"), name="labels", progress=lambda label, done, total: None)  # doctest: +SKIP
        PosixPath('data/labels.csv')
    """
    if fault := file_fault(source.url):
        raise DatasetError(f"data set '{name}': {public_address(source.url)} {fault}")
    file_name = name_in_address(source.url)
    target = folder / file_name
    if target.is_file():
        return target
    partial = folder / f"{file_name}.part"
    error = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(_BACKOFF_S * 2 ** (attempt - 1))
        try:
            if _receive(source, partial, label=file_name, name=name, progress=progress):
                _check(source, partial, name=name)
                partial.rename(target)
                partial.with_suffix(".etag").unlink(missing_ok=True)
                return target
            error = "the connection was cut off"
        except urllib.error.HTTPError as failure:
            error = f"HTTP {failure.code} {failure.reason}"
            failure.close()
            if failure.code not in _RETRIED_STATUS:
                break
        except (OSError, http.client.HTTPException) as failure:
            error = str(getattr(failure, "reason", failure)) or type(failure).__name__
        except ValueError as failure:  # an answer that is not HTTP, such as a redirect to no address
            error = str(failure) or type(failure).__name__
            break
    reason = "".join(letter if letter.isprintable() else " " for letter in error)[:_LONGEST_REASON]
    raise DatasetError(
        f"data set '{name}' cannot be fetched from {public_address(source.url)}: {reason}; "
        "try again (the downloaded part is kept), or set dataset.path to a folder that holds it"
    )


def _receive(source: Source, partial: Path, *, label: str, name: str, progress: Progress) -> bool:
    """Append what is missing to `partial`; False when the connection ended too early.

    Raises:
        DatasetError: the answer is a web page, where neither the address nor a checksum says that one is expected.
    """
    etag_file = partial.with_suffix(".etag")
    offset = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "mlops", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if etag := _etag(etag_file):
            headers["If-Range"] = etag
    request = urllib.request.Request(source.url, headers=headers)  # noqa: S310  http(s), as `download` has checked
    opener = urllib.request.build_opener(_Redirects(is_verified=bool(source.sha256 or source.md5)))
    try:
        response = opener.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as failure:
        if failure.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        failure.close()
        partial.unlink()  # it is longer than the file, or exactly as long: begin again and let the checksum judge
        return False
    with response:
        _require_data(source, response.headers.get_content_type(), name=name)
        is_rest = response.status == http.HTTPStatus.PARTIAL_CONTENT
        if is_rest and _range_start(response.headers.get("Content-Range"), offset) != offset:
            partial.unlink()  # another part than asked for: begin again, without a range
            return False
        offset = offset if is_rest else 0
        length = _length(response.headers.get("Content-Length"))
        total = source.size or 0 if length is None else offset + length  # an archive made on demand has no length
        limit = SIZE_LIMIT_BYTES if source.size is None else source.size
        if etag := response.headers.get("ETag"):
            etag_file.write_text(json.dumps(etag), encoding="utf-8")
        with partial.open("ab" if is_rest else "wb") as stream:
            while chunk := response.read(_CHUNK):
                stream.write(chunk)
                offset += len(chunk)
                if offset > limit:
                    break  # `_check` refuses it
                progress(label, offset, max(total, offset))
    return not total or offset >= total


def _require_data(source: Source, content_type: str, *, name: str) -> None:
    """Refuse a web page, such as a form to sign in or the page about a file, instead of the file itself."""
    is_page = content_type in _PAGES and not name_in_address(source.url).lower().endswith(_PAGE_NAMES)
    if is_page and not (source.sha256 or source.md5):
        raise DatasetError(
            f"data set '{name}': {public_address(source.url)} is a web page ({content_type}), not a file of data; use "
            "the address of the download itself, or give its checksum if this is the file"
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http(s) only, and passes on nothing that was meant for the first server."""

    def __init__(self, *, is_verified: bool) -> None:
        self._is_verified = is_verified

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request to follow, as `urllib.request.HTTPRedirectHandler` does.

        Raises:
            ValueError: the new address is not fetched.
        """
        if fault := address_fault(newurl.replace(" ", "%20"), FILE_SCHEMES):
            raise ValueError(f"it redirects to {public_address(newurl)}, which {fault}")
        if req.type == "https" and not newurl.startswith("https:") and not self._is_verified:
            raise ValueError(f"it redirects to {public_address(newurl)}, not encrypted, and there is no checksum")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and request.host != req.host:
            for secret in _SECRET_HEADERS:
                request.remove_header(secret)
        return request


def _length(header: str | None) -> int | None:
    """Return the value of ``Content-Length``; None without one.

    Raises:
        ValueError: it is not a number of bytes.
    """
    if header is None:
        return None
    digits = header.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > _LENGTH_DIGITS:
        raise ValueError(f"the server sent the invalid header Content-Length: {header[:40]!r}")
    return int(digits)


def _range_start(header: str | None, expected: int) -> int:
    """Return the first byte of ``Content-Range: bytes 5-9/10``; `expected` without a header, -1 for a malformed one."""
    if header is None:
        return expected
    unit, _, span = header.strip().partition(" ")
    first = span.partition("-")[0]
    is_number = first.isascii() and first.isdigit() and len(first) <= _LENGTH_DIGITS
    return int(first) if unit == "bytes" and is_number else -1


def _etag(file: Path) -> str:
    """Return the ETag of the part that has arrived; empty if none was kept."""
    try:
        etag = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return etag if isinstance(etag, str) else ""


def _check(source: Source, path: Path, *, name: str) -> None:
    """Compare with the size and checksums of the source and remove a wrong file."""
    size = path.stat().st_size
    problem = ""
    if source.size is None and size > SIZE_LIMIT_BYTES:
        problem = f"it has more than {SIZE_LIMIT_BYTES:,} bytes"
    if source.size is not None and size != source.size:
        problem = f"it has {size:,} bytes, expected {source.size:,}"
    for algorithm in ("sha256", "md5"):
        expected = getattr(source, algorithm)
        if not problem and expected:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, algorithm).hexdigest()
            if found != expected:
                problem = f"its {algorithm} is {found}, expected {expected}"
    if problem:
        path.unlink()
        path.with_suffix(".etag").unlink(missing_ok=True)
        raise DatasetError(
            f"data set '{name}': {public_address(source.url)} is not the file that was expected: {problem}; if it was "
            "published anew, correct the checksum or size where the data set is defined"
        )
