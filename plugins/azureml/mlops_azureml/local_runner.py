"""The runner ``azureml-local``: compiles a pipeline as for Azure ML and executes the job on this machine.

Its runs are recorded like all others: artifacts by digest, verdict, model version. The executed job decides whether the
model is registered: its node ``gate`` succeeds or fails. The verdict is computed from the evaluation, so data
distinguishes a rejected model from a gate that broke, not a message.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlops_azureml.compiler.job import PipelineJob, compile_pipeline
from mlops_azureml.compiler.job_graph import IMAGES_FOLDER, LABELS_FOLDER
from mlops_azureml.compiler.nodes import node_names
from mlops_azureml.interpreter.containers import ProcessContainers
from mlops_azureml.interpreter.datastores import FolderDatastores
from mlops_azureml.interpreter.document import parse_job
from mlops_azureml.interpreter.execution import JobExecution, Surroundings
from mlops_azureml.interpreter.records import JobStatus
from mlops_azureml.layout import (
    CHAMPION,
    DATASET_INPUT,
    GATE_NODE,
    OWN_NODES,
    REGISTER_NODE,
    TAG_NODE,
    node_name,
    port_name,
)
from mlops_azureml.outcomes import STATUSES, failure_of, log_name, search_error, step_record, trial_records
from mlops_azureml.parity import step_of_node
from mlops_azureml.registration import FOLDER_VARIABLE
from mlops_azureml.settings import CompileSettings
from mlops_core import MlopsError, Pipeline, UsageError
from mlops_core.runners import (
    EVALUATION_OUTPUT,
    DatasetChoice,
    Decision,
    ExitCode,
    Result,
    Run,
    RunnerError,
    fetch_source,
    find_searches,
)
from mlops_core.runners.remote.searches import select_again
from mlops_core.runners.remote.stable_copies import copy_stable

if TYPE_CHECKING:
    from mlops_azureml.interpreter.containers import Containers
    from mlops_azureml.interpreter.records import JobRecord, NodeRecord
    from mlops_core import RunRecord, Step
    from mlops_core.runners import FetchedSource, Progress, RunObserver, RunRequest, Search, Store

NAME = "azureml-local"
_JOB, _DATA = "job.yml", "job-document.json"
_IMAGE = "mlops-local:installed"


class AzureMlLocalRunner:
    """Runs pipelines by executing their compiled jobs."""

    def __init__(
        self,
        store: Store,
        *,
        observer: RunObserver,
        jobs: int | None = None,
        settings: CompileSettings | None = None,
        containers: Containers | None = None,
    ) -> None:
        """Run in the workspace `store`.

        Args:
            store: the workspace; datastores, jobs and models are in its folder ``azureml-local``.
            observer: receives the run's events.
            jobs: number of steps to run in parallel; None for one per core.
            settings: settings for the compilation; an image that is not set gets a local default.
            containers: starts the commands of nodes; None for processes on this machine.
        """
        self._store = store
        self._observer = observer
        self._jobs = jobs or os.cpu_count() or 1
        self._settings = _complete(settings or CompileSettings())
        self._containers = containers or ProcessContainers()

    def run(self, request: RunRequest) -> RunRecord:
        """Run the pipeline and return the final record.

        Raises:
            UsageError: only some steps were selected, or a run is to be resumed.
            KeyboardInterrupt: after all steps were stopped.
        """
        _refuse_selection(request)
        run = Run(self._store, request, observer=self._observer, runner=NAME)
        place = _Place.of(self._store, run.run_id)
        steps = _ExecutedSteps(
            run,
            self._store,
            request,
            observer=self._observer,
            machine=_Machine(self._settings, self._containers, place, self._jobs),
        )
        return run.carry_out(steps.execute)


def document_of(store: Store, run_id: str) -> dict[str, Any]:
    """Return the job that a run executed.

    Raises:
        RunnerError: the run ended before its pipeline was compiled.
    """
    path = _Place.of(store, run_id).folder / _DATA
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunnerError(f"run {run_id} has no job: {error}") from error
    return document


def pipeline_of(store: Store, run_id: str) -> Pipeline:
    """Return the pipeline of a run."""
    return Pipeline.from_json(store.runs.load(run_id).pipeline)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The folders of a workspace for datastores, jobs, reusable results and models."""

    root: Path
    folder: Path
    datastores: FolderDatastores

    @classmethod
    def of(cls, store: Store, run_id: str) -> _Place:
        root = Path(store.home).absolute() / NAME
        return cls(root=root, folder=root / "jobs" / run_id, datastores=FolderDatastores(root / "datastores"))


@dataclass(frozen=True, slots=True)
class _Machine:
    """The settings and the environment in which a job is executed."""

    settings: CompileSettings
    containers: Containers
    place: _Place
    jobs: int


class _ExecutedSteps:
    """Executes the job of one run and collects the results of its steps."""

    def __init__(
        self, run: Run, store: Store, request: RunRequest, *, observer: RunObserver, machine: _Machine
    ) -> None:
        self._run = run
        self._store = store
        self._request = request
        self._observer = observer
        self._machine = machine
        self._owners = step_of_node(request.pipeline)
        self._searches = {search.name: search for search in find_searches(request.pipeline)}
        self._lock = threading.Lock()
        self._started: set[str] = set()

    # --- Executing the job ------------------------------------------------------------------------------------

    def execute(self) -> Result:
        source = self._fetch()
        job = self._compile(source.record.digest, champion=self._run.keep_champion())
        self._place_inputs(job, source)
        place = self._machine.place
        execution = JobExecution(
            parse_job(job.data),
            name=self._run.run_id,
            surroundings=Surroundings(
                datastores=place.datastores,
                containers=self._machine.containers,
                folder=place.folder,
                results=place.root / "results",
                max_parallel=self._machine.jobs,
                environment={FOLDER_VARIABLE: str(place.root / "models")},
                on_node=self._observe,
                forced=frozenset(name for step in self._forced_steps() for name in node_names(step)),
            ),
        )
        try:
            record = execution.carry_out()
        finally:
            self._collect_steps(execution.record)
        self._collect_outputs(record)
        return self._result(record)

    def _fetch(self) -> FetchedSource:
        request = self._request
        choice = request.dataset_choice()
        if self._machine.settings.data.images is not None:
            choice = DatasetChoice(name=choice.name, path=self._mounted(), required=choice.required)

        def fetch(progress: Progress) -> FetchedSource:
            return fetch_source(
                request.use_case,
                choice,
                store=self._store,
                seed=request.seed,
                is_offline=request.is_offline,
                progress=progress,
            )

        return self._run.fetch(fetch)

    def _mounted(self) -> Path:
        """Return a folder with the images and labels that the nodes will read, for the record of the run.

        Raises:
            RunnerError: one of them is not on this machine.
        """
        folder, data = self._machine.place.folder / "dataset", self._machine.settings.data
        for name, address in ((IMAGES_FOLDER, data.images), (LABELS_FOLDER, data.labels)):
            source = self._machine.place.datastores.path(str(address))
            if not source.is_dir():
                raise RunnerError(f"data.{name}: there is no folder {address} on this machine ({source})")
            self._machine.place.datastores.place(source, str((folder / name).absolute()))
        return folder

    def _compile(self, digest: str, *, champion: str) -> PipelineJob:
        job = compile_pipeline(self._request, self._machine.settings, dataset_digest=digest, champion=champion)
        folder = self._machine.place.folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _JOB).write_text(job.to_text(), encoding="utf-8")
        (folder / _DATA).write_text(json.dumps(job.data), encoding="utf-8")
        return job

    def _place_inputs(self, job: PipelineJob, source: FetchedSource) -> None:
        """Place the data set and the champion's predictions in the datastore."""
        datastores = self._machine.place.datastores
        if DATASET_INPUT in job.data["inputs"]:
            address = job.data["inputs"][DATASET_INPUT]["path"]
            copy_stable(
                source,
                store=self._store,
                copy=lambda: datastores.place(source.path, address, own=self._store.home),
                discard=lambda: datastores.discard(address),
            )
        if CHAMPION in job.data["inputs"]:
            folder = self._store.artifacts.path(self._run.keep_champion())
            datastores.place(folder, job.data["inputs"][CHAMPION]["path"])

    def _forced_steps(self) -> list[Step]:
        return [step for step in self._request.pipeline.steps if step.name in self._request.selection.force]

    def _observe(self, node: NodeRecord) -> None:
        """Report a node as its pipeline step; a sharded step ends with its merge."""
        name = self._owners.get(node.name)
        if name is None:
            return
        with self._lock:
            is_new = name not in self._started
            self._started.add(name)
        if is_new:
            self._observer.step_started(name)
        is_last = node.name == node_name(name)
        if node.status in STATUSES and node.start and (is_last or node.status is not JobStatus.COMPLETED):
            self._observer.step_ended(step_record(name, (node,)))

    # --- Results ----------------------------------------------------------------------------------------------

    def _collect_steps(self, record: JobRecord) -> None:
        for step in self._request.pipeline.steps:
            if step.trial is not None:
                continue
            nodes = tuple(record.nodes[name] for name in node_names(step) if name in record.nodes)
            self._run.steps[step.name] = step_record(step.name, nodes)
            for node in nodes:
                self._copy_logs(step, node)
        for search in self._searches.values():
            self._run.steps |= trial_records(search, record.nodes.get(node_name(search.name)))
            if error := search_error(search, self._run.steps):
                text = str(error).removeprefix(f"step '{search.name}' failed: ")
                self._run.steps[search.name] = replace(self._run.steps[search.name], error=text)
        for name in OWN_NODES:
            if name in record.nodes:
                self._copy_log(record.nodes[name], f"{name}.log")

    def _copy_logs(self, step: Step, node: NodeRecord) -> None:
        self._copy_log(node, log_name(step, node.name))
        for trial in node.trials:
            self._copy_log(trial, trial.log)

    def _copy_log(self, node: NodeRecord, name: str) -> None:
        origin = self._machine.place.folder.parent / (node.reused_from or self._run.run_id)
        source = origin / "logs" / node.log
        if node.log and source.is_file():
            (self._run.folder / "logs").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, self._run.folder / "logs" / name)

    def _collect_outputs(self, record: JobRecord) -> None:
        for step in self._request.pipeline.steps:
            node = record.nodes.get(node_name(step.name))
            if step.trial is not None or node is None or node.status is not JobStatus.COMPLETED:
                continue
            if step.name in self._searches:
                found = self._search_outputs(self._searches[step.name], node)
            else:
                found = {step.name: self._outputs(step, node)}
            for name, outputs in found.items():
                self._run.steps[name] = replace(self._run.steps[name], outputs=outputs)
        self._run.save()

    def _outputs(self, step: Step, node: NodeRecord) -> dict[str, str]:
        """Add the outputs of a step to the workspace and return their digests."""
        digests = {}
        for output in step.all_outputs:
            source = self._machine.place.datastores.path(node.outputs[port_name(output)])
            folder = self._store.work_folder(f"{step.name}-{output}")
            try:
                copied = shutil.copytree(source, folder / "files", copy_function=shutil.copyfile)
                digests[output] = self._store.artifacts.add(Path(copied))
            except (OSError, shutil.Error) as error:
                raise RunnerError(f"step '{step.name}': cannot read output '{output}': {error}") from error
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return digests

    def _search_outputs(self, search: Search, node: NodeRecord) -> dict[str, dict[str, str]]:
        """Add the outputs of a search and of its trials; the choice of the sweep is made again and compared."""
        trials = {
            index: self._outputs(search.trials[index], trial)
            for index, trial in enumerate(node.trials)
            if trial.status is JobStatus.COMPLETED
        }
        chosen = node.best if node.best is not None else -1
        selected = select_again(search, self._request, store=self._store, trials=trials, chosen=chosen)
        return {search.trials[index].name: outputs for index, outputs in trials.items()} | {search.name: selected}

    def _result(self, record: JobRecord) -> Result:
        """Return the results and the decision of the job, or raise the error of a node before or in the gate."""
        gate = record.nodes[GATE_NODE]
        is_rejected = gate.status is JobStatus.FAILED and gate.exit_code == ExitCode.REJECTED
        if gate.status is not JobStatus.COMPLETED and not is_rejected:
            raise self._search_failure() or self._failure(record)
        evaluation = self._run.steps[self._request.pipeline.evaluation_step.name].outputs[EVALUATION_OUTPUT]
        model_step, _, model_output = self._request.pipeline.model.rpartition(".")
        return Result(
            evaluation=self._store.artifacts.path(evaluation),
            model=self._run.steps[model_step].outputs[model_output],
            decision=Decision(is_accepted=not is_rejected, message=gate.error),
            check_registration=lambda: self._check_registration(record),
        )

    def _check_registration(self, record: JobRecord) -> None:
        for name in (REGISTER_NODE, TAG_NODE):
            if name in record.nodes and record.nodes[name].status is not JobStatus.COMPLETED:
                raise self._failure(record)

    def _search_failure(self) -> MlopsError | None:
        errors = (search_error(search, self._run.steps) for search in self._searches.values())
        return next((error for error in errors if error), None)

    def _failure(self, record: JobRecord) -> MlopsError:
        return failure_of(record, self._request.pipeline, logs=self._run.folder / "logs")


def _complete(settings: CompileSettings) -> CompileSettings:
    """Return the settings with a local default for an image that is not set."""
    workspace = settings.workspace
    if workspace.image is not None or workspace.environment is not None:
        return settings
    return settings.model_copy(update={"workspace": workspace.model_copy(update={"image": _IMAGE})})


def _refuse_selection(request: RunRequest) -> None:
    selection = request.selection
    if selection.start or selection.only or selection.keep_going or request.resumed:
        raise UsageError(
            f"runner {NAME}: --from, --only, --keep-going and --resume are not supported, because a compiled job is "
            "executed as a whole; use --runner local, or --force STEP"
        )
