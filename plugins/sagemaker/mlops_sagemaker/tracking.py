"""A run that the service carries out: looked at, followed to its end, stopped, retried, and its results brought back.

All that is needed stands in the run's record, so any process of any day can go on where another left off. Starting
is in `mlops_sagemaker.runner`.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mlops_core.errors import ExitCode, GateRejectedError, MlopsError, RunnerError
from mlops_core.pipeline import EVALUATION_OUTPUT, Pipeline
from mlops_core.workspace.records import RunStatus, StepRecord, StepStatus
from mlops_sagemaker.compiler.definition import FAIL_STEP
from mlops_sagemaker.service import logs, results, states
from mlops_sagemaker.service.account import Account
from mlops_sagemaker.service.executions import ExecutionStatus
from mlops_sagemaker.service.outcomes import failure_of, rejection_of
from mlops_sagemaker.service.pipelines import Execution

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlops_core.runners import RunObserver
    from mlops_core.workspace.records import RemoteRecord, RunRecord
    from mlops_core.workspace.store import Store
    from mlops_sagemaker.service.executions import ExecutionRecord

_POLL_S = (1.0, 20.0)
_ENDED = {StepStatus.DONE, StepStatus.REUSED, StepStatus.FAILED, StepStatus.STOPPED, StepStatus.SKIPPED}
_NO_ENTRY_POINT = ("No module named mlops_core", "No module named 'mlops_core'", "exit code: 127", "exit code: 126")


class RemoteRun:
    """One run in the workspace, and its execution at the service."""

    def __init__(
        self,
        store: Store,
        record: RunRecord,
        *,
        observer: RunObserver,
        account: Account | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take up the run.

        Args:
            store: the workspace.
            record: of a run that was started at the service.
            observer: is told what happens.
            account: that of the record's region where it is None.
            pause: waits for a number of seconds.

        Raises:
            RunnerError: the run was never started at the service.
        """
        if record.remote is None:
            raise RunnerError(f"run {record.run_id} was never started at the service; start a new one")
        self.record = record
        self._remote: RemoteRecord = record.remote
        self._store = store
        self._observer = observer
        self._account = account or Account(region=record.remote.region)
        self._pause = pause
        self._pipeline = Pipeline.from_json(record.pipeline)
        self._told: dict[str, StepStatus] = {}

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self._store.runs.folder(self.record.run_id)

    # --- Looking ------------------------------------------------------------------------------------------

    def refresh(self) -> ExecutionRecord:
        """Ask the service once; take over what it says and, at the end, bring the results back.

        Raises:
            RunnerError: the service cannot be asked, or the results cannot be brought back now. Nothing is lost: the
                run stays as it was and can be asked for again.
        """
        execution = self._ask()
        self._take_over(execution)
        if execution.status.is_final:
            self._conclude(execution)
        else:
            duration_s = states.seconds(execution.start, execution.end)
            self.record = replace(self.record, status=RunStatus.RUNNING, duration_s=duration_s, error="", exit_code=0)
        self._store.runs.save(self.record)
        return execution

    def follow(self, *, timeout_s: float | None = None) -> RunRecord:
        """Ask until the execution has ended; there is no limit but the one that is given.

        Raises:
            RunnerError: as for `refresh`, or the time is over; the execution goes on.
        """
        began = time.monotonic()
        wait_s = _POLL_S[0]
        while not (execution := self.refresh()).status.is_final:
            waited = time.monotonic() - began
            if timeout_s is not None and waited + wait_s > timeout_s:
                raise RunnerError(
                    f"the execution is {execution.status} after {timeout_s:g} s, the limit of --timeout; it goes on "
                    f"in the service: mlops runs show {self.record.run_id}"
                )
            self._pause(wait_s * random.uniform(0.9, 1.1))  # noqa: S311  many followers shall not ask at one moment
            wait_s = min(wait_s * 1.3, _POLL_S[1])
        return self.record

    def fetch_logs(self, step: str | None = None) -> tuple[Path, ...]:
        """Bring the logs of one step, or of all, into the run's folder.

        Raises:
            RunnerError: the service refuses.
        """
        execution = self._ask()
        found: list[Path] = []
        for declared in self._pipeline.ordered():
            if step in (None, declared.name):
                found += logs.fetch_logs(self._account, execution, declared, folder=self.folder / "logs")
        return tuple(found)

    # --- Changing -----------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask the service to end the execution; its steps get a moment to end themselves.

        Raises:
            RunnerError: it has ended already, or the service refuses.
        """
        token = _token(self.record.run_id, "stop", self._remote.execution)
        self._call("stop_pipeline_execution", ClientRequestToken=token)

    def retry(self) -> None:
        """Ask the service to go on with an execution that failed or was stopped; what succeeded is kept.

        Raises:
            RunnerError: there is nothing to retry, or the service refuses.
        """
        execution = self._ask()
        if execution.status not in (ExecutionStatus.FAILED, ExecutionStatus.STOPPED):
            raise RunnerError(
                f"run {self.record.run_id}: the execution is {execution.status}; only one that failed or was stopped "
                "can be retried"
            )
        # The same for two calls after one end, another one after the next end.
        token = _token(self.record.run_id, "retry", execution.end)
        self._call("retry_pipeline_execution", ClientRequestToken=token)
        self.record = replace(self.record, status=RunStatus.RUNNING, error="", exit_code=0, verdict=None)
        self._store.runs.save(self.record)

    # --- What the service says ----------------------------------------------------------------------------

    def _call(self, operation: str, **request: str) -> None:
        self._account.call("sagemaker", operation, PipelineExecutionArn=self._remote.execution, **request)

    def _ask(self) -> ExecutionRecord:
        execution = Execution(arn=self._remote.execution, client=self._account.client("sagemaker"))
        return states.execution_record(execution.describe(), execution.list_steps())

    def _take_over(self, execution: ExecutionRecord) -> None:
        found = states.step_records(self._pipeline, execution)
        known = {step.name: step.outputs for step in self.record.steps}
        steps = tuple(replace(step, outputs=known.get(step.name, {})) for step in found.values())
        self.record = replace(self.record, steps=steps)
        for step in steps:
            self._tell(step, execution)

    def _tell(self, step: StepRecord, execution: ExecutionRecord) -> None:
        before = self._told.get(step.name)
        if step.status == before or step.status is StepStatus.PENDING:
            return
        self._told[step.name] = step.status
        if before is None and step.status is not StepStatus.SKIPPED:
            self._observer.step_started(step.name)
        if step.status in _ENDED:
            self._observer.step_ended(step)
        if step.status is StepStatus.FAILED:
            self._show_log(step.name, execution)

    def _show_log(self, name: str, execution: ExecutionRecord) -> None:
        try:
            step = self._pipeline.step(name)
            paths = logs.fetch_logs(self._account, execution, step, folder=self.folder / "logs")
        except (MlopsError, OSError) as error:
            self._observer.note(f"the log of step '{name}' cannot be had: {error}")
            return
        lines = logs.tail(paths)
        if lines:
            self._observer.note("\n    ".join((f"the end of the log of step '{name}':", *lines)))

    # --- The end ------------------------------------------------------------------------------------------

    def _conclude(self, execution: ExecutionRecord) -> None:
        self.record = replace(self.record, duration_s=states.seconds(execution.start, execution.end))
        try:
            self._judge(execution)
        except GateRejectedError as error:
            self._end(RunStatus.REJECTED, error)
        except _ExecutionFailedError as error:
            status = RunStatus.STOPPED if execution.status is ExecutionStatus.STOPPED else RunStatus.FAILED
            self._end(status, error.reason)
        else:
            self.record = replace(self.record, status=RunStatus.ACCEPTED, error="", exit_code=int(ExitCode.OK))

    def _end(self, status: RunStatus, error: MlopsError) -> None:
        self.record = replace(self.record, status=status, error=str(error), exit_code=int(error.exit_code))

    def _judge(self, execution: ExecutionRecord) -> None:
        """Take over what the definition decided; the verdict in words must say the same."""
        is_met = states.is_met(execution)
        if is_met is None:
            raise _ExecutionFailedError(self._failure(execution))
        evaluation = self._bring_back(execution)
        if evaluation.verdict.accepted is not is_met:
            raise _ExecutionFailedError(
                RunnerError(
                    f"the definition's condition came out {is_met}, the gate itself {evaluation.verdict.accepted}: "
                    "they must agree; reject the model package, if there is one, and compile again"
                )
            )
        said = execution.step(FAIL_STEP)
        if not is_met:
            verdict = evaluation.verdict
            raise GateRejectedError(rejection_of(said, verdict) if said and said.failure else verdict.message)
        package = states.model_package(execution)
        if not package:
            raise _ExecutionFailedError(self._failure(execution))
        found = self._account.call("sagemaker", "describe_model_package", ModelPackageName=package)
        approval = found.get("ModelApprovalStatus", "")
        self._remote = replace(self._remote, model_package=package, approval=approval)
        self.record = replace(self.record, remote=self._remote)

    def _bring_back(self, execution: ExecutionRecord) -> results.Evaluation:
        try:
            found = results.fetch_evaluation(self._account, self._pipeline, execution, store=self._store)
            if self._remote.bucket:
                results.publish(self._account, found.uri, bucket=self._remote.bucket)
        except MlopsError as error:
            raise RunnerError(
                f"the execution has ended as {execution.status}, and its results cannot be brought back now: {error}; "
                f"nothing is lost: mlops runs show {self.record.run_id} tries again"
            ) from error
        name = self._pipeline.evaluation_step.name
        steps = tuple(replace(s, outputs=found.outputs) if s.name == name else s for s in self.record.steps)
        self.record = replace(self.record, steps=steps, verdict=found.verdict)
        artifact = self._store.artifacts.path(found.outputs[EVALUATION_OUTPUT])
        shutil.copyfile(artifact / "evaluation.json", self.folder / "evaluation.json")
        return found

    def _failure(self, execution: ExecutionRecord) -> MlopsError:
        if execution.status is ExecutionStatus.STOPPED:
            return RunnerError(
                f"the execution was stopped; to go on where it ended: mlops runs retry {self.record.run_id}"
            )
        failure = failure_of(execution, self._pipeline, logs=self.folder / "logs")
        text = f"{failure} {self._last_words(execution)}"
        if any(sign in text for sign in _NO_ENTRY_POINT):
            return RunnerError(
                f"{failure}; the step image has no mlops-usecases and no plugin of {self.record.use_case}: build it with "
                f"mlops package --usecase {self.record.use_case}, push it, and name it with --image"
            )
        return failure

    def _last_words(self, execution: ExecutionRecord) -> str:
        failed = next((step.name for step in execution.steps if step.failure), "")
        paths = sorted((self.folder / "logs").glob(f"{failed}*.log")) if failed else ()
        return " ".join(logs.tail(tuple(paths), lines=5))


class _ExecutionFailedError(Exception):
    """The execution failed or was stopped."""

    def __init__(self, reason: MlopsError) -> None:
        self.reason = reason
        super().__init__(str(reason))


def _token(*parts: str) -> str:
    """Return the same token for the same request, so that a repeated one does nothing twice."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


__all__ = ["RemoteRun"]
