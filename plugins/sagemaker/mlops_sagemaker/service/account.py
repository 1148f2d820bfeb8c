"""Access to an account in one region: boto3 clients with timeouts and retries, and one-line errors.

All calls to AWS go through this module, which knows nothing about their purpose.
"""

from __future__ import annotations

import contextlib
import random
import re
import time
from typing import TYPE_CHECKING, Any

from mlops_core.runners import RunnerError, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Client = Any
"""A boto3 client, which is not typed."""
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
    (("ProfileNotFound",), "see ~/.aws/config for the profiles"),
    (
        ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"),
        "no answer after several attempts; check region, network and AWS_ENDPOINT_URL",
    ),
)
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")


class Account:
    """Credentials and a region, as boto3 resolves them."""

    def __init__(self, *, region: str | None = None, session: Any = None) -> None:
        """Use the given region, or AWS_REGION, AWS_DEFAULT_REGION or the region of the profile.

        Args:
            region: region of all clients.
            session: boto3 session; None for a new one.
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
        """The AWS region.

        Raises:
            RunnerError: no region is set.
        """
        name = self.session.region_name
        if not name:
            raise RunnerError("no region: pass --region, or set AWS_REGION")
        return str(name)

    def require_access(self, *, pipeline: str) -> None:
        """Check that a region and credentials are set, and that the service accepts the credentials.

        The service is asked for the pipeline, as a run asks it anyway. An answer about anything else than the
        credentials, or none, proves nothing about them and is ignored.

        Raises:
            RunnerError: one of them is missing, or the credentials have expired or are unknown.
        """
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        region = self.region
        with faults():
            credentials = self.session.get_credentials()
            if credentials is None:
                raise NoCredentialsError
            credentials.get_frozen_credentials()
            config = Config(retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=10)
            client = self.session.client("sagemaker", region_name=region, config=config)
        try:
            client.describe_pipeline(PipelineName=pipeline)
        except ClientError as error:
            if credential_fault(code_of(error), str(error)):
                raise _service_error(error) from error
        except BotoCoreError:
            return

    def client(self, service: str) -> Client:
        """Return a client that retries, with jitter, when it is throttled or the service fails."""
        if service not in self._clients:
            from botocore.config import Config

            environ = read_settings().environ
            retries = {
                "mode": environ.get("AWS_RETRY_MODE", "standard"),
                "total_max_attempts": attempts(),
            }
            config = Config(retries=retries, max_pool_connections=32, **_TIMEOUTS_S)
            with faults():
                client = self.session.client(service, region_name=self.region, config=config)
            client.meta.events.register("before-parse", _refuse_truncated)
            self._clients[service] = client
        return self._clients[service]

    def call(self, service: str, operation: str, **request: Any) -> Json:
        """Return the response of an operation, for example ``("sagemaker", "describe_pipeline", PipelineName=...)``.

        Raises:
            RunnerError: the service refuses or cannot be reached, or the credentials are invalid.
        """
        return call(getattr(self.client(service), operation), **request)

    def pages(self, service: str, operation: str, key: str, **request: Any) -> Iterator[Json]:
        """Yield the items below `key` of a paginated operation.

        Raises:
            RunnerError: as for `call`.
        """
        with faults():
            for page in self.client(service).get_paginator(operation).paginate(**request):
                yield from page.get(key, ())


def attempts() -> int:
    """Return the number of attempts per request: AWS_MAX_ATTEMPTS, or 8.

    Raises:
        RunnerError: the variable is not a positive whole number.
    """
    text = read_settings().environ.get("AWS_MAX_ATTEMPTS") or str(_ATTEMPTS)
    if not text.isdecimal() or int(text) < 1:
        raise RunnerError(f"AWS_MAX_ATTEMPTS={text!r} is not a positive whole number")
    return int(text)


def call(method: Callable[..., Any], **request: Any) -> Json:
    """Return the response of a method of a boto3 client.

    Raises:
        RunnerError: the service refuses or cannot be reached, or the credentials are invalid.
    """
    from botocore.exceptions import IncompleteReadError

    with faults():
        for attempt in range(1, attempts()):
            try:
                return method(**request)
            except IncompleteReadError:
                # botocore does not retry once a response has begun. All calls here that change something have a
                # token or are updates, so repeating them is safe.
                time.sleep(min(0.2 * 2**attempt, 5.0) * random.uniform(0.5, 1.0))  # noqa: S311  jitter
        return method(**request)


def _refuse_truncated(operation_model: Any, response_dict: Json, **_: Any) -> None:
    """Raise for a body that is shorter than announced; botocore would parse half a JSON text as an empty response.

    Raises:
        IncompleteReadError: the body is too short.
    """
    from botocore.exceptions import IncompleteReadError

    body, announced = response_dict.get("body"), response_dict.get("headers", {}).get("content-length")
    if operation_model.http.get("method") == "HEAD" or not isinstance(body, bytes) or announced is None:
        return
    if len(body) < int(announced):
        raise IncompleteReadError(actual_bytes=len(body), expected_bytes=int(announced))


@contextlib.contextmanager
def faults() -> Iterator[None]:
    """Convert exceptions of boto3 to a `RunnerError` with a one-line message; the cause is the original exception."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise _service_error(error) from error
    except Boto3Error as error:  # a transfer wraps the error of the service
        cause = error.__context__ if isinstance(error.__context__, ClientError | BotoCoreError) else error
        raise _service_error(cause) from cause


def code_of(error: BaseException | None) -> str:
    """Return the service's code of an error or of its cause; empty if the service did not raise it."""
    for candidate in (error, getattr(error, "__cause__", None)):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def credential_fault(code: str, text: str) -> str:
    """Return a message for an error of the credentials; empty for any other error."""
    if code in _EXPIRED or "token included in the request is expired" in text or "has expired" in text:
        return f"the credentials have expired: {text}; sign in again (aws sso login) and rerun the command"
    if code in _UNKNOWN:
        return f"the credentials are not accepted: {text}; check AWS_PROFILE or the access key"
    return ""


def denied_action(text: str) -> str:
    """Return the action that the service denied according to its message; empty if it names none."""
    match = re.search(r"not authorized to perform:? ([a-z0-9-]+:\w+)", text)
    return match[1] if match else ""


def _service_error(error: BaseException) -> RunnerError:
    text = re.sub(r"<[^>]*>", " ", str(error))  # a proxy may answer in HTML
    text = " ".join(text.split())[:_LONGEST]
    code, kind = code_of(error), type(error).__name__
    credential_message = credential_fault(code, text)
    if credential_message:
        return RunnerError(credential_message)
    fix = next((fix for kinds, fix in _FIXES if kind in kinds), "")
    if fix:
        return RunnerError(f"{text}; {fix}")
    if code in _DENIED:
        action = denied_action(text)
        fix = f"allow {action}" if action else "compare your permissions"
        return RunnerError(f"{text}; {fix}: mlops sagemaker policy prints the required ones")
    return RunnerError(text)
