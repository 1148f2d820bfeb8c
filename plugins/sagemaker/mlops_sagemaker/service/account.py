"""One account in one region: boto3's clients with timeouts and retries, and its faults as one line each.

Every call to the service goes through `Account.call`. Nothing here knows what is asked for.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from typing import TYPE_CHECKING, Any

from mlops_core import DatasetError, MlopsError
from mlops_core.runners import RunnerError, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Client = Any
"""A boto3 client: made at run time, without types of its own."""
Json = Any

_ATTEMPTS = 8
_LONGEST = 500
_TIMEOUTS_S = {"connect_timeout": 10, "read_timeout": 60}
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_UNKNOWN = ("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch")
_FIXES = (
    (
        ("NoCredentialsError", "PartialCredentialsError"),
        "sign in, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    (
        ("UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError", "CredentialRetrievalError"),
        "the credentials have expired: sign in again (aws sso login)",
    ),
    (("NoRegionError",), "pass --region, or set AWS_REGION"),
    (("ProfileNotFound",), "profiles are in ~/.aws/config"),
    (
        ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"),
        "after several attempts; check region, network and AWS_ENDPOINT_URL",
    ),
)
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")


class Account:
    """Credentials and a region, as boto3 finds them."""

    def __init__(self, *, region: str | None = None, session: Any = None) -> None:
        """Use this region, else AWS_REGION, AWS_DEFAULT_REGION or that of the profile.

        Args:
            region: of all clients.
            session: a boto3 session; a new one where it is None.
        """
        self._region = region
        self._session = session
        self._clients: dict[str, Client] = {}

    @property
    def session(self) -> Any:
        """The boto3 session.

        Raises:
            RunnerError: boto3 is not installed, or the profile does not exist.
        """
        if self._session is None:
            try:
                import boto3
            except ImportError as error:
                raise RunnerError(f"boto3 cannot be imported: {error}; pip install 'mlops-sagemaker'") from error
            region = self._region or read_settings().environ.get("AWS_REGION")
            with faults():
                self._session = boto3.Session(region_name=region)
        return self._session

    @property
    def region(self) -> str:
        """The region.

        Raises:
            RunnerError: none is set.
        """
        name = self.session.region_name
        if not name:
            raise RunnerError("no region: pass --region, or set AWS_REGION")
        return str(name)

    def client(self, service: str) -> Client:
        """Return the client of a service; it tries again, with jitter, when it is throttled or the service fails."""
        if service not in self._clients:
            from botocore.config import Config

            environ = read_settings().environ
            retries = {
                "mode": environ.get("AWS_RETRY_MODE", "standard"),
                "total_max_attempts": attempts(),
            }
            config = Config(retries=retries, max_pool_connections=32, **_TIMEOUTS_S)
            with faults():
                made = self.session.client(service, region_name=self.region, config=config)
            made.meta.events.register("before-parse", _refuse_cut_off)
            self._clients[service] = made
        return self._clients[service]

    def call(self, service: str, operation: str, **request: Any) -> Json:
        """Call an operation, such as ``("sagemaker", "describe_pipeline", PipelineName=...)``.

        Raises:
            RunnerError: the service refuses, cannot be reached, or does not know the caller.
        """
        return call(getattr(self.client(service), operation), **request)

    def pages(self, service: str, operation: str, key: str, **request: Any) -> Iterator[Json]:
        """Yield the items of an operation that answers in pages.

        Raises:
            RunnerError: as for `call`.
        """
        with faults():
            for page in self.client(service).get_paginator(operation).paginate(**request):
                yield from page.get(key, ())


def attempts() -> int:
    """Return how often a request is tried: AWS_MAX_ATTEMPTS, else eight times.

    Raises:
        RunnerError: the variable is no positive number.
    """
    text = read_settings().environ.get("AWS_MAX_ATTEMPTS") or str(_ATTEMPTS)
    if not text.isdecimal() or int(text) < 1:
        raise RunnerError(f"AWS_MAX_ATTEMPTS={text!r} is no positive whole number")
    return int(text)


def call(method: Callable[..., Any], **request: Any) -> Json:
    """Call a method of a boto3 client.

    Raises:
        RunnerError: the service refuses, cannot be reached, or does not know the caller.
    """
    from botocore.exceptions import IncompleteReadError

    with faults():
        for attempt in range(1, attempts()):
            try:
                return method(**request)
            except IncompleteReadError:
                # botocore does not try again once there is an answer. Every call that changes something here has a
                # token or is an update, so a second one does nothing twice.
                time.sleep(min(0.2 * 2**attempt, 5.0) * random.uniform(0.5, 1.0))  # noqa: S311  jitter, no secret
        return method(**request)


def _refuse_cut_off(operation_model: Any, response_dict: Json, **_: Any) -> None:
    """Refuse a body that is shorter than was announced: botocore takes half a JSON text for a whole empty one.

    Raises:
        IncompleteReadError: it is.
    """
    from botocore.exceptions import IncompleteReadError

    body, announced = response_dict.get("body"), response_dict.get("headers", {}).get("content-length")
    if operation_model.http.get("method") == "HEAD" or not isinstance(body, bytes) or announced is None:
        return
    if len(body) < int(announced):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(announced))


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Turn what boto3 raises into a `RunnerError` of one line; its cause is boto3's."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise _service_error(error) from error
    except Boto3Error as error:  # a transfer hides what the service said
        cause = error.__context__ if isinstance(error.__context__, ClientError | BotoCoreError) else error
        raise _service_error(cause) from cause


def code_of(error: BaseException | None) -> str:
    """Return the service's code of an error, or of the error that caused it; empty when it is none of the service's."""
    for candidate in (error, getattr(error, "__cause__", None)):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def credential_fault(code: str, text: str) -> str:
    """Return what is wrong with the credentials and what to do; empty when nothing is."""
    if code in _EXPIRED or "token included in the request is expired" in text or "has expired" in text:
        return f"the credentials have expired: {text}; sign in again (aws sso login) and repeat the command"
    if code in _UNKNOWN:
        return f"the credentials are not accepted: {text}; check AWS_PROFILE or the access key"
    return ""


def denied_action(text: str) -> str:
    """Return the action that a message of the service says is not allowed; empty when it names none."""
    found = re.search(r"not authorized to perform:? ([a-z0-9-]+:\w+)", text)
    return found[1] if found else ""


def as_dataset_error(error: MlopsError) -> DatasetError:
    """Return the error as one of a data set."""
    return DatasetError(str(error))


def _service_error(error: BaseException) -> RunnerError:
    text = re.sub(r"<[^>]*>", " ", str(error))  # what stands between the client and the service may answer in HTML
    text = " ".join(text.split())[:_LONGEST]
    code, kind = code_of(error), type(error).__name__
    known = credential_fault(code, text)
    if known:
        return RunnerError(known)
    fix = next((fix for kinds, fix in _FIXES if kind in kinds), "")
    if fix:
        return RunnerError(f"{text}; {fix}")
    if code in _DENIED:
        action = denied_action(text)
        fix = f"allow {action}" if action else "compare what you may do"
        return RunnerError(f"{text}; {fix}: mlops sagemaker policy prints what is needed")
    return RunnerError(text)
