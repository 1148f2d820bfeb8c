"""Which requests the application answers: of this machine, with the token, and from its own pages.

A page elsewhere may send requests to this address, and read the answers once its own name leads here (DNS rebinding);
the ``Host`` header shows it. Another user of this machine may send them too, and has no token. A form is accepted
from a page of this application only: by the header ``Origin``, and by a value that only its pages hold.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import urllib.parse
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from mlops_core.report.kit import element, group
from mlops_core.serving.front.hosts import host_of, is_address, is_loopback
from mlops_core.web.shell import POLICY, plain_page

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_OPEN = ("/static/", "/login")
"""Paths that need no token; they hold nothing of the workspace."""
_FORM_BYTES = 65_536
_MONTH_S = 30 * 24 * 3600


class Credentials:
    """The token of an application, and what is derived from it.

    Attributes:
        token: as the user types it; empty if none is required.
        csrf: the value that every form sends back.
    """

    def __init__(self, *, token: str) -> None:
        """Use a token; empty to require none."""
        self.token = token
        key = (token or secrets.token_urlsafe(32)).encode()
        self.csrf = hmac.new(key, b"form", hashlib.sha256).hexdigest()
        self._session = hmac.new(key, b"session", hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        """Return whether a text is the token."""
        return hmac.compare_digest(text.encode(), self.token.encode())

    def has_session(self, request: Request) -> bool:
        """Return whether a request has the cookie that the token was exchanged for."""
        if not self.token:
            return True
        return hmac.compare_digest(request.cookies.get(_cookie(request), "").encode(), self._session.encode())

    def give_session(self, request: Request, response: Response) -> None:
        """Set the cookie; its name has the port, since cookies do not tell the ports of a host apart."""
        response.set_cookie(_cookie(request), self._session, max_age=_MONTH_S, httponly=True, samesite="lax", path="/")


def _cookie(request: Request) -> str:
    return f"mlops_ui_{request.url.port or 80}"


class UiAccess:
    """An ASGI application in front of the pages."""

    def __init__(
        self, application: ASGIApp, credentials: Credentials, *, hosts: Collection[str], is_local: bool
    ) -> None:
        """Protect an application.

        Args:
            application: answers the accepted requests.
            credentials: token and forms.
            hosts: names by which the server may be called, besides those of this machine.
            is_local: the server listens on this machine's own address only.
        """
        self._application = application
        self._credentials = credentials
        self._hosts = frozenset(name.lower() for name in hosts)
        self._is_local = is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """PageAnswer a request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        request = Request(scope, receive)

        async def send_protected(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))  # type: ignore[call-overload]
                known = {name.lower() for name, _ in headers}
                headers += [
                    (name.lower().encode(), value.encode())
                    for name, value in _HEADERS.items()
                    if name.lower().encode() not in known
                ]
                message = {**message, "headers": headers}
            await send(message)

        refusal = await self._refusal(request)
        await (refusal or self._application)(scope, request.receive if refusal else receive, send_protected)  # type: ignore[arg-type]

    async def _refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that may not reach the pages; None if it may."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if not self._is_own(host_of(host)):
            return _page(
                HTTPStatus.FORBIDDEN,
                "Unknown host",
                f"The Host header is {host[:100]!r}. Open the address that mlops ui printed, or start it with "
                "--trusted-host.",
            )
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return _page(HTTPStatus.FORBIDDEN, "Refused", "The request comes from a page of another server.")
        return await self._refusal_without_token(request)

    async def _refusal_without_token(self, request: Request) -> Response | None:
        if request.url.path == "/login" and request.method == "POST":
            return await self._log_in(request)
        if token := request.query_params.get("token"):
            return self._exchanged(request, token)
        if not self._credentials.has_session(request) and not request.url.path.startswith(_OPEN):
            return self._login_page(request)
        return None

    def _is_own(self, host: str) -> bool:
        if is_loopback(host) or host in self._hosts:
            return True
        return not self._is_local and is_address(host)

    def _exchanged(self, request: Request, token: str) -> Response:
        """Exchange the token in an address for a cookie, so that it is not in the history of later pages."""
        if self._credentials.token and not self._credentials.is_token(token):
            return self._login_page(request, fault="That is not the token of this server: it was started again, maybe.")
        others = [(name, value) for name, value in request.query_params.multi_items() if name != "token"]
        # A path that begins with two slashes would lead to another server.
        path = "/" + request.url.path.lstrip("/\\")
        response = Response(status_code=HTTPStatus.SEE_OTHER)
        response.headers["Location"] = path + (f"?{urllib.parse.urlencode(others)}" if others else "")
        if self._credentials.token:
            self._credentials.give_session(request, response)
        return response

    async def _log_in(self, request: Request) -> Response:
        form = await read_form(request)
        if form is None or not self._credentials.is_token(form.get("token", "").strip()):
            return self._login_page(request, fault="That is not the token of this server.")
        response = Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": "/"})
        self._credentials.give_session(request, response)
        return response

    def _login_page(self, request: Request, *, fault: str = "") -> Response:
        if request.method != "GET" and request.url.path != "/login":
            return _page(
                HTTPStatus.UNAUTHORIZED, "No access", "Open the address that mlops ui printed, then try again."
            )
        body = group(
            element("h1", "mlops ui"),
            element("p", fault, class_="message", role="alert") if fault else None,
            element("p", "Open the address that mlops ui printed in the terminal, or enter the token from it."),
            element(
                "form",
                element("label", "Token", for_="token"),
                element("input", id="token", name="token", type="password", autocomplete="off", required=True),
                element("button", "Open", type="submit", class_="primary"),
                method="post",
                action="/login",
                class_="stacked",
            ),
        )
        page = plain_page(title="No access", body=body)
        return Response(page, status_code=HTTPStatus.UNAUTHORIZED, media_type="text/html")


async def read_form(request: Request) -> dict[str, str] | None:
    """Return the fields of a form; None if it is too large, or not one that a page of the application sends."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return None
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_BYTES:
            return None
    try:
        pairs = urllib.parse.parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=100)
    except (UnicodeDecodeError, ValueError):
        return None
    return dict(pairs)


def _page(status: HTTPStatus, title: str, text: str) -> Response:
    body = group(element("h1", title), element("p", text))
    return Response(plain_page(title=title, body=body), status_code=status, media_type="text/html")
