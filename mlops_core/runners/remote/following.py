"""Runs that a service carries out: refreshed, followed to their end, stopped, retried, and their results fetched.

All that is needed is in the run's record, so any process can continue where another one stopped. An engine supplies a
`RemoteExecution`: one execution at its service. What a finished execution means for the run is decided here.
"""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from mlops_core.errors import ExitCode, GateRejectedError, MlopsError, RunnerError
from mlops_core.evaluation.evaluation_file import read_evaluation
from mlops_core.pipeline import EVALUATION_OUTPUT, Pipeline, StepKind
from mlops_core.runners.evidence import split_digests
from mlops_core.runners.lifecycle.judgement import check_agreement, confirm_verdict, gate_status, require_accepted
from mlops_core.runners.lifecycle.results import keep_evaluation
from mlops_core.workspace.records import RunStatus, StepRecord, StepStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mlops_core.gates.verdicts import Verdict
    from mlops_core.pipeline import Step
    from mlops_core.runners.lifecycle import Decision
    from mlops_core.runners.observers import RunObserver
    from mlops_core.workspace.records import RunRecord
    from mlops_core.workspace.store import Store

_POLL_S = (1.0, 20.0)
_ENDED = {StepStatus.DONE, StepStatus.REUSED, StepStatus.FAILED, StepStatus.STOPPED, StepStatus.SKIPPED}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionState:
    """An execution as its service describes it now.

    Attributes:
        status: the service's word, for messages.
        is_final: the execution has ended.
        is_retryable: it failed or was stopped, so that the service can retry it.
        is_stopped: it was stopped before its end.
        duration_s: since its start; up to now while it runs.
        ended: when it ended, ISO 8601 in UTC; empty while it runs.
        steps: a record of every step of the pipeline, in the order of execution.
        decision: what the engine's condition decided; None when it was not reached.
    """

    status: str
    is_final: bool
    is_retryable: bool
    is_stopped: bool
    duration_s: float
    ended: str
    steps: tuple[StepRecord, ...]
    decision: Decision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteEvaluation:
    """The results of an execution, in the workspace.

    Attributes:
        verdict: what the container of the evaluation computed.
        outputs: output of the evaluation step -> digest of the artifact.
    """

    verdict: Verdict
    outputs: Mapping[str, str]


class RemoteExecution(Protocol):
    """One execution at an engine's service. Every method may raise `RunnerError` when the service refuses."""

    def describe(self) -> ExecutionState:
        """Return its current state."""

    def stop(self, *, token: str) -> None:
        """Stop it; a second request with the same token changes nothing."""

    def retry(self, *, token: str) -> str | None:
        """Continue it after a failure; what succeeded is kept.

        Returns:
            The service's name of the execution that continues it, where that is a new one; None for the same.
        """

    def fetch_logs(self, step: Step, *, folder: Path) -> tuple[Path, ...]:
        """Copy the logs of a step into a folder and return the files."""

    def fetch_evaluation(self, store: Store) -> RemoteEvaluation:
        """Copy the outputs of the evaluation step into the workspace."""

    def fetch_histories(self, steps: Sequence[Step], *, folder: Path) -> None:
        """Copy the training histories of finished steps, each to ``STEP/OUTPUT/`` and its path in the output."""

    def store_logs(self, folder: Path) -> None:
        """Copy the logs for TensorBoard below the prefix under which the execution's outputs are."""

    def failure(self, *, logs: Path) -> MlopsError:
        """Return why the execution failed, as the error that a local run would have raised."""

    def registered_model(self) -> tuple[str, str]:
        """Return the registered model's name and approval status at the service; empty where none was registered."""


class RemoteRun:
    """One run in the workspace and its execution at a service."""

    def __init__(
        self,
        store: Store,
        record: RunRecord,
        execution: RemoteExecution,
        *,
        observer: RunObserver,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take up the run.

        Args:
            store: the workspace.
            record: of a run that was started at the service.
            execution: the run's execution.
            observer: receives the run's events.
            pause: waits for a number of seconds.

        Raises:
            RunnerError: the run was never started at the service.
        """
        if record.remote is None:
            raise RunnerError(f"run {record.run_id} was never started at the service; start a new one")
        self.record = record
        self._remote = record.remote
        self._execution = execution
        self._store = store
        self._observer = observer
        self._pause = pause
        self._pipeline = Pipeline.from_json(record.pipeline)
        self._reported: dict[str, StepStatus] = {}

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self._store.runs.folder(self.record.run_id)

    # --- Following ----------------------------------------------------------------------------------------

    def refresh(self) -> ExecutionState:
        """Ask the service once; at the end of the execution, fetch its results.

        Raises:
            RunnerError: the service cannot be asked, or the results cannot be fetched now. Nothing is lost: the run
                stays as it was and can be refreshed again.
        """
        state = self._execution.describe()
        self._update_steps(state)
        if state.is_final:
            self._conclude(state)
        else:
            self.record = replace(
                self.record, status=RunStatus.RUNNING, duration_s=state.duration_s, error="", exit_code=0
            )
        self._store.runs.save(self.record)
        if state.is_final:
            self._share_curves()
        return state

    def _share_curves(self) -> None:
        """Fetch the training histories, and put the logs for TensorBoard beside the outputs; a failure is noted."""
        from mlops_core.report.histories import FETCHED_HISTORIES
        from mlops_core.report.tensorboard import write_tensorboard

        done = {step.name for step in self.record.steps if step.status in (StepStatus.DONE, StepStatus.REUSED)}
        trained = [s for s in self._pipeline.ordered() if s.kind is StepKind.TRAINING and s.name in done]
        if not trained:
            return
        try:
            self._execution.fetch_histories(trained, folder=self.folder / FETCHED_HISTORIES)
            self._execution.store_logs(write_tensorboard(self._store, self.record.run_id))
        except (MlopsError, OSError) as error:
            self._observer.note(f"the training curves cannot be copied: {error}; mlops runs show tries again")

    def follow(self, *, timeout_s: float | None = None) -> RunRecord:
        """Refresh until the execution has ended.

        Args:
            timeout_s: maximum time to wait; None for no limit.

        Raises:
            RunnerError: as for `refresh`, or the time is over; the execution continues.
        """
        began = time.monotonic()
        wait_s = _POLL_S[0]
        while not (state := self.refresh()).is_final:
            waited = time.monotonic() - began
            if timeout_s is not None and waited + wait_s > timeout_s:
                raise RunnerError(
                    f"the execution is {state.status} after {timeout_s:g} s, the limit of --timeout; it continues at "
                    f"the service: mlops runs show {self.record.run_id}"
                )
            self._pause(wait_s * random.uniform(0.9, 1.1))  # noqa: S311  spreads the requests of many followers
            wait_s = min(wait_s * 1.3, _POLL_S[1])
        return self.record

    def fetch_logs(self, step: str | None = None) -> tuple[Path, ...]:
        """Copy the logs of one step, or of all, into the run's folder.

        Raises:
            RunnerError: the service refuses.
        """
        paths: list[Path] = []
        for declared in self._pipeline.ordered():
            if step in (None, declared.name):
                paths += self._execution.fetch_logs(declared, folder=self.folder / "logs")
        return tuple(paths)

    def stop(self) -> None:
        """Ask the service to stop the execution; its steps get a moment to end themselves.

        Raises:
            RunnerError: it has ended already, or the service refuses.
        """
        self._execution.stop(token=_token(self.record.run_id, "stop", self._remote.execution))

    def retry(self) -> None:
        """Ask the service to continue an execution that failed or was stopped; what succeeded is kept.

        Raises:
            RunnerError: there is nothing to retry, or the service refuses.
        """
        state = self._execution.describe()
        if not state.is_retryable:
            raise RunnerError(
                f"run {self.record.run_id}: the execution is {state.status}; only one that failed or was stopped can "
                "be retried"
            )
        # The token is the same for two requests after one end, and another one after the next end.
        continued = self._execution.retry(token=_token(self.record.run_id, "retry", state.ended))
        if continued is not None:
            self._remote = replace(self._remote, execution=continued)
        self.record = replace(
            self.record, status=RunStatus.RUNNING, error="", exit_code=0, verdict=None, remote=self._remote
        )
        self._store.runs.save(self.record)

    # --- Steps --------------------------------------------------------------------------------------------

    def _update_steps(self, state: ExecutionState) -> None:
        outputs = {step.name: step.outputs for step in self.record.steps}
        steps = tuple(replace(step, outputs=outputs.get(step.name, {})) for step in state.steps)
        self.record = replace(self.record, steps=steps)
        for step in steps:
            self._report_step(step)

    def _report_step(self, step: StepRecord) -> None:
        before = self._reported.get(step.name)
        if step.status == before or step.status is StepStatus.PENDING:
            return
        self._reported[step.name] = step.status
        if before is None and step.status is not StepStatus.SKIPPED:
            self._observer.step_started(step.name)
        if step.status in _ENDED:
            self._observer.step_ended(step)
        if step.status is StepStatus.FAILED:
            self._show_log(step.name)

    def _show_log(self, name: str) -> None:
        try:
            paths = self._execution.fetch_logs(self._pipeline.step(name), folder=self.folder / "logs")
        except (MlopsError, OSError) as error:
            self._observer.note(f"the log of step '{name}' cannot be fetched: {error}")
            return
        lines = last_lines(paths)
        if lines:
            self._observer.note("\n    ".join((f"the end of the log of step '{name}':", *lines)))

    # --- The end ------------------------------------------------------------------------------------------

    def _conclude(self, state: ExecutionState) -> None:
        self.record = replace(self.record, duration_s=state.duration_s)
        try:
            self._judge(state)
        except GateRejectedError as error:
            self._end(gate_status(error), error)
        except _ExecutionFailedError as error:
            self._end(RunStatus.STOPPED if state.is_stopped else RunStatus.FAILED, error.reason)
        else:
            self.record = replace(self.record, status=RunStatus.ACCEPTED, error="", exit_code=int(ExitCode.OK))

    def _end(self, status: RunStatus, error: MlopsError) -> None:
        self.record = replace(self.record, status=status, error=str(error), exit_code=int(error.exit_code))

    def _judge(self, state: ExecutionState) -> None:
        """Compare what the engine's condition decided with the gate's verdict."""
        if state.decision is None:
            raise _ExecutionFailedError(self._failure(state))
        verdict = self._fetch_evaluation(state).verdict
        try:
            check_agreement(verdict, state.decision)
        except RunnerError as error:
            raise _ExecutionFailedError(error) from error
        require_accepted(verdict)
        try:
            confirm_verdict(self.record, self._pipeline, self.folder)
        except MlopsError as error:
            raise _ExecutionFailedError(error) from error
        model, approval = self._execution.registered_model()
        if not model:
            raise _ExecutionFailedError(self._failure(state))
        self._remote = replace(self._remote, model_package=model, approval=approval)
        self.record = replace(self.record, remote=self._remote)

    def _fetch_evaluation(self, state: ExecutionState) -> RemoteEvaluation:
        try:
            evaluation = self._execution.fetch_evaluation(self._store)
        except MlopsError as error:
            raise RunnerError(
                f"the execution has ended as {state.status}, and its results cannot be fetched now: {error}; nothing "
                f"is lost: mlops runs show {self.record.run_id} tries again"
            ) from error
        name = self._pipeline.evaluation_step.name
        steps = tuple(replace(s, outputs=evaluation.outputs) if s.name == name else s for s in self.record.steps)
        self.record = replace(self.record, steps=steps, verdict=evaluation.verdict)
        artifact = self._store.artifacts.path(evaluation.outputs[EVALUATION_OUTPUT])
        keep_evaluation(artifact, self.folder)
        report = read_evaluation(artifact, self._pipeline.metrics)
        self.record = replace(self.record, splits=split_digests(self._store, steps, report))
        return evaluation

    def _failure(self, state: ExecutionState) -> MlopsError:
        if state.is_stopped:
            return RunnerError(
                f"the execution was stopped; to continue where it ended: mlops runs retry {self.record.run_id}"
            )
        return self._execution.failure(logs=self.folder / "logs")


class _ExecutionFailedError(Exception):
    """The execution failed or was stopped."""

    def __init__(self, reason: MlopsError) -> None:
        self.reason = reason
        super().__init__(str(reason))


def _token(*parts: str) -> str:
    """Return the same token for the same request, so that a repeated one changes nothing."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def last_lines(paths: Sequence[Path], *, lines: int = 20) -> tuple[str, ...]:
    """Return the last lines of the last of the logs; empty where there is none."""
    if not paths:
        return ()
    return tuple(paths[-1].read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
