"""The runner of this machine: each step in its own process, independent steps in parallel, finished steps reused."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.datasets.splits import SPLIT_FILE, read_split
from mlops_core.errors import ConfigError, DatasetError, ExitCode, MlopsError, PluginError, StepError
from mlops_core.gates.slices import missing_slice
from mlops_core.pipeline import DATASET, EVALUATION_OUTPUT
from mlops_core.runners.dataset_source import fetch_source, is_source_there
from mlops_core.runners.lifecycle import Result, Run
from mlops_core.runners.lifecycle.new_records import utc_now
from mlops_core.runners.local.base_models import require_base_models_of
from mlops_core.runners.local.dataset_watch import DatasetWatch
from mlops_core.runners.local.execution import Attempt, StepExecution, StepInput
from mlops_core.runners.local.processes import ProcessOutcome, StepProcesses
from mlops_core.runners.local.schedule import Schedule, import_ahead
from mlops_core.runners.reuse import StepDecisions
from mlops_core.steps.packages import require_packages
from mlops_core.use_cases.searches import is_selection
from mlops_core.workspace.records import StepStatus
from mlops_core.workspace.searches.notes import search_failure, search_note
from mlops_core.workspace.step_cache import CachedStep

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlops_core.datasets.catalogue import Progress
    from mlops_core.pipeline import Step
    from mlops_core.runners.dataset_source import FetchedSource
    from mlops_core.runners.observers import RunObserver
    from mlops_core.runners.request import RunRequest
    from mlops_core.workspace.records import RunRecord, StepRecord
    from mlops_core.workspace.store import Store


NAME = "local"


class LocalRunner:
    """Carries out a pipeline on this machine."""

    def __init__(
        self,
        store: Store,
        *,
        observer: RunObserver,
        jobs: int | None = None,
        processes: StepProcesses | None = None,
    ) -> None:
        """Run in the workspace `store`.

        Args:
            store: the workspace.
            observer: receives the run's events.
            jobs: number of steps to run in parallel; None for one per core.
            processes: where they have been started already; the caller ends them.
        """
        self._processes = processes
        self._store = store
        self._observer = observer
        self._jobs = jobs or os.cpu_count() or 1

    def run(self, request: RunRequest) -> RunRecord:
        """Carry out the pipeline and return the finished record.

        Raises:
            KeyboardInterrupt: after every step's processes were ended and the record was saved as stopped.
            ConfigError: the file of a base model is missing or another one.
            PluginError: a distribution that a step declares is not installed.
            UsageError: another process carries out the run that is resumed.
            StoreError: nothing can be written in the workspace.
        """
        steps = request.pipeline.ordered()
        require_packages(step for step in steps if not request.selection.is_left_out(step.name, request.pipeline))
        require_base_models_of(request)
        run = Run(self._store, request, observer=self._observer, runner=NAME)
        local = _LocalSteps(run, self._store, request, observer=self._observer, jobs=self._jobs)
        with contextlib.ExitStack() as opened:
            processes = self._processes or opened.enter_context(StepProcesses())
            return run.carry_out(lambda: local.execute(processes))


class _LocalSteps:
    """The steps of one run; all of its state belongs to the thread that calls `execute`."""

    def __init__(self, run: Run, store: Store, request: RunRequest, *, observer: RunObserver, jobs: int) -> None:
        self._run = run
        self._store = store
        self._request = request
        self._observer = observer
        self._jobs = jobs
        self._dataset: StepInput | None = None
        self._decisions = StepDecisions(store, request)
        self._written: set[str] = set()
        self._earlier: dict[str, dict[str, str]] = {}
        self._failure: MlopsError | None = None

    @property
    def run_id(self) -> str:
        return self._run.run_id

    def execute(self, processes: StepProcesses) -> Result | None:
        self._fetch(processes)
        self._run_steps(processes)
        if self._request.selection.only:
            return None
        pipeline, digests = self._request.pipeline, self._decisions.digests
        evaluation = digests[f"{pipeline.evaluation_step.name}.{EVALUATION_OUTPUT}"]
        return Result(evaluation=self._store.artifacts.path(evaluation), model=digests[pipeline.model])

    def _fetch(self, processes: StepProcesses) -> None:
        request, choice = self._request, self._request.dataset_choice()
        if not is_source_there(choice, store=self._store, seed=request.seed):
            execution = StepExecution(self._store, request, run_id=self.run_id, processes=processes)
            import_ahead(execution, request.pipeline.ordered())  # while the data is fetched

        def fetch(progress: Progress) -> FetchedSource:
            return fetch_source(
                request.use_case,
                choice,
                store=self._store,
                seed=request.seed,
                is_offline=request.is_offline,
                progress=progress,
                processes=processes,
            )

        source = self._run.fetch(fetch)
        self._dataset = StepInput(path=source.path, watch=DatasetWatch(source, manifests=self._store.manifests))
        self._decisions.digests[DATASET] = source.record.digest

    # --- Steps --------------------------------------------------------------------------------------------

    def _run_steps(self, processes: StepProcesses) -> None:
        execution = StepExecution(self._store, self._request, run_id=self.run_id, processes=processes)
        with contextlib.closing(execution):
            try:
                Schedule(self, execution, jobs=self._jobs).carry_out()
            except ConfigError as error:
                self._failure = error
        for record in tuple(self._run.steps.values()):
            if record.status is StepStatus.PENDING:
                self._end(replace(record, status=StepStatus.SKIPPED))
        if self._failure:
            raise self._failure

    def is_reused(self, step: Step) -> bool:
        """Decide whether the step is executed or reused; a reused step has ended."""
        decision = self._decisions.decide(step)
        record = replace(
            self._run.steps[step.name],
            key=decision.key.digest,
            key_components=decision.key.components,
            inputs=self._decisions.input_digests(step),
            because=decision.because,
            changes=decision.changes,
        )
        self._run.steps[step.name] = record
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
                warning=self._search_note(step) or self._earlier_warning(cached.run_id, step.name),
            )
        )
        self._check_slices(step)
        return True

    def _earlier_warning(self, run_id: str, step: str) -> str:
        """Return what the execution that is reused warned of; empty if its run was removed."""
        if run_id not in self._earlier:
            try:
                steps = self._store.runs.load(run_id).steps
            except MlopsError:
                steps = ()
            self._earlier[run_id] = {record.name: record.warning for record in steps if record.warning}
        return self._earlier[run_id].get(step, "")

    def start(self, step: Step) -> dict[str, StepInput]:
        """Record the start of a step and return its inputs."""
        self._observer.step_started(step.name)
        self._run.steps[step.name] = replace(self._run.steps[step.name], status=StepStatus.RUNNING, started=utc_now())
        self._store.runs.append_step(self.run_id, self._run.steps[step.name])
        known = self._decisions.input_digests(step)
        return {name: self._input(reference) for name, reference in step.inputs.items() if name in known}

    def _input(self, reference: str) -> StepInput:
        if reference == DATASET:
            assert self._dataset is not None  # noqa: S101  for mypy: _fetch has set it
            return self._dataset
        digest = self._decisions.digests[reference]
        path = self._store.artifacts.path(digest)
        return StepInput(path=path, artifact=digest, is_trusted=digest in self._written)

    def progress(self, step: str, label: str, done: int, total: int) -> None:
        """Report the progress of a step."""
        self._observer.step_progress(step, label, done, total)

    def is_step_done(self, step: Step, attempt: Attempt, *, log: Path) -> bool:
        """Record the result of a step and return whether it succeeded."""
        record = replace(
            self._run.steps[step.name],
            outputs=attempt.outputs,
            duration_s=attempt.duration_s,
            attempts=attempt.attempts,
            error=attempt.outcome.error,
            warning="; ".join(attempt.outcome.warnings),
            observed=attempt.outcome.observed,
        )
        if attempt.outcome.exit_code is not ExitCode.OK:
            self._end(replace(record, status=StepStatus.FAILED))
            if step.trial is None:  # a failed trial does not end its search
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
        warnings = filter(None, (_difference(earlier, attempt), record.warning, self._search_note(step)))
        self._end(replace(record, status=StepStatus.DONE, warning="; ".join(warnings)))
        self._check_slices(step)
        return True

    def _check_slices(self, step: Step) -> None:
        """Refuse a gate about a part of the test set that the split does not have, before a model is trained.

        Raises:
            ConfigError: there is no such class, column or value.
        """
        pipeline = self._request.pipeline
        if not pipeline.gate.needs_predictions or self._request.selection.only:
            return
        for name in step.outputs:
            reference = f"{step.name}.{name}"
            folder = self._store.artifacts.path(self._decisions.digests[reference])
            is_read = reference in pipeline.evaluation_step.inputs.values() and (folder / SPLIT_FILE).is_file()
            if is_read and (fault := missing_slice(pipeline.gate, read_split(folder))):
                raise ConfigError(f"gate: {fault}")

    def give_up_damaged(self, step: Step, damaged: Mapping[str, str]) -> Step:
        """Discard one damaged artifact that `step` reads; return the step that wrote it, which is executed again."""
        for reference in step.inputs.values():
            digest = self._decisions.digests.get(reference, "")  # a trial that failed has none
            if digest in damaged:
                writer = self._request.pipeline.step(reference.rpartition(".")[0])
                self._store.artifacts.discard(digest)
                self._decisions.note_damage(writer.name, damaged[digest])
                return writer
        raise AssertionError(f"step '{step.name}' reads none of {list(damaged)}")

    def stop(self, step: Step, *, error: str = "") -> None:
        """Record that a step was cancelled."""
        self._end(replace(self._run.steps[step.name], status=StepStatus.STOPPED, error=error))

    # --- Searches -----------------------------------------------------------------------------------------

    def skip(self, step: Step, *, because: str) -> None:
        """Record that a trial was not started."""
        self._end(replace(self._run.steps[step.name], status=StepStatus.SKIPPED, because=because))

    def is_search_lost(self, step: Step) -> bool:
        """Decide whether a step selects among trials of which none has a result; that is a failure of the run."""
        if not is_selection(step) or self._decisions.input_digests(step):
            return False
        error = search_failure(self._trials(step))
        self._end(replace(self._run.steps[step.name], status=StepStatus.FAILED, error=error))
        self._failure = self._failure or StepError(f"step '{step.name}' failed: {error}")
        return True

    def _trials(self, step: Step) -> list[StepRecord]:
        names = dict.fromkeys(reference.rpartition(".")[0] for reference in step.inputs.values())
        return [self._run.steps[name] for name in names]

    def _search_note(self, step: Step) -> str:
        return search_note(self._trials(step)) if is_selection(step) else ""

    def _end(self, record: StepRecord) -> None:
        self._run.steps[record.name] = record
        self._store.runs.append_step(self.run_id, record)
        self._observer.step_ended(record)

    @property
    def request(self) -> RunRequest:
        """The request of the run."""
        return self._request


def _difference(earlier: CachedStep | None, attempt: Attempt) -> str:
    """Return a warning when a step has the key of an earlier execution and another output; empty otherwise."""
    differing = [name for name, digest in attempt.outputs.items() if earlier and earlier.outputs.get(name) != digest]
    if not earlier or not differing:
        return ""
    return f"not deterministic: {', '.join(differing)} differs from run {earlier.run_id}, which had the same key"


def _step_failure(name: str, outcome: ProcessOutcome, log: Path) -> MlopsError:
    message = f"step '{name}' failed: {outcome.error}; log: {log}"
    kind = {ExitCode.DATASET: DatasetError, ExitCode.PLUGIN: PluginError}.get(outcome.exit_code, StepError)
    return kind(message)
