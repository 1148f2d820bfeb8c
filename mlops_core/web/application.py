"""The ASGI application: its paths, and the way from a request to a page in a thread of its own."""

from __future__ import annotations

import importlib
import sqlite3
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from mlops_core.errors import MlopsError, UsageError
from mlops_core.report.kit import Markup, element, group
from mlops_core.web.access import read_form
from mlops_core.web.answers import PageAnswer, PageNotFoundError, View
from mlops_core.web.live import LiveEvents
from mlops_core.web.shell import page_header, plain_page, script_text, style_sheet, ui_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from mlops_core.web.access import Credentials
    from mlops_core.web.opened import UiWorkspace

_PAGES = {
    "/": "runs.listing:runs_page",
    "/runs/{run}/": "runs.run:run_page",
    "/runs/{run}/report.html": "runs.run:report_file",
    "/runs/{run}/logs/{log}": "runs.logs:log_page",
    "/runs/{run}/stop": "runs.run_actions:stop_page",
    "/compare": "runs.compare:compare_page",
    "/compare/full": "runs.compare:full_comparison",
    "/parts/compare/samples": "runs.compare_samples:samples_part",
    "/use-cases": "use_cases:use_cases_page",
    "/use-cases/{use_case}": "use_cases:use_case_page",
    "/parts/use-cases/{use_case}": "use_cases:use_case_part",
    "/models": "registry.models:models_page",
    "/models/{use_case}": "registry.models:model_page",
    "/models/{use_case}/{version}": "registry.model_version:version_page",
    "/models/{use_case}/{version}/card": "registry.model_version:card_page",
    "/models/{use_case}/{version}/bundle.tar": "registry.model_version:bundle_file",
    "/datasets": "data.datasets:datasets_page",
    "/datasets/{digest}": "data.datasets:dataset_page",
    "/parts/datasets/{digest}/inspection": "data.dataset_parts:inspection_part",
    "/parts/datasets/{digest}/samples": "data.dataset_parts:samples_part",
    "/tuning": "runs.tuning:tuning_page",
    "/tuning/{run}": "runs.tuning:search_page",
}
"""Path -> module and function of the page; modules are imported on use, so that the server starts at once."""
_FORMS = {
    "/runs/{run}/stop": "runs.run_actions:stop_run",
    "/runs/{run}/report": "runs.run_actions:write_run_report",
    "/models/{use_case}/{version}/status": "registry.model_actions:change_status",
    "/models/{use_case}/alias": "registry.model_actions:change_alias",
}
_ASSET_AGE = "public, max-age=31536000, immutable"


class UiApplication:
    """Answers requests about one workspace."""

    def __init__(self, workspace: UiWorkspace, credentials: Credentials) -> None:
        """Show a workspace."""
        self._workspace = workspace
        self._credentials = credentials
        self.events = LiveEvents(workspace)

    def starlette(self) -> Starlette:
        """Return the ASGI application."""
        pages = [Route(path, self._page(target), methods=["GET"]) for path, target in _PAGES.items()]
        forms = [Route(path, self._form(target), methods=["POST"]) for path, target in _FORMS.items()]
        return Starlette(
            routes=[
                Route("/static/{name}", _asset, methods=["GET"]),
                Route("/events/runs", self._run_list_events, methods=["GET"]),
                Route("/events/runs/{run}", self._run_events, methods=["GET"]),
                *pages,
                *forms,
            ],
            exception_handlers={HTTPException: _http_error, Exception: _defect},
        )

    def _page(self, target: str) -> Callable[[Request], object]:
        async def answer(request: Request) -> Response:
            return await run_in_threadpool(self._answered, target, request, {})

        return answer

    def _form(self, target: str) -> Callable[[Request], object]:
        async def answer(request: Request) -> Response:
            form = await read_form(request)
            if form is None or form.pop("csrf", "") != self._credentials.csrf:
                return _problem(
                    HTTPStatus.FORBIDDEN, "The form was not sent by a page of this server; reload the page, try again."
                )
            return await run_in_threadpool(self._answered, target, request, form)

        return answer

    def _answered(self, target: str, request: Request, form: dict[str, str]) -> Response:
        begun = time.perf_counter()
        response = self._carried_out(target, request, form)
        response.headers["Server-Timing"] = f"page;dur={1000 * (time.perf_counter() - begun):.1f}"
        return response

    def _carried_out(self, target: str, request: Request, form: dict[str, str]) -> Response:
        module, _, name = target.partition(":")
        try:
            with self._workspace.open() as opened:
                query: dict[str, tuple[str, ...]] = {}
                for key, value in request.query_params.multi_items():
                    query[key] = (*query.get(key, ()), value)
                view = View(
                    opened=opened, path=request.path_params, query=query, form=form, csrf=self._credentials.csrf
                )
                try:
                    page = getattr(importlib.import_module(f"mlops_core.web.pages.{module}"), name)
                    return _response(page(view))
                except MlopsError as error:
                    return _error_page(view, error)
        except MlopsError as error:
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except (OSError, sqlite3.Error) as error:
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, f"the workspace cannot be read: {error}")

    async def _run_list_events(self, request: Request) -> Response:
        del request
        return _event_stream(self.events.run_list())

    async def _run_events(self, request: Request) -> Response:
        return _event_stream(self.events.run(request.path_params["run"]))


def _event_stream(events: object) -> Response:
    return StreamingResponse(events, media_type="text/event-stream")  # type: ignore[arg-type]


def _response(answer: PageAnswer) -> Response:
    headers = dict(answer.headers)
    if answer.policy:
        headers["Content-Security-Policy"] = answer.policy
    if answer.file is None:
        return Response(answer.body, status_code=answer.status, media_type=answer.media_type, headers=headers)
    path = answer.file
    remove = BackgroundTask(path.unlink, missing_ok=True) if answer.is_removed else None
    return FileResponse(path, media_type=answer.media_type, headers=headers, background=remove)


def _error_page(view: View, error: MlopsError) -> Response:
    """Return the page that says what is missing or wrong, with the navigation."""
    if isinstance(error, PageNotFoundError):
        status, title = HTTPStatus.NOT_FOUND, "Not found"
    elif view.form:
        status, title = HTTPStatus.CONFLICT, "Nothing was changed"
    elif isinstance(error, UsageError):
        status, title = HTTPStatus.BAD_REQUEST, "Not possible"
    else:
        status, title = HTTPStatus.INTERNAL_SERVER_ERROR, "Not available"
    page = ui_page(view, title=title, heading=page_header(title, lead=str(error)))
    return Response(page, status_code=status, media_type="text/html")


def _problem(status: HTTPStatus, text: str) -> Response:
    body: Markup = group(element("h1", status.phrase), element("p", text), element("p", element("a", "Runs", href="/")))
    return Response(plain_page(title=status.phrase, body=body), status_code=status, media_type="text/html")


async def _asset(request: Request) -> Response:
    texts = {"ui.css": (style_sheet, "text/css"), "ui.js": (script_text, "text/javascript")}
    if request.path_params["name"] not in texts:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    text, kind = texts[request.path_params["name"]]
    return Response(text(), media_type=kind, headers={"Cache-Control": _ASSET_AGE})


async def _http_error(request: Request, error: Exception) -> Response:
    del request
    status = HTTPStatus(error.status_code) if isinstance(error, HTTPException) else HTTPStatus.NOT_FOUND
    return _problem(status, "There is no such page.")


async def _defect(request: Request, error: Exception) -> Response:
    del request  # uvicorn writes the traceback to standard error
    return _problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, f"defect in mlops: {type(error).__name__}; the terminal shows the traceback"
    )
