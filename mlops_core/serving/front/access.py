"""Which requests a server on this machine's own address answers: those of its programs, not those of a page elsewhere.

A page in a browser may send requests to 127.0.0.1, and read the answers once its own name leads there (DNS rebinding).
Such a request names itself: by the header ``Origin``, or by a ``Host`` that is not this machine.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request

from mlops_core.serving.front.bodies import discard_rest
from mlops_core.serving.front.hosts import host_of, is_loopback
from mlops_core.serving.front.refusing import error_response, request_id_of
from mlops_core.serving.refusals import RefusedRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send


_KNOWN_HOSTS, _LONGEST_HOST = 64, 300


class LocalAccess:
    """An ASGI application in front of another one that listens on this machine's own address."""

    def __init__(self, application: ASGIApp, *, trusted: Collection[str] = ()) -> None:
        """Protect an application.

        Args:
            application: what answers the accepted requests.
            trusted: further names by which the server may be called, and whose pages may call it, such as that of a
                proxy.
        """
        self._application = application
        self._trusted = frozenset(name.lower() for name in trusted)
        self._known_hosts: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or self._is_known(scope):
            await self._application(scope, receive, send)
            return
        if not (fault := self._fault(request := Request(scope, receive))):
            host = request.headers.get("host", "").encode("latin-1")
            if len(self._known_hosts) < _KNOWN_HOSTS and len(host) < _LONGEST_HOST:
                self._known_hosts.add(host)
            await self._application(scope, receive, send)
            return
        headers = {} if await discard_rest(request) else {"Connection": "close"}
        refusal = RefusedRequestError(HTTPStatus.FORBIDDEN, fault)
        response = error_response(refusal.status, str(refusal), request_id=request_id_of(request), headers=headers)
        await response(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        """Return whether a request without ``Origin`` has a single ``Host`` that was accepted before."""
        hosts = []
        for name, value in scope["headers"]:
            if name == b"origin":
                return False
            if name == b"host":
                hosts.append(value)
        return len(hosts) == 1 and hosts[0] in self._known_hosts

    def _fault(self, request: Request) -> str:
        """Return why a request is refused; empty if it is not."""
        host, origin = request.headers.get("host"), request.headers.get("origin")
        if host is not None and not self._is_own(host_of(host)):
            return f"the Host header is {shown(host)!r}; expected this machine, or a name given by --trusted-host"
        if origin is None or origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower()):
            return ""
        if host_of(origin.partition("://")[2]) in self._trusted:
            return ""
        return f"the request comes from a page of {shown(origin)!r}; expected one of this server, or --trusted-host"

    def _is_own(self, name: str) -> bool:
        return is_loopback(name) or name in self._trusted
