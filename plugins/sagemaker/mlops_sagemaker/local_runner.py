"""The runner ``sagemaker-local``: compiles a pipeline as for SageMaker and executes the definition on this machine.

A run of it is recorded as every run is: artifacts by digest, verdict, model version. The verdict is not computed
here; it is what the executed definition did: its Condition step decides, its RegisterModel or Fail step follows.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mlops_core.errors import (
    ExitCode,
    GateRejectedError,
    MlopsError,
    RunnerError,
    UsageError,
)
from mlops_core.metrics import read_evaluation
from mlops_core.pipeline import FETCH
from mlops_core.runners.dataset_source import fetch_source
from mlops_core.runners.lifecycle import new_record, register_model
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord
from mlops_core.workspace.records import StepStatus as Status
from mlops_sagemaker.compiler.definition import FAIL_STEP, GATE_STEP, REGISTER_STEP, compile_pipeline
from mlops_sagemaker.compiler.job_graph import MERGE_SUFFIX, JobContext
from mlops_sagemaker.emulator.collection import Results, copy_logs, place_dataset
from mlops_sagemaker.emulator.definition import parse_definition
from mlops_sagemaker.emulator.execution import PipelineExecution, Surroundings
from mlops_sagemaker.emulator.history import FolderHistory
from mlops_sagemaker.emulator.jobs.containers import ProcessContainers
from mlops_sagemaker.emulator.jobs.registration import FolderRegistrar
from mlops_sagemaker.emulator.objects import FolderObjects
from mlops_sagemaker.service.executions import ExecutionStepStatus
from mlops_sagemaker.service.outcomes import STATUSES, failure_of, job_names, origin_of, rejection_of, step_record
from mlops_sagemaker.service.uris import S3Uri
from mlops_sagemaker.settings import CompileSettings

if TYPE_CHECKING:
    from pathlib import Path

    from mlops_core.runners import RunObserver, RunRequest
    from mlops_core.workspace.store import Store
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
    """Carries out a pipeline by executing its compiled definition."""

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
            observer: is told what happens.
            jobs: steps at once; None for one a core.
            settings: as for a compilation; names that are not set mean this machine.
            containers: what starts a step's command; None for processes of this machine.
        """
        self._store = store
        self._observer = observer
        self._jobs = jobs or os.cpu_count() or 1
        self._settings = _complete(settings or CompileSettings())
        self._containers = containers or ProcessContainers()

    def run(self, request: RunRequest) -> RunRecord:
        """Carry out the pipeline and return the finished record.

        Raises:
            UsageError: only some steps were asked for, or a run shall be resumed.
            KeyboardInterrupt: after everything was stopped.
        """
        _refuse_selection(request)
        run = _Run(self._store, request, observer=self._observer)
        place = _Place.of(self._store, run.run_id)
        with self._store.runs.lock(run.run_id):
            return run.carry_out(_Machine(self._settings, self._containers, place, self._jobs))

    def definition_of(self, run_id: str) -> Definition:
        """Return the definition that a run executed.

        Raises:
            RunnerError: the run ended before it was compiled.
        """
        path = _Place.of(self._store, run_id).folder / _DEFINITION
        try:
            return parse_definition(path.read_bytes())
        except OSError as error:
            raise RunnerError(f"run {run_id} has no definition: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the buckets and executions of a workspace are."""

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
    """What executes a definition."""

    settings: CompileSettings
    containers: Containers
    place: _Place
    jobs: int


class _Run:
    """The state of one run."""

    def __init__(self, store: Store, request: RunRequest, *, observer: RunObserver) -> None:
        self._store = store
        self._request = request
        self._observer = observer
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._started: set[str] = set()
        self._record = new_record(request, runner=NAME)
        self._steps = {step.name: StepRecord(name=step.name) for step in request.pipeline.ordered()}

    @property
    def run_id(self) -> str:
        return self._record.run_id

    def carry_out(self, machine: _Machine) -> RunRecord:
        self._save()
        self._observer.run_started(self._record)
        try:
            self._execute(machine)
        except KeyboardInterrupt:
            self._finish(RunStatus.STOPPED, exit_code=ExitCode.INTERRUPTED, error="interrupted")
            raise
        except GateRejectedError as error:
            self._finish(RunStatus.REJECTED, exit_code=error.exit_code, error=str(error))
        except MlopsError as error:
            self._finish(RunStatus.FAILED, exit_code=error.exit_code, error=str(error))
        except BaseException as error:
            self._finish(RunStatus.FAILED, exit_code=ExitCode.DEFECT, error=f"{type(error).__name__}: {error}")
            raise
        else:
            self._finish(RunStatus.ACCEPTED, exit_code=ExitCode.OK, error="")
        return self._record

    # --- Executing the definition -------------------------------------------------------------------------

    def _execute(self, machine: _Machine) -> None:
        digest = self._fetch(machine)
        definition = self._compile(machine, digest)
        execution = PipelineExecution(
            definition,
            arn=f"{_ARN}/{self._request.pipeline.name}/execution/{self.run_id}",
            pipeline=self._request.pipeline.name,
            values=definition.values({}),
            surroundings=Surroundings(
                objects=machine.place.objects,
                containers=machine.containers,
                registrar=FolderRegistrar(machine.place.folder.parent.parent / "packages"),
                history=machine.place.history,
                folder=machine.place.folder,
                max_parallel=machine.jobs,
                on_step=self._observe,
            ),
        )
        try:
            record = execution.carry_out()
        finally:
            self._collect_steps(execution.record, machine)
        context = self._context(machine)
        results = Results(execution, context, objects=machine.place.objects)
        self._collect_outputs(record, results)
        self._conclude(record, results)

    def _fetch(self, machine: _Machine) -> str:
        """Bring the data set into the bucket; return its digest."""
        self._observer.step_started(FETCH)
        began = time.monotonic()
        try:
            source = fetch_source(
                self._request.use_case,
                self._request.config.model,
                store=self._store,
                seed=self._request.seed,
                is_offline=self._request.is_offline,
                progress=lambda label, done, total: self._observer.step_progress(FETCH, label, done, total),
            )
        except MlopsError as error:
            self._observer.step_ended(StepRecord(name=FETCH, status=Status.FAILED, error=str(error)))
            raise
        uri = S3Uri(_bucket(machine.settings), f"train/datasets/{self._request.pipeline.dataset}")
        place_dataset(machine.place.objects, source.path, uri, digest=source.record.digest)
        self._record = replace(self._record, dataset=source.record)
        status = Status.REUSED if source.was_there else Status.DONE
        self._observer.step_ended(StepRecord(name=FETCH, status=status, duration_s=time.monotonic() - began))
        return source.record.digest

    def _compile(self, machine: _Machine, digest: str) -> Definition:
        compiled = compile_pipeline(self._request, machine.settings, dataset_digest=digest)
        text = compiled.to_text()
        (machine.place.folder / _DEFINITION).write_text(text, encoding="utf-8")
        definition = parse_definition(text)
        for name in self._request.selection.force:
            for job in (name, f"{name}{MERGE_SUFFIX}"):
                if job in definition.steps:
                    definition = definition.without_cache(job)
        return definition

    def _context(self, machine: _Machine) -> JobContext:
        return JobContext(
            use_case=self._record.use_case,
            pipeline=self._request.pipeline,
            sections={},
            code={},
            settings=machine.settings,
        )

    def _observe(self, state: ExecutionStep) -> None:
        """Tell of a job as of the step that it belongs to; a merge ends its step."""
        name = state.name.removesuffix(MERGE_SUFFIX)
        if name not in self._steps:
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

    def _collect_steps(self, record: ExecutionRecord, machine: _Machine) -> None:
        logs = self._store.runs.folder(self.run_id) / "logs"
        for step in self._request.pipeline.steps:
            states = [record.step(name) for name in job_names(step)]
            found = tuple(state for state in states if state)
            if found:
                self._steps[step.name] = step_record(step.name, found)
            else:
                self._steps[step.name] = StepRecord(name=step.name, status=Status.SKIPPED)
            for state in found:
                source = machine.place.history.execution_folder(origin_of(state, self.run_id)) / "logs"
                paths = [source / name for name in state.logs]
                copy_logs([path for path in paths if path.exists()], folder=logs, step=state.name)

    def _collect_outputs(self, record: ExecutionRecord, results: Results) -> None:
        for step in self._request.pipeline.steps:
            last = record.step(job_names(step)[-1])
            if last and last.status is ExecutionStepStatus.SUCCEEDED:
                outputs = results.add_outputs(step, self._store)
                self._steps[step.name] = replace(self._steps[step.name], outputs=outputs)
        self._save()

    def _conclude(self, record: ExecutionRecord, results: Results) -> None:
        """Take over what the definition decided: accept and register, or raise what a local run would raise."""
        gate = record.step(GATE_STEP)
        if gate is None or gate.status is not ExecutionStepStatus.SUCCEEDED:
            raise self._failure(record)
        verdict = results.verdict()
        self._record = replace(self._record, verdict=verdict)
        is_met = gate.properties["Outcome"] == "True"
        if is_met is not verdict.accepted:
            raise RunnerError(
                f"the definition's condition came out {is_met}, the gate itself {verdict.accepted}: "
                "they must agree; nothing was registered"
            )
        registered = record.step(REGISTER_STEP)
        if not is_met:
            said = record.step(FAIL_STEP)
            raise GateRejectedError(verdict.message if said is None else rejection_of(said, verdict))
        if registered is None or registered.status is not ExecutionStepStatus.SUCCEEDED:
            raise self._failure(record)
        self._register(results)

    def _failure(self, record: ExecutionRecord) -> MlopsError:
        return failure_of(record, self._request.pipeline, logs=self._store.runs.folder(self.run_id) / "logs")

    def _register(self, results: Results) -> None:
        """Make the package that the definition registered a version of this workspace's registry."""
        name, _, output = results.evaluation_reference().partition(".")
        evaluation = self._store.artifacts.path(self._steps[name].outputs[output])
        report = read_evaluation(evaluation, self._request.pipeline.metrics)
        model_step, _, model_output = self._request.pipeline.model.partition(".")
        self._record = register_model(
            self._store,
            self._record,
            request=self._request,
            artifact=self._steps[model_step].outputs[model_output],
            report=report,
        )

    # --- The record ---------------------------------------------------------------------------------------

    def _finish(self, status: RunStatus, *, exit_code: ExitCode, error: str) -> None:
        duration_s = time.monotonic() - self._began
        self._record = replace(
            self._record, status=status, exit_code=int(exit_code), error=error, duration_s=duration_s
        )
        with contextlib.suppress(OSError, sqlite3.Error):
            self._save()

    def _save(self) -> None:
        self._record = replace(self._record, steps=tuple(self._steps.values()))
        self._store.runs.save(self._record)


def _complete(settings: CompileSettings) -> CompileSettings:
    """Return the settings with a name for whatever would have to be given when an execution is started."""
    account = settings.account
    missing = {name: value for name, value in _ACCOUNT.items() if getattr(account, name) is None}
    return settings.model_copy(update={"account": account.model_copy(update=missing)})


def _refuse_selection(request: RunRequest) -> None:
    selection = request.selection
    if selection.start or selection.only or selection.keep_going or request.resumed:
        raise UsageError(
            f"runner {NAME}: --from, --only, --keep-going and --resume are not for a compiled definition, "
            "which is executed as a whole; use --runner local, or --force STEP"
        )


def _bucket(settings: CompileSettings) -> str:
    return settings.account.bucket or BUCKET


__all__ = ["NAME", "SageMakerLocalRunner"]
