"""A client of a served model; it uses the standard library only."""

from __future__ import annotations

import http.client
import json
import math
import mimetypes
import os
import socket
import ssl
import time
import urllib.parse
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from mlops_core.control_characters import escape_line
from mlops_core.errors import DatasetError, RunnerError, UsageError
from mlops_core.predictors import Detection, Interval, SampleScores
from mlops_core.reading import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_TIMEOUT_S = 70.0
_RETRIES = 5
_LONGEST_WAIT_S = 10.0
_ANSWER_LIMIT_BYTES = 1 << 30
_SHOWN = 200
_MEDIA_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".mp3": "audio/mpeg",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".csv": "text/csv",
    ".data": "text/csv",
    ".txt": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".parquet": "application/vnd.apache.parquet",
}
_FAULTS_OF_FILE = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, 422})


class Client:
    """A served model as a predictor: `predict` sends each file to the server and yields the answers.

    The connection is kept open between requests; close it with `close`, or use the client in a ``with`` block. A
    request that the server refuses because it is busy is sent again, up to five times.

    Example:
        >>> with Client("http://127.0.0.1:8080") as client:  # doctest: +SKIP
        ...     [answer.scores for answer in client.predict([Path("clip-1.wav")])]
        [(0.2, 0.8)]
    """

    def __init__(self, url: str, *, timeout_s: float = _TIMEOUT_S, media_type: str = "") -> None:
        """Prepare a client; nothing is sent.

        Args:
            url: address of the server, such as ``http://127.0.0.1:8080``, with or without ``/invocations``.
            timeout_s: time to wait for an answer; a server may take 60 s.
            media_type: of every file; empty to choose it by the file's suffix.

        Raises:
            UsageError: the address is not one of HTTP.
        """
        parts = urllib.parse.urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise UsageError(f"--endpoint {url}: expected an address such as http://127.0.0.1:8080")
        self.url = url
        self._path = parts.path.rstrip("/").removesuffix("/invocations")
        self._media_type = media_type
        self._classes: tuple[str, ...] = ()
        self._connection: http.client.HTTPConnection = (
            http.client.HTTPSConnection(parts.hostname, port, timeout=timeout_s, context=ssl.create_default_context())
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.hostname, port, timeout=timeout_s)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores; empty for a regression, and before the first answer."""
        return self._classes

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def is_ready(self) -> bool:
        """Return whether the server answers and its model is loaded."""
        try:
            return self._exchange("GET", "/ping", b"", {})[0] == HTTPStatus.OK
        except RunnerError:
            return False

    def predict(self, paths: Iterable[Path]) -> Iterator[SampleScores]:
        """Yield the answers of the server to each file, in order.

        Raises:
            DatasetError: a file cannot be read, or the model cannot use it; the message names it.
            UsageError: the server does not know the content type.
            RunnerError: the server cannot be reached, is busy, or failed.
        """
        for path in paths:
            yield from self._predict(path)

    def _predict(self, path: Path) -> Iterator[SampleScores]:
        try:
            with os.fdopen(open_regular(path), "rb") as stream:
                content = stream.read()
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from error
        headers = {"Content-Type": self._media_type or media_type_of(path), "Accept": "application/json"}
        status, answer = self._send(content, headers)
        if status != HTTPStatus.OK:
            raise _refusal(status, answer, path=path, url=self.url)
        for item in _predictions(answer, url=self.url):
            yield self._scores(item, path)

    def _scores(self, item: Mapping[str, Any], path: Path) -> SampleScores:
        if "objects" in item:
            return _detection(item, path)
        scores, interval = item["scores"], item.get("interval")
        if isinstance(scores, dict):
            self._classes = tuple(scores)
            scores = list(scores.values())
        return SampleScores(
            path=str(path),
            scores=tuple(math.nan if score is None else float(score) for score in scores),
            sample=str(item.get("sample", "")),
            interval=Interval(**interval) if interval else None,
        )

    def _send(self, content: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send a request, again where the server is busy."""
        attempts = 0
        while True:
            status, answer, wait_s = self._exchange("POST", "/invocations", content, headers)
            if status != HTTPStatus.SERVICE_UNAVAILABLE or wait_s is None or attempts == _RETRIES:
                return status, answer
            attempts += 1
            time.sleep(min(wait_s, _LONGEST_WAIT_S))

    def _exchange(
        self, method: str, path: str, content: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes, float | None]:
        """Return status, body, and the seconds after which to try again; a closed connection is opened again once."""
        has_connection = self._connection.sock is not None
        try:
            self._connection.request(method, self._path + path, body=content or None, headers=dict(headers))
            with self._connection.getresponse() as response:
                answer = response.read(_ANSWER_LIMIT_BYTES)
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            self._connection.close()
            if has_connection:
                return self._exchange(method, path, content, headers)
            raise self._unreachable(error) from error
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise self._unreachable(error) from error
        text = response.headers.get("Retry-After", "")
        return response.status, answer, float(text) if text.isdecimal() else None

    def _unreachable(self, error: Exception) -> RunnerError:
        if isinstance(error, TimeoutError | socket.timeout):
            return RunnerError(f"{self.url} did not answer within {self._connection.timeout:g} s; try again later")
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return RunnerError(f"{self.url} cannot be reached: {reason}; start a server with: mlops serve")


def media_type_of(path: Path) -> str:
    """Return the media type of a file by its suffix."""
    known = _MEDIA_TYPES.get(path.suffix.lower())
    return known or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _predictions(answer: bytes, *, url: str) -> list[dict[str, Any]]:
    try:
        items = json.loads(answer)["predictions"]
        if isinstance(items, list) and all(isinstance(item, dict) and "scores" in item for item in items):
            return items
    except (ValueError, KeyError, TypeError):
        pass
    raise RunnerError(f"{url} answers, but not as a server of mlops does: {_text(answer)}")


def _refusal(status: int, answer: bytes, *, path: Path, url: str) -> Exception:
    """Return the error for a response that is not a prediction."""
    message = _message(answer)
    if status in _FAULTS_OF_FILE:
        named = message.replace("the request body", str(path)).replace("the body", str(path), 1)
        return DatasetError(named if str(path) in named else f"{path}: {named}")
    if status in (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        return UsageError(f"{path}: {url} answered {status}: {message}")
    return RunnerError(f"{path}: {url} answered {status}: {message}")


def _message(answer: bytes) -> str:
    try:
        message = json.loads(answer)["error"]
    except (ValueError, KeyError, TypeError):
        return _text(answer)
    return escape_line(str(message))


def _text(answer: bytes) -> str:
    return escape_line(answer[:_SHOWN].decode("utf-8", "replace")) or "an empty body"


def _detection(item: Mapping[str, Any], path: Path) -> Detection:
    objects = item["objects"]
    return Detection(
        path=str(path),
        sample=str(item.get("sample", "")),
        scores=tuple(float(one["score"]) for one in objects),
        labels=tuple(str(one["label"]) for one in objects),
        boxes=tuple((left, top, right, bottom) for left, top, right, bottom in (one["box"] for one in objects)),
    )
