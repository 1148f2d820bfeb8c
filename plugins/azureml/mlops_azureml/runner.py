"""The runner ``azureml``: uploads data, submits the compiled job and follows it to its verdict.

All local checks are made before anything is sent. As soon as a job exists, its id is saved in the record of the run, so
a later process can follow it with `mlops_core.runners.remote.following`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_azureml.checking import examine_job
from mlops_azureml.compiler.job import compile_pipeline
from mlops_azureml.layout import asset_name, champion_folder, dataset_folder
from mlops_azureml.machines import compute_of, load_price_table, step_machines
from mlops_azureml.options import AzureMlOptions
from mlops_azureml.service.assets import register_data
from mlops_azureml.service.datastores import DatastoreContainer
from mlops_azureml.service.submission import bodies_of, job_name, stamped, submit
from mlops_azureml.service.workspace import Workspace, new_connection
from mlops_azureml.settings import SERVERLESS
from mlops_azureml.target import find_target
from mlops_azureml.tracking.execution import JOB_FILE, REGISTRATION_FILE, open_run
from mlops_azureml.values.addresses import DatastoreUri, JobId
from mlops_core import RunRecord, RunStatus, UsageError
from mlops_core.runners import (
    EVALUATION_OUTPUT,
    DatasetRecord,
    DefinitionError,
    RemoteRecord,
    Run,
    RunnerError,
    copy_evaluation,
    write_atomically,
)
from mlops_core.runners.remote.by_digest import provide_by_digest
from mlops_core.runners.remote.costs import check_cost, estimate_cost

if TYPE_CHECKING:
    from mlops_azureml.compiler.job import PipelineJob
    from mlops_azureml.service.connection import Connection
    from mlops_azureml.settings import CompileSettings
    from mlops_azureml.target import Target
    from mlops_core.runners import Progress, RunObserver, RunRequest, Store
    from mlops_core.runners.remote.costs import Estimate, Prices

NAME = "azureml"
_FAULTS_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dataset:
    """The data of a run, where its job reads them."""

    record: DatasetRecord
    was_there: bool


class AzureMlRunner:
    """Runs pipelines in a workspace."""

    def __init__(
        self,
        store: Store,
        *,
        observer: RunObserver,
        jobs: int | None = None,
        options: AzureMlOptions | None = None,
        connection: Connection | None = None,
    ) -> None:
        """Keep the records of runs in the workspace `store`.

        Args:
            store: the workspace on this machine.
            observer: receives the run's events.
            jobs: has no effect, which is noted: the size of the cluster limits how many nodes run in parallel.
            options: settings, limits, and whether to wait for the end.
            connection: connection to Azure; None for a new one.
        """
        if jobs is not None:
            observer.note(f"--jobs {jobs} has no effect here: the number of nodes of the cluster limits parallel steps")
        self._store = store
        self._observer = observer
        self._options = options or AzureMlOptions()
        self._connection = connection

    def run(self, request: RunRequest) -> RunRecord:
        """Run the pipeline and return its record, which is final unless the run is detached.

        Raises:
            UsageError: a name is missing or wrong, only some steps were selected, or the run may cost too much.
            DefinitionError: the service would refuse the compiled job.
            RunnerError: the run could not be started.
            KeyboardInterrupt: before the job was submitted, or while it was followed; it then continues.
        """
        _refuse_selection(request)
        if request.resumed and request.resumed.remote:
            return self._resume(request, request.resumed)
        target = find_target(request.pipeline.name, self._options)
        job = checked_job(request, target.settings)
        self._check_cost(request, target)
        workspace = self._workspace(target)
        require_parts(workspace, target.settings, request)  # before anything is recorded or sent
        bodies_of(workspace, job.data)  # its environment exists
        run = Run(self._store, request, observer=self._observer, runner=NAME)
        with self._store.runs.lock(run.run_id):
            run.begin()
            with run.errors_recorded():
                start = _Start(run, request, target, workspace=workspace, store=self._store, observer=self._observer)
                start.carry_out()
            return self._follow(request, run.record, workspace=workspace)

    def _resume(self, request: RunRequest, record: RunRecord) -> RunRecord:
        """Follow a job again; if it failed or was cancelled, submit it again first."""
        with self._store.runs.lock(record.run_id):
            self._observer.run_started(record)
            run = open_run(self._store, record, observer=self._observer)
            if record.status is RunStatus.RUNNING:
                run.refresh()
            if run.record.status in (RunStatus.FAILED, RunStatus.STOPPED):
                run.retry()
            return run.record if run.record.status is not RunStatus.RUNNING else self._follow(request, run.record)

    def _workspace(self, target: Target) -> Workspace:
        connection = self._connection or new_connection(tenant=target.settings.workspace.tenant_id)
        return Workspace(target.workspace, connection=connection)

    def _check_cost(self, request: RunRequest, target: Target) -> None:
        prices = load_price_table(self._options.prices)
        estimate = estimate_run(request, target.settings, store=self._store, prices=prices)
        self._observer.note(f"estimate: {estimate}")
        check_cost(estimate, prices, max_cost=self._options.max_cost)

    # --- While it runs ------------------------------------------------------------------------------------

    def _follow(self, request: RunRequest, record: RunRecord, *, workspace: Workspace | None = None) -> RunRecord:
        if record.remote is None or self._options.is_detached:
            return record
        run = open_run(self._store, record, observer=self._observer, workspace=workspace)
        try:
            record = run.follow(timeout_s=self._options.timeout_s)
        except KeyboardInterrupt:
            self._observer.note(
                f"detached: the job continues in the workspace; use mlops runs show {record.run_id} to see it, "
                f"mlops runs stop {record.run_id} to stop it"
            )
            raise
        except RunnerError as error:
            return replace(run.record, error=str(error), exit_code=int(error.exit_code))
        if request.artifacts_dir is not None and record.verdict is not None:
            self._copy_evaluation(request, record)
        return record

    def _copy_evaluation(self, request: RunRequest, record: RunRecord) -> None:
        evaluation = next(
            (step.outputs[EVALUATION_OUTPUT] for step in record.steps if EVALUATION_OUTPUT in step.outputs), ""
        )
        if request.artifacts_dir is not None and evaluation:
            copy_evaluation(self._store.artifacts.path(evaluation), request.artifacts_dir, observer=self._observer)


class _Start:
    """What happens between the checks and the existence of a job."""

    def __init__(
        self,
        run: Run,
        request: RunRequest,
        target: Target,
        *,
        workspace: Workspace,
        store: Store,
        observer: RunObserver,
    ) -> None:
        self._run = run
        self._request = request
        self._target = target
        self._workspace = workspace
        self._store = store
        self._observer = observer
        self._container: DatastoreContainer | None = None

    def carry_out(self) -> None:
        """Provide the data, and submit the job."""
        dataset = self._run.fetch(self._provide)
        settings = self._target.settings
        job = compile_pipeline(
            self._request, settings, dataset_digest=dataset.record.digest, champion=self._send_champion()
        )
        write_atomically(self._run.folder / "job.yml", job.to_text())
        write_atomically(self._run.folder / JOB_FILE, json.dumps(job.data))
        if settings.workspace.registration == "driver":
            workspace = settings.workspace
            names = {
                "name": workspace.model_name or asset_name(self._request.pipeline.name),
                "build_id": workspace.build_id,
                "build_source": workspace.build_source,
            }
            write_atomically(self._run.folder / REGISTRATION_FILE, json.dumps(names))
        bodies = stamped(bodies_of(self._workspace, job.data), mlops_run=self._run.run_id)
        name = job_name(self._run.run_id)
        submit(self._workspace, bodies, name=name, run_id=self._run.run_id)
        identifier = JobId(workspace=self._target.workspace, name=name)
        self._observer.note(f"job {name} in workspace {self._target.workspace.name}")
        remote = RemoteRecord(
            execution=str(identifier),
            pipeline=self._target.experiment,
            region="",
            bucket=settings.workspace.datastore,
        )
        self._run.record = replace(self._run.record, remote=remote)
        self._run.save()

    def _provide(self, progress: Progress) -> _Dataset:
        settings = self._target.settings
        if settings.data.images is not None:
            return self._mounted()
        place = DatastoreUri(
            datastore=settings.workspace.datastore, path=dataset_folder(self._request.pipeline.dataset, "")
        )
        provided = provide_by_digest(
            self._request, f"{place}/", store=self._store, bucket=self._open(), progress=progress
        )
        record = provided.record
        uri = str(place.join(record.digest))
        register_data(
            self._workspace,
            record.name,
            uri=f"{uri}/",
            digest=record.digest,
            tags={"files": str(record.files), "use_case": self._request.use_case.name},
        )
        return _Dataset(record=replace(record, path=f"{uri}/"), was_there=provided.was_there)

    def _mounted(self) -> _Dataset:
        """Return the entry of data that are in a datastore already; nothing is downloaded, so they have no digest."""
        data = self._target.settings.data
        record = DatasetRecord(
            name=self._request.pipeline.dataset, path=f"{data.images}; {data.labels}", digest="", files=0, size_bytes=0
        )
        return _Dataset(record=record, was_there=True)

    def _send_champion(self) -> str:
        """Upload the best version's predictions and return their digest; empty if the gate needs none."""
        digest = self._run.keep_champion()
        if digest:
            prefix = self._target.settings.workspace.prefix or self._request.pipeline.name
            for path in sorted(self._store.artifacts.path(digest).iterdir()):
                self._open().write(f"{champion_folder(prefix, digest)}/{path.name}", path)
        return digest

    def _open(self) -> DatastoreContainer:
        if self._container is None:
            self._container = DatastoreContainer(self._workspace, self._target.settings.workspace.datastore)
        return self._container


def checked_job(request: RunRequest, settings: CompileSettings) -> PipelineJob:
    """Return the compiled job of a run.

    Raises:
        DefinitionError: the service would refuse it.
    """
    job = compile_pipeline(request, settings)
    faults = examine_job(job.data).faults
    if faults:
        shown = "; ".join(map(str, faults[:_FAULTS_SHOWN]))
        raise DefinitionError(f"the compiled job has {len(faults)} fault{'s' if len(faults) > 1 else ''}: {shown}")
    return job


def require_parts(workspace: Workspace, settings: CompileSettings, request: RunRequest) -> None:
    """Raise unless the workspace exists and has the datastores and the computes of a run.

    Raises:
        RunnerError: one is missing, or the identity may not see it.
        UsageError: data that are mounted are in no place that the service reads.
    """
    workspace.describe()
    workspace.datastore(settings.workspace.datastore)
    for address in (settings.data.images, settings.data.labels):
        _require_place(workspace, address)
    steps = [step for step in request.pipeline.steps if step.trial is None]
    for name in sorted({settings.computes.cpu, *(compute_of(step, settings) for step in steps)} - {SERVERLESS}):
        workspace.compute(name)


def _require_place(workspace: Workspace, address: str | None) -> None:
    """Raise unless data that a job mounts are at an address, and its datastore, if there is one, exists."""
    if address is None:
        return
    if address.startswith("azureml://"):
        uri = DatastoreUri.parse(address)
        if uri.workspace is None or uri.workspace == workspace.id:
            workspace.datastore(uri.datastore)
    elif ":" not in address:
        raise UsageError(
            f"{address} is a path on this machine, which the service does not read; set INPUT_IMAGE_DATA_PATH and "
            "INPUT_LABEL_DATA_PATH to azureml://datastores/NAME/paths/FOLDER, or unset both"
        )


def estimate_run(request: RunRequest, settings: CompileSettings, *, store: Store, prices: Prices) -> Estimate:
    """Return the estimated duration and cost of a run in the workspace."""
    machines = step_machines(request.pipeline, settings)
    return estimate_cost(request, machines, runner=NAME, store=store, prices=prices)


def _refuse_selection(request: RunRequest) -> None:
    selection = request.selection
    if selection.start or selection.only or selection.force or selection.keep_going:
        raise UsageError(
            f"runner {NAME}: --from, --only, --force and --keep-going are not supported, because the service executes "
            "a compiled job as a whole; use --runner local"
        )
