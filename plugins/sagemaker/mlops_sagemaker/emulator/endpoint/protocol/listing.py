"""Lists of resources: filters by time, order, and pages with tokens."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, TypeVar

from mlops_sagemaker.emulator.endpoint.protocol.errors import ValidationError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Mapping, Sequence

Item = TypeVar("Item")
_PAGE = 100


def is_between(request: Mapping[str, Any], moment: dt.datetime, *, after: str, before: str) -> bool:
    """Return whether a time is within the limits of a request.

    Args:
        request: the request.
        moment: the time.
        after: member with the lower limit.
        before: member with the upper limit.
    """
    lower, upper = request.get(after), request.get(before)
    return (lower is None or moment > lower) and (upper is None or moment < upper)


def in_order(
    items: Iterable[Item],
    request: Mapping[str, Any],
    *,
    keys: Mapping[str, Callable[[Item], Any]],
    default: str,
    is_descending: bool = False,
) -> list[Item]:
    """Return items in the order that a request names in ``SortBy`` and ``SortOrder``.

    Args:
        items: the items; equal ones keep their order.
        request: the request.
        keys: sort keys by value of ``SortBy``.
        default: value of ``SortBy`` if the request has none.
        is_descending: order if the request has no ``SortOrder``.
    """
    order = request.get("SortOrder")
    reverse = is_descending if order is None else order == "Descending"
    return sorted(items, key=keys[request.get("SortBy") or default], reverse=reverse)


def page(request: Mapping[str, Any], items: Sequence[Any], *, name: str) -> dict[str, Any]:
    """Return the response with the requested page.

    Args:
        request: the request, with ``MaxResults`` and ``NextToken``.
        items: all items in order.
        name: member of the response with the items; a token is valid for the same list only.

    Raises:
        ValidationError: the token is not one that an earlier response for this list contained.
    """
    start = _position(request["NextToken"], name=name, count=len(items)) if request.get("NextToken") else 0
    end = start + int(request.get("MaxResults") or _PAGE)
    response: dict[str, Any] = {name: list(items[start:end])}
    if end < len(items):
        response["NextToken"] = base64.urlsafe_b64encode(json.dumps([name, end]).encode()).decode()
    return response


def _position(token: str, *, name: str, count: int) -> int:
    try:
        kind, position = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        if kind == name and type(position) is int and 0 < position <= count:
            return position
    except (ValueError, TypeError, binascii.Error, RecursionError):
        pass
    raise ValidationError("Invalid pagination token: pass the NextToken of the previous response for the same list")
