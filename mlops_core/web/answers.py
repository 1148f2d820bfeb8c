"""Requests and answers as data, so that pages know nothing about the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from mlops_core.errors import MlopsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.web.opened import OpenWorkspace


class PageNotFoundError(MlopsError):
    """There is no such page, run, model or file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A request for a page.

    Attributes:
        opened: the workspace, open for this request.
        path: the parameters of the path, by name.
        query: the parameters after the question mark, each with all its values.
        form: the fields of a form that was sent; empty otherwise.
        csrf: the value that every form must send back.
    """

    opened: OpenWorkspace
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    csrf: str = ""

    def first(self, name: str) -> str:
        """Return the first value of a parameter, without space around it; empty if there is none."""
        return next(iter(self.query.get(name, ())), "").strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAnswer:
    """What is sent back.

    Attributes:
        body: text or bytes; ignored with `file`.
        status: of HTTP.
        media_type: of the body.
        headers: further ones.
        file: a file to send in place of `body`.
        is_removed: remove the file once it was sent.
        policy: content security policy of the page; empty for that of the application.
    """

    body: str | bytes = ""
    status: HTTPStatus = HTTPStatus.OK
    media_type: str = "text/html; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    is_removed: bool = False
    policy: str = ""


def see_other(path: str) -> PageAnswer:
    """Return the answer that leads to another page of the application."""
    return PageAnswer(status=HTTPStatus.SEE_OTHER, headers={"Location": path})


def attachment(name: str) -> dict[str, str]:
    """Return the headers of a file that is saved and not shown; `name` must be plain."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}
