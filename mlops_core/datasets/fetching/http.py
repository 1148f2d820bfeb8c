"""Downloads over http(s): resumed after an interruption, retried, checked against size and checksum."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.datasets.catalogue import Progress, Source

ATTEMPTS = 5
TIMEOUT_S = 30.0
_BACKOFF_S = 0.5
_CHUNK = 1 << 18
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


def download(source: Source, folder: Path, *, name: str, progress: Progress) -> Path:
    """Download `source` into `folder` and return the file.

    What arrived is kept in ``<file>.part`` with its ETag beside it; a later call asks only for the rest. A file that
    is there under its own name was complete and right, and is not asked for again.

    Raises:
        DatasetError: the server does not answer or refuses, or the content differs from the catalogue entry.

    Example:
        >>> source = Source(url="https://example.org/labels.csv", sha256="0" * 64)
        >>> download(source, Path("data"), name="labels", progress=lambda label, done, total: None)  # doctest: +SKIP
        PosixPath('data/labels.csv')
    """
    file_name = urllib.parse.unquote(urllib.parse.urlsplit(source.url).path).rpartition("/")[2] or "download"
    target = folder / file_name
    if target.is_file():
        return target
    partial = folder / f"{file_name}.part"
    error = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(_BACKOFF_S * 2 ** (attempt - 1))
        try:
            if _receive(source, partial, label=file_name, progress=progress):
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
    raise DatasetError(
        f"data set '{name}' cannot be fetched from {_public(source.url)}: {error}; "
        "try again (the downloaded part is kept), or set dataset.path to a folder that holds it"
    )


def _receive(source: Source, partial: Path, *, label: str, progress: Progress) -> bool:
    """Append what is missing to `partial`; False when the connection ended too early."""
    etag_file = partial.with_suffix(".etag")
    offset = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "mlops", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if etag_file.exists():
            headers["If-Range"] = json.loads(etag_file.read_text(encoding="utf-8"))
    request = urllib.request.Request(source.url, headers=headers)  # noqa: S310  checked by the next line
    if request.type not in {"http", "https"}:
        raise DatasetError(f"{_public(source.url)}: only http and https are fetched")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310  http(s) only
    except urllib.error.HTTPError as failure:
        if failure.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        failure.close()
        partial.unlink()  # it is longer than the file, or exactly as long: begin again and let the checksum judge
        return False
    with response:
        is_rest = response.status == http.HTTPStatus.PARTIAL_CONTENT
        offset = offset if is_rest else 0
        length = response.headers.get("Content-Length")
        total = offset + int(length) if length else source.size or 0  # an archive made on demand has no length
        if etag := response.headers.get("ETag"):
            etag_file.write_text(json.dumps(etag), encoding="utf-8")
        with partial.open("ab" if is_rest else "wb") as stream:
            while chunk := response.read(_CHUNK):
                stream.write(chunk)
                offset += len(chunk)
                progress(label, offset, max(total, offset))
    return not total or offset >= total


def _check(source: Source, path: Path, *, name: str) -> None:
    """Compare with the catalogue entry and remove a wrong file."""
    size = path.stat().st_size
    problem = ""
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
        raise DatasetError(f"data set '{name}': {_public(source.url)} differs from the catalogue entry: {problem}")


def _public(url: str) -> str:
    """Return the address without user, password and query."""
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))
