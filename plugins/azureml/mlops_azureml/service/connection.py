"""Requests to Azure: tokens, retries when it is throttled or fails, and one-line errors.

All requests to Azure but those for blobs go through this module, which knows nothing about their purpose.
"""

from __future__ import annotations

import email.utils
import json
import random
import re
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mlops_azureml.service.cloud import Cloud, find_cloud
from mlops_azureml.service.tokens import Tokens
from mlops_core.runners import RunnerError, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json = Any

ATTEMPTS_VARIABLE = "AZUREML_MAX_ATTEMPTS"
_ATTEMPTS = 8
_TIMEOUTS_S = (10, 60)
_LONGEST_WAIT_S = 120.0
_LONGEST = 500
_TRANSIENT = {408, 429, 500, 502, 503, 504}
_ACTION = re.compile(r"perform action '([^']+)'")


class ServiceError(RunnerError):
    """Azure refused a request.

    Attributes:
        status: of the response.
        code: of the error, as Azure names it; empty where it names none.
        is_sent_before: an earlier attempt may have reached Azure, since its answer was lost.
    """

    def __init__(self, message: str, *, status: int, code: str = "", is_sent_before: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.is_sent_before = is_sent_before

    @property
    def is_missing(self) -> bool:
        """Whether what was asked for does not exist."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later: Azure was not reached, failed, or throttled."""
        return self.status in (0, *_TRANSIENT)

    @property
    def is_denied(self) -> bool:
        """Whether the identity lacks a right."""
        return self.status == HTTPStatus.FORBIDDEN


class Connection:
    """Sends requests to Azure as one identity."""

    def __init__(
        self,
        *,
        tokens: Tokens | None = None,
        cloud: Cloud | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect on the first request.

        Args:
            tokens: tokens of the identity; None for those of the environment.
            cloud: addresses; None for those of the environment.
            pause: waits for a number of seconds.
        """
        self.tokens = tokens or Tokens()
        self._cloud = cloud
        self._pause = pause
        self._session: Any = None

    @property
    def cloud(self) -> Cloud:
        """The addresses of the cloud.

        Raises:
            RunnerError: they cannot be read.
        """
        if self._cloud is None:
            self._cloud = find_cloud(lambda url: self.send("GET", url))
        return self._cloud

    def send(
        self,
        method: str,
        url: str,
        *,
        scope: str = "",
        body: Json = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Send a request and return the JSON of its response; None for an empty one.

        Args:
            method: HTTP method.
            url: address, without a query.
            scope: scope of the token; empty for a request without one.
            body: JSON to send; None for nothing.
            query: parameters of the query.
            headers: additional headers.

        Raises:
            ServiceError: Azure refuses the request.
            RunnerError: Azure cannot be reached, or nobody is signed in.
        """
        request = _Request(method, url, scope=scope, body=body, query=query or {}, headers=headers or {})
        content = self._exchange(request, is_json=True)
        return json.loads(content) if content.strip() else None

    def read_bytes(self, url: str, *, start: int = 0) -> bytes:
        """Return the bytes at an address from `start` on, for example of a log; empty when there are no more.

        Raises:
            ServiceError: Azure refuses the request.
            RunnerError: Azure cannot be reached.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            return self._exchange(_Request("GET", url, headers=headers), is_json=False)
        except ServiceError as error:
            if error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            raise

    def _exchange(self, request: _Request, *, is_json: bool) -> bytes:
        count = attempts()
        is_renewed = is_lost = False
        attempt = 0
        while True:
            attempt += 1
            answer = self._try(request)
            fault = answer.fault or (_json_fault(answer.content) if is_json and answer.is_good else "")
            if answer.is_good and not fault:
                return answer.content
            is_lost = is_lost or answer.status in (0, *_TRANSIENT) or (answer.is_good and bool(fault))
            if answer.status == HTTPStatus.UNAUTHORIZED and request.scope and not is_renewed:
                is_renewed = True
                self.tokens.renew(request.scope, refused=request.token)
                attempt -= 1
                continue
            if not (fault or answer.status in _TRANSIENT):
                raise _refusal(request, answer, is_sent_before=is_lost)
            if attempt >= count:
                raise _give_up(request, answer, fault=fault, count=count)
            self._pause(_wait_s(attempt, answer.retry_after))

    def _try(self, request: _Request) -> _Answer:
        import requests

        if self._session is None:
            self._session = requests.Session()
        headers = {"Accept": "application/json", **request.headers}
        if request.scope:
            request.token = self.tokens.get(request.scope)
            headers["Authorization"] = f"Bearer {request.token}"
        try:
            response = self._session.request(
                request.method,
                request.url,
                params=dict(request.query),
                json=request.body,
                headers=headers,
                timeout=_TIMEOUTS_S,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError as error:
            raise RunnerError(
                f"{request}: the certificate is not trusted: {_one_line(str(error))}; set REQUESTS_CA_BUNDLE to the "
                "certificate of your proxy or emulator"
            ) from error
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            return _Answer(status=0, content=b"", fault=_connection_fault(error))
        except (requests.RequestException, OSError) as error:  # requests raises OSError for a file of certificates
            raise RunnerError(
                f"{request}: {_one_line(str(error))}; check the address and REQUESTS_CA_BUNDLE"
            ) from error
        return _Answer(
            status=response.status_code, content=response.content, retry_after=response.headers.get("Retry-After", "")
        )

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()


@dataclass(slots=True)
class _Request:
    """A request, which remembers the token of its last attempt."""

    method: str
    url: str
    scope: str = ""
    body: Json = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str = ""

    def __str__(self) -> str:
        """Return method and address, without the query: a signature may be in it."""
        return f"{self.method} {self.url.partition('?')[0]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """The response to one attempt; status 0 for none."""

    status: int
    content: bytes
    retry_after: str = ""
    fault: str = ""

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


def attempts() -> int:
    """Return the number of attempts per request: AZUREML_MAX_ATTEMPTS, or 8.

    Raises:
        RunnerError: the variable is not a positive whole number.
    """
    text = read_settings().environ.get(ATTEMPTS_VARIABLE) or str(_ATTEMPTS)
    if not text.isdecimal() or int(text) < 1:
        raise RunnerError(f"{ATTEMPTS_VARIABLE}={text!r} is not a positive whole number")
    return int(text)


def _json_fault(content: bytes) -> str:
    if not content.strip():
        return ""
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return "the response is not JSON"
    return ""


def _wait_s(attempt: int, retry_after: str) -> float:
    """Return how long to wait: what Azure asks for, or growing times with jitter."""
    asked = _seconds(retry_after)
    if asked is not None:
        return min(asked, _LONGEST_WAIT_S)
    return float(min(0.4 * 2**attempt, 20.0)) * random.uniform(0.5, 1.0)  # noqa: S311  jitter, no secret


def _seconds(retry_after: str) -> float | None:
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        moment = email.utils.parsedate_to_datetime(retry_after)
    except (TypeError, ValueError):
        return None
    return float(max(0.0, moment.timestamp() - time.time()))


def error_of(content: bytes) -> tuple[str, str]:
    """Return code and message of the error in a response: of Resource Manager, run history, blobs or a proxy."""
    try:
        data = json.loads(content)
        error = data.get("error") or data
        inner = error.get("details") or []
        first: Json = next((each for each in inner if each.get("message")), {}) if isinstance(inner, list) else {}
        code = str(error.get("code") or "")
        message = str(error.get("message") or first.get("message") or error.get("error_description") or "")
    except (ValueError, AttributeError, TypeError, RecursionError):
        text = content.decode("utf-8", "replace")
        match = re.search(r"<Code>(.*?)</Code>", text)
        return (match[1] if match else ""), _one_line(re.sub(r"<[^>]*>", " ", text))
    return code, _one_line(message)


def _refusal(request: _Request, answer: _Answer, *, is_sent_before: bool) -> ServiceError:
    code, message = error_of(answer.content)
    text = message or f"Azure answered {answer.status}"
    if answer.status == HTTPStatus.UNAUTHORIZED:
        text = f"the token is not accepted: {text}; sign in again (az login), in the tenant of the workspace"
    elif answer.status == HTTPStatus.FORBIDDEN:
        action = _ACTION.search(message)
        need = f"allow {action[1]}" if action else "compare the rights of the identity"
        text = f"access denied: {text}; {need}: the role 'AzureML Data Scientist' on the workspace has what a run needs"
    elif code in ("SubscriptionNotFound", "InvalidSubscriptionId"):
        text = f"{text}; check SUBSCRIPTION_ID, and that the signed-in identity can see it (az account list)"
    else:
        text = f"{request}: {f'{code}: ' if code else ''}{text}"
    return ServiceError(text, status=answer.status, code=code, is_sent_before=is_sent_before)


def _give_up(request: _Request, answer: _Answer, *, fault: str, count: int) -> ServiceError:
    code, message = error_of(answer.content) if answer.status and not fault else ("", "")
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        reason = f"Azure throttles the requests{f': {message}' if message else ''}; repeat the command later"
    elif answer.status and not fault:
        reason = f"Azure answered {answer.status}{f' {code}' if code else ''}: {message or 'without a message'}"
    else:
        reason = f"{fault}; check the network and the address"
    tries = f"{count} attempt{'s' if count > 1 else ''}"
    return ServiceError(
        f"{request}: gave up after {tries}: {reason}", status=answer.status, code=code, is_sent_before=True
    )


def _connection_fault(error: Exception) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the response was cut off"
    cause = re.search(r"\[Errno -?\d+\] ([^'\")]+)", str(error)) or re.search(
        r"(Remote end closed[^'\")]+)", str(error)
    )
    return f"no connection{f': {cause[1].strip()}' if cause else ''}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]
