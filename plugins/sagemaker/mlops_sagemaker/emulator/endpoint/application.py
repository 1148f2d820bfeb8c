"""The WSGI application for SageMaker: its JSON protocol, in front of moto, which serves the other services.

Each request is validated against the service model before an operation sees it. What moto cannot do with a request is
an error of the request, never of the server.
"""

from __future__ import annotations

import io
import json
import logging
import secrets
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn

from moto.core.models import DEFAULT_ACCOUNT_ID

from mlops_sagemaker.emulator.endpoint.access.guard import SIGNER
from mlops_sagemaker.emulator.endpoint.calls import as_json, require_sensible, require_served_by_moto
from mlops_sagemaker.emulator.endpoint.inference.invocations import invoke, is_invocation
from mlops_sagemaker.emulator.endpoint.protocol.errors import (
    CallError,
    SerializationError,
    UnsupportedError,
    ValidationError,
)
from mlops_sagemaker.emulator.endpoint.protocol.model import input_shape
from mlops_sagemaker.emulator.endpoint.protocol.validation import validated
from mlops_sagemaker.emulator.endpoint.state import Region

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mlops_sagemaker.emulator.endpoint.calls import Call
    from mlops_sagemaker.emulator.endpoint.inference.asynchronous import AsyncInvocations
    from mlops_sagemaker.emulator.endpoint.inference.endpoints import HostedEndpoints

    Environ = dict[str, Any]
    StartResponse = Callable[..., Any]

_LOG = logging.getLogger(__name__)
_PREFIX = "SageMaker."
_SERVER_ERROR = 500


class SageMakerApplication:
    """Serves SageMaker, and passes all other services to moto."""

    def __init__(self, moto: Any) -> None:
        """Put the application in front of moto's; what it serves itself is added before it serves."""
        self._moto = moto
        self._lock = threading.Lock()
        self._regions: dict[str, Region] = {}
        self.calls: Mapping[str, Call] = {}
        self.endpoints: HostedEndpoints | None = None
        self.asynchronous: AsyncInvocations | None = None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request that the guard has let through."""
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if self.endpoints and self.asynchronous and environ[SIGNER].service == "sagemaker" and is_invocation(environ):
            region = self.region(environ[SIGNER].region)
            return invoke(environ, start_response, self.endpoints, region, asynchronous=self.asynchronous)
        if environ[SIGNER].service != "sagemaker" or not target.startswith(_PREFIX):
            return self._others(environ, start_response)
        operation = target.removeprefix(_PREFIX)
        try:
            status, content = HTTPStatus.OK, self._answer(environ, operation)
        except CallError as error:
            status = HTTPStatus.BAD_REQUEST
            content = as_json({"__type": error.code, "message": error.message}).encode()
        except Exception as error:  # noqa: BLE001  a defect must reach the client as an answer
            _LOG.exception("%s failed", operation)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            content = as_json({"__type": "InternalFailure", "message": f"{operation}: {error!r}"}).encode()
        return _respond(start_response, status, content)

    def region(self, name: str) -> Region:
        """Return the state of a region."""
        with self._lock:
            return self._regions.setdefault(name, Region(name, DEFAULT_ACCOUNT_ID))

    def _answer(self, environ: Environ, operation: str) -> bytes:
        region, call = self.region(environ[SIGNER].region), self.calls.get(operation)
        if call is None:
            require_served_by_moto(operation)
        request = validated(_body(environ), input_shape(operation))
        with region.lock:
            if call is not None:
                return as_json(call(region, request)).encode()
            require_sensible(operation, request)
            return self._by_moto(environ, operation)

    def _by_moto(self, environ: Environ, operation: str) -> bytes:
        """Return the answer of moto.

        Raises:
            CallError: moto refuses the request, or fails.
        """
        answered: list[str] = []
        try:
            content = b"".join(self._moto(environ, lambda status, *_: answered.append(status)))
        except Exception as error:
            raise ValidationError(f"{operation} cannot be done with this request: {error!r}") from error
        status = int(answered[0].partition(" ")[0])
        if status >= _SERVER_ERROR:
            raise ValidationError(f"{operation} cannot be done with this request")
        if status >= HTTPStatus.BAD_REQUEST:
            _raise_error(operation, content)
        return content

    def _others(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request for another service, or for an endpoint of SageMaker, by moto."""
        what = environ.get("HTTP_X_AMZ_TARGET") or environ[SIGNER].service
        try:
            service = self._moto.get_application(environ)
        except Exception:  # noqa: BLE001  moto raises anything for a service that it does not know
            return _respond_unsupported(environ, start_response, what)
        try:
            answer: Iterable[bytes] = service(environ, start_response)
        except NotImplementedError:
            return _respond_unsupported(environ, start_response, what)
        return answer


def _body(environ: Environ) -> Any:
    stream = environ["wsgi.input"]
    content = stream.getvalue() if isinstance(stream, io.BytesIO) else stream.read()
    try:
        return json.loads(content or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"the request is not JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _raise_error(operation: str, content: bytes) -> NoReturn:
    try:
        error = json.loads(content)
        code, message = str(error["__type"]), str(error.get("message") or error.get("Message"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValidationError(f"{operation} cannot be done with this request") from None
    failure = CallError(message)
    failure.code = code
    raise failure


def _respond(start_response: StartResponse, status: HTTPStatus, content: bytes) -> Iterable[bytes]:
    headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("Content-Length", str(len(content))),
        ("x-amzn-RequestId", secrets.token_hex(16)),
    ]
    start_response(f"{status.value} {status.phrase}", headers)
    return [content]


def _respond_unsupported(environ: Environ, start_response: StartResponse, what: str) -> Iterable[bytes]:
    message = f"{what} is not supported by this endpoint"
    if "HTTP_X_AMZ_TARGET" in environ:
        content = as_json({"__type": UnsupportedError.code, "message": message}).encode()
        return _respond(start_response, HTTPStatus.BAD_REQUEST, content)
    content = f"<Error><Code>NotImplemented</Code><Message>{message}</Message></Error>".encode()
    start_response("501 Not Implemented", [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))])
    return [content]
