"""The run history and the MLflow tracking server: children, details, logs, metrics, tags."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from mlops_azureml.emulator.web.errors import InvalidError
from mlops_azureml.emulator.web.http import Response
from mlops_azureml.emulator.web.routing import Route
from mlops_azureml.values.mlflow import RUN_ID, URI, log_trial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlops_azureml.emulator.state import RunState, WorkspaceState
    from mlops_azureml.emulator.web.access import Access
    from mlops_azureml.emulator.web.http import Request

Json = Any

LOGS = "azureml"
"""The container with the logs of runs."""
_PAGE = 20
_MLFLOW = {
    "Completed": "FINISHED",
    "Failed": "FAILED",
    "Canceled": "KILLED",
    "Running": "RUNNING",
}


class History:
    """Answers requests about runs."""

    def __init__(self, state: WorkspaceState, *, url: str, access: Access) -> None:
        """Serve the runs of the state."""
        self._state = state
        self._url = url
        self._access = access

    def discovery(self) -> Response:
        """Return the addresses of the workspace's parts."""
        names = ("api", "history", "experimentation", "modelmanagement", "pipelines", "studio")
        return Response.of_json(dict.fromkeys(names, self._url))

    def routes(self) -> Sequence[Route]:
        """Return the requests; all are for one workspace."""
        workspace = self._state.names.workspace_id
        runs = f"/history/v1.0{workspace}/runs/{{run}}"
        mlflow = f"/mlflow/v1.0{workspace}/api/2.0/mlflow/runs"
        return (
            Route("GET", f"{runs}/children", self._children),
            Route("GET", f"{runs}/details", self._details),
            Route("GET", runs, self._run),
            Route("PATCH", runs, self._patch),
            Route("POST", f"/metric/v2.0{workspace}/runs/{{run}}/lastvalues", self._last_values),
            Route("GET", f"{mlflow}/get", self._mlflow_get),
            Route("POST", f"{mlflow}/log-metric", self._log_metric),
            Route("POST", f"{mlflow}/log-parameter", self._log_parameter),
            Route("POST", f"{mlflow}/log-batch", self._log_batch),
            Route("POST", f"{mlflow}/set-tag", self._set_tag),
            Route("POST", f"{mlflow}/update", self._mlflow_update),
        )

    # --- Run history --------------------------------------------------------------------------------------

    def _children(self, request: Request, names: Mapping[str, str]) -> Response:
        token = request.query.get("$continuationToken") or request.query.get("continuationToken") or "0"
        if not token.isdecimal():
            raise InvalidError("the continuation token is not one of this endpoint")
        with self._state.lock:
            self._state.run(names["run"])
            children = [self._run_json(run) for run in self._state.children(names["run"])]
        start = int(token)
        page: dict[str, Json] = {"value": children[start : start + _PAGE]}
        if len(children) > start + _PAGE:
            page["continuationToken"] = str(start + _PAGE)
        return Response.of_json(page)

    def _run(self, _: Request, names: Mapping[str, str]) -> Response:
        with self._state.lock:
            return Response.of_json(self._run_json(self._state.run(names["run"])))

    def _details(self, _: Request, names: Mapping[str, str]) -> Response:
        signature = self._access.signature(LOGS, lifetime_s=900)
        with self._state.lock:
            run = self._state.run(names["run"])
            details = self._run_json(run)
            base = f"{self._url}/{self._state.names.account}/{LOGS}"
            details["logFiles"] = {name: f"{base}/{key}?{signature}" for name, key in run.logs.items()}
            details["outputDatasets"] = [
                {"outputDetails": {"outputName": name}, "dataUri": uri} for name, uri in run.outputs.items()
            ]
        return Response.of_json(details)

    def _run_json(self, run: RunState) -> Json:
        data: dict[str, Json] = {
            "runId": run.name,
            "displayName": run.display_name,
            "parentRunId": run.parent or None,
            "rootRunId": run.name,
            "status": run.status,
            "createdUtc": run.created,
            "startTimeUtc": run.started or None,
            "endTimeUtc": run.ended or None,
            "properties": dict(run.properties),
            "tags": dict(run.tags),
        }
        if run.error:
            data["error"] = {"error": {"code": "UserError", "message": run.error}}
        return data

    def _patch(self, request: Request, names: Mapping[str, str]) -> Response:
        body = request.json()
        with self._state.lock:
            run = self._state.run(names["run"])
            run.tags |= {str(key): str(value) for key, value in (body.get("tags") or {}).items()}
            run.properties |= {str(key): str(value) for key, value in (body.get("properties") or {}).items()}
            return Response.of_json(self._run_json(run))

    def _last_values(self, _: Request, names: Mapping[str, str]) -> Response:
        with self._state.lock:
            run = self._state.run(names["run"])
            values = [
                {"name": name, "value": [{"data": {name: logged[-1]}, "step": len(logged) - 1}]}
                for name, logged in run.metrics.items()
            ]
        return Response.of_json({"value": values})

    # --- MLflow -------------------------------------------------------------------------------------------

    def _mlflow_run(self, name: Json) -> RunState:
        return self._state.run(str(name))

    def _mlflow_get(self, request: Request, _: Mapping[str, str]) -> Response:
        with self._state.lock:
            run = self._mlflow_run(request.query.get("run_id") or request.query.get("run_uuid"))
            now = int(time.time() * 1000)
            metrics = [
                {"key": name, "value": values[-1], "timestamp": now, "step": len(values) - 1}
                for name, values in run.metrics.items()
            ]
            info = {
                "run_id": run.name,
                "run_uuid": run.name,
                "experiment_id": "0",
                "status": _MLFLOW.get(run.status, "SCHEDULED"),
                "lifecycle_stage": "active",
                "artifact_uri": "",
            }
            logged = {
                "metrics": metrics,
                "params": [{"key": key, "value": value} for key, value in run.parameters.items()],
                "tags": [{"key": key, "value": value} for key, value in run.tags.items()],
            }
        return Response.of_json({"run": {"info": info, "data": logged}})

    def _log_metric(self, request: Request, _: Mapping[str, str]) -> Response:
        body = request.json()
        with self._state.lock:
            _add_metric(self._mlflow_run(body.get("run_id") or body.get("run_uuid")), body)
        return Response.of_json({})

    def _log_parameter(self, request: Request, _: Mapping[str, str]) -> Response:
        body = request.json()
        with self._state.lock:
            run = self._mlflow_run(body.get("run_id") or body.get("run_uuid"))
            _add_parameter(run, body)
        return Response.of_json({})

    def _log_batch(self, request: Request, _: Mapping[str, str]) -> Response:
        body = request.json()
        with self._state.lock:
            run = self._mlflow_run(body.get("run_id"))
            for each in body.get("metrics") or ():
                _add_metric(run, each)
            for each in body.get("params") or ():
                _add_parameter(run, each)
            run.tags |= {str(each["key"]): str(each["value"]) for each in body.get("tags") or ()}
        return Response.of_json({})

    def _set_tag(self, request: Request, _: Mapping[str, str]) -> Response:
        body = request.json()
        with self._state.lock:
            run = self._mlflow_run(body.get("run_id") or body.get("run_uuid"))
            run.tags[str(body.get("key"))] = str(body.get("value"))
        return Response.of_json({})

    def _mlflow_update(self, request: Request, _: Mapping[str, str]) -> Response:
        """Return the run unchanged: how a job ends is decided by its process."""
        body = request.json()
        with self._state.lock:
            run = self._mlflow_run(body.get("run_id") or body.get("run_uuid"))
            status = _MLFLOW.get(run.status, "SCHEDULED")
        return Response.of_json({"run_info": {"run_id": run.name, "status": status}})


def _add_metric(run: RunState, body: Json) -> None:
    try:
        value = float(body["value"])
        name = str(body["key"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidError(f"a metric needs a key and a number: {error!r}", code="INVALID_PARAMETER_VALUE") from error
    if math.isnan(value):
        raise InvalidError(f"metric {name!r} is not a number", code="INVALID_PARAMETER_VALUE")
    run.metrics.setdefault(name, []).append(value)
    if run.metrics_folder is not None:
        log_trial(metric=name, value=value, parameters={}, environ={URI: run.metrics_folder.as_uri(), RUN_ID: run.name})


def _add_parameter(run: RunState, body: Json) -> None:
    key, value = str(body.get("key")), str(body.get("value"))
    if run.parameters.setdefault(key, value) != value:
        raise InvalidError(f"parameter {key!r} was logged with another value", code="INVALID_PARAMETER_VALUE")
