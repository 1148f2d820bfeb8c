"""Responses to requests that are refused or that failed, and the id by which a request is found in the log."""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from mlops_core.serving.front.bodies import discard_rest
from mlops_core.serving.refusals import RefusedRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request


_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def error_response(
    status: HTTPStatus, message: str, *, request_id: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return the response to a request that is refused or failed."""
    return JSONResponse({"error": message, "request_id": request_id}, status_code=status, headers=dict(headers or {}))


async def http_error_response(request: Request, error: Exception) -> Response:
    """Answer a request for a path or with a method that the server does not have."""
    assert isinstance(error, HTTPException)  # noqa: S101  registered for this class
    path = shown(request.url.path)
    messages = {
        HTTPStatus.NOT_FOUND: f"there is no {path}; send predictions to POST /invocations",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{path} does not accept {shown(request.method)}",
    }
    status = HTTPStatus(error.status_code)
    refusal = RefusedRequestError(status, messages.get(status, str(error.detail)))
    headers = dict(error.headers or {})
    if not await discard_rest(request):
        headers["Connection"] = "close"
    return error_response(refusal.status, str(refusal), request_id=request_id_of(request), headers=headers)


async def defect_response(request: Request, error: Exception) -> Response:
    """Answer a request that failed for an unexpected reason; the log has the traceback."""
    del error
    return error_response(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "the server failed; its log has the reason",
        request_id=request_id_of(request),
        headers={"Connection": "close"},
    )


def request_id_of(request: Request) -> str:
    """Return the id that a request gives itself, else a random one."""
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
