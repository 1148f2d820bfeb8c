"""Jobs at the Resource Manager: submitted, described, cancelled. `executions` carries them out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from mlops_azureml.emulator.state import RunState, now
from mlops_azureml.emulator.web.errors import ConflictError, InvalidError, NotFoundError, UnsupportedError
from mlops_azureml.emulator.web.http import Response
from mlops_azureml.emulator.web.routing import Route

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_azureml.emulator.state import WorkspaceState
    from mlops_azureml.emulator.web.http import Request

Json = Any

FINAL = ("Completed", "Failed", "Canceled")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}\Z")


class Executor(Protocol):
    """Carries out submitted jobs, in threads of its own."""

    def check(self, properties: Json) -> None:
        """Raise `CallError` for a job that cannot be executed."""

    def start(self, name: str) -> None:
        """Begin a job that is in the state."""

    def cancel(self, name: str) -> None:
        """End a job soon."""


class JobOperations:
    """Answers requests about jobs."""

    def __init__(self, state: WorkspaceState, *, url: str, executor: Executor) -> None:
        """Serve the state, and start jobs with the executor."""
        self._state = state
        self._url = url
        self._executor = executor

    def routes(self) -> Sequence[Route]:
        """Return the requests, relative to the workspace."""
        return (
            Route("PUT", "jobs/{name}", self._put),
            Route("GET", "jobs/{name}", self._get),
            Route("GET", "jobs", self._list),
            Route("POST", "jobs/{name}/cancel", self._cancel),
        )

    def _put(self, request: Request, names: Mapping[str, str]) -> Response:
        name, body = names["name"], request.json()
        properties = body.get("properties") if isinstance(body, dict) else None
        if not isinstance(properties, dict):
            raise InvalidError("the body has no 'properties'", code="ValidationError")
        if not _NAME.match(name):
            raise InvalidError(f"{name!r} is not a valid name of a job", code="ValidationError")
        kind = properties.get("jobType")
        if kind != "Pipeline":
            raise UnsupportedError(f"a job of type {kind!r}")
        if not request.headers.get("x-azureml-token"):
            raise InvalidError("a pipeline job needs the header x-azureml-token", code="MissingAmlToken")
        with self._state.lock:
            if name in self._state.jobs:
                raise ConflictError(f"A job with the name {name} already exists.", code="JobNameExists")
            self._executor.check(properties)
            self._state.jobs[name] = properties
            self._state.runs[name] = RunState(
                name=name,
                display_name=str(properties.get("displayName") or name),
                created=now(),
                tags=dict(properties.get("tags") or {}),
                properties=dict(properties.get("properties") or {}),
            )
            answer = self._json(name)
        self._executor.start(name)
        return Response.of_json(answer, status=201)

    def _get(self, _: Request, names: Mapping[str, str]) -> Response:
        with self._state.lock:
            return Response.of_json(self._json(names["name"]))

    def _list(self, _: Request, __: Mapping[str, str]) -> Response:
        with self._state.lock:
            return Response.of_json({"value": [self._json(name) for name in reversed(self._state.jobs)]})

    def _cancel(self, _: Request, names: Mapping[str, str]) -> Response:
        name = names["name"]
        with self._state.lock:
            self._require(name)
            run = self._state.runs[name]
            if run.status in FINAL:
                raise InvalidError(f"The job {name} has ended with status {run.status} and cannot be cancelled.")
            run.status = "CancelRequested"
        self._executor.cancel(name)
        return Response(status=200)

    def _require(self, name: str) -> None:
        if name not in self._state.jobs:
            raise NotFoundError(f"Job {name} could not be found.", code="UserError")

    def _json(self, name: str) -> Json:
        self._require(name)
        run = self._state.runs[name]
        properties = self._state.jobs[name]
        services = {
            "Tracking": {"jobServiceType": "Tracking", "endpoint": f"azureml://{self._url.partition('://')[2]}"},
            "Studio": {"jobServiceType": "Studio", "endpoint": f"{self._url}/runs/{name}"},
        }
        return {
            "id": f"{self._state.names.workspace_id}/jobs/{name}",
            "name": name,
            "type": "Microsoft.MachineLearningServices/workspaces/jobs",
            "properties": {
                **properties,
                "status": run.status,
                "tags": dict(run.tags),
                "properties": dict(run.properties),
                "services": services,
            },
            "systemData": {"createdAt": run.created, "createdByType": "Application"},
        }
