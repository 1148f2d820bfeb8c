"""The table of requests: method and path lead to a function; everything else is refused by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops_azureml.emulator.web.errors import NotFoundError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mlops_azureml.emulator.web.http import Request, Response

    Call = Callable[[Request, Mapping[str, str]], Response]

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request.

    Attributes:
        method: HTTP method.
        path: path with ``{names}`` for its variable parts.
        call: answers the request; receives the variable parts.
    """

    method: str
    path: str
    call: Call


class Routes:
    """Finds the function for a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """Compile the table."""
        self._routes = [(each, _pattern(each.path)) for each in routes]

    def find(self, request: Request, path: str) -> Response | None:
        """Return the response to a request for `path`; None if no route has this path.

        Raises:
            UnsupportedError: the path exists, but not with this method.
        """
        is_known = False
        for route, pattern in self._routes:
            match = pattern.fullmatch(path)
            if match and route.method == request.method:
                return route.call(request, match.groupdict())
            is_known = is_known or match is not None
        if is_known:
            raise UnsupportedError(f"{request.method} {path}")
        return None


def _pattern(path: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(path)  # literal, name, literal, ...
    text = "".join(re.escape(part) if index % 2 == 0 else f"(?P<{part}>[^/]+)" for index, part in enumerate(parts))
    return re.compile(text, re.IGNORECASE)


def require_workspace(path: str, *, workspace_id: str) -> str:
    """Return what follows the workspace in a path of the Resource Manager.

    Raises:
        NotFoundError: it names another subscription, resource group or workspace.
        UnsupportedError: it is not a path below a workspace.
    """
    wanted, given = workspace_id.split("/"), path.split("/")
    codes = {2: "SubscriptionNotFound", 4: "ResourceGroupNotFound", 8: "ResourceNotFound"}
    whats = {2: "subscription", 4: "Resource group", 8: "workspace"}
    for index, part in enumerate(wanted):
        if index >= len(given):
            raise UnsupportedError(path)
        if given[index].lower() == part.lower():
            continue
        if index not in codes:
            raise UnsupportedError(path)
        what = whats[index]
        message = f"The {what} '{given[index]}' could not be found."
        raise NotFoundError(message, code=codes[index])
    return "/".join(given[len(wanted) :])
