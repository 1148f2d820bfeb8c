"""The runner ``sagemaker-local``: compiles a pipeline as for SageMaker and executes the definition on this machine.

Its runs are recorded like all others: artifacts by digest, verdict, model version. The verdict is not computed here;
it is the outcome of the executed definition, in which the Condition step leads to the RegisterModel or the Fail step.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_core import MlopsError, UsageError
from mlops_core.runners import (
    EVALUATION_OUTPUT,
    Decision,
    Result,
    Run,
    RunnerError,
    StepRecord,
    StepStatus,
    fetch_source,
)
from mlops_core.runners.remote.stable_copies import copy_stable
from mlops_sagemaker.compiler.definition import FAIL_STEP, GATE_STEP, REGISTER_STEP, compile_pipeline
from mlops_sagemaker.compiler.job_graph import MERGE_SUFFIX, SERVING_IMAGE, JobContext, champion_key
from mlops_sagemaker.emulator.collection import Results, copy_logs, place_dataset, remove_dataset
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.execution import PipelineExecution, Surroundings
from mlops_sagemaker.emulator.history import FolderHistory
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers
from mlops_sagemaker.emulator.jobs.registration import FolderRegistrar
from mlops_sagemaker.emulator.objects import FolderObjects, upload_folder
from mlops_sagemaker.emulator.support import require_executable
from mlops_sagemaker.emulator.trials import TrialResults
from mlops_sagemaker.service.executions import ExecutionStepStatus
from mlops_sagemaker.service.outcomes import STATUSES, failure_of, job_names, origin_of, step_record
from mlops_sagemaker.service.uris import S3Uri
from mlops_sagemaker.settings import CompileSettings

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core import RunRecord
    from mlops_core.runners import FetchedSource, Progress, RunObserver, RunRequest, Store
    from mlops_sagemaker.emulator.definition import Definition
    from mlops_sagemaker.emulator.jobs.containers import Containers
    from mlops_sagemaker.service.executions import ExecutionRecord, ExecutionStep

NAME = "sagemaker-local"
BUCKET = "mlops-local"
_DEFINITION = "definition.json"
_ARN = "arn:aws:sagemaker:us-east-1:123456789012:pipeline"
_ACCOUNT = {
    "role": "arn:aws:iam::123456789012:role/mlops-local",
    "bucket": BUCKET,
    "image": "mlops-local:installed",
}


class SageMakerLocalRunner:
    """Runs pipelines by executing their compiled definitions."""

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
            store: the workspace; buckets and executions are in its folder ``sagemaker-local``.
            observer: receives the run's events.
            jobs: number of steps to run in parallel; None for one per core.
            settings: settings for the compilation; account names that are not set get local defaults.
            containers: starts the commands of steps; None for processes on this machine.
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
        machine = _Machine(self._settings, self._containers, _Place.of(self._store, run.run_id), self._jobs)
        steps = _EmulatedSteps(run, self._store, request, observer=self._observer, machine=machine)
        return run.carry_out(steps.execute)


def definition_of(store: Store, run_id: str) -> Definition:
    """Return the definition that a run executed.

    Raises:
        RunnerError: the run ended before its pipeline was compiled.
    """
    path = _Place.of(store, run_id).folder / _DEFINITION
    try:
        return parse_definition(path.read_bytes())
    except OSError as error:
        raise RunnerError(f"run {run_id} has no definition: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The folders of a workspace for buckets and executions."""

    objects: FolderObjects
    history: FolderHistory
    folder: Path

    @classmethod
    def of(cls, store: Store, run_id: str) -> _Place:
        root = store.home / NAME
        history = FolderHistory(root / "executions")
        return cls(objects=FolderObjects(root / "s3"), history=history, folder=history.execution_folder(run_id))


@dataclass(frozen=True, slots=True)
class _Machine:
    """The settings and the environment in which a definition is executed."""

    settings: CompileSettings
    containers: Containers
    place: _Place
    jobs: int


class _EmulatedSteps:
    """Executes the definition of one run and collects the results of its steps."""

    def __init__(
        self, run: Run, store: Store, request: RunRequest, *, observer: RunObserver, machine: _Machine
    ) -> None:
        self._run = run
        self._store = store
        self._request = request
        self._observer = observer
        self._machine = machine
        self._trials = TrialResults(request)
        self._lock = threading.Lock()
        self._started: set[str] = set()

    # --- Executing the definition -------------------------------------------------------------------------

    def execute(self) -> Result:
        digest = self._fetch()
        definition = self._compile(digest, champion=self._place_champion())
        place, values = self._machine.place, definition.values(_local_values(definition))
        require_executable(definition, values)
        execution = PipelineExecution(
            definition,
            arn=f"{_ARN}/{self._request.pipeline.name}/execution/{self._run.run_id}",
            pipeline=self._request.pipeline.name,
            values=values,
            surroundings=Surroundings(
                objects=place.objects,
                containers=self._machine.containers,
                registrar=FolderRegistrar(place.folder.parent.parent / "packages"),
                history=place.history,
                folder=place.folder,
                max_parallel=self._machine.jobs,
                on_step=self._observe,
                on_job=self._trials.on_job,
            ),
        )
        try:
            record = execution.carry_out()
        finally:
            self._collect_steps(execution.record)
        results = Results(execution, self._context(), objects=place.objects)
        self._collect_outputs(record, results)
        return self._result(record)

    def _fetch(self) -> str:
        """Place the data set in the bucket and return its digest."""
        request, machine = self._request, self._machine

        def fetch(progress: Progress) -> FetchedSource:
            return fetch_source(
                request.use_case,
                request.dataset_choice(),
                store=self._store,
                seed=request.seed,
                is_offline=request.is_offline,
                progress=progress,
            )

        source = self._run.fetch(fetch)
        uri = S3Uri(_bucket(machine.settings), f"train/datasets/{request.pipeline.dataset}")
        objects, digest, own = machine.place.objects, source.record.digest, self._store.home
        copy_stable(
            source,
            store=self._store,
            copy=lambda: place_dataset(objects, source.path, uri, digest=digest, own=own),
            discard=lambda: remove_dataset(objects, uri),
        )
        return source.record.digest

    def _place_champion(self) -> str:
        """Place the best version's predictions in the bucket and return their digest; empty if the gate needs none."""
        digest = self._run.keep_champion()
        if digest:
            key = "/".join((*champion_key(self._context().prefix), digest))
            uri = S3Uri(_bucket(self._machine.settings), key)
            upload_folder(self._machine.place.objects, self._store.artifacts.path(digest), uri)
        return digest

    def _compile(self, digest: str, *, champion: str) -> Definition:
        compiled = compile_pipeline(self._request, self._machine.settings, dataset_digest=digest, champion=champion)
        text = compiled.to_text()
        (self._machine.place.folder / _DEFINITION).write_text(text, encoding="utf-8")
        definition = parse_definition(text)
        for name in self._request.selection.force:
            for job in (name, f"{name}{MERGE_SUFFIX}"):
                if job in definition.steps:
                    definition = definition.without_cache(job)
        return definition

    def _context(self) -> JobContext:
        return JobContext(
            use_case=self._request.use_case.name,
            pipeline=self._request.pipeline,
            sections={},
            code={},
            settings=self._machine.settings,
        )

    def _observe(self, state: ExecutionStep) -> None:
        """Report a job as its pipeline step; a sharded step ends with its merge."""
        name = state.name.removesuffix(MERGE_SUFFIX)
        if name not in self._run.steps:
            return
        with self._lock:
            is_new = name not in self._started
            self._started.add(name)
        if is_new:
            self._observer.step_started(name)
        is_last = self._request.pipeline.step(name).shards == 1 or state.name != name
        if state.status in STATUSES and state.end and (is_last or state.status is not ExecutionStepStatus.SUCCEEDED):
            self._observer.step_ended(step_record(name, (state,)))

    # --- Results ------------------------------------------------------------------------------------------

    def _collect_steps(self, record: ExecutionRecord) -> None:
        logs = self._run.folder / "logs"
        for step in self._request.pipeline.steps:
            states = tuple(state for name in job_names(step) if (state := record.step(name)))
            if states:
                self._run.steps[step.name] = step_record(step.name, states)
            else:
                self._run.steps[step.name] = StepRecord(name=step.name, status=StepStatus.SKIPPED)
            for state in states:
                origin = origin_of(state, self._run.run_id)
                source = self._machine.place.history.execution_folder(origin) / "logs"
                paths = [source / name for name in state.logs]
                copy_logs([path for path in paths if path.exists()], folder=logs, step=state.name)
        self._run.steps |= self._trials.records(record)

    def _collect_outputs(self, record: ExecutionRecord, results: Results) -> None:
        searches = {search.name: search for search in self._trials.searches}
        for step in self._request.pipeline.steps:
            last = record.step(job_names(step)[-1])
            if last and last.status is ExecutionStepStatus.SUCCEEDED and step.name in searches:
                found = self._trials.outputs(searches[step.name], last, results, self._store)
                for name, outputs in found.items():
                    self._run.steps[name] = replace(self._run.steps[name], outputs=outputs)
                continue
            if last and last.status is ExecutionStepStatus.SUCCEEDED:
                outputs = results.add_outputs(step, self._store)
                self._run.steps[step.name] = replace(self._run.steps[step.name], outputs=outputs)
        self._run.save()

    def _result(self, record: ExecutionRecord) -> Result:
        """Return the results and the decision of the execution, or raise the error of a step before the gate."""
        gate = record.step(GATE_STEP)
        if gate is None or gate.status is not ExecutionStepStatus.SUCCEEDED:
            raise self._trials.failure(self._run.steps) or self._failure(record)
        evaluation = self._run.steps[self._request.pipeline.evaluation_step.name].outputs[EVALUATION_OUTPUT]
        model_step, _, model_output = self._request.pipeline.model.rpartition(".")
        fail_step = record.step(FAIL_STEP)
        decision = Decision(
            is_accepted=gate.properties["Outcome"] == "True", message=fail_step.failure if fail_step else ""
        )
        return Result(
            evaluation=self._store.artifacts.path(evaluation),
            model=self._run.steps[model_step].outputs[model_output],
            decision=decision,
            check_registration=lambda: self._check_registration(record),
        )

    def _check_registration(self, record: ExecutionRecord) -> None:
        registered = record.step(REGISTER_STEP)
        if registered is None or registered.status is not ExecutionStepStatus.SUCCEEDED:
            raise self._failure(record)

    def _failure(self, record: ExecutionRecord) -> MlopsError:
        return failure_of(record, self._request.pipeline, logs=self._run.folder / "logs")


def _complete(settings: CompileSettings) -> CompileSettings:
    """Return the settings with a local default for each account name that is not set."""
    account = settings.account
    missing = {name: value for name, value in _ACCOUNT.items() if getattr(account, name) is None}
    return settings.model_copy(update={"account": account.model_copy(update=missing)})


def _local_values(definition: Definition) -> dict[str, str]:
    """Return a value for the image that serves models, where the definition needs one and has none."""
    needed = [each for each in definition.parameters if each.name == SERVING_IMAGE and each.default is None]
    return {each.name: "mlops-local:serving" for each in needed}


def _refuse_selection(request: RunRequest) -> None:
    selection = request.selection
    if selection.start or selection.only or selection.keep_going or request.resumed:
        raise UsageError(
            f"runner {NAME}: --from, --only, --keep-going and --resume are not supported, because a compiled "
            "definition is executed as a whole; use --runner local, or --force STEP"
        )


def _bucket(settings: CompileSettings) -> str:
    return settings.account.bucket or BUCKET
