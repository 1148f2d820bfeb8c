"""The trials of a search in an executed definition: their records, and their outputs as artifacts."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mlops_core import StepError
from mlops_core.runners import StepRecord, StepStatus, find_searches, search_failure
from mlops_core.runners.remote.searches import select_again
from mlops_sagemaker.compiler.arguments import TRIAL, TURN
from mlops_sagemaker.service.executions import ExecutionStep, ExecutionStepStatus
from mlops_sagemaker.service.outcomes import step_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlops_core.runners import RunRequest, Search, Store
    from mlops_sagemaker.emulator.collection import Results
    from mlops_sagemaker.emulator.jobs.common import JobState
    from mlops_sagemaker.service.executions import ExecutionRecord

_STATUSES = {"Completed": ExecutionStepStatus.SUCCEEDED, "Failed": ExecutionStepStatus.FAILED}


def trial_index(values: Mapping[str, Any]) -> int:
    """Return the index of the trial with these tuned hyperparameters."""
    return sum(int(values[name]) for name in (TRIAL, TURN) if name in values)


class TrialResults:
    """Collects the training jobs of the searches of one execution."""

    def __init__(self, request: RunRequest) -> None:
        """Collect for the searches of the pipeline of `request`."""
        self._request = request
        self._lock = threading.Lock()
        self._states: dict[tuple[str, int], JobState] = {}
        self.searches = find_searches(request.pipeline)

    def on_job(self, state: JobState) -> None:
        """Remember a training job of a tuning job; called from any thread."""
        if state.tuning and state.is_final:
            with self._lock:
                self._states[state.tuning, trial_index(state.trial["TunedHyperParameters"])] = state

    def records(self, execution: ExecutionRecord) -> dict[str, StepRecord]:
        """Return the records of the trials, by the names of their steps, and those of searches without a result."""
        found: dict[str, StepRecord] = {}
        for search in self.searches:
            state = execution.step(search.name)
            trials = {step.name: self._record(step.name, step.trial or 0, state) for step in search.trials}
            found |= trials
            if state is not None and state.status is ExecutionStepStatus.FAILED and _have_failed(trials):
                error = search_failure(list(trials.values()))
                found[search.name] = replace(step_record(search.name, (state,)), error=error)
        return found

    def _record(self, name: str, index: int, state: ExecutionStep | None) -> StepRecord:
        if state is None:
            return StepRecord(name=name, status=StepStatus.SKIPPED)
        job = self._states.get((str(state.properties.get("HyperParameterTuningJobName")), index))
        if job is None:
            return replace(step_record(name, (state,)), duration_s=0.0, attempts=0)
        status = _STATUSES.get(job.status, ExecutionStepStatus.STOPPED)
        own = ExecutionStep(
            name=name, type="Training", status=status, start=job.created, end=job.modified, failure=job.failure
        )
        return step_record(name, (own,))

    def failure(self, records: Mapping[str, StepRecord]) -> StepError | None:
        """Return the error of a search of which no trial has a result; None if there is none."""
        for search in self.searches:
            record = records[search.name]
            if record.status is StepStatus.FAILED and _have_failed({s.name: records[s.name] for s in search.trials}):
                return StepError(f"step '{search.name}' failed: {record.error}")
        return None

    def outputs(
        self, search: Search, state: ExecutionStep, results: Results, store: Store
    ) -> dict[str, dict[str, str]]:
        """Add the outputs of a search and of its trials to the store; return step -> output -> digest.

        Raises:
            RunnerError: an output is not at its location, or the definition chose another trial.
        """
        summaries = state.properties["TrainingJobSummaries"]
        jobs = {trial_index(each["TunedHyperParameters"]): str(each["TrainingJobName"]) for each in summaries}
        trials = {
            step.trial or 0: results.add_trial_outputs(step, search.selection, store, job=jobs[step.trial or 0])
            for step in search.trials
            if step.trial in jobs
        }
        chosen = trial_index(state.properties["BestTrainingJob"]["TunedHyperParameters"])
        selected = select_again(search, self._request, store=store, trials=trials, chosen=chosen)
        return {search.trials[index].name: outputs for index, outputs in trials.items()} | {search.name: selected}


def _have_failed(trials: Mapping[str, StepRecord]) -> bool:
    return all(record.status is StepStatus.FAILED for record in trials.values())
