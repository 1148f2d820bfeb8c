"""The job of a run in its workspace: state, stop, retry, logs and evaluation, as core follows it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_azureml.service import results
from mlops_azureml.service.connection import Connection
from mlops_azureml.service.datastores import DatastoreContainer
from mlops_azureml.service.jobs import (
    CANCELED,
    DELETED,
    DOUBTFUL,
    FAILED,
    JobRun,
    is_accepted,
    read_job,
    read_trials,
    seconds,
    step_nodes,
    step_records,
    trial_records,
)
from mlops_azureml.service.logs import fetch_logs
from mlops_azureml.service.models import WorkspaceModels
from mlops_azureml.service.outcomes import failure_of, step_error
from mlops_azureml.service.submission import bodies_of, job_name, submit
from mlops_azureml.service.tokens import Tokens
from mlops_azureml.service.workspace import Workspace
from mlops_azureml.values.addresses import JobId
from mlops_core import MlopsError, Pipeline
from mlops_core.runners import Decision, RunnerError, find_searches, read_settings
from mlops_core.runners.remote.following import ExecutionState, RemoteEvaluation, RemoteRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mlops_azureml.service.jobs import NodeRun
    from mlops_azureml.values.addresses import WorkspaceId
    from mlops_core import RunRecord, Step
    from mlops_core.runners import RemoteRecord, RunObserver, StepRecord, Store

JOB_FILE = "job.json"
"""File in the folder of a run: the compiled job, as JSON types."""
_DOUBTFUL_LIMIT_S = 3600.0
"""Time after which a job that does not respond is no longer followed."""
_ADVICE = "look at the log of node 'gate', archive the model if one was registered, and run again"


class AzureMlExecution:
    """The job of a run."""

    def __init__(
        self,
        record: RunRecord,
        remote: RemoteRecord,
        *,
        folder: Path,
        note: Callable[[str], None],
        workspace: Workspace | None = None,
    ) -> None:
        """Open the job that the record of a run names.

        Args:
            record: of the run.
            remote: where the service executes it.
            folder: folder of the run, which holds the compiled job.
            note: receives remarks, one line each.
            workspace: the workspace; None for a new connection to it.
        """
        self._record = record
        self._pipeline = Pipeline.from_json(record.pipeline)
        self._id = JobId.parse(remote.execution)
        self._datastore = remote.bucket
        self._folder = folder
        self._note = note
        self._reasons: dict[str, str] = {}
        self._workspace = workspace or open_workspace(self._id.workspace)
        self._container: DatastoreContainer | None = None
        self._latest: JobRun | None = None
        self._doubtful_since: float | None = None

    # --- State --------------------------------------------------------------------------------------------

    def describe(self) -> ExecutionState:
        """Return the current state of the job.

        Raises:
            RunnerError: the workspace cannot be asked, or the job has not responded for too long.
        """
        job = self._refresh()
        self._watch(job)
        accepted = is_accepted(job)
        return ExecutionState(
            status=job.status,
            is_final=job.is_final,
            is_retryable=job.status in (FAILED, CANCELED, DELETED),
            is_stopped=job.status == CANCELED,
            duration_s=seconds(job.created, job.ended) if job.status != DELETED else self._record.duration_s,
            ended=job.ended,
            steps=tuple(self._explained(job)),
            decision=None if accepted is None else Decision(is_accepted=accepted, advice=_ADVICE),
        )

    def _explained(self, job: JobRun) -> Iterator[StepRecord]:
        """Yield the records of all steps; those that failed have the message of their log."""
        for record in (step_records(self._pipeline, job) | self._trials(job)).values():
            step = self._pipeline.step(record.name)
            failed = [node for node in step_nodes(step, job) if node.status == FAILED]
            yield replace(record, error=self._reason(failed[0])) if failed else record

    def _reason(self, node: NodeRun) -> str:
        if node.run not in self._reasons:
            folder = self._folder / "logs"
            try:
                fetch_logs(self._workspace, (node,), folder=folder)
            except (MlopsError, OSError) as error:
                self._note(f"the log of node '{node.node}' cannot be fetched: {error}")
                return node.error
            self._reasons[node.run] = step_error(node, folder)
        return self._reasons[node.run]

    def _watch(self, job: JobRun) -> None:
        """Note that a job does not respond; give up when it has not for too long."""
        if job.status not in DOUBTFUL:
            if self._doubtful_since is not None:
                self._note(f"the job responds again: {job.status}")
            self._doubtful_since = None
            return
        now = time.monotonic()
        if self._doubtful_since is None:
            self._doubtful_since = now
            self._note(f"the job is {job.status}; a job can leave this state again, so it is followed further")
        elif now - self._doubtful_since > _DOUBTFUL_LIMIT_S:
            raise RunnerError(
                f"the job has been {job.status} for {_DOUBTFUL_LIMIT_S / 60:.0f} minutes; it is not followed any "
                f"longer: mlops runs show {self._record.run_id} asks again, mlops runs stop ends it"
            )

    def _trials(self, job: JobRun) -> dict[str, StepRecord]:
        records: dict[str, StepRecord] = {}
        for search in find_searches(self._pipeline):
            nodes = step_nodes(search.selection, job)
            if nodes:
                records |= trial_records(search, read_trials(self._workspace, nodes[-1]))
        return records

    # --- Actions ------------------------------------------------------------------------------------------

    def stop(self, *, token: str) -> None:
        """Cancel the job.

        Raises:
            RunnerError: the job has already ended, or the workspace refuses.
        """
        del token  # to cancel a job twice changes nothing
        job = self._refresh()
        if job.is_final:
            raise RunnerError(f"the job has already ended with status {job.status}")
        self._workspace.cancel_job(self._id.name)

    def retry(self, *, token: str) -> str:
        """Submit the compiled job again, as a new job; the service reuses what succeeded.

        Returns:
            The id of the new job.

        Raises:
            RunnerError: the workspace refuses, or the compiled job is not in the folder of the run.
        """
        name = job_name(self._record.run_id, token=token)
        submit(self._workspace, bodies_of(self._workspace, self._compiled()), name=name, run_id=self._record.run_id)
        self._id = self._id.renamed(name)
        self._latest = None
        return str(self._id)

    def _compiled(self) -> dict[str, Any]:
        path = self._folder / JOB_FILE
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunnerError(f"the compiled job cannot be read: {path}: {error}; start a new run") from error
        return data

    # --- Results ------------------------------------------------------------------------------------------

    def fetch_logs(self, step: Step, *, folder: Path) -> tuple[Path, ...]:
        """Copy the logs of the nodes of a step to a folder.

        Raises:
            RunnerError: the workspace refuses.
        """
        job = self._latest or self._refresh()
        nodes = list(step_nodes(step, job))
        search = next((each for each in find_searches(self._pipeline) if each.name == step.name), None)
        if search is not None:
            trials = [trial for node in nodes[-1:] for trial in read_trials(self._workspace, node)]
            nodes += [replace(trial, node=f"{nodes[-1].node}.{trial.node}") for trial in trials]
        return fetch_logs(self._workspace, nodes, folder=folder)

    def fetch_evaluation(self, store: Store) -> RemoteEvaluation:
        """Copy the evaluation to the workspace on this machine, and publish it in the datastore.

        Raises:
            RunnerError: the evaluation is not in the datastore, or the datastore refuses.
        """
        job = self._latest or self._refresh()
        evaluation = results.fetch_evaluation(self._open(), self._pipeline, job, store=store)
        results.publish(self._open(), evaluation, store=store)
        return RemoteEvaluation(verdict=evaluation.verdict, outputs=evaluation.outputs)

    def fetch_histories(self, steps: Sequence[Step], *, folder: Path) -> None:
        """Copy the training histories from the datastore.

        Raises:
            RunnerError: the datastore refuses.
        """
        job = self._latest or self._refresh()
        for step in steps:
            for node in step_nodes(step, job)[-1:]:
                results.fetch_histories(self._open(), node, step, folder=folder / step.name)

    def store_logs(self, folder: Path) -> None:
        """Copy the logs for TensorBoard to the folder of the job in the datastore.

        Raises:
            RunnerError: the datastore refuses.
        """
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            self._open().write(f"azureml/{self._id.name}/{folder.name}/{name}", path)

    def failure(self, *, logs: Path) -> MlopsError:
        """Return why the job failed."""
        job = self._latest or self._refresh()
        for node in job.nodes.values():
            if node.status == FAILED:
                self._reason(node)
        return failure_of(job, self._pipeline, use_case=self._record.use_case, logs=logs)

    def registered_model(self) -> tuple[str, str]:
        """Return the id of the registered model and its mark; two empty strings if none was registered.

        Raises:
            RunnerError: the workspace refuses.
        """
        job = self._latest or self._refresh()
        name, version = results.registered_version(self._open(), job)
        if not name:
            return "", ""
        models = WorkspaceModels(self._workspace)
        found = next((each for each in models.versions(name) if each.version == version), None)
        if found is None:
            raise RunnerError(f"model {name}:{version} was registered and does not exist in the workspace any more")
        return models.resource_id(name, version), "best" if found.is_marked_best else "registered"

    # --- Access -------------------------------------------------------------------------------------------

    def _refresh(self) -> JobRun:
        self._latest = read_job(self._workspace, self._id.name)
        return self._latest

    def _open(self) -> DatastoreContainer:
        if self._container is None:
            self._container = DatastoreContainer(self._workspace, self._datastore)
        return self._container


def new_connection(*, tenant: str | None = None) -> Connection:
    """Return a connection as the identity of the environment, in a tenant or that of AZURE_TENANT_ID."""
    return Connection(tokens=Tokens(tenant=tenant or read_settings().environ.get("AZURE_TENANT_ID") or None))


def open_workspace(identifier: WorkspaceId, *, tenant: str | None = None) -> Workspace:
    """Return a workspace with a connection of its own."""
    return Workspace(identifier, connection=new_connection(tenant=tenant))


def open_run(
    store: Store, record: RunRecord, *, observer: RunObserver, workspace: Workspace | None = None
) -> RemoteRun:
    """Return a run together with its job in the workspace.

    Args:
        store: the workspace on this machine.
        record: record of the run.
        observer: receives the run's events.
        workspace: the workspace of the job; None for a new connection.

    Raises:
        RunnerError: the run was never submitted.
    """
    if record.remote is None:
        raise RunnerError(f"run {record.run_id} was never submitted to a workspace; start a new one")
    folder = store.runs.folder(record.run_id)
    execution = AzureMlExecution(record, record.remote, folder=folder, note=observer.note, workspace=workspace)
    return RemoteRun(store, record, execution, observer=observer)


__all__ = ["JOB_FILE", "AzureMlExecution", "new_connection", "open_run", "open_workspace"]
