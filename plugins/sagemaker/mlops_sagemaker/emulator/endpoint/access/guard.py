"""Who may use the endpoint: requests of this machine's programs that are signed with its random credential.

A page in a browser cannot: requests with a foreign ``Origin`` or ``Host`` (DNS rebinding) are refused, responses have
no CORS headers, and the credential is not in the browser. The health check ``GET /health`` needs no signature.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from mlops_sagemaker.emulator.endpoint.access.signatures import DeniedError, Signer, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mlops_sagemaker.emulator.endpoint.access.signatures import Environ, SecretOf

SIGNER = "mlops.signer"
"""Key of the verified `Signer` in the environment of a request."""
HEALTH = "/health"
_HOST = re.compile(r"(?:127\.0\.0\.1|localhost)(?::\d{1,5})?\Z", re.IGNORECASE)
_INTERNAL = ("/moto-api", "/latest/meta-data", "/latest/api")
"""Paths with which moto can be inspected and reset; they are not part of AWS."""
_DRAINED = 16 * 1024 * 1024


class AccessGuard:
    """A WSGI application in front of another one that it protects."""

    def __init__(self, application: Any, *, secret_of: SecretOf, port: int) -> None:
        """Protect an application.

        Args:
            application: WSGI application; finds the verified `Signer` in the environment.
            secret_of: returns the secret key of an access key; None if the key is unknown.
            port: port of the endpoint, for its own origin.
        """
        self._application = application
        self._secret_of = secret_of
        self._origins = tuple(f"http://{host}:{port}" for host in ("127.0.0.1", "localhost"))

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        try:
            self._require_local(environ)
            if _is_health_check(environ):
                return _respond(environ, start_response, HTTPStatus.OK, "application/json", b'{"status": "ok"}')
            environ[SIGNER] = verify(environ, self._secret_of)
            _require_public(environ)
        except DeniedError as error:
            _drain(environ)
            return _refuse(environ, start_response, error)
        answer: Iterable[bytes] = self._application(environ, _without_cors(start_response))
        return answer

    def _require_local(self, environ: Environ) -> None:
        """Raise for a request that a page of another origin could have made.

        Raises:
            DeniedError: the host is not this machine, or the origin is not this endpoint.
        """
        if not _HOST.match(environ.get("HTTP_HOST", "")):
            raise DeniedError("AccessDenied", "the Host header must be 127.0.0.1 or localhost")
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin not in self._origins:
            raise DeniedError("AccessDenied", "requests from pages of another origin are refused")


def _require_public(environ: Environ) -> None:
    if environ.get("PATH_INFO", "").startswith(_INTERNAL):
        raise DeniedError("AccessDenied", "this path is not part of AWS")


def _is_health_check(environ: Environ) -> bool:
    is_signed = "HTTP_AUTHORIZATION" in environ or environ.get("QUERY_STRING")
    return environ["REQUEST_METHOD"] in ("GET", "HEAD") and environ.get("PATH_INFO") == HEALTH and not is_signed


def _without_cors(start_response: Callable[..., Any]) -> Callable[..., Any]:
    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        kept = [(name, value) for name, value in headers if not name.lower().startswith("access-control-")]
        return start_response(status, kept, *more)

    return start


def _drain(environ: Environ) -> None:
    """Read the body of a refused request, so that its client reads the answer instead of a closed connection."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if length.isascii() and length.isdigit() and int(length) <= _DRAINED and not environ.get("wsgi.input_terminated"):
        environ["wsgi.input"].read(int(length))


def _refuse(environ: Mapping[str, Any], start_response: Callable[..., Any], error: DeniedError) -> Iterable[bytes]:
    """Answer in the format of the service that was called."""
    if "HTTP_X_AMZ_TARGET" in environ or "json" in environ.get("CONTENT_TYPE", ""):
        content = json.dumps({"__type": error.code, "message": error.message}).encode()
        return _respond(environ, start_response, error.status, "application/x-amz-json-1.1", content)
    inner = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        content = f"<ErrorResponse><Error><Type>Sender</Type>{inner}</Error></ErrorResponse>".encode()
    else:
        content = f"<Error>{inner}</Error>".encode()
    return _respond(environ, start_response, error.status, "application/xml", content)


def _respond(
    environ: Mapping[str, Any], start_response: Callable[..., Any], status: int, kind: str, content: bytes
) -> Iterable[bytes]:
    headers = [("Content-Type", kind), ("Content-Length", str(len(content)))]
    start_response(f"{int(status)} {HTTPStatus(status).phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]


__all__ = ["HEALTH", "SIGNER", "AccessGuard", "Signer"]
