"""The runner of this machine: each step in its own process, independent steps in parallel, finished steps reused."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.errors import DatasetError, ExitCode, GateRejectedError, MlopsError, PluginError, StepError, StoreError
from mlops_core.metrics import read_evaluation
from mlops_core.pipeline import DATASET, EVALUATION_OUTPUT, FETCH
from mlops_core.runners.dataset_source import fetch_source, is_source_there
from mlops_core.runners.lifecycle import new_record, register_model, utc_now
from mlops_core.runners.local.execution import Attempt, StepExecution, StepInput
from mlops_core.runners.local.processes import ProcessOutcome, StepProcesses
from mlops_core.runners.local.schedule import Schedule, import_ahead
from mlops_core.runners.reuse import StepDecisions
from mlops_core.workspace.files import write_atomically
from mlops_core.workspace.records import RunRecord, RunStatus, StepRecord, StepStatus
from mlops_core.workspace.step_cache import CachedStep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.pipeline import Step
    from mlops_core.runners import RunObserver, RunRequest
    from mlops_core.workspace.store import Store


NAME = "local"


class LocalRunner:
    """Carries out a pipeline on this machine."""

    def __init__(self, store: Store, *, observer: RunObserver, jobs: int | None = None) -> None:
        """Run in the workspace `store` with at most `jobs` steps at once (default: one a core)."""
        self._store = store
        self._observer = observer
        self._jobs = jobs or os.cpu_count() or 1

    def run(self, request: RunRequest) -> RunRecord:
        """Carry out the pipeline and return the finished record.

        Raises:
            KeyboardInterrupt: after every step's processes were ended and the record was saved as stopped.
            UsageError: another process carries out the run that shall be resumed.
            StoreError: nothing can be written in the workspace.
        """
        run = _Run(self._store, request, observer=self._observer, jobs=self._jobs)
        try:
            with self._store.runs.lock(run.run_id):
                return run.carry_out()
        except (OSError, sqlite3.Error) as error:
            raise _workspace_error(self._store, error) from error


class _Run:
    """The state of one run; all of it belongs to the thread that called `carry_out`."""

    def __init__(self, store: Store, request: RunRequest, *, observer: RunObserver, jobs: int) -> None:
        self._store = store
        self._request = request
        self._observer = observer
        self._jobs = jobs
        self._began = time.monotonic()
        self._dataset_path: Path | None = None
        self._steps = {step.name: StepRecord(name=step.name) for step in request.pipeline.ordered()}
        self._record = _resumed(request) or new_record(request, runner=NAME)
        self._decisions = StepDecisions(store, request)
        self._written: set[str] = set()
        self._failure: MlopsError | None = None

    @property
    def run_id(self) -> str:
        return self._record.run_id

    def carry_out(self) -> RunRecord:
        self._save()
        folder = self._store.runs.folder(self.run_id)
        write_atomically(folder / "config.yaml", self._record.config)
        self._observer.run_started(self._record)
        try:
            with StepProcesses() as processes:
                self._fetch(processes)
                self._run_steps(processes)
            if not self._request.selection.only:
                self._judge()
        except KeyboardInterrupt:
            self._finish(RunStatus.STOPPED, exit_code=ExitCode.INTERRUPTED, error="interrupted")
            raise
        except GateRejectedError as error:
            self._finish(RunStatus.REJECTED, exit_code=error.exit_code, error=str(error))
        except MlopsError as error:
            self._finish(RunStatus.FAILED, exit_code=error.exit_code, error=str(error))
        except (OSError, sqlite3.Error) as error:
            failure = _workspace_error(self._store, error)
            self._finish(RunStatus.FAILED, exit_code=failure.exit_code, error=str(failure))
        except BaseException as error:
            self._finish(RunStatus.FAILED, exit_code=ExitCode.DEFECT, error=f"{type(error).__name__}: {error}")
            raise
        else:
            status = RunStatus.PARTIAL if self._request.selection.only else RunStatus.ACCEPTED
            self._finish(status, exit_code=ExitCode.OK, error="")
        return self._record

    # --- Data ---------------------------------------------------------------------------------------------

    def _fetch(self, processes: StepProcesses) -> None:
        use_case, config = self._request.use_case, self._request.config.model
        if not is_source_there(use_case, config, store=self._store, seed=self._request.seed):
            execution = StepExecution(self._store, self._request, run_id=self.run_id, processes=processes)
            import_ahead(execution, self._request.pipeline.ordered())  # while the data arrive
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
                processes=processes,
            )
        except MlopsError as error:
            self._observer.step_ended(StepRecord(name=FETCH, status=StepStatus.FAILED, error=str(error)))
            raise
        self._dataset_path = source.path
        self._decisions.digests[DATASET] = source.record.digest
        self._record = replace(self._record, dataset=source.record)
        self._save()
        status = StepStatus.REUSED if source.was_there else StepStatus.DONE
        self._observer.step_ended(
            StepRecord(
                name=FETCH,
                status=status,
                duration_s=time.monotonic() - began,
                outputs={"dataset": source.record.digest},
            )
        )

    # --- Steps --------------------------------------------------------------------------------------------

    def _run_steps(self, processes: StepProcesses) -> None:
        execution = StepExecution(self._store, self._request, run_id=self.run_id, processes=processes)
        with contextlib.closing(execution):
            Schedule(self, execution, jobs=self._jobs).carry_out()
        for record in tuple(self._steps.values()):
            if record.status is StepStatus.PENDING:
                self._end(replace(record, status=StepStatus.SKIPPED))
        if self._failure:
            raise self._failure

    def is_reused(self, step: Step) -> bool:
        """Decide whether the step is run or reused; in the second case it has ended."""
        decision = self._decisions.decide(step)
        record = replace(
            self._steps[step.name],
            key=decision.key.digest,
            key_components=decision.key.components,
            inputs=self._decisions.input_digests(step),
            because=decision.because,
            changes=decision.changes,
        )
        self._steps[step.name] = record
        cached = decision.reused
        if cached is None:
            return False
        self._decisions.set_outputs(step, cached.outputs)
        self._end(
            replace(
                record,
                status=StepStatus.REUSED,
                outputs=cached.outputs,
                duration_s=cached.duration_s,
                reused_from=cached.run_id,
            )
        )
        return True

    def start(self, step: Step) -> dict[str, StepInput]:
        """Note that the step starts; return where its inputs are."""
        self._observer.step_started(step.name)
        self._steps[step.name] = replace(self._steps[step.name], status=StepStatus.RUNNING, started=utc_now())
        self._store.runs.append_step(self.run_id, self._steps[step.name])
        return {name: self._input(reference) for name, reference in step.inputs.items()}

    def _input(self, reference: str) -> StepInput:
        if reference == DATASET:
            assert self._dataset_path is not None  # noqa: S101  for mypy: _fetch has set it
            return StepInput(path=self._dataset_path)
        digest = self._decisions.digests[reference]
        path = self._store.artifacts.path(digest)
        return StepInput(path=path, artifact=digest, is_trusted=digest in self._written)

    def progress(self, step: str, label: str, done: int, total: int) -> None:
        """Pass on how far a step is."""
        self._observer.step_progress(step, label, done, total)

    def is_step_done(self, step: Step, attempt: Attempt, *, log: Path) -> bool:
        """Keep what came of a step; tell whether it succeeded."""
        record = replace(
            self._steps[step.name],
            outputs=attempt.outputs,
            duration_s=attempt.duration_s,
            attempts=attempt.attempts,
            error=attempt.outcome.error,
        )
        if attempt.outcome.exit_code is not ExitCode.OK:
            self._end(replace(record, status=StepStatus.FAILED))
            self._failure = self._failure or _step_failure(step.name, attempt.outcome, log)
            return False
        earlier = self._store.step_cache.find(record.key)
        self._store.step_cache.remember(
            self._request.use_case.name,
            step.name,
            CachedStep(
                key=record.key,
                outputs=attempt.outputs,
                components=record.key_components,
                run_id=self.run_id,
                duration_s=attempt.duration_s,
            ),
        )
        self._written |= set(attempt.outputs.values())
        self._decisions.set_outputs(step, attempt.outputs)
        self._end(replace(record, status=StepStatus.DONE, warning=_difference(earlier, attempt)))
        return True

    def give_up_damaged(self, step: Step, damaged: Mapping[str, str]) -> Step:
        """Discard one damaged artifact that `step` reads; return the step that wrote it, which is to be run again."""
        for reference in step.inputs.values():
            digest = self._decisions.digests[reference]
            if digest in damaged:
                writer = self._request.pipeline.step(reference.partition(".")[0])
                self._store.artifacts.discard(digest)
                self._decisions.note_damage(writer.name, damaged[digest])
                return writer
        raise AssertionError(f"step '{step.name}' reads none of {list(damaged)}")

    def stop(self, step: Step) -> None:
        """Note that the step was cancelled."""
        self._end(replace(self._steps[step.name], status=StepStatus.STOPPED))

    def _end(self, record: StepRecord) -> None:
        self._steps[record.name] = record
        self._store.runs.append_step(self.run_id, record)
        self._observer.step_ended(record)

    @property
    def request(self) -> RunRequest:
        """What is run."""
        return self._request

    # --- The gate -----------------------------------------------------------------------------------------

    def _judge(self) -> None:
        pipeline = self._request.pipeline
        evaluation = self._decisions.digests[f"{pipeline.evaluation_step.name}.{EVALUATION_OUTPUT}"]
        folder = self._store.artifacts.path(evaluation)
        shutil.copyfile(folder / "evaluation.json", self._store.runs.folder(self.run_id) / "evaluation.json")
        report = read_evaluation(folder, pipeline.metrics)
        numbers = {name: value for name, value in self._request.parameters.items() if isinstance(value, int | float)}
        verdict = pipeline.gate.evaluate(report, metrics=pipeline.metrics, parameters=numbers)
        self._record = replace(self._record, verdict=verdict)
        if not verdict.accepted:
            raise GateRejectedError(verdict.message)
        model = self._decisions.digests[pipeline.model]
        self._record = register_model(self._store, self._record, request=self._request, artifact=model, report=report)

    def _finish(self, status: RunStatus, *, exit_code: ExitCode, error: str) -> None:
        duration_s = time.monotonic() - self._began
        if self._request.resumed:
            duration_s += self._request.resumed.duration_s
        self._record = replace(
            self._record, status=status, exit_code=int(exit_code), error=error, duration_s=duration_s
        )
        # Where nothing can be written any more, the record in memory still says what happened.
        with contextlib.suppress(OSError, sqlite3.Error):
            self._save()

    def _save(self) -> None:
        self._record = replace(self._record, steps=tuple(self._steps.values()))
        self._store.runs.save(self._record)


def _resumed(request: RunRequest) -> RunRecord | None:
    if request.resumed is None:
        return None
    return replace(new_record(request, runner=NAME), run_id=request.resumed.run_id, created=request.resumed.created)


def _difference(earlier: CachedStep | None, attempt: Attempt) -> str:
    """Say that a step is not deterministic, when its key is that of an earlier execution and its output is not."""
    differing = [name for name, digest in attempt.outputs.items() if earlier and earlier.outputs.get(name) != digest]
    if not earlier or not differing:
        return ""
    return f"not deterministic: {', '.join(differing)} differs from run {earlier.run_id}, which had the same key"


def _step_failure(name: str, outcome: ProcessOutcome, log: Path) -> MlopsError:
    message = f"step '{name}' failed: {outcome.error}; log: {log}"
    kind = {ExitCode.DATASET: DatasetError, ExitCode.PLUGIN: PluginError}.get(outcome.exit_code, StepError)
    return kind(message)


def _workspace_error(store: Store, error: OSError | sqlite3.Error) -> StoreError:
    return StoreError(
        f"workspace {store.home}: {error}; make room or set MLOPS_HOME to another folder; finished steps are kept"
    )
