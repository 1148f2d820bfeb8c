"""Requests that are not answered with a prediction: the status, one line that says what to do, and further headers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from mlops_core.control_characters import escape_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN = 80


class RefusedRequestError(Exception):
    """A request is refused, or cannot be answered now.

    Attributes:
        status: the HTTP status.
        headers: further headers of the response.
    """

    def __init__(self, status: HTTPStatus, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        """Refuse a request with one line."""
        super().__init__(escape_line(message))
        self.status = status
        self.headers = dict(headers or {})


def overloaded(message: str, *, retry_after_s: int = 1) -> RefusedRequestError:
    """Return the refusal of a request that may be sent again later."""
    return RefusedRequestError(
        HTTPStatus.SERVICE_UNAVAILABLE, message, headers={"Retry-After": str(max(1, retry_after_s))}
    )


def shown(text: str) -> str:
    """Return what a caller sent, shortened for a message."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
