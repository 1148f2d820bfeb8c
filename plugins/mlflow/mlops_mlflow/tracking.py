"""What is sent to MLflow. Everything is found again by tags, so an event that is delivered twice changes nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
from typing import TYPE_CHECKING, TypeVar

from mlops_core.observers import ObserverUnavailableError

for _switch in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_ALLOW_FILE_STORE"):
    os.environ.setdefault(_switch, "true")
# The observer's process repeats what fails, so that MLflow need not: its own seven retries take minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from mlflow.entities import Metric, Param, RunTag  # noqa: E402  the variables are read on import
from mlflow.exceptions import MlflowException, RestException  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

    from mlops_core import RunRecord
    from mlops_core.observers import AliasEvent, ModelEvent, RunEvent, StepEvent
    from mlops_mlflow.settings import TrackingSettings

RUN_TAG, STEP_TAG, VERSION_TAG = "mlops.run_id", "mlops.step", "version"
_PARENT_TAG, _NAME_TAG = "mlflow.parentRunId", "mlflow.runName"
_LONGEST_VALUE = 500
"""Characters of a parameter that every version of MLflow accepts."""
_BATCH = 100
_ARTIFACTS = ("evaluation.json", "report.html", "config.yaml", "model_metadata.json")
_MODEL_FOLDER = "model"
_SIGNS = frozenset("_-. /")
_FINISHED = {"accepted": "FINISHED", "partial": "FINISHED", "rejected": "FINISHED", "stopped": "KILLED"}
_NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
_TRANSIENT = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "INTERNAL_ERROR")


T = TypeVar("T")


@contextlib.contextmanager
def open_tracking(settings: TrackingSettings) -> Iterator[Tracking]:
    """Return the tracking server.

    Raises:
        ObserverUnavailableError: it cannot be reached, or is not able to answer now.
        MlflowException: it refuses a request.
    """
    try:
        yield Tracking(settings)
    except (MlflowException, OSError) as error:
        if _is_transient(error):
            reason = " ".join(str(error).split())[:300]
            raise ObserverUnavailableError(f"MLflow at {settings.uri} cannot be reached now: {reason}") from error
        raise


def _is_transient(error: Exception) -> bool:
    """Return whether the same request may succeed later."""
    if isinstance(error, RestException):
        return error.error_code in _TRANSIENT
    return isinstance(error, OSError) or "API request to" in str(error)


class Tracking:
    """One tracking server."""

    def __init__(self, settings: TrackingSettings) -> None:
        """Use the server of the settings; nothing is requested yet."""
        self._settings = settings
        self._client = MlflowClient(tracking_uri=settings.uri)

    # --- Runs ---------------------------------------------------------------------------------------------

    def start_run(self, run: RunEvent) -> Run:
        """Return the run in MLflow, which is created with its parameters if it does not exist."""
        record = run.record
        experiment = self._experiment(record.use_case)
        found = self._find(experiment, {RUN_TAG: record.run_id})
        if found is None:
            tags = {RUN_TAG: record.run_id, _NAME_TAG: record.run_id, **_tags(record)}
            found = self._client.create_run(experiment, start_time=_milliseconds(record.created), tags=tags)
            self._log_parameters(found.info.run_id, run.parameters)
        elif found.info.status != "RUNNING":
            self._client.update_run(found.info.run_id, status="RUNNING")
        return found

    def end_run(self, run: RunEvent) -> None:
        """Log the metrics and artifacts of a run and end it; one that a service carries out stays open."""
        record, target = run.record, self.start_run(run).info.run_id
        time = _milliseconds(record.created) + round(1000 * record.duration_s)
        self._log_metrics(target, [Metric(name, value, time, 0) for name, value in sorted(run.metrics.items())])
        self._client.log_batch(target, tags=[RunTag(name, text) for name, text in _tags(record).items()])
        for path in (run.folder / name for name in _ARTIFACTS):
            if path.is_file():
                self._client.log_artifact(target, str(path))
        if record.status != "running":
            self._client.set_terminated(target, _FINISHED.get(record.status, "FAILED"), time)

    def log_step(self, step: StepEvent) -> None:
        """Log a step as a nested run: status, duration, outputs, and the curves of a training."""
        parent = self._run_of(step.run_id)
        if parent is None:
            return  # the run was not sent, for example because the address was configured later
        record, experiment = step.record, parent.info.experiment_id
        start = _milliseconds(record.started) or parent.info.start_time
        end = start + round(1000 * record.duration_s)
        marks = {RUN_TAG: f"{step.run_id}/{record.name}"}
        found = self._find(experiment, marks)
        if found is None:
            tags = {**marks, STEP_TAG: record.name, _NAME_TAG: record.name, _PARENT_TAG: parent.info.run_id}
            found = self._client.create_run(experiment, start_time=start, tags=tags)
        target = found.info.run_id
        facts = {"status": str(record.status), "because": record.because, "error": record.error, **record.outputs}
        described = [RunTag(name, text[:_LONGEST_VALUE]) for name, text in facts.items() if text]
        self._client.log_batch(target, metrics=[Metric("duration_s", record.duration_s, end, 0)], tags=described)
        for output, rows in step.histories.items():
            prefix = "" if len(step.histories) == 1 else f"{output}/"
            points = [
                Metric(_name(f"{prefix}{name}"), value, end, int(row.step))
                for row in rows
                for name, value in row.values.items()
                if math.isfinite(value)
            ]
            self._log_metrics(target, points)
        self._client.set_terminated(target, "FAILED" if record.status == "failed" else "FINISHED", end)

    # --- Models -------------------------------------------------------------------------------------------

    def register(self, model: ModelEvent) -> None:
        """Create the version of the registered model with the model's files, or update its tags."""
        version = model.version
        run = self._run_of(version.run_id)
        tags = {
            "run": version.run_id,
            "digest": version.artifact,
            "verdict": "accepted",
            VERSION_TAG: str(version.version),
            "approval": str(version.status),
            "dataset": version.dataset,
            "dataset_digest": version.dataset_digest,
        }
        found = self._version(version.use_case, version.version)
        if found is None:
            if run is None:
                return
            if model.folder is not None:
                self._client.log_artifacts(run.info.run_id, str(model.folder), _MODEL_FOLDER)
            self._require_model(version.use_case)
            source = f"{run.info.artifact_uri}/{_MODEL_FOLDER}"
            self._client.create_model_version(version.use_case, source, run.info.run_id, tags=tags)
            return
        for name, text in tags.items():
            if found.tags.get(name) != text:
                self._client.set_model_version_tag(version.use_case, found.version, name, text)

    def move_alias(self, alias: AliasEvent) -> None:
        """Point the alias of the registered model to the same version, or remove it."""
        if alias.version is None:
            with _ignored_if_missing():
                self._client.delete_registered_model_alias(alias.use_case, alias.alias)
            return
        found = self._version(alias.use_case, alias.version)
        if found is not None:
            self._client.set_registered_model_alias(alias.use_case, alias.alias, found.version)

    # --- What is there ------------------------------------------------------------------------------------

    def _experiment(self, use_case: str) -> str:
        name = self._settings.experiment or use_case
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _find(self, experiment: str, tags: Mapping[str, str]) -> Run | None:
        condition = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        return next(iter(self._client.search_runs([experiment], condition, max_results=1)), None)

    def _run_of(self, run_id: str) -> Run | None:
        """Return the run with the id of mlops, whatever its experiment is called."""
        experiments = [found.experiment_id for found in self._client.search_experiments()]
        condition = f"tags.`{RUN_TAG}` = '{run_id}'"
        return next(iter(self._client.search_runs(experiments, condition, max_results=1)), None)

    def _require_model(self, name: str) -> None:
        try:
            self._client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code not in _NOT_FOUND:
                raise
            self._client.create_registered_model(name)

    def _version(self, name: str, number: int) -> ModelVersion | None:
        """Return the version that mlops registered as `number`; MLflow numbers by itself."""
        found = self._client.search_model_versions(f"name = '{name}'")
        return next((version for version in found if version.tags.get(VERSION_TAG) == str(number)), None)

    # --- Logging ------------------------------------------------------------------------------------------

    def _log_parameters(self, run_id: str, parameters: Mapping[str, object]) -> None:
        pairs = [Param(_name(name), _text(value)) for name, value in sorted(parameters.items())]
        for batch in _batches(pairs):
            self._client.log_batch(run_id, params=batch)

    def _log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        for batch in _batches(metrics):
            self._client.log_batch(run_id, metrics=batch)


@contextlib.contextmanager
def _ignored_if_missing() -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        if error.error_code not in _NOT_FOUND:
            raise


def _tags(record: RunRecord) -> dict[str, str]:
    """Return the tags of a run."""
    facts = {
        "mlops.use_case": record.use_case,
        "mlops.plugin": record.plugin,
        "mlops.runner": record.runner,
        "mlops.status": str(record.status),
        "mlops.verdict": "" if record.verdict is None else str(record.verdict.outcome),
        "mlops.dataset_digest": "" if record.dataset is None else record.dataset.digest,
        "mlops.error": record.error[:_LONGEST_VALUE],
    }
    return {name: text for name, text in facts.items() if text}


def _name(text: str) -> str:
    """Return a name that MLflow accepts for a parameter or a metric."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in _SIGNS) else "_" for sign in text)[:250]


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]


def _milliseconds(time: str) -> int:
    """Return a time in ISO 8601 as MLflow counts it; 0 for none."""
    return round(1000 * dt.datetime.fromisoformat(time).timestamp()) if time else 0
