"""The job of a run in its workspace: state, stop, retry, logs and evaluation, as core follows it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_azureml.layout import ACCEPTED, GATE_NODE, LAYOUT, REGISTER_NODE
from mlops_azureml.registration import mark_best, model_tags, register
from mlops_azureml.service import results
from mlops_azureml.service.connection import ServiceError
from mlops_azureml.service.datastores import DatastoreContainer
from mlops_azureml.service.jobs import (
    CANCELED,
    COMPLETED,
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
    trial_index,
    trial_records,
)
from mlops_azureml.service.logs import fetch_logs
from mlops_azureml.service.models import WorkspaceModels
from mlops_azureml.service.outcomes import failure_of, step_error
from mlops_azureml.service.submission import bodies_of, job_name, submit
from mlops_azureml.service.workspace import open_workspace
from mlops_azureml.values.addresses import DatastoreUri, JobId
from mlops_core import Direction, MlopsError, Pipeline
from mlops_core.runners import Decision, RunnerError, find_searches
from mlops_core.runners.container.acceptance import model_facts
from mlops_core.runners.container.request import ContainerOrder, ContainerRequest, Part
from mlops_core.runners.remote.following import ExecutionState, RemoteEvaluation, RemoteRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mlops_azureml.service.jobs import NodeRun
    from mlops_azureml.service.workspace import Workspace
    from mlops_core import RunRecord, Step
    from mlops_core.runners import RemoteRecord, RunObserver, Search, StepRecord, Store

JOB_FILE = "job.json"
"""File in the folder of a run: the compiled job, as JSON types."""
REGISTRATION_FILE = "registration.json"
"""File in the folder of a run: name, build id and build source of the model that this machine registers."""
_DOUBTFUL_LIMIT_S = 3600.0
"""Time after which a job that does not respond is no longer followed."""
_LOST_LIMIT_S = 900.0
"""Time for which polls may be lost; a single request is repeated for a minute already."""
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
        self._objectives: dict[str, float] = {}
        self._warnings: dict[str, str] = {}
        self._workspace = workspace or open_workspace(self._id.workspace)
        self._container: DatastoreContainer | None = None
        self._latest: JobRun | None = None
        self._doubtful_since: float | None = None
        self._lost_since: float | None = None

    # --- State --------------------------------------------------------------------------------------------

    def describe(self) -> ExecutionState:
        """Return the current state of the job.

        Raises:
            RunnerError: the workspace cannot be asked, or the job has not responded for too long.
        """
        job = self._polled()
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

    def _polled(self) -> JobRun:
        """Return the job; while Azure is not reached, its last known state, for a limited time."""
        try:
            job = self._refresh()
        except ServiceError as error:
            now = time.monotonic()
            last = self._latest
            if not error.is_transient or last is None or last.is_final:
                raise
            if self._lost_since is None:
                self._lost_since = now
                self._note(f"{error}; the job is followed further")
            elif now - self._lost_since > _LOST_LIMIT_S:
                raise
            return last
        if self._lost_since is not None:
            self._note("Azure answers again")
            self._lost_since = None
        return job

    def _explained(self, job: JobRun) -> Iterator[StepRecord]:
        """Yield the records of all steps; those that failed have the message of their log."""
        for record in (step_records(self._pipeline, job) | self._trials(job)).values():
            step = self._pipeline.step(record.name)
            failed = [node for node in step_nodes(step, job) if node.status == FAILED]
            error = self._reason(failed[0]) if failed else record.error
            yield replace(record, error=error, warning=self._warnings.get(record.name, ""))

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
                trials = read_trials(self._workspace, nodes[-1])
                records |= self._with_objectives(search, trial_records(search, trials), trials, sweep=nodes[-1])
        return records

    def _with_objectives(
        self, search: Search, records: dict[str, StepRecord], trials: Sequence[NodeRun], *, sweep: NodeRun
    ) -> dict[str, StepRecord]:
        """Return the records of trials with their results; where another one was better, the search has a warning."""
        values: dict[int, float] = {}
        for trial in trials:
            index = trial_index(trial)
            if index is None or trial.status != COMPLETED:
                continue
            if trial.run not in self._objectives:
                self._objectives[trial.run] = results.read_objective(self._open(), trial)
            values[index] = self._objectives[trial.run]
            name = search.trials[index].name
            records[name] = replace(records[name], because=f"{search.tuning.objective} {values[index]:.6g}")
        chosen = next((trial_index(trial) for trial in trials if trial.run == sweep.best_trial), None)
        if chosen in values:
            sign = -1 if self._is_higher_better(search) else 1
            best = min(values, key=lambda index: (sign * values[index], index))
            if values[best] != values[chosen]:
                self._warnings[search.name] = (
                    f"the service chose trial {chosen} ({values[chosen]:.6g}), and {best} ({values[best]:.6g}) is "
                    "better"
                )
        return records

    def _is_higher_better(self, search: Search) -> bool:
        metric = next(each for each in self._pipeline.metrics if each.name == search.tuning.objective)
        return metric.direction is Direction.HIGHER

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
        return self._saved(JOB_FILE)

    def _saved(self, name: str) -> dict[str, Any]:
        path = self._folder / name
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunnerError(f"what was submitted cannot be read: {path}: {error}; start a new run") from error
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
        if REGISTER_NODE in self._compiled()["jobs"]:
            name, version = results.registered_version(self._open(), job)
        else:
            name, version = self._register(job)
        if not name:
            return "", ""
        models = WorkspaceModels(self._workspace)
        found = next((each for each in models.versions(name) if each.version == version), None)
        if found is None:
            raise RunnerError(f"model {name}:{version} was registered and does not exist in the workspace any more")
        return models.resource_id(name, version), "best" if found.is_marked_best else "registered"

    def _register(self, job: JobRun) -> tuple[str, str]:
        """Register the accepted model, where no node of the job does, and return its name and version."""
        path = f"{results.output_folder(job.nodes[GATE_NODE], ACCEPTED)}/"
        uri = DatastoreUri(datastore=self._datastore, path=path.strip("/"))
        request = ContainerRequest(
            use_case=self._record.use_case,
            layout=LAYOUT,
            part=Part.WHOLE,
            step=self._pipeline.evaluation_step,
            metrics=self._pipeline.metrics,
        )
        facts = model_facts(ContainerOrder(request=request), evaluation=self._folder)
        names = self._saved(REGISTRATION_FILE)
        dataset = self._record.dataset
        origin = {
            "use_case": self._record.use_case,
            "plugin": self._record.plugin,
            "dataset_version": f"{dataset.name}:{dataset.digest[:12]}".rstrip(":") if dataset else "",
            "build_source": names["build_source"],
            "build_id": names["build_id"],
            "run_id": self._record.run_id,
        }
        registry = WorkspaceModels(self._workspace)
        model = register(registry, name=names["name"], uri=f"{uri}/", tags=model_tags(facts, origin=origin))
        mark_best(
            registry,
            name=model.name,
            version=model.version,
            compared_by=facts.compared_by,
            is_higher_better=facts.is_higher_better,
        )
        return model.name, model.version

    # --- Access -------------------------------------------------------------------------------------------

    def _refresh(self) -> JobRun:
        self._latest = read_job(self._workspace, self._id.name)
        return self._latest

    def _open(self) -> DatastoreContainer:
        if self._container is None:
            self._container = DatastoreContainer(self._workspace, self._datastore)
        return self._container


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


__all__ = ["JOB_FILE", "REGISTRATION_FILE", "AzureMlExecution", "open_run"]
